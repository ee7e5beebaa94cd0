import HoldfastEgress
import NIOCore
import NIOHTTP1

/// Writes one response to the caller's connection. Confined to its event loop.
struct DownstreamWriter {
    private let context: ChannelHandlerContext
    private let edge: EdgeContext
    private let keepsAlive: Bool
    private let version: HTTPVersion
    /// The response to HEAD has the length of a body and none.
    private let isHead: Bool
    private let lingers: Bool

    /// So long a caller may take to send what nobody reads and then to read the answer.
    private static let lingerLimit = TimeAmount.seconds(5)

    /// - Parameter lingers: the caller is still sending. A connection that is closed with unread bytes
    ///   is reset, which can take the answer away from the caller before it has read it.
    init(
        context: ChannelHandlerContext, edge: EdgeContext, head: HTTPRequestHead,
        keepsAlive: Bool, lingers: Bool = false
    ) {
        self.context = context
        self.edge = edge
        // HTTP/1.0 does not know chunks: the end of the connection is the end of the response.
        version = head.version == .http1_0 ? .http1_0 : .http1_1
        self.keepsAlive = keepsAlive && version == .http1_1
        self.lingers = lingers
        isHead = head.method == .HEAD
    }

    /// A whole response.
    func respond(_ status: HTTPResponseStatus, _ headers: [(String, String)], _ body: [UInt8]) {
        var fields = HTTPHeaders(headers)
        fields.replaceOrAdd(name: "content-length", value: "\(body.count)")
        begin(status, fields)
        if !isHead { write(context.channel.allocator.buffer(bytes: body)) }
        finish()
    }

    func begin(_ status: HTTPResponseStatus, _ headers: HTTPHeaders) {
        var fields = headers
        if !keepsAlive { fields.replaceOrAdd(name: "connection", value: "close") }
        let head = HTTPResponseHead(version: version, status: status, headers: fields)
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
        let edge = edge
        edge.responseQueued()
        promise.futureResult.whenComplete { _ in edge.responseWritten() }
        if !keepsAlive {
            let context = context
            let lingers = lingers
            promise.futureResult.assumeIsolated().whenComplete { _ in
                guard lingers else { return context.close(promise: nil) }
                context.close(mode: .output, promise: nil)
                let channel = context.channel
                context.eventLoop.scheduleTask(in: Self.lingerLimit) {
                    channel.close(promise: nil)
                }
            }
        }
        context.writeAndFlush(Self.wrap(.end(nil)), promise: promise)
    }

    /// Ends a response that cannot be completed: the caller must notice that something is missing.
    func abort() {
        context.close(promise: nil)
    }

    private static func wrap(_ part: HTTPServerResponsePart) -> NIOAny { NIOAny(part) }
}
