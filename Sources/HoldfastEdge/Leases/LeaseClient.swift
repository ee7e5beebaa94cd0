import HoldfastAdmin
import HoldfastCore
import HoldfastLedger
import HoldfastTLS
import HoldfastTransport
import HoldfastWire
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization

/// Keeps a connection to every counter, and carries out what `EdgeSession` decides: reports, grants,
/// recalls, policy and keys.
///
/// Each connection has its own jittered backoff, which grows while its counter does not answer. All
/// of them, and the ticks, run on one event loop: what the session says first is written first.
final class LeaseClient: Service {
    typealias LinkID = EdgeSession.LinkID

    private struct State {
        var channels: [LinkID: any Channel] = [:]
        var places: [LinkID: CounterAddress] = [:]
        var addresses: CounterAddresses
        /// Somebody sees to the connection to it.
        var tended: Set<CounterAddress> = []
        var nextLink: UInt64 = 1
        var isClosing = false
        var onEnded: (@Sendable () -> Void)?
    }

    private static let tick = TimeAmount.milliseconds(Int64(EdgeLedger.tickMilliseconds))
    /// A connection that lasted so long shows that its counter is well.
    private static let steadyMilliseconds: Int64 = 5_000
    /// The longest says how long a counter that is well again may stay without edges.
    private static let backoffMilliseconds: ClosedRange<Int64> = 50...1_000

    private let seeds: [CounterAddress]
    /// Says that the wanted addresses are others.
    private let changes = AsyncStream.makeStream(
        of: Void.self, bufferingPolicy: .bufferingNewest(1))
    private let table: LeaseTable
    private let clock: CounterTime
    private let keys: KeyDirectory
    private let policy: PolicyBox
    private let name: String
    private let journal: EdgeJournal?
    private let credentials: NodeCredentials?
    private let metrics: EdgeMetrics
    private let loop: any EventLoop
    private let logger: Logger
    private let state: Mutex<State>
    private let isFlushScheduled = Atomic<Bool>(false)

    /// - Parameters:
    ///   - addresses: of some counters; they tell of the others.
    ///   - name: of this edge, for people.
    ///   - credentials: shown to the counters, which must show theirs; `nil`: plain text.
    ///   - allowsPlaintext: also to counters off this machine that others tell of.
    init(
        addresses: [CounterAddress], table: LeaseTable, clock: CounterTime, keys: KeyDirectory,
        policy: PolicyBox, name: String = "", journal: EdgeJournal? = nil,
        credentials: NodeCredentials? = nil, allowsPlaintext: Bool = false, metrics: EdgeMetrics,
        loop: any EventLoop,
        logger: Logger
    ) {
        precondition(!addresses.isEmpty, "an edge without a counter")
        seeds = addresses
        state = Mutex(
            State(
                addresses: CounterAddresses(
                    seeds: addresses, isLoopbackOnly: credentials == nil && !allowsPlaintext)))
        self.table = table
        self.clock = clock
        self.keys = keys
        self.policy = policy
        self.name = name
        self.journal = journal
        self.credentials = credentials
        self.metrics = metrics
        self.loop = loop
        self.logger = logger
        table.onUrgent { [weak self] in self?.scheduleFlush() }
        keys.onMiss { [weak self] request, digest in
            self?.ask(request, digest) ?? false
        }
    }

    /// Why this edge must not admit anything; `nil` when it may. Slices are used while the lease
    /// lives, also without a connection.
    var leaseProblem: String? {
        switch table.leaseProblem(at: now) {
        case nil: nil
        case .neverHeard: "no counter has answered yet"
        case .silent(let milliseconds): "no counter has answered for \(milliseconds / 1_000) s"
        case .refused(let message): "the counter refused this edge: \(message)"
        }
    }

    /// The session was refused for good; the process should be replaced.
    var fatalProblem: String? {
        guard case .refused(let message) = table.leaseProblem(at: now) else { return nil }
        return "the counter refused this edge: \(message)"
    }

    /// Why nothing can be spent beyond what is on disk; `nil` while all is well.
    var journalProblem: String? { journal?.problem }

    /// Boot-time milliseconds, never going back.
    private var now: UInt64 { UInt64(clamping: clock.elapsedMilliseconds()) }

    // MARK: - Connections

    func run() async throws {
        await withGracefulShutdownHandler {
            await connectForEver()
        } onGracefulShutdown: {
            // The edge closes the session when it has drained, see `closeSession`.
        }
    }

    private func connectForEver() async {
        let ticking = loop.scheduleRepeatedTask(initialDelay: Self.tick, delay: Self.tick) { _ in
            self.advance { session in
                session.tick(at: self.now, counterNow: self.clock.now())
            }
        }
        defer { ticking.cancel() }
        journal?.start(table)
        await withDiscardingTaskGroup { tasks in
            for found in journal?.recoveries ?? [] {
                let recovery = EdgeJournalRecovery(
                    found: found, addresses: seeds, name: name, credentials: credentials,
                    metrics: metrics, loop: loop, logger: logger)
                tasks.addTask { await recovery.run() }
            }
            changes.continuation.yield()
            for await _ in changes.stream {
                let new = state.withLock { state in
                    state.addresses.wanted.filter { state.tended.insert($0).inserted }
                }
                for address in new { tasks.addTask { await self.stayConnected(to: address) } }
            }
        }
    }

    /// Ends when no counter tells of this address any more.
    private func isWanted(_ address: CounterAddress) -> Bool {
        state.withLock { state in
            if state.addresses.wanted.contains(address) { return true }
            state.tended.remove(address)
            return false
        }
    }

    private func stayConnected(to address: CounterAddress) async {
        var backoff = Self.backoffMilliseconds.lowerBound
        while !Task.isCancelled, !state.withLock({ $0.isClosing }), fatalProblem == nil,
            isWanted(address)
        {
            do {
                guard !state.withLock({ $0.addresses.isDuplicate(address) }) else {
                    try await Task.sleep(for: .milliseconds(Self.steadyMilliseconds))
                    continue
                }
                let channel = try await connect(address)
                let since = clock.elapsedMilliseconds()
                try await channel.closeFuture.get()
                // A counter that welcomes and hangs up again, for a full store perhaps, is not well.
                if clock.elapsedMilliseconds() - since > Self.steadyMilliseconds {
                    backoff = Self.backoffMilliseconds.lowerBound
                }
            } catch {
                logger.warning(
                    "counter not reached",
                    metadata: [
                        "counter": "\(address.host):\(address.port)",
                        "error": "\(SocketFailure.reason(error))",
                    ])
            }
            let jittered = Int64.random(in: backoff / 2...backoff)
            backoff = min(backoff * 2, Self.backoffMilliseconds.upperBound)
            do {
                try await Task.sleep(for: .milliseconds(jittered))
            } catch {
                return
            }
        }
    }

    private func connect(_ address: CounterAddress) async throws -> any Channel {
        let link = state.withLock { state in
            defer { state.nextLink += 1 }
            let link = LinkID(state.nextLink)
            state.places[link] = address
            return link
        }
        do {
            return try await connect(link, address)
        } catch {
            state.withLock { $0.places[link] = nil }
            throw error
        }
    }

    private func connect(_ link: LinkID, _ address: CounterAddress) async throws -> any Channel {
        let client = self
        let certificates = await credentials?.current()
        let channel = try await ClientBootstrap(group: loop)
            .connectTimeout(.seconds(2))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try certificates?.secure(channel, as: .edge)
                    try channel.pipeline.syncOperations.addHandlers(
                        ByteToMessageHandler(FrameDecoder()),
                        FrameReceiver(
                            onPayload: { payload, channel in
                                client.receive(payload, link, channel)
                            },
                            onClose: { error in client.closed(link, error) }))
                }
            }
            .connect(host: address.host, port: address.port)
            .flatMap { NodeCertificates.secured($0, by: certificates) }
            .flatMapThrowing { channel in
                try self.opened(link, channel)
                return channel
            }.get()
        return channel
    }

    private func opened(_ link: LinkID, _ channel: any Channel) throws {
        loop.preconditionInEventLoop()
        // Its end would have been reported before its beginning.
        guard channel.isActive else { throw ChannelError.ioOnClosedChannel }
        let isClosing = state.withLock { state in
            state.channels[link] = channel
            return state.isClosing
        }
        // The end of the session has come and gone meanwhile: nobody else would close this one.
        guard !isClosing else { return channel.close(promise: nil) }
        advance { $0.connected(link, at: self.now) }
    }

    private func closed(_ link: LinkID, _ error: (any Error)?) {
        let wasOurs = state.withLock { state in
            if let address = state.places.removeValue(forKey: link) {
                state.addresses.disconnected(from: address)
            }
            return state.channels.removeValue(forKey: link) != nil
        }
        guard wasOurs else { return }
        advance { $0.disconnected(link) }
        metrics.counterUp.set(table.isConnected ? 1 : 0)
        logger.warning(
            "counter connection lost",
            metadata: ["error": "\(error.map(Self.reason) ?? "closed")"])
    }

    static func reason(_ error: any Error) -> String {
        if case .frameTooLarge(let byteCount) = error as? WireError,
            let text = UnexpectedTLS.explanation(frameByteCount: byteCount, role: .edge)
        {
            return text
        }
        return SocketFailure.reason(error)
    }

    private func receive(_ payload: [UInt8], _ link: LinkID, _ channel: any Channel) {
        let frame: CounterFrame
        do {
            frame = try FrameCodec.decodeCounterFrame(payload)
        } catch {
            logger.error(
                "the counter sent bytes that are no frame", metadata: ["error": "\(error)"])
            return channel.close(promise: nil)
        }
        advance { $0.received(frame, on: link, at: self.now) }
    }

    /// Many requests can become short at the same moment; one flush carries them all.
    private func scheduleFlush() {
        guard !isFlushScheduled.exchange(true, ordering: .acquiringAndReleasing) else { return }
        loop.execute {
            self.isFlushScheduled.store(false, ordering: .releasing)
            self.advance { $0.flush() }
        }
    }

    /// `false` when there is no connection. From any thread: a question has no place among reports.
    private func ask(_ request: UInt64, _ digest: [UInt8]) -> Bool {
        let outputs = table.advance { $0.resolveKey(request: request, digest: digest) }
        carryOut(outputs)
        return !outputs.isEmpty
    }

    // MARK: - What the session wants

    private func advance(_ step: (inout EdgeSession) -> [EdgeSession.Output]) {
        loop.preconditionInEventLoop()
        carryOut(table.advance(step))
    }

    private func carryOut(_ outputs: [EdgeSession.Output]) {
        for output in outputs {
            switch output {
            case .send(let link, let frame): send(frame, link)
            case .close(let link): close(link)
            case .wakeup: preconditionFailure("the table wakes requests itself")
            case .welcomed(let link, let welcome): welcomed(welcome, link)
            case .policy(let new): adopt(new)
            case .windows(let windows): policy.update(windows)
            case .counters(let nodes): learn(nodes)
            case .keyAnswer(let request, let key): keys.answer(request, key)
            case .keyUnanswered(let request): keys.unanswered(request)
            case .keysChanged: keys.forgetAll()
            case .counterTime(let milliseconds):
                clock.observe(counterTimeMilliseconds: milliseconds)
            case .recalled: metrics.recalls.increment()
            case .rejected(let rejection): rejected(rejection)
            case .ended: state.withLock { $0.onEnded }?()
            case .refused(let rejection): refused(rejection)
            }
        }
    }

    private func send(_ frame: EdgeFrame, _ link: LinkID) {
        // A connection that is gone meanwhile is reported as such, and everything is said again.
        guard let channel = state.withLock({ $0.channels[link] }) else { return }
        channel.writeAndFlush(
            channel.allocator.buffer(bytes: FrameCodec.encode(frame)), promise: nil)
    }

    private func close(_ link: LinkID) {
        guard let channel = state.withLock({ $0.channels[link] }) else { return }
        logger.notice("hanging up on a counter: it is silent, not ours, or no longer needed")
        channel.close(promise: nil)
    }

    private func learn(_ nodes: [CounterNode]) {
        state.withLock { $0.addresses.learn(nodes) }
        changes.continuation.yield()
        logger.info(
            "counters known",
            metadata: ["counters": "\(nodes.map(\.address).joined(separator: ", "))"])
    }

    private func welcomed(_ welcome: CounterFrame.Welcome, _ link: LinkID) {
        state.withLock { state in
            guard let address = state.places[link] else { return }
            state.addresses.welcomed(by: welcome.counter, at: address)
        }
        keys.connected(pepper: welcome.keyPepper)
        journal?.begin(welcome.session, pepper: welcome.keyPepper)
        metrics.counterUp.set(1)
        logger.info(
            "counter reached",
            metadata: [
                "session": "\(welcome.session.rawValue)", "counter": "\(welcome.counter)",
            ])
    }

    private func adopt(_ new: EdgePolicy) {
        // The news that keys have changed is lost when it is sent while there is no connection.
        if policy.policy?.version != new.version { keys.forgetAll() }
        do {
            try policy.replace(new)
            logger.info(
                "policy taken",
                metadata: ["version": "\(new.version)", "caps": "\(new.caps.count)"])
        } catch {
            // The old policy stays: a price book that cannot be read is no price book.
            logger.critical("the counter's policy cannot be used", metadata: ["error": "\(error)"])
        }
    }

    private func rejected(_ rejection: Rejection) {
        metrics.rejections.with("\(rejection.reason)").increment()
        logger.error(
            "the counter refused what this edge said",
            metadata: ["reason": "\(rejection.reason)", "message": "\(rejection.message)"])
    }

    private func refused(_ rejection: Rejection) {
        // Slices of a refused session are worth nothing any more; a new process starts clean.
        logger.critical(
            "the counter refused this edge; restart it",
            metadata: ["reason": "\(rejection.reason)", "message": "\(rejection.message)"])
    }

    // MARK: - End

    /// Gives everything back and ends the session. Returns when the counter has confirmed it, or after
    /// `timeout`: what was not confirmed stays charged until an operator refunds it.
    func closeSession(timeout: TimeAmount = .seconds(3)) async {
        let done = loop.makePromise(of: Bool.self)
        let once = OncePromise(done)
        state.withLock { state in
            state.isClosing = true
            state.onEnded = { once.succeed(true) }
        }
        loop.execute {
            self.advance { $0.close() }
            if !self.table.isConnected { once.succeed(false) }
        }
        loop.scheduleTask(in: timeout) { once.succeed(false) }
        let confirmed: Bool
        do {
            confirmed = try await done.futureResult.get()
        } catch {
            confirmed = false
        }
        if confirmed {
            logger.info("session closed, all slices returned")
        } else {
            logger.error(
                "session not confirmed closed; slices not known to be returned stay charged")
        }
        let channels = state.withLock { Array($0.channels.values) }
        for channel in channels { channel.close(promise: nil) }
        if let journal { await end(journal, isClean: confirmed, timeout: timeout) }
    }

    /// A disk that does not answer must not keep the process; the journal then stays as it is.
    private func end(_ journal: EdgeJournal, isClean: Bool, timeout: TimeAmount) async {
        let done = loop.makePromise(of: Bool.self)
        let once = OncePromise(done)
        Task {
            await journal.end(isClean: isClean)
            once.succeed(true)
        }
        loop.scheduleTask(in: timeout) { once.succeed(false) }
        do {
            guard try await !done.futureResult.get() else { return }
        } catch {
            logger.debug("the journal's end was not awaited", metadata: ["error": "\(error)"])
        }
        logger.error("the journal's disk does not answer; it is left as it is")
    }
}

/// A promise that the first of several events fulfils.
private final class OncePromise: Sendable {
    private let promise: EventLoopPromise<Bool>
    private let isDone = Atomic<Bool>(false)

    init(_ promise: EventLoopPromise<Bool>) {
        self.promise = promise
    }

    func succeed(_ value: Bool) {
        guard !isDone.exchange(true, ordering: .acquiringAndReleasing) else { return }
        promise.succeed(value)
    }
}
