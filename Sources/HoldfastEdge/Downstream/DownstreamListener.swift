import HoldfastAdmin
import HoldfastTLS
import NIOCore
import NIOHTTP1
import NIOHTTP2
import NIOPosix
import Synchronization

/// Where callers connect: HTTP/1.1 and HTTP/2, in plain text or over TLS.
///
/// A request of HTTP/2 has a channel of its own, its stream, with the same `DownstreamHandler` that
/// serves a connection of HTTP/1.1.
final class DownstreamListener: Sendable {
    enum Version { case http1, http2 }

    /// Requests of one connection at a time, and how far callers may send ahead: a large prompt does
    /// not wait for a round trip every 64 KiB, and a hundred of them do not fill the memory, which
    /// bodies are counted against as they come.
    private static let streamCountMax = 100
    private static let streamWindow = 1 << 20
    private static let connectionWindow = 4 << 20
    /// Within ten seconds, on one connection; more than that is an attack.
    static let resetCountMax = 2_000

    private let context: EdgeContext
    private let tls: ReloadingContext?
    private let http2Channels = Mutex<[ObjectIdentifier: any Channel]>([:])

    init(context: EdgeContext, tls: ReloadingContext?) {
        self.context = context
        self.tls = tls
    }

    var settings: EdgeSettings { context.settings }
    var metrics: EdgeMetrics { context.metrics }

    func bind(group: any EventLoopGroup) async throws -> any Channel {
        try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1_024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.accept(channel) }
            }
            .bind(host: settings.host, port: settings.port).get()
    }

    /// Tells the callers on HTTP/2 that no request of theirs is taken any more. Those in flight go
    /// on, and a connection without one ends.
    func drain() {
        for channel in http2Channels.withLock({ Array($0.values) }) {
            channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
    }

    func accept(_ channel: any Channel) throws {
        metrics.connections.increment()
        channel.closeFuture.whenComplete { [metrics] _ in metrics.connections.decrement() }
        if let tls { try tls.addHandler(to: channel) }
        try channel.pipeline.syncOperations.addHandler(
            ProtocolChoice(listener: self, isSecure: tls != nil))
    }

    /// - Parameter opened: when the time for the first request began.
    func configure(_ channel: any Channel, _ version: Version, opened: NIODeadline) throws {
        switch version {
        case .http1: try configureHTTP1(channel, opened)
        case .http2: try configureHTTP2(channel, opened)
        }
    }

    private func configureHTTP1(_ channel: any Channel, _ opened: NIODeadline) throws {
        let pipeline = channel.pipeline.syncOperations
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = settings.headerByteCountMax
        limits.maxHeaderListSize = settings.headerByteCountMax
        try pipeline.configureHTTPServerPipeline(
            withPipeliningAssistance: true, withErrorHandling: false,
            withEncoderConfiguration: .init(), withDecoderLimitConfiguration: limits)
        try pipeline.addHandler(DownstreamHandler(context: context, opened: opened))
    }

    private func configureHTTP2(_ channel: any Channel, _ opened: NIODeadline) throws {
        let pipeline = channel.pipeline.syncOperations
        let connection = StreamConnection(context: context, opened: opened)
        let bound = NIOLoopBound(connection, eventLoop: channel.eventLoop)
        let context = context
        _ = try pipeline.configureHTTP2Pipeline(
            mode: .server, connectionConfiguration: connectionConfiguration,
            streamConfiguration: streamConfiguration
        ) { stream in
            stream.eventLoop.makeCompletedFuture {
                try bound.value.opened(stream)
                let handlers: [any ChannelHandler] = [
                    StreamFrames(headerByteCountMax: context.settings.headerByteCountMax),
                    HTTP2FramePayloadToHTTP1ServerCodec(),
                    DownstreamHandler(context: context, carrier: .stream),
                ]
                try stream.pipeline.syncOperations.addHandlers(handlers)
            }
        }
        try pipeline.addHandler(connection)
        if context.isDraining {
            // It was not there yet when the others were told.
            pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
        let id = ObjectIdentifier(channel)
        http2Channels.withLock { $0[id] = channel }
        channel.closeFuture.whenComplete { _ in
            self.http2Channels.withLock { _ = $0.removeValue(forKey: id) }
        }
    }

    /// Everything else as NIO has it, such as its bounds on floods of resets, pings and settings.
    private var connectionConfiguration: NIOHTTP2Handler.ConnectionConfiguration {
        var configuration = NIOHTTP2Handler.ConnectionConfiguration()
        // What goes beyond the setting ends the connection. `StreamFrames` refuses the one request
        // before that, and here each header counts 32 bytes more.
        let headerListMax = 2 * settings.headerByteCountMax + (16 << 10)
        let headerFrame = 16 << 10
        configuration.initialSettings = [
            HTTP2Setting(parameter: .maxConcurrentStreams, value: Self.streamCountMax),
            HTTP2Setting(parameter: .maxHeaderListSize, value: headerListMax),
            HTTP2Setting(parameter: .initialWindowSize, value: Self.streamWindow),
        ]
        configuration.maximumSequentialContinuationFrames = headerListMax / headerFrame + 4
        configuration.targetWindowSize = Self.connectionWindow
        return configuration
    }

    private var streamConfiguration: NIOHTTP2Handler.StreamConfiguration {
        var configuration = NIOHTTP2Handler.StreamConfiguration()
        configuration.targetWindowSize = Self.streamWindow
        // A load balancer sends many callers' streams on one connection, and some of them leave. NIO
        // would end it at the 200th in half a minute. What a reset costs us is one request.
        configuration.streamResetFrameRateLimit.maximumCount = Self.resetCountMax
        configuration.streamResetFrameRateLimit.windowLength = .seconds(10)
        return configuration
    }
}
