import Glibc
import Synchronization
import Testing

/// A TCP server on 127.0.0.1 that does to each connection exactly what its script says, on a thread
/// per connection. No HTTP library stands between: the tests need servers that break the rules.
final class RawServer: Sendable {
    let port: UInt16
    private let listener: CInt
    private let script: @Sendable (RawConnection) -> Void
    private let acceptor = Mutex<pthread_t?>(nil)
    private let requestLog = Mutex<[RawRequest]>([])
    private let openedCount = Atomic<Int>(0)

    init(_ script: @escaping @Sendable (RawConnection) -> Void) {
        (listener, port) = RawServer.listen()
        self.script = script
        acceptor.withLock { $0 = startThread(acceptAll) }
    }

    /// Every request that was read in full, in order.
    var requests: [RawRequest] { requestLog.withLock { $0 } }
    var connectionCount: Int { openedCount.load(ordering: .acquiring) }

    func url(_ path: String = "/v1/messages", scheme: String = "http") -> String {
        "\(scheme)://127.0.0.1:\(port)\(path)"
    }

    func stop() {
        shutdown(listener, CInt(SHUT_RDWR))
        let thread = acceptor.withLock { acceptor in
            let thread = acceptor
            acceptor = nil
            return thread
        }
        if let thread { pthread_join(thread, nil) }
        close(listener)
    }

    /// A port on which nothing listens.
    static func closedPort() -> UInt16 {
        let (listener, port) = listen()
        close(listener)
        return port
    }

    fileprivate func log(_ request: RawRequest) {
        requestLog.withLock { $0.append(request) }
    }

    private func acceptAll() {
        while true {
            let descriptor = accept(listener, nil, nil)
            guard descriptor >= 0 else { return }
            openedCount.add(1, ordering: .acquiringAndReleasing)
            let connection = RawConnection(descriptor: descriptor, server: self)
            let thread = startThread { [script] in
                script(connection)
                connection.close()
            }
            pthread_detach(thread)
        }
    }

    private static func listen() -> (CInt, UInt16) {
        let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        precondition(descriptor >= 0, "no socket")
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, length) == 0
                    && Glibc.listen(descriptor, 256) == 0
                    && getsockname(descriptor, pointer, &length) == 0
            }
        }
        precondition(isBound, "cannot listen on 127.0.0.1")
        return (descriptor, UInt16(bigEndian: address.sin_port))
    }
}

struct RawRequest: Sendable {
    /// The request line and the header lines, without the empty one.
    var lines: [String]
    var body: [UInt8]

    var requestLine: String { lines[0] }

    func values(_ name: String) -> [String] {
        lines.dropFirst().compactMap { line in
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts[0].lowercased() == name else { return nil }
            return parts.count == 2 ? String(parts[1].drop { $0 == " " }) : ""
        }
    }
}

/// One accepted connection, used by the thread that runs its script.
final class RawConnection: Sendable {
    private let descriptor: CInt
    private let server: RawServer
    private let pending = Mutex<[UInt8]>([])
    private let isClosed = Atomic<Bool>(false)

    init(descriptor: CInt, server: RawServer) {
        self.descriptor = descriptor
        self.server = server
    }

    /// Reads one request with a `Content-Length`, or none; `nil` when the peer has closed.
    func readRequest() -> RawRequest? {
        guard let lines = readHead() else { return nil }
        var request = RawRequest(lines: lines, body: [])
        let byteCount = request.values("content-length").first.flatMap { Int($0) } ?? 0
        while pending.withLock({ $0.count }) < byteCount {
            guard readMore() else { return nil }
        }
        request.body = pending.withLock { pending in
            defer { pending.removeFirst(byteCount) }
            return Array(pending.prefix(byteCount))
        }
        server.log(request)
        return request
    }

    /// Reads up to and with the empty line.
    func readHead() -> [String]? {
        while true {
            let head = pending.withLock { pending -> String? in
                let text = String(decoding: pending, as: UTF8.self)
                guard let end = text.utf8.firstRange(of: "\r\n\r\n") else { return nil }
                let head = String(text[..<end])
                pending.removeFirst(head.utf8.count + 4)
                return head
            }
            if let head { return head.split(separator: "\r\n").map(String.init) }
            guard readMore() else { return nil }
        }
    }

    /// Returns once the peer has closed or reset.
    func waitForPeer() {
        while readMore() {}
    }

    /// Waits so long for the peer to close or send; `false` if it did.
    func isOpen(forMilliseconds milliseconds: CInt) -> Bool {
        var interest = pollfd(fd: descriptor, events: CShort(POLLIN), revents: 0)
        return poll(&interest, 1, milliseconds) == 0
    }

    func write(_ text: String) {
        write(Array(text.utf8))
    }

    /// Ignores failures: a peer that has gone is what some scripts wait for.
    func write(_ bytes: [UInt8]) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            sent += count
        }
    }

    /// Answers 200 and keeps the connection.
    func answer(_ body: String = "ok") {
        write("HTTP/1.1 200 OK\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)")
    }

    /// RST instead of FIN.
    func reset() {
        var linger = Glibc.linger(l_onoff: 1, l_linger: 0)
        let size = socklen_t(MemoryLayout<linger>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, size)
        close()
    }

    func close() {
        let wasClosed = isClosed.exchange(true, ordering: .acquiringAndReleasing)
        if !wasClosed { Glibc.close(descriptor) }
    }

    private func readMore() -> Bool {
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        let count = recv(descriptor, &chunk, chunk.count, 0)
        guard count > 0 else { return false }
        pending.withLock { $0 += chunk[..<count] }
        return true
    }
}

/// `true` once.
final class FirstCall: Sendable {
    private let isTaken = Atomic<Bool>(false)

    func take() -> Bool {
        !isTaken.exchange(true, ordering: .acquiringAndReleasing)
    }
}

extension String.UTF8View {
    fileprivate func firstRange(of text: String) -> String.Index? {
        let wanted = Array(text.utf8)
        let bytes = Array(self)
        guard bytes.count >= wanted.count else { return nil }
        for start in 0...(bytes.count - wanted.count)
        where bytes[start] == wanted[0] && Array(bytes[start..<start + wanted.count]) == wanted {
            return index(startIndex, offsetBy: start)
        }
        return nil
    }
}

private final class ThreadBody: Sendable {
    let run: @Sendable () -> Void

    init(_ run: @escaping @Sendable () -> Void) {
        self.run = run
    }
}

private func startThread(_ run: @escaping @Sendable () -> Void) -> pthread_t {
    var thread = pthread_t()
    let argument = Unmanaged.passRetained(ThreadBody(run)).toOpaque()
    let code = pthread_create(
        &thread, nil,
        { argument in
            argument.map { Unmanaged<ThreadBody>.fromOpaque($0).takeRetainedValue().run() }
            return nil
        }, argument)
    precondition(code == 0, "no thread")
    return thread
}
