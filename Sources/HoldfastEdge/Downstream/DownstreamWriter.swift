import HoldfastEgress
import NIOCore
import NIOHTTP1
import NIOHTTP2

/// Writes one response to the caller's connection or stream. Confined to its event loop.
struct DownstreamWriter {
    private let context: ChannelHandlerContext
    private let edge: EdgeContext
    private let carrier: Carrier
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
        context: ChannelHandlerContext, edge: EdgeContext, carrier: Carrier,
        head: HTTPRequestHead, keepsAlive: Bool, lingers: Bool = false
    ) {
        self.context = context
        self.edge = edge
        self.carrier = carrier
        switch carrier {
        case .connection:
            // HTTP/1.0 does not know chunks: the end of the connection is the end of the response.
            version = head.version == .http1_0 ? .http1_0 : .http1_1
            self.keepsAlive = keepsAlive && version == .http1_1
        case .stream:
            version = .http2
            // The connection is not this response's to close.
            self.keepsAlive = true
        }
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
        switch carrier {
        case .connection where keepsAlive: break
        case .connection: promise.futureResult.assumeIsolated().whenComplete { _ in hangUp() }
        case .stream where lingers:
            // The caller is to stop sending. The response is whole all the same.
            promise.futureResult.assumeIsolated().whenSuccess { reset(.noError) }
        case .stream: break
        }
        context.writeAndFlush(Self.wrap(.end(nil)), promise: promise)
    }

    private func hangUp() {
        guard lingers else { return context.close(promise: nil) }
        context.close(mode: .output, promise: nil)
        let channel = context.channel
        context.eventLoop.scheduleTask(in: Self.lingerLimit) {
            channel.close(promise: nil)
        }
    }

    /// Ends a response that cannot be completed: the caller must notice that something is missing.
    func abort() {
        switch carrier {
        case .connection: context.close(promise: nil)
        case .stream: reset(.internalError)
        }
    }

    private func reset(_ code: HTTP2ErrorCode) {
        context.triggerUserOutboundEvent(StreamReset(code: code), promise: nil)
    }

    private static func wrap(_ part: HTTPServerResponsePart) -> NIOAny { NIOAny(part) }
}
