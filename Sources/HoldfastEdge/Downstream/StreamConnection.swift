import HoldfastAdmin
import NIOCore
import NIOHTTP2

/// The life of one HTTP/2 connection around its streams: it ends when it has been idle for too long,
/// when the edge drains, and when it breaks.
///
/// It ends gracefully: GOAWAY, so that the caller begins nothing more on it; a PING, whose answer says
/// that the caller has read that; the streams in flight; then our end of the connection, and a while
/// later, whatever the caller does, the rest.
final class StreamConnection: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    private enum State {
        case open
        /// GOAWAY is sent, the PING is not answered yet.
        case announced
        /// Ends with its last stream.
        case ending
        case ended
    }

    /// So long a caller may take to answer the PING, and then to hang up.
    private static let patience = TimeAmount.seconds(5)
    private static let farewell = HTTP2PingData(withInteger: 0x686F_6C64_6661_7374)

    private let edge: EdgeContext
    private var state = State.open
    private var streamCount = 0
    private var lastStream = HTTP2StreamID.rootStream
    private var hasServed = false
    private var idleSince: NIODeadline
    private var watch: Scheduled<Void>?
    private var channelContext: ChannelHandlerContext?

    init(context: EdgeContext, opened: NIODeadline) {
        edge = context
        idleSince = opened
    }

    func handlerAdded(context: ChannelHandlerContext) {
        channelContext = context
        watchIdleness(context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        channelContext = nil
        watch?.cancel()
        watch = nil
    }

    func opened(_ stream: any Channel) throws {
        if let id = try stream.syncOptions?.getOption(HTTP2StreamChannelOptions.streamID) {
            lastStream = max(lastStream, id)
        }
        streamCount += 1
        hasServed = true
        stream.closeFuture.assumeIsolated().whenComplete { _ in self.closed() }
    }

    /// Comes a turn of the loop after the stream's last frame, which is written by then.
    private func closed() {
        streamCount -= 1
        guard streamCount == 0, let context = channelContext else { return }
        idleSince = context.eventLoop.now
        if case .ending = state { end(context) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { announceEnd(context) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .ping(Self.farewell, ack: true) = unwrapInboundIn(data).payload {
            endWhenIdle(context)
        }
        context.fireChannelRead(data)
    }

    /// Of the connection: `NIOHTTP2Handler` has said why in a GOAWAY. What is wrong with one stream
    /// goes to its own channel.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if error is NIOHTTP2Errors.StreamError { return }
        context.close(promise: nil)
    }

    // MARK: - The end

    private func announceEnd(_ context: ChannelHandlerContext) {
        guard case .open = state else { return }
        state = .announced
        // Without streams NIO takes no new one from here on, and the caller may know. With streams,
        // what is on its way is still served.
        sendGoAway(context, last: streamCount == 0 ? lastStream : .maxID)
        send(.ping(Self.farewell, ack: false), context)
        context.flush()
        after(Self.patience, context) { $0.endWhenIdle($1) }
    }

    private func sendGoAway(_ context: ChannelHandlerContext, last: HTTP2StreamID) {
        send(.goAway(lastStreamID: last, errorCode: .noError, opaqueData: nil), context)
    }

    private func send(_ payload: HTTP2Frame.FramePayload, _ context: ChannelHandlerContext) {
        context.write(
            wrapOutboundOut(HTTP2Frame(streamID: .rootStream, payload: payload)), promise: nil)
    }

    private func endWhenIdle(_ context: ChannelHandlerContext) {
        guard case .announced = state else { return }
        state = .ending
        if streamCount == 0 { end(context) }
    }

    /// The caller's end stays open for a moment: what it still sends would otherwise be answered with
    /// a reset, which can take away what it has not read yet.
    private func end(_ context: ChannelHandlerContext) {
        state = .ended
        // What the caller has begun since then was not served, and can be sent again.
        sendGoAway(context, last: lastStream)
        context.flush()
        context.close(mode: .output, promise: nil)
        after(Self.patience, context) { _, context in context.close(promise: nil) }
    }

    // MARK: - Idleness

    /// One timer, which looks when the limit could have passed.
    private func watchIdleness(_ context: ChannelHandlerContext) {
        let settings = edge.settings
        let limit = hasServed ? settings.keepAliveIdleMax : settings.requestReadMax
        let start = streamCount > 0 ? context.eventLoop.now : idleSince
        let deadline = start + .nanoseconds(limit.wholeNanoseconds)
        guard deadline <= context.eventLoop.now else {
            return after(deadline - context.eventLoop.now, context) { $0.watchIdleness($1) }
        }
        if !hasServed { edge.metrics.slowCallers.increment() }
        announceEnd(context)
    }

    /// Instead of what was to happen later so far.
    private func after(
        _ delay: TimeAmount, _ context: ChannelHandlerContext,
        _ action: @escaping (StreamConnection, ChannelHandlerContext) -> Void
    ) {
        watch?.cancel()
        watch = context.eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            guard let self, let context = channelContext else { return }
            action(self, context)
        }
    }
}
