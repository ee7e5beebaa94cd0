import CCurl
import NIOCore
import Synchronization

/// A transfer while libcurl works on it. Lives on one egress thread, from start to finish.
///
/// **Never sent twice.** libcurl re-sends a request by itself when a reused connection dies before
/// the first byte of an answer. A completion that is sent twice is billed twice, so two locks stand
/// before that: the body comes from a read callback that cannot be rewound, and the prerequest
/// callback, which libcurl calls before it sends anything, refuses a second time. It lets pass what
/// cannot be billed: a read without content, and a request whose body has not been touched.
final class ActiveTransfer {
    let transfer: EgressTransfer
    let request: EgressRequest
    let easy: EasyHandle
    private let onEvent: @Sendable (EgressEvent) -> Void
    private let headerList: HeaderList
    private let bufferByteCountMax: Int
    private let clock: LoopClock
    private let startedAt: ContinuousClock.Instant

    private var lastActivityAt: ContinuousClock.Instant
    private var head = ResponseHeadParser()
    private var hasHead = false
    private var isFinished = false
    private var bodyOffset = 0
    private var prerequestCount = 0
    private var deliveredByteCount = 0
    /// Why a callback of ours stopped the transfer. libcurl itself only reports that one did.
    private var stop: (kind: EgressFailure.Kind, message: String)?

    init(
        order: EgressOrder, easy: EasyHandle, clock: LoopClock
    ) throws(EgressFailure) {
        transfer = order.transfer
        request = order.request
        onEvent = order.onEvent
        bufferByteCountMax = order.bufferByteCountMax
        self.easy = easy
        self.clock = clock
        headerList = try HeaderList(order.request.headerLines)
        startedAt = clock.now
        lastActivityAt = clock.now
    }

    /// Whether a byte of the request may have left.
    var wasSent: Bool { prerequestCount > 0 }

    /// When it has taken too long. Moves later with each byte; earlier only when the connection is
    /// there, which `LoopClock` is told.
    var deadline: ContinuousClock.Instant {
        let phase =
            wasSent
            ? lastActivityAt + request.idleTimeout : startedAt + request.connectTimeout
        guard let totalTimeout = request.totalTimeout else { return phase }
        return min(phase, startedAt + totalTimeout)
    }

    var timeoutFailure: EgressFailure {
        let isTotal = request.totalTimeout.map { clock.now >= startedAt + $0 } ?? false
        if wasSent {
            let message =
                isTotal
                ? "not complete within the total time limit"
                : "no byte was received or sent for \(request.idleTimeout)"
            return EgressFailure(kind: .timeout, requestWasSent: true, message: message)
        }
        let message =
            isTotal
            ? "no connection within the total time limit"
            : "no connection within \(request.connectTimeout)"
        return EgressFailure(kind: .timeoutBeforeSend, requestWasSent: false, message: message)
    }

    /// The last event. Nothing can follow it: libcurl no longer has the handle, and if it did call,
    /// `isFinished` would stop it.
    func finish(_ failure: EgressFailure?) {
        precondition(!isFinished, "a transfer finished twice")
        isFinished = true
        onEvent(failure.map(EgressEvent.failed) ?? .end)
    }

    /// What the end that libcurl reports means. `nil`: a complete response.
    func failure(for code: CURLcode) -> EgressFailure? {
        if let stop {
            return EgressFailure(
                kind: stop.kind, requestWasSent: wasSent, message: stop.message)
        }
        guard code == CURLE_OK else {
            return EgressFailure(code: code, wasSent: wasSent, detail: easy.errorMessage)
        }
        guard hasHead else {
            return EgressFailure(
                kind: .badResponse, requestWasSent: true, message: "a response without a head")
        }
        return nil
    }
}

// MARK: - What libcurl calls

extension ActiveTransfer {
    func willSend() -> Bool {
        prerequestCount += 1
        let isFirst = prerequestCount == 1
        let cannotBeBilled =
            request.isFreeToRepeat || (!request.body.isEmpty && bodyOffset == 0)
        guard isFirst || cannotBeBilled else {
            stop = (
                .reset,
                "the connection closed before an answer came; not sent again, as it may be billed"
            )
            return false
        }
        touch()
        clock.watch(deadline)
        return true
    }

    func fill(_ buffer: UnsafeMutableRawBufferPointer) -> Int {
        touch()
        let count = min(buffer.count, request.body.count - bodyOffset)
        request.body.withUnsafeBytes { body in
            buffer.copyMemory(
                from: UnsafeRawBufferPointer(rebasing: body[bodyOffset...].prefix(count)))
        }
        bodyOffset += count
        return count
    }

    func receivedHeader(_ line: UnsafeRawBufferPointer) -> Bool {
        guard mayDeliver() else { return false }
        touch()
        switch head.take(line) {
        case .more:
            return true
        case .invalid(let reason):
            stop = (.badResponse, reason)
            return false
        case .head(let status, let headers):
            hasHead = true
            onEvent(.head(status: status, headers: headers))
            return true
        }
    }

    func receivedBody(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard mayDeliver() else { return false }
        touch()
        guard hasHead else {
            stop = (.badResponse, "a body without a head")
            return false
        }
        let consumedByteCount = transfer.consumedByteCount.load(ordering: .relaxed)
        let unreadByteCount = deliveredByteCount - consumedByteCount + bytes.count
        guard unreadByteCount <= bufferByteCountMax else {
            stop = (
                .bufferOverflow, "more than \(bufferByteCountMax) bytes wait for the reader"
            )
            return false
        }
        deliveredByteCount += bytes.count
        onEvent(.body(ByteBuffer(bytes: bytes)))
        return true
    }

    private func mayDeliver() -> Bool {
        guard !isFinished, stop == nil else { return false }
        guard transfer.isCancelled.load(ordering: .acquiring) else { return true }
        stop = (.cancelled, "cancelled")
        return false
    }

    private func touch() {
        lastActivityAt = clock.now
    }
}

// MARK: - Options

extension ActiveTransfer {
    /// Proof for the unretained pointer: the loop keeps `self` in its table for as long as the easy
    /// handle is in the multi handle, and libcurl calls back only then.
    private var context: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    /// The transfer that a pointer from `context` stands for.
    static func from(_ context: UnsafeMutableRawPointer) -> ActiveTransfer {
        Unmanaged<ActiveTransfer>.fromOpaque(context).takeUnretainedValue()
    }

    func configure(_ configuration: EgressConfiguration) throws(EgressFailure) {
        try easy.attachErrorText()
        try configureConnection(configuration)
        try configureRequest()
        try configureCallbacks()
    }

    private func configureConnection(
        _ configuration: EgressConfiguration
    ) throws(EgressFailure) {
        // Signals and threads do not go together. SIGPIPE is blocked on our threads instead.
        try easy.set(CURLOPT_NOSIGNAL, 1)
        // Without it, giving up during name resolution would block every transfer of this thread
        // until the resolver returns. We never unload libcurl, so nothing can be left dangling.
        try easy.set(CURLOPT_QUICK_EXIT, 1)
        // A redirect could carry a key to another host.
        try easy.set(CURLOPT_FOLLOWLOCATION, 0)
        try easy.set(CURLOPT_PROTOCOLS_STR, "http,https")
        try easy.set(CURLOPT_DISALLOW_USERNAME_IN_URL, 1)
        try easy.set(CURLOPT_PATH_AS_IS, 1)
        try easy.set(
            CURLOPT_HTTP_VERSION,
            configuration.isHTTP2Enabled
                ? Int(CURL_HTTP_VERSION_2TLS) : Int(CURL_HTTP_VERSION_1_1))
        try easy.set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        if let caFile = configuration.caFile { try easy.set(CURLOPT_CAINFO, caFile) }
        try easy.set(CURLOPT_TCP_NODELAY, 1)
        try easy.set(CURLOPT_TCP_KEEPALIVE, 1)
        try easy.set(CURLOPT_TCP_KEEPIDLE, 30)
        try easy.set(CURLOPT_TCP_KEEPINTVL, 15)
        // A connection that the provider is about to close for idleness costs a request that may
        // not be sent again. Common load balancers close after 60 s.
        try easy.set(CURLOPT_MAXAGE_CONN, 50)
        if !request.usesProxy { try easy.set(CURLOPT_PROXY, "") }
        // The answer of a proxy to CONNECT is not the provider's.
        try easy.set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        // Our own deadline is the precise one; this only lifts libcurl's default of 300 s.
        try easy.set(CURLOPT_CONNECTTIMEOUT_MS, request.connectTimeout.wholeMilliseconds)
    }

    private func configureRequest() throws(EgressFailure) {
        try easy.set(CURLOPT_URL, request.url)
        try easy.check(
            c_holdfast_curl_set_list(easy.pointer, CURLOPT_HTTPHEADER, headerList.first),
            CURLOPT_HTTPHEADER)
        // Headers meant for the provider are not shown to a proxy.
        try easy.set(CURLOPT_HEADEROPT, Int(CURLHEADER_SEPARATE))
        try easy.set(CURLOPT_HTTP_CONTENT_DECODING, 0)
        if request.method == "HEAD" {
            try easy.set(CURLOPT_NOBODY, 1)
        } else if request.body.isEmpty && request.method != "POST" {
            try easy.set(CURLOPT_HTTPGET, 1)
        } else {
            try easy.set(CURLOPT_POST, 1)
            try easy.check(
                c_holdfast_curl_set_offset(
                    easy.pointer, CURLOPT_POSTFIELDSIZE_LARGE, request.body.count),
                CURLOPT_POSTFIELDSIZE_LARGE)
        }
        if !["GET", "HEAD", "POST"].contains(request.method)
            || (request.method == "GET" && !request.body.isEmpty)
        {
            try easy.set(CURLOPT_CUSTOMREQUEST, request.method)
        }
    }

    private func configureCallbacks() throws(EgressFailure) {
        try easy.check(
            c_holdfast_curl_set_private(easy.pointer, context), CURLOPT_PRIVATE)
        try easy.check(
            c_holdfast_curl_set_prerequest(easy.pointer, onPrerequest, context),
            CURLOPT_PREREQFUNCTION)
        // There is no seek function on purpose: see the type's comment.
        try easy.check(
            c_holdfast_curl_set_read(easy.pointer, onRead, context), CURLOPT_READFUNCTION)
        try easy.check(
            c_holdfast_curl_set_header(easy.pointer, onHeader, context), CURLOPT_HEADERFUNCTION)
        try easy.check(
            c_holdfast_curl_set_write(easy.pointer, onBody, context), CURLOPT_WRITEFUNCTION)
    }
}

// MARK: - Trampolines

// libcurl passes back the context it was given, which is never NULL, and buffers of exactly
// size * count bytes; a buffer can be NULL only when that is 0.

private let onPrerequest: c_holdfast_curl_prerequest = { context, _, _, _, _ in
    context.map(ActiveTransfer.from)?.willSend() == true
        ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT
}

private let onRead: c_holdfast_curl_read = { buffer, size, count, context in
    let space = UnsafeMutableRawBufferPointer(start: buffer, count: size * count)
    return context.map(ActiveTransfer.from)?.fill(space) ?? Int(CURL_READFUNC_ABORT)
}

private let onHeader: c_holdfast_curl_write = { bytes, size, count, context in
    let line = UnsafeRawBufferPointer(start: bytes, count: size * count)
    return context.map(ActiveTransfer.from)?.receivedHeader(line) == true
        ? line.count : Int(CURL_WRITEFUNC_ERROR)
}

private let onBody: c_holdfast_curl_write = { bytes, size, count, context in
    let chunk = UnsafeRawBufferPointer(start: bytes, count: size * count)
    return context.map(ActiveTransfer.from)?.receivedBody(chunk) == true
        ? chunk.count : Int(CURL_WRITEFUNC_ERROR)
}
