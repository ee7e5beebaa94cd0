import HoldfastAdmin
import HoldfastCore
import HoldfastLedger
package import HoldfastTLS
import HoldfastTransport
import HoldfastWire
package import Logging
package import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization

/// Accepts edges and hands their frames to the core.
package struct LeaseListener: Service {
    package enum ListenError: Error, CustomStringConvertible {
        case cannotListen(host: String, port: Int, reason: String)

        package var description: String {
            switch self {
            case .cannotListen(let host, let port, let reason):
                "the counter cannot listen on \(host):\(port): \(reason)"
            }
        }
    }

    private let host: String
    private let port: Int
    private let core: CounterCore
    private let credentials: NodeCredentials?
    private let group: any EventLoopGroup
    private let logger: Logger
    private let onBound: @Sendable (_ port: Int) -> Void

    /// - Parameters:
    ///   - port: 0 lets the system choose; `onBound` is told which.
    ///   - credentials: edges must show theirs, and are called what those say; `nil`: plain text.
    package init(
        host: String, port: Int, core: CounterCore, credentials: NodeCredentials? = nil,
        group: any EventLoopGroup, logger: Logger,
        onBound: @escaping @Sendable (_ port: Int) -> Void = { _ in }
    ) {
        self.host = host
        self.port = port
        self.core = core
        self.credentials = credentials
        self.group = group
        self.logger = logger
        self.onBound = onBound
    }

    package func run() async throws {
        let nextConnection = ConnectionNumbers()
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 256)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                prepare(channel, nextConnection)
            }
        let channel: any Channel
        do {
            channel = try await bootstrap.bind(host: host, port: port).get()
        } catch {
            throw ListenError.cannotListen(
                host: host, port: port, reason: SocketFailure.reason(error))
        }
        let bound = channel.localAddress?.port ?? port
        logger.info("counter is up", metadata: ["host": "\(host)", "port": "\(bound)"])
        onBound(bound)
        await withGracefulShutdownHandler {
            await withTaskCancellationHandler {
                await closed(channel)
            } onCancel: {
                channel.close(promise: nil)
            }
        } onGracefulShutdown: {
            channel.close(promise: nil)
        }
        await core.stop()
    }

    private func prepare(
        _ channel: any Channel, _ numbers: ConnectionNumbers
    ) -> EventLoopFuture<Void> {
        guard let credentials else {
            return channel.eventLoop.makeCompletedFuture {
                try accept(channel, as: numbers.take(), named: nil)
            }
        }
        return channel.eventLoop.makeFutureWithTask {
            await credentials.current()
        }.flatMapThrowing { certificates in
            try certificates.secure(channel, as: .counter).flatMapThrowing { edge in
                try accept(channel, as: numbers.take(), named: edge.name)
            }.whenFailure { error in
                refuse(channel, error)
            }
        }
    }

    /// - Parameter name: what the edge's certificate calls it, whatever it says itself.
    private func accept(_ channel: any Channel, as id: ConnectionID, named name: String?) throws {
        let core = core
        let connection = LeaseConnection(id: id, channel: channel)
        core.take(connection)
        try channel.pipeline.syncOperations.addHandlers(
            ByteToMessageHandler(FrameDecoder()),
            FrameReceiver(
                onPayload: { payload, channel in
                    do {
                        core.take(
                            try FrameCodec.decodeEdgeFrame(payload).of(name),
                            byteCount: payload.count, from: connection)
                    } catch {
                        core.refuseBytes(error, of: channel)
                        channel.close(promise: nil)
                    }
                },
                onClose: { error in
                    if let error = error as? WireError {
                        core.refuseBytes(error, of: channel)
                    } else if let failure = error as? NodeConnectionFailure {
                        refuse(channel, failure)
                    }
                    core.leave(connection)
                }))
    }

    private func refuse(_ channel: any Channel, _ error: any Error) {
        channel.close(promise: nil)
        let failure = error as? NodeConnectionFailure
        // Whoever only looks whether somebody listens.
        guard let failure, failure.reason != .hungUpDuringHandshake else {
            logger.debug("a connection without a handshake", metadata: ["error": "\(error)"])
            return
        }
        core.metrics.wireFailures.with("tls").increment()
        logger.error(
            "no connection with an edge",
            metadata: ["error": "\(failure)", "remote": "\(channel.remoteText)"])
    }

    private func closed(_ channel: any Channel) async {
        do {
            try await channel.closeFuture.get()
        } catch {
            logger.debug("the lease listener closed", metadata: ["error": "\(error)"])
        }
    }
}

/// Numbers for connections, unique in this process.
private final class ConnectionNumbers: Sendable {
    private let next = Atomic<UInt64>(1)

    func take() -> ConnectionID {
        ConnectionID(next.wrappingAdd(1, ordering: .relaxed).oldValue)
    }
}

extension CounterCore {
    /// Bytes that are no frame of this version: the connection is closed, and the edge will come back
    /// and say the same. Somebody has to look.
    fileprivate func refuseBytes(_ error: any Error, of channel: any Channel) {
        metrics.wireFailures.with("\(error)".prefixUpToParenthesis).increment()
        var reason = "\(error)"
        if case .frameTooLarge(let byteCount) = error as? WireError {
            reason =
                UnexpectedTLS.explanation(frameByteCount: byteCount, role: .counter) ?? reason
        }
        logger.error(
            "an edge sent bytes that are no frame",
            metadata: ["error": "\(reason)", "remote": "\(channel.remoteText)"])
    }
}

extension Channel {
    fileprivate var remoteText: String { remoteAddress.map { "\($0)" } ?? "unknown" }
}

extension EdgeFrame {
    /// An edge must not pose as another.
    fileprivate func of(_ name: String?) -> EdgeFrame {
        guard let name, case .hello(var hello) = self else { return self }
        hello.edgeName = name
        return .hello(hello)
    }
}

extension String {
    /// The case of an error without its payload: a metric label must not carry values that a peer
    /// chooses.
    fileprivate var prefixUpToParenthesis: String { String(prefix { $0 != "(" }) }
}
