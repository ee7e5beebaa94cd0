import HoldfastAdmin
import NIOCore
import NIOHTTP1

/// What brings a request and takes its response away.
enum Carrier: Sendable {
    /// Of HTTP/1, for one request after the other.
    case connection
    /// Of HTTP/2, for one request.
    case stream
}

/// Turns the parts of requests on one connection into exchanges, one at a time:
/// `HTTPServerPipelineHandler` before it holds pipelined requests back until the response is written.
/// Or those of the one request of a stream.
final class DownstreamHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        case idle
        case receiving(HTTPRequestHead, ByteBuffer)
        /// The rest of a request that was answered already.
        case discarding
        case responding(Exchange)
    }

    /// A body may take so much longer for each that has come.
    private static let bodyByteCountPerSecond = 64 << 10

    private let context: EdgeContext
    private let carrier: Carrier
    private var state = State.idle
    /// Of the body that is being received.
    private var reservedByteCount = 0
    /// When the caller's turn began: to send a request, or the rest of one.
    private var turnStarted: NIODeadline
    private var hasServed = false
    private var watch: Scheduled<Void>?

    /// - Parameter opened: when the caller's first turn began; `nil`: when the channel opens.
    init(context: EdgeContext, carrier: Carrier = .connection, opened: NIODeadline? = nil) {
        self.context = context
        self.carrier = carrier
        turnStarted = opened ?? .uptimeNanoseconds(0)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { watchCaller(context, from: context.eventLoop.now) }
    }

    func channelActive(context: ChannelHandlerContext) {
        turnStarted = context.eventLoop.now
        watchCaller(context, from: context.eventLoop.now)
        context.fireChannelActive()
    }

    func channelRead(context channel: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): begin(head, channel)
        case .body(let bytes): append(bytes, channel)
        case .end: dispatch(channel)
        }
    }

    private func begin(_ head: HTTPRequestHead, _ channel: ChannelHandlerContext) {
        // The connection is closing: nobody would get the answer.
        if case .discarding = state { return }
        turnStarted = channel.eventLoop.now
        let length = head.headers.first(name: "content-length").flatMap { Int($0) } ?? 0
        guard length <= context.settings.bodyByteCountMax else {
            return refuseEarly(head, channel)
        }
        if let expect = head.headers.first(name: "expect"), expect.utf8.count == 12,
            expect.lowercased() == "100-continue", head.version != .http1_0
        {
            let go = HTTPResponseHead(version: .http1_1, status: .continue)
            channel.writeAndFlush(wrapOutboundOut(.head(go)), promise: nil)
        }
        var buffer = channel.channel.allocator.buffer(capacity: 0)
        // A length is only a promise, and a connection can make a hundred at a time by HTTP/2.
        buffer.reserveCapacity(min(length, carrier == .stream ? smallBodyByteCount : 1 << 20))
        state = .receiving(head, buffer)
    }

    private func append(_ bytes: ByteBuffer, _ channel: ChannelHandlerContext) {
        guard case .receiving(let head, var buffer) = state else { return }
        state = .idle  // The buffer has one owner while it grows.
        var bytes = bytes
        guard buffer.readableBytes + bytes.readableBytes <= context.settings.bodyByteCountMax
        else { return refuseEarly(head, channel) }
        guard reserve(buffer.readableBytes + bytes.readableBytes) else {
            return refuseEarly(head, channel, .saturated)
        }
        buffer.writeBuffer(&bytes)
        state = .receiving(head, buffer)
    }

    /// Of each body, not counted against the memory for bodies.
    private var smallBodyByteCount: Int {
        switch carrier {
        case .connection: 64 << 10
        case .stream: 8 << 10
        }
    }

    /// Memory for a body of so many bytes.
    private func reserve(_ byteCount: Int) -> Bool {
        let more = byteCount - smallBodyByteCount - reservedByteCount
        guard more > 0 else { return true }
        guard context.reserveBodyBytes(more) else { return false }
        reservedByteCount += more
        return true
    }

    private func release() {
        context.releaseBodyBytes(reservedByteCount)
        reservedByteCount = 0
    }

    /// The rest of the body is thrown away: the connection closes after the answer.
    private func refuseEarly(
        _ head: HTTPRequestHead, _ channel: ChannelHandlerContext, _ refusal: Refusal? = nil
    ) {
        state = .discarding
        release()
        let writer = DownstreamWriter(
            context: channel, edge: context, carrier: carrier, head: head, keepsAlive: false,
            lingers: true)
        let exchange = Exchange(
            context: context, loop: channel.eventLoop, head: head, body: [], downstream: writer,
            onEnd: {})
        exchange.refuse(
            refusal ?? .bodyTooLarge(byteCountMax: context.settings.bodyByteCountMax))
    }

    private func dispatch(_ channel: ChannelHandlerContext) {
        guard case .receiving(let head, var buffer) = state else { return }
        let body = buffer.readBytes(length: buffer.readableBytes) ?? []
        // What follows a request to change the protocol is not read as HTTP any more.
        let changesProtocol = head.method == .CONNECT || head.headers.contains(name: "upgrade")
        let keepsAlive = head.isKeepAlive && !context.isDraining && !changesProtocol
        let writer = DownstreamWriter(
            context: channel, edge: context, carrier: carrier, head: head, keepsAlive: keepsAlive)
        let exchange = Exchange(
            context: context, loop: channel.eventLoop, head: head, body: body, downstream: writer,
            onEnd: { [weak self, context, reservedByteCount, loop = channel.eventLoop] in
                // Not before: the body lives as long as the exchange.
                context.releaseBodyBytes(reservedByteCount)
                self?.state = .idle
                self?.turnStarted = loop.now
            })
        reservedByteCount = 0
        hasServed = true
        state = .responding(exchange)
        exchange.start()
    }

    func channelInactive(context: ChannelHandlerContext) {
        watch?.cancel()
        watch = nil
        release()
        if case .responding(let exchange) = state { exchange.downstreamClosed() }
        state = .idle
        context.fireChannelInactive()
    }

    func errorCaught(context channel: ChannelHandlerContext, error: any Error) {
        guard case .idle = state, let parserError = error as? HTTPParserError else {
            // Mid-request or below HTTP: there is nobody to answer properly.
            return channel.close(promise: nil)
        }
        state = .discarding
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/")
        let writer = DownstreamWriter(
            context: channel, edge: context, carrier: carrier, head: head, keepsAlive: false,
            lingers: true)
        let exchange = Exchange(
            context: context, loop: channel.eventLoop, head: head, body: [], downstream: writer,
            onEnd: {})
        exchange.refuse(parserError == .headerOverflow ? .headersTooLarge : .malformedHTTP)
    }
}

/// Callers that take for ever. One timer for each channel, which looks when the earliest limit
/// could have passed, costs a request nothing but a look at the clock.
extension DownstreamHandler {
    private func watchCaller(_ channel: ChannelHandlerContext, from start: NIODeadline) {
        let limits = context.settings
        let pause = min(limits.requestReadMax, limits.keepAliveIdleMax)
        let next = deadline ?? start + .nanoseconds(pause.wholeNanoseconds)
        watch = channel.eventLoop.assumeIsolated().scheduleTask(deadline: next) { [weak self] in
            self?.lookAtCaller(channel)
        }
    }

    private func lookAtCaller(_ channel: ChannelHandlerContext) {
        let now = channel.eventLoop.now
        guard let deadline, deadline <= now else { return watchCaller(channel, from: now) }
        let isPlainIdle = if case .idle = state { hasServed } else { false }
        if !isPlainIdle { context.metrics.slowCallers.increment() }
        channel.close(promise: nil)
    }

    /// When the caller has had its time; `nil` while it is not its turn.
    private var deadline: NIODeadline? {
        let limit: Duration
        switch state {
        case .responding: return nil
        case .idle where hasServed: limit = context.settings.keepAliveIdleMax
        case .idle, .discarding: limit = context.settings.requestReadMax
        case .receiving(_, let body):
            limit =
                context.settings.requestReadMax
                + .seconds(body.readableBytes / Self.bodyByteCountPerSecond)
        }
        return turnStarted + .nanoseconds(limit.wholeNanoseconds)
    }
}
