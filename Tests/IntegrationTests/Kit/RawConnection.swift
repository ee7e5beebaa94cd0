import NIOCore
import NIOPosix

/// What came over one connection.
struct RawReply: Sendable {
    var text: String
    var isReset: Bool
    /// The server ended the connection before the marker came.
    var isClosed: Bool
}

/// Sends bytes as they are and reads until the server closes, or until `isEnough`.
func rawExchange(
    _ port: Int, _ pieces: [String], until isEnough: @Sendable (String) -> Bool = { _ in false }
) async throws -> RawReply {
    let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
        .connect(host: "127.0.0.1", port: port) { channel in
            channel.eventLoop.makeCompletedFuture {
                try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
            }
        }
    return try await channel.executeThenClose { inbound, outbound in
        var bytes: [UInt8] = []
        do {
            for piece in pieces { try await outbound.write(ByteBuffer(string: piece)) }
            for try await part in inbound {
                bytes += part.readableBytesView
                let text = String(decoding: bytes, as: UTF8.self)
                if isEnough(text) { return RawReply(text: text, isReset: false, isClosed: false) }
            }
        } catch is IOError {
            let text = String(decoding: bytes, as: UTF8.self)
            return RawReply(text: text, isReset: true, isClosed: true)
        }
        let text = String(decoding: bytes, as: UTF8.self)
        return RawReply(text: text, isReset: false, isClosed: true)
    }
}

/// Sends bytes and hangs up without waiting for an answer.
func rawHangUp(_ port: Int, _ bytes: String) async throws {
    let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
        .connect(host: "127.0.0.1", port: port).get()
    try await channel.writeAndFlush(ByteBuffer(string: bytes)).get()
    try await channel.close().get()
}
