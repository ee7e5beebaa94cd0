import HoldfastWire
import NIOCore

/// One edge's connection, as the core sees it: where to send, and how to hang up.
final class LeaseConnection: Sendable {
    let id: UInt64
    private let channel: any Channel

    init(id: UInt64, channel: any Channel) {
        self.id = id
        self.channel = channel
    }

    /// Never blocks. A peer that does not read is closed by `FrameReceiver`.
    func send(_ frame: CounterFrame) {
        let bytes = channel.allocator.buffer(bytes: FrameCodec.encode(frame))
        channel.writeAndFlush(bytes, promise: nil)
    }

    func close() { channel.close(promise: nil) }
}
