import HoldfastAdmin
import NIOCore
import NIOTLS

/// The first handler of a caller's connection: finds out which HTTP it speaks, and makes way.
///
/// Over TLS the handshake says so. In plain text it is HTTP/2 if the caller begins with its preface,
/// as load balancers do that were told to.
final class ProtocolChoice: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    private let listener: DownstreamListener
    private let isSecure: Bool
    private var received = ByteBuffer()
    private var opened: NIODeadline?
    private var timer: Scheduled<Void>?

    init(listener: DownstreamListener, isSecure: Bool) {
        self.listener = listener
        self.isSecure = isSecure
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    /// The time for the first request begins here, with that for the handshake.
    private func begin(_ context: ChannelHandlerContext) {
        guard opened == nil else { return }
        opened = context.eventLoop.now
        let limit = TimeAmount.nanoseconds(listener.settings.requestReadMax.wholeNanoseconds)
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: limit) { [listener] in
            listener.metrics.slowCallers.increment()
            context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        context.fireUserInboundEventTriggered(event)
        guard case .handshakeCompleted(let chosen) = event as? TLSUserEvent else { return }
        choose(chosen == "h2" ? .http2 : .http1, context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        received.writeBuffer(&bytes)
        guard !isSecure else { return }
        let start = received.readableBytesView.prefix(Self.preface.count)
        guard start.elementsEqual(Self.preface.prefix(start.count)) else {
            return choose(.http1, context)
        }
        if start.count == Self.preface.count { choose(.http2, context) }
    }

    private func choose(_ http: DownstreamListener.Version, _ context: ChannelHandlerContext) {
        stop()
        do {
            let opened = opened ?? context.eventLoop.now
            try listener.configure(context.channel, http, opened: opened)
        } catch {
            return context.close(promise: nil)
        }
        if received.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(received)) }
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    private func stop() {
        timer?.cancel()
        timer = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        stop()
        context.fireChannelInactive()
    }

    /// No handshake, most often: there is nobody to answer yet.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
