import HoldfastCore
import HoldfastLedger
import HoldfastWire
import NIOCore

/// One edge's connection, as the core sees it: where to send, when to read on, how to hang up.
final class LeaseConnection: Sendable {
    let id: ConnectionID
    private let channel: any Channel

    init(id: ConnectionID, channel: any Channel) {
        self.id = id
        self.channel = channel
    }

    /// Never blocks. A peer that does not read is closed by `FrameReceiver`. Encoded on the event
    /// loop: all edges wait for the thread that calls this.
    func send(_ frame: CounterFrame) {
        let channel = channel
        channel.eventLoop.execute {
            let bytes = channel.allocator.buffer(bytes: FrameCodec.encode(frame))
            channel.writeAndFlush(bytes, promise: nil)
        }
    }

    /// Leaves what the edge sends in its socket, and so in the edge, until `goOn`. On the channel's
    /// event loop only, where it takes effect at once: a `goOn` that is called later comes later.
    func stopReading() {
        channel.eventLoop.assertInEventLoop()
        setReading(false)
    }

    func goOn() { setReading(true) }

    private func setReading(_ isReading: Bool) {
        // Fails on a closed channel only, which has nothing to read.
        _ = channel.setOption(.autoRead, value: isReading)
    }

    func close() { channel.close(promise: nil) }
}
