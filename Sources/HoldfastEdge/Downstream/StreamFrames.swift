import NIOCore
import NIOHPACK
import NIOHTTP1
import NIOHTTP2

/// Ends the stream at once, in both directions. What waits to be written is dropped.
struct StreamReset: Sendable {
    let code: HTTP2ErrorCode
}

/// What a stream of HTTP/2 has and a message of HTTP/1 has not: a look at the headers before they are
/// translated, resets, and the end as a mark on the last frame instead of a frame of its own.
///
/// Callers with libcurl take a response for complete when it has its length, and reset the stream if
/// the end has not come by then. Each request would bring a reset, and a connection with many is ended
/// as an attack, with all that is in flight on it.
final class StreamFrames: ChannelInboundHandler, ChannelOutboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias InboundOut = HTTP2Frame.FramePayload
    typealias OutboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private let headerByteCountMax: Int
    private let headerCountMax = NIOHTTPDecoderLimitConfiguration().maxHeaderFieldCount
    private var isRefused = false
    /// Written and not flushed: the end may come next.
    private var last: (data: HTTP2Frame.FramePayload.Data, promise: EventLoopPromise<Void>?)?

    init(headerByteCountMax: Int) {
        self.headerByteCountMax = headerByteCountMax
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isRefused { return }
        guard case .headers(var frame) = unwrapInboundIn(data) else {
            return context.fireChannelRead(data)
        }
        guard fits(frame.headers) else {
            isRefused = true
            return context.fireErrorCaught(HTTPParserError.headerOverflow)
        }
        // Optional beside `host`, and the codec does not do without.
        if frame.headers.contains(name: ":path"), !frame.headers.contains(name: ":authority") {
            let host = frame.headers.first(name: "host") ?? ""
            frame.headers.add(name: ":authority", value: host)
        }
        context.fireChannelRead(wrapInboundOut(.headers(frame)))
    }

    private func fits(_ headers: HPACKHeaders) -> Bool {
        guard headers.count <= headerCountMax else { return false }
        var byteCount = 0
        for (name, value, _) in headers { byteCount += name.utf8.count + value.utf8.count }
        return byteCount <= headerByteCountMax
    }

    // MARK: - Outbound

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .data(let data) = unwrapOutboundIn(data) else {
            writeLast(context)
            return context.write(data, promise: promise)
        }
        if data.endStream, data.data.readableBytes == 0, var last {
            last.data.endStream = true
            if let written = last.promise {
                written.futureResult.cascade(to: promise)
            } else {
                last.promise = promise
            }
            self.last = last
            return writeLast(context)
        }
        writeLast(context)
        last = (data, promise)
    }

    private func writeLast(_ context: ChannelHandlerContext) {
        guard let (data, promise) = last.take() else { return }
        context.write(wrapOutboundOut(.data(data)), promise: promise)
    }

    func flush(context: ChannelHandlerContext) {
        writeLast(context)
        context.flush()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        last.take()?.promise?.fail(ChannelError.ioOnClosedChannel)
    }

    func triggerUserOutboundEvent(
        context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?
    ) {
        guard let reset = event as? StreamReset else {
            return context.triggerUserOutboundEvent(event, promise: promise)
        }
        writeLast(context)
        context.writeAndFlush(wrapOutboundOut(.rstStream(reset.code)), promise: promise)
    }
}
