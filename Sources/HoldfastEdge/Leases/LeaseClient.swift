import HoldfastAdmin
import HoldfastCore
import HoldfastLedger
import HoldfastTransport
import HoldfastWire
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization

/// Keeps one connection to a counter: reports, grants, recalls, policy and keys.
///
/// Several counters are tried in turn, with a jittered backoff that grows while none answers. The
/// session outlives connections: a new connection goes on with it, and everything that the old one
/// may have lost is said again.
final class LeaseClient: Service {
    struct CounterAddress: Sendable {
        var host: String
        var port: Int
    }

    private struct State {
        var session: SessionID?
        var channel: (any Channel)?
        var connectedAtMilliseconds: Int64 = 0
        var isClosing = false
        /// The counter refused to go on with our session: only a new process can go on.
        var fatal: String?
        var lastHeardMilliseconds: Int64?
        var leaseTTLMilliseconds: Int64 = 30_000
        var onSessionClosed: (@Sendable () -> Void)?
    }

    private static let tick = TimeAmount.milliseconds(Int64(EdgeLedger.tickMilliseconds))
    private static let pingTicks = 40
    /// A connection that says nothing for so long is dead, whatever TCP thinks.
    private static let silenceMilliseconds: Int64 = 10_000
    private static let forgetTicks = 200
    /// A connection that lasted so long shows that its counter is well.
    private static let steadyMilliseconds: Int64 = 5_000
    /// A report frame is cut when it gets larger, far below the limit.
    private static let frameByteCountTarget = Limits.frameByteCountMax / 4
    /// Of a report entry without its key: ten numbers of at most ten bytes, with their tags.
    private static let entryByteCountMax = 128
    private static let backoffMilliseconds: ClosedRange<Int64> = 50...2_000

    private let nodeName: String
    private let addresses: [CounterAddress]
    private let table: LeaseTable
    private let clock: CounterTime
    private let keys: KeyDirectory
    private let policy: PolicyBox
    private let metrics: EdgeMetrics
    private let loop: any EventLoop
    private let logger: Logger
    private let state = Mutex(State())
    private let isFlushScheduled = Atomic<Bool>(false)

    init(
        nodeName: String, addresses: [CounterAddress], table: LeaseTable, clock: CounterTime,
        keys: KeyDirectory, policy: PolicyBox, metrics: EdgeMetrics, loop: any EventLoop,
        logger: Logger
    ) {
        precondition(!addresses.isEmpty, "an edge without a counter")
        self.nodeName = nodeName
        self.addresses = addresses
        self.table = table
        self.clock = clock
        self.keys = keys
        self.policy = policy
        self.metrics = metrics
        self.loop = loop
        self.logger = logger
        table.onUrgent { [weak self] in self?.scheduleFlush() }
        keys.onMiss { [weak self] request, digest in
            self?.send(.resolveKey(request: request, digest: digest)) ?? false
        }
    }

    /// Why this edge must not admit anything; `nil` when it may. Slices are used while the lease
    /// lives, also without a connection.
    var leaseProblem: String? {
        let now = clock.elapsedMilliseconds()
        return state.withLock { state in
            if let fatal = state.fatal { return fatal }
            guard let heard = state.lastHeardMilliseconds else {
                return "no counter has answered yet"
            }
            return now - heard > state.leaseTTLMilliseconds
                ? "no counter has answered for \((now - heard) / 1_000) s" : nil
        }
    }

    /// The session was refused for good; the process should be replaced.
    var fatalProblem: String? { state.withLock { $0.fatal } }

    // MARK: - Connection

    func run() async throws {
        await withGracefulShutdownHandler {
            await connectForEver()
        } onGracefulShutdown: {
            // The edge closes the session when it has drained, see `closeSession`.
        }
    }

    private func connectForEver() async {
        let ticking = loop.scheduleRepeatedTask(initialDelay: Self.tick, delay: Self.tick) {
            [counter = TickCounter()] _ in
            self.tick(counter.next())
        }
        defer { ticking.cancel() }
        var attempt = 0
        var backoff = Self.backoffMilliseconds.lowerBound
        while !Task.isCancelled, !state.withLock({ $0.isClosing || $0.fatal != nil }) {
            let address = addresses[attempt % addresses.count]
            attempt += 1
            do {
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
            metrics.counterUp.set(0)
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
        let client = self
        let channel = try await ClientBootstrap(group: loop)
            .connectTimeout(.seconds(2))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(
                        ByteToMessageHandler(FrameDecoder()),
                        FrameReceiver(
                            onPayload: { payload, channel in client.receive(payload, channel) },
                            onClose: { error in client.closed(channel, error) }))
                }
            }
            .connect(host: address.host, port: address.port).get()
        let now = clock.elapsedMilliseconds()
        let (session, isClosing) = state.withLock { state in
            state.channel = channel
            state.connectedAtMilliseconds = now
            return (state.session, state.isClosing)
        }
        // The end of the session has come and gone meanwhile: nobody else would close this one.
        if isClosing { channel.close(promise: nil) }
        write(.hello(.init(edgeName: nodeName, session: session)), to: channel)
        return channel
    }

    private func closed(_ channel: any Channel, _ error: (any Error)?) {
        let wasOurs = state.withLock { state -> Bool in
            guard state.channel === channel else { return false }
            state.channel = nil
            return true
        }
        guard wasOurs else { return }
        introduced.withLock { $0 = [] }
        isWelcome.store(false, ordering: .releasing)
        table.disconnected()
        keys.disconnected()
        metrics.counterUp.set(0)
        logger.warning(
            "counter connection lost", metadata: ["error": "\(error.map { "\($0)" } ?? "closed")"])
    }

    // MARK: - Frames in

    private func receive(_ payload: [UInt8], _ channel: any Channel) {
        let frame: CounterFrame
        do {
            frame = try FrameCodec.decodeCounterFrame(payload)
        } catch {
            logger.error(
                "the counter sent bytes that are no frame", metadata: ["error": "\(error)"])
            return channel.close(promise: nil)
        }
        let now = clock.elapsedMilliseconds()
        state.withLock { $0.lastHeardMilliseconds = now }
        switch frame {
        case .welcome(let welcome): welcomed(welcome)
        case .grants(let grants, let time):
            clock.observe(counterTimeMilliseconds: time)
            table.apply(grants)
        case .recall(let reference, let epoch):
            metrics.recalls.increment()
            table.recall(reference: reference, epoch: epoch)
        case .policy(let new): adopt(new)
        case .windows(let windows):
            clock.observe(counterTimeMilliseconds: windows.counterTimeMilliseconds)
            policy.update(windows)
        case .keyAnswer(let request, let key): keys.answer(request, key)
        case .keysChanged: keys.forgetAll()
        case .sessionClosed:
            state.withLock { $0.onSessionClosed }?()
        case .rejected(let rejection): rejected(rejection)
        case .pong(_, let time): clock.observe(counterTimeMilliseconds: time)
        }
    }

    private func welcomed(_ welcome: CounterFrame.Welcome) {
        clock.observe(counterTimeMilliseconds: welcome.counterTimeMilliseconds)
        keys.connected(pepper: welcome.keyPepper)
        state.withLock { state in
            state.session = welcome.session
            state.leaseTTLMilliseconds = Int64(welcome.leaseTTLMilliseconds)
        }
        isWelcome.store(true, ordering: .releasing)
        metrics.counterUp.set(1)
        logger.info("counter reached", metadata: ["session": "\(welcome.session.rawValue)"])
        table.connected()
    }

    private func adopt(_ new: EdgePolicy) {
        clock.observe(counterTimeMilliseconds: new.windows.counterTimeMilliseconds)
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
        switch rejection.reason {
        case .sessionClosed, .sessionUnknown:
            // Slices of a refused session are worth nothing any more; a new process starts clean.
            state.withLock { $0.fatal = "the counter refused this edge: \(rejection.message)" }
            logger.critical(
                "the counter refused this edge; restart it",
                metadata: ["reason": "\(rejection.reason)", "message": "\(rejection.message)"])
        case .protocolVersion, .notBelieved, .malformed, .unavailable, .unknown:
            // Another counter may be of our version: upgrades go through one by one.
            logger.error(
                "the counter refused what this edge said",
                metadata: ["reason": "\(rejection.reason)", "message": "\(rejection.message)"])
        }
    }

    // MARK: - Frames out

    /// References that this connection's counter knows the keys of.
    private let introduced = Mutex<Set<UInt32>>([])
    private let isWelcome = Atomic<Bool>(false)

    private func tick(_ number: Int) {
        table.tick()
        if number.isMultiple(of: Self.forgetTicks) { table.forgetUnused() }
        if number.isMultiple(of: Self.pingTicks) {
            _ = send(.ping(UInt64(number)))
            closeIfSilent()
        }
        flush()
    }

    private func closeIfSilent() {
        let now = clock.elapsedMilliseconds()
        let (channel, since) = state.withLock { state in
            (state.channel, max(state.lastHeardMilliseconds ?? 0, state.connectedAtMilliseconds))
        }
        guard let channel, now - since > Self.silenceMilliseconds else { return }
        logger.warning("the counter says nothing; trying another connection")
        channel.close(promise: nil)
    }

    /// Many requests can become short at the same moment; one flush carries them all.
    private func scheduleFlush() {
        guard !isFlushScheduled.exchange(true, ordering: .acquiringAndReleasing) else { return }
        loop.execute {
            self.isFlushScheduled.store(false, ordering: .releasing)
            self.flush()
        }
    }

    private func flush() {
        loop.preconditionInEventLoop()
        guard isWelcome.load(ordering: .acquiring),
            let channel = state.withLock({ $0.channel })
        else { return }
        while true {
            let reports = table.collectReports()
            for entries in frames(of: reports) { write(.report(entries), to: channel) }
            guard reports.count == Limits.reportEntryCountMax else { return }
        }
    }

    /// One list for each frame. Keys are as long as the scope values that callers choose, so that a
    /// fixed number of entries could be too large for one.
    private func frames(of reports: [EdgeLedger.Report]) -> [[ReportEntry]] {
        var frames: [[ReportEntry]] = []
        var byteCount = Self.frameByteCountTarget
        introduced.withLock { introduced in
            for report in reports {
                let isNew = introduced.insert(report.reference).inserted
                let entry = ReportEntry(
                    reference: report.reference, key: isNew ? report.key : nil,
                    report: report.report)
                byteCount += Self.entryByteCountMax + (entry.key?.text.utf8.count ?? 0)
                if byteCount > Self.frameByteCountTarget {
                    frames.append([])
                    byteCount = Self.entryByteCountMax + (entry.key?.text.utf8.count ?? 0)
                }
                frames[frames.count - 1].append(entry)
            }
        }
        return frames
    }

    /// `false` when there is no connection.
    private func send(_ frame: EdgeFrame) -> Bool {
        guard isWelcome.load(ordering: .acquiring),
            let channel = state.withLock({ $0.channel })
        else { return false }
        write(frame, to: channel)
        return true
    }

    private func write(_ frame: EdgeFrame, to channel: any Channel) {
        channel.writeAndFlush(
            channel.allocator.buffer(bytes: FrameCodec.encode(frame)), promise: nil)
    }

    // MARK: - End

    /// Gives everything back and ends the session. Returns when the counter has confirmed it, or after
    /// `timeout`: what was not confirmed stays charged until an operator refunds it.
    func closeSession(timeout: TimeAmount = .seconds(3)) async {
        let done = loop.makePromise(of: Bool.self)
        let once = OncePromise(done)
        state.withLock { state in
            state.isClosing = true
            state.onSessionClosed = { once.succeed(true) }
        }
        loop.execute {
            self.table.releaseAll()
            // All of it, however many accounts there are; nothing that is left is for the last frame.
            self.flush()
            if !self.send(.closeSession([])) { once.succeed(false) }
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
        if let channel = state.withLock({ $0.channel }) { channel.close(promise: nil) }
    }
}

/// Counts on one event loop.
private final class TickCounter: Sendable {
    private let count = Atomic<Int>(0)

    func next() -> Int { count.wrappingAdd(1, ordering: .relaxed).newValue }
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
