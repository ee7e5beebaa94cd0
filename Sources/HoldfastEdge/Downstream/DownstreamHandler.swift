import HoldfastAdmin
import NIOCore
import NIOHTTP1

/// Turns the parts of requests on one connection into exchanges, one at a time:
/// `HTTPServerPipelineHandler` before it holds pipelined requests back until the response is written.
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

    private let context: EdgeContext
    private var state = State.idle

    init(context: EdgeContext) {
        self.context = context
    }

    func channelActive(context: ChannelHandlerContext) {
        self.context.metrics.connections.increment()
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
        let length = head.headers.first(name: "content-length").flatMap { Int($0) } ?? 0
        guard length <= context.settings.bodyByteCountMax else {
            return refuseEarly(head, channel)
        }
        if head.headers.first(name: "expect")?.lowercased() == "100-continue" {
            let go = HTTPResponseHead(version: .http1_1, status: .continue)
            channel.writeAndFlush(wrapOutboundOut(.head(go)), promise: nil)
        }
        var buffer = channel.channel.allocator.buffer(capacity: 0)
        buffer.reserveCapacity(min(length, 1 << 20))
        state = .receiving(head, buffer)
    }

    private func append(_ bytes: ByteBuffer, _ channel: ChannelHandlerContext) {
        guard case .receiving(let head, var buffer) = state else { return }
        state = .idle  // The buffer has one owner while it grows.
        var bytes = bytes
        guard buffer.readableBytes + bytes.readableBytes <= context.settings.bodyByteCountMax
        else { return refuseEarly(head, channel) }
        buffer.writeBuffer(&bytes)
        state = .receiving(head, buffer)
    }

    /// The rest of the body is thrown away: the connection closes after the answer.
    private func refuseEarly(_ head: HTTPRequestHead, _ channel: ChannelHandlerContext) {
        state = .discarding
        let writer = DownstreamWriter(
            context: channel, head: head, keepsAlive: false, lingers: true)
        let exchange = Exchange(
            context: context, loop: channel.eventLoop, head: head, body: [], downstream: writer,
            onEnd: {})
        exchange.refuse(.bodyTooLarge(byteCountMax: context.settings.bodyByteCountMax))
    }

    private func dispatch(_ channel: ChannelHandlerContext) {
        guard case .receiving(let head, var buffer) = state else { return }
        let body = buffer.readBytes(length: buffer.readableBytes) ?? []
        let keepsAlive = head.isKeepAlive && !context.isDraining
        let writer = DownstreamWriter(context: channel, head: head, keepsAlive: keepsAlive)
        let exchange = Exchange(
            context: context, loop: channel.eventLoop, head: head, body: body, downstream: writer,
            onEnd: { [weak self] in self?.state = .idle })
        state = .responding(exchange)
        exchange.start()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context.metrics.connections.decrement()
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
            context: channel, head: head, keepsAlive: false, lingers: true)
        let exchange = Exchange(
            context: context, loop: channel.eventLoop, head: head, body: [], downstream: writer,
            onEnd: {})
        exchange.refuse(parserError == .headerOverflow ? .headersTooLarge : .malformedHTTP)
    }
}
