import HoldfastEgress
import NIOCore
import NIOHTTP1

/// Writes one response to the caller's connection. Confined to its event loop.
struct DownstreamWriter {
    private let context: ChannelHandlerContext
    private let keepsAlive: Bool
    private let version: HTTPVersion

    init(context: ChannelHandlerContext, head: HTTPRequestHead, keepsAlive: Bool) {
        self.context = context
        self.keepsAlive = keepsAlive
        version = head.version
    }

    /// A whole response.
    func respond(_ status: HTTPResponseStatus, _ headers: [(String, String)], _ body: [UInt8]) {
        var fields = HTTPHeaders(headers)
        fields.replaceOrAdd(name: "content-length", value: "\(body.count)")
        begin(status, fields)
        write(context.channel.allocator.buffer(bytes: body))
        finish()
    }

    func begin(_ status: HTTPResponseStatus, _ headers: HTTPHeaders) {
        var fields = headers
        if !keepsAlive {
            fields.replaceOrAdd(name: "connection", value: "close")
        } else if version == .http1_0 {
            fields.replaceOrAdd(name: "connection", value: "keep-alive")
        }
        let head = HTTPResponseHead(version: .http1_1, status: status, headers: fields)
        context.write(Self.wrap(.head(head)), promise: nil)
    }

    /// `onWritten` is called when the bytes have left this process, or never can.
    func write(_ bytes: ByteBuffer, onWritten: ((Int) -> Void)? = nil) {
        guard let onWritten else {
            return context.write(Self.wrap(.body(.byteBuffer(bytes))), promise: nil)
        }
        let count = bytes.readableBytes
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { _ in onWritten(count) }
        context.write(Self.wrap(.body(.byteBuffer(bytes))), promise: promise)
    }

    func flush() { context.flush() }

    func finish() {
        let promise = context.eventLoop.makePromise(of: Void.self)
        if !keepsAlive {
            let context = context
            promise.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
        }
        context.writeAndFlush(Self.wrap(.end(nil)), promise: promise)
    }

    /// Ends a response that cannot be completed: the caller must notice that something is missing.
    func abort() {
        context.close(promise: nil)
    }

    private static func wrap(_ part: HTTPServerResponsePart) -> NIOAny { NIOAny(part) }
}
