package import NIOCore
import NIOSSL
import NIOTLS

extension NodeCertificates {
    /// Makes a new connection one that only a node of this cluster in the other role can use. On
    /// the channel's event loop, before anything is read.
    ///
    /// - Parameter role: what this process is on it: a counter accepts, an edge connects.
    /// - Returns: who the peer is, once that is proved; else a `NodeConnectionFailure`, and the
    ///   connection is closed. Handlers that are added when it succeeds miss nothing.
    @discardableResult
    package func secure(
        _ channel: any Channel, as role: NodeRole
    ) throws -> EventLoopFuture<NodeIdentity> {
        let handshake = NodeHandshake(
            role: role, own: summary, promise: channel.eventLoop.makePromise())
        let verification = verification(of: role == .counter ? .edge : .counter)
        let verify: NIOSSLCustomVerificationCallback = { chain, answer in
            handshake.verify(chain, by: verification, answer)
        }
        let tls: NIOSSLHandler =
            switch role {
            case .counter:
                NIOSSLServerHandler(
                    context: context(as: .counter), customVerificationCallback: verify,
                    configuration: .init())
            case .edge:
                try NIOSSLClientHandler(
                    context: context(as: .edge), serverHostname: nil,
                    customVerificationCallback: verify, configuration: .init())
            }
        try channel.pipeline.syncOperations.addHandlers(tls, handshake)
        return handshake.peer
    }

    /// Waits for the handshake of a connection just made, where there is one. On the channel's
    /// event loop: later, a failure may have come and gone.
    package static func secured(
        _ channel: any Channel, by certificates: NodeCertificates?
    ) -> EventLoopFuture<any Channel> {
        guard certificates != nil else { return channel.eventLoop.makeSucceededFuture(channel) }
        do {
            let handshake = try channel.pipeline.syncOperations.handler(type: NodeHandshake.self)
            return handshake.peer.map { _ in channel }
        } catch {
            return channel.eventLoop.makeFailedFuture(error)
        }
    }
}

/// Watches the handshake, and translates what ends it. Confined to the channel's event loop.
final class NodeHandshake: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer

    private enum Phase {
        case handshaking
        case secured
        case failed
    }

    private static let secondsMax: Int64 = 10

    private let role: NodeRole
    private let own: String
    private let promise: EventLoopPromise<NodeIdentity>
    private var phase = Phase.handshaking
    private var verdict: Result<NodeIdentity, CertificateProblem>?
    private var hasHeard = false
    private var isClosing = false
    private var limit: Scheduled<Void>?

    init(role: NodeRole, own: String, promise: EventLoopPromise<NodeIdentity>) {
        self.role = role
        self.own = own
        self.promise = promise
    }

    var peer: EventLoopFuture<NodeIdentity> { promise.futureResult }

    /// NIOSSL calls this once, and goes on when `answer` is fulfilled.
    func verify(
        _ chain: [NIOSSLCertificate], by verification: PeerVerification,
        _ answer: EventLoopPromise<NIOSSLVerificationResult>
    ) {
        let bytes: [[UInt8]]
        do {
            bytes = try chain.map { try $0.toDERBytes() }
        } catch {
            verdict = .failure(.unreadable)
            return answer.succeed(.failed)
        }
        let loop = answer.futureResult.eventLoop
        let judged = loop.makePromise(of: Result<NodeIdentity, CertificateProblem>.self)
        // Whatever else this process has to do: the peer waits for it.
        Task(priority: .high) { judged.succeed(await verification.judge(bytes)) }
        judged.futureResult
            .assumeIsolated().whenSuccess { verdict in
                self.verdict = verdict
                switch verdict {
                case .success: answer.succeed(.certificateVerified)
                case .failure: answer.succeed(.failed)
                }
            }
    }

    // MARK: - Events

    func handlerAdded(context: ChannelHandlerContext) {
        let context = NIOLoopBound(context, eventLoop: context.eventLoop)
        limit = context.value.eventLoop.assumeIsolated().scheduleTask(
            in: .seconds(Self.secondsMax)
        ) {
            self.fail(.silent(seconds: Self.secondsMax), context.value)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        limit?.cancel()
        // A connection that never came about.
        promise.fail(ChannelError.ioOnClosedChannel)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted = event as? TLSUserEvent { completed(context) }
        context.fireUserInboundEventTriggered(event)
    }

    private func completed(_ context: ChannelHandlerContext) {
        guard case .handshaking = phase else { return }
        // A session that TLS resumes has no certificate in it, and nobody of ours resumes one.
        guard case .success(let identity) = verdict else {
            return fail(.noCertificate, context)
        }
        phase = .secured
        limit?.cancel()
        promise.succeed(identity)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        hasHeard = true
        context.fireChannelRead(data)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        isClosing = true
        context.close(mode: mode, promise: promise)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch phase {
        case .handshaking:
            if case .failure(let problem) = verdict {
                fail(.certificate(problem), context)
            } else {
                fail(.init(error), context)
            }
        case .secured:
            // The end of the stream without TLS's own farewell. Frames have a length: one that is
            // cut says nothing.
            if case .uncleanShutdown = error as? NIOSSLError { return }
            context.fireErrorCaught(explained(error))
        case .failed: break
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        switch phase {
        case .handshaking: fail(.hungUpDuringHandshake, context)
        case .secured:
            if isUnanswered {
                context.fireErrorCaught(remember(.hungUpBeforeAnyAnswer))
            }
        case .failed: break
        }
        context.fireChannelInactive()
    }

    // MARK: - Failures

    private var isUnanswered: Bool { role == .edge && !hasHeard && !isClosing }

    private func explained(_ error: any Error) -> any Error {
        switch error {
        case is NIOSSLError, is BoringSSLError: remember(.init(error))
        case is IOError where isUnanswered: remember(.hungUpBeforeAnyAnswer)
        default: error
        }
    }

    private func remember(_ reason: NodeConnectionFailure.Reason) -> NodeConnectionFailure {
        phase = .failed
        return NodeConnectionFailure(reason: reason, role: role, own: own)
    }

    private func fail(_ reason: NodeConnectionFailure.Reason, _ context: ChannelHandlerContext) {
        guard case .handshaking = phase else { return }
        limit?.cancel()
        promise.fail(remember(reason))
        context.close(promise: nil)
    }
}
