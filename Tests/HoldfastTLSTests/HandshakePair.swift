import HoldfastTLS
import NIOCore
import NIOPosix
import NIOSSL

/// One end of a connection in a test.
enum Side: Sendable {
    case node(NodeCredentials)
    /// TLS with any certificate or none, which believes everything.
    case any(NIOSSLContext)
    case plainText

    static func any(
        _ files: NodeCredentials.Files?, isServer: Bool, tls: TLSVersion = .tlsv13
    ) throws -> Side {
        var configuration = TLSConfiguration.makeClientConfiguration()
        if let files {
            let chain = try NIOSSLCertificate.fromPEMFile(files.certificate)
            let key = try NIOSSLPrivateKey(file: files.key, format: .pem)
            configuration.certificateChain = chain.map { .certificate($0) }
            configuration.privateKey = .privateKey(key)
            if isServer {
                configuration = .makeServerConfiguration(
                    certificateChain: chain.map { .certificate($0) },
                    privateKey: .privateKey(key))
            }
        }
        configuration.maximumTLSVersion = tls
        configuration.certificateVerification = .none
        return .any(try NIOSSLContext(configuration: configuration))
    }
}

/// What each end has to say about a connection: the peer's identity, or what went wrong.
func connect(server: Side, client: Side) async throws -> (server: String, client: String) {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let outcome = loop.makePromise(of: String.self)
    let serverSide = FirstWord(outcome)
    let listener = try await ServerBootstrap(group: loop)
        .childChannelInitializer { channel in prepare(channel, server, as: .counter, serverSide) }
        .bind(host: "127.0.0.1", port: 0).get()
    let clientOutcome = loop.makePromise(of: String.self)
    let clientSide = FirstWord(clientOutcome)
    let channel = try await ClientBootstrap(group: loop)
        .channelInitializer { channel in prepare(channel, client, as: .edge, clientSide) }
        .connect(host: "127.0.0.1", port: listener.localAddress?.port ?? 0).get()
    let words = (
        server: try await outcome.futureResult.get(),
        client: try await clientOutcome.futureResult.get()
    )
    channel.close(promise: nil)
    try await channel.closeFuture.get()
    try await listener.close()
    return words
}

private func prepare(
    _ channel: any Channel, _ side: Side, as role: NodeRole, _ word: FirstWord
) -> EventLoopFuture<Void> {
    switch side {
    case .node(let credentials):
        // Hundreds of other tests wait for a thread of Swift's pool; a connection gives up after 10 s.
        let current = channel.eventLoop.makePromise(of: NodeCertificates.self)
        Task(priority: .high) { current.succeed(await credentials.current()) }
        return current.futureResult.flatMapThrowing { certificates in
            try certificates.secure(channel, as: role).flatMapThrowing { peer in
                let end = FirstRead(role: role, peer: "\(peer)", word)
                try channel.pipeline.syncOperations.addHandler(end)
                // The counter's first word; an edge knows only by it that it was accepted.
                guard role == .counter else { return }
                word.say("\(peer)")
                channel.writeAndFlush(channel.allocator.buffer(string: "welcome"), promise: nil)
            }.whenFailure { word.say("\($0)") }
        }
    case .any(let context):
        return channel.eventLoop.makeCompletedFuture {
            let trusting: NIOSSLCustomVerificationCallback = { $1.succeed(.certificateVerified) }
            let pipeline = channel.pipeline.syncOperations
            if role == .counter {
                try pipeline.addHandler(NIOSSLServerHandler(context: context))
            } else {
                try pipeline.addHandler(
                    NIOSSLClientHandler(
                        context: context, serverHostname: nil,
                        customVerificationCallback: trusting, configuration: .init()))
            }
            word.say("")
        }
    case .plainText:
        return channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(PlainText(role: role, word))
        }
    }
}

/// A promise that takes the first of several values.
final class FirstWord: Sendable {
    private let promise: EventLoopPromise<String>

    init(_ promise: EventLoopPromise<String>) {
        self.promise = promise
    }

    func say(_ text: String) { promise.succeed(text) }
}

private final class FirstRead: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let role: NodeRole
    private let peer: String
    private let word: FirstWord

    init(role: NodeRole, peer: String, _ word: FirstWord) {
        self.role = role
        self.peer = peer
        self.word = word
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { word.say(peer) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        word.say("\(error)")
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { word.say("closed") }
}

/// The lease protocol without TLS, as far as its first four bytes.
private final class PlainText: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let role: NodeRole
    private let word: FirstWord

    init(role: NodeRole, _ word: FirstWord) {
        self.role = role
        self.word = word
    }

    func channelActive(context: ChannelHandlerContext) {
        guard role == .edge else { return }
        let hello: [UInt8] = [0, 0, 0, 5, 1, 2, 3, 4, 5]
        context.writeAndFlush(NIOAny(context.channel.allocator.buffer(bytes: hello)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let length: UInt32 = unwrapInboundIn(data).getInteger(at: 0) ?? 0
        let text = UnexpectedTLS.explanation(frameByteCount: Int(length), role: role)
        word.say(text ?? "a frame of \(length) bytes")
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { word.say("closed") }
}
