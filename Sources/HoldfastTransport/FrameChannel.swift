import HoldfastCore
import HoldfastWire
package import NIOCore

/// Cuts the byte stream of a lease connection into frames.
///
/// A length of zero or above `Limits.frameByteCountMax` cannot be resynchronised, so it fails the
/// connection before anything of that size is buffered.
package struct FrameDecoder: ByteToMessageDecoder {
    package typealias InboundOut = [UInt8]

    package init() {}

    package mutating func decode(
        context: ChannelHandlerContext, buffer: inout ByteBuffer
    ) throws -> DecodingState {
        guard let length: UInt32 = buffer.getInteger(at: buffer.readerIndex) else {
            return .needMoreData
        }
        guard length > 0, length <= UInt32(Limits.frameByteCountMax) else {
            throw WireError.frameTooLarge(byteCount: Int(length))
        }
        guard buffer.readableBytes >= FrameCodec.headerByteCount + Int(length) else {
            return .needMoreData
        }
        buffer.moveReaderIndex(forwardBy: FrameCodec.headerByteCount)
        guard let payload = buffer.readBytes(length: Int(length)) else {
            preconditionFailure("the payload was there a line ago")
        }
        context.fireChannelRead(wrapInboundOut(payload))
        return .continue
    }

    package mutating func decodeLast(
        context: ChannelHandlerContext, buffer: inout ByteBuffer, seenEOF: Bool
    ) throws -> DecodingState {
        // A cut frame says nothing; what it carried is said again on the next connection.
        buffer.clear()
        return .needMoreData
    }
}

/// Hands frames to a closure and reports the end of the connection once.
///
/// Confined to the channel's event loop.
package final class FrameReceiver: ChannelInboundHandler {
    package typealias InboundIn = [UInt8]

    private let onPayload: ([UInt8], any Channel) -> Void
    private let onClose: ((any Error)?) -> Void
    private var failure: (any Error)?
    private var stalled: Scheduled<Void>?

    /// A peer that does not read for so long is taken for gone.
    private static let stallLimit = TimeAmount.seconds(10)

    package init(
        onPayload: @escaping ([UInt8], any Channel) -> Void,
        onClose: @escaping ((any Error)?) -> Void
    ) {
        self.onPayload = onPayload
        self.onClose = onClose
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        onPayload(unwrapInboundIn(data), context.channel)
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        failure = failure ?? error
        context.close(promise: nil)
    }

    /// What waits to be written is bounded by time: past the limit the connection goes, and with it
    /// its buffers. Everything in them is said again on the next one.
    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            stalled?.cancel()
            stalled = nil
        } else if stalled == nil {
            let channel = context.channel
            stalled = context.eventLoop.scheduleTask(in: Self.stallLimit) {
                channel.close(promise: nil)
            }
        }
        context.fireChannelWritabilityChanged()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        stalled?.cancel()
        onClose(failure)
        context.fireChannelInactive()
    }
}
