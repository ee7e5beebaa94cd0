import HoldfastAdmin
import HoldfastCore
import HoldfastCounter
import HoldfastLedger
import HoldfastStore
import HoldfastTransport
import HoldfastWire
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing

/// 2026-11-18, in the middle of a UTC day.
let noon = UnixTime(1_795_003_200)

/// The system clock of a counter under test.
final class TestWall: Sendable {
    private let milliseconds = Atomic<Int64>(noon.seconds * 1_000)

    func advance(seconds: Int64) {
        milliseconds.wrappingAdd(seconds * 1_000, ordering: .relaxed)
    }

    var now: UnixTime { UnixTime(milliseconds.load(ordering: .relaxed) / 1_000) }

    var read: @Sendable () -> Int64 { { self.milliseconds.load(ordering: .relaxed) } }
}

/// A counter that listens on a port of its own.
struct CounterSite: Sendable {
    let core: CounterCore
    let store: MemoryStore
    let wall: TestWall
    let fatal: FatalErrors
    let registry: MetricRegistry
    let port: Int

    final class FatalErrors: Sendable {
        private let errors = Mutex<[StoreError]>([])
        var all: [StoreError] { errors.withLock { $0 } }
        func append(_ error: StoreError) { errors.withLock { $0.append(error) } }
    }

    /// One cap per day and a key, unless a test brings others.
    static func policy(limit: UInt64) -> CounterPolicy {
        CounterPolicy(
            caps: [Cap(name: "acme", unit: .tokens, limit: Amount(limit), period: .day)],
            keys: [.init(policy: KeyPolicy(name: "support"), secret: "sk-support")],
            prices: "", zones: ["UTC": .utc])
    }

    /// The account of that cap, today.
    static var account: AccountKey { account(on: noon) }

    static func account(on time: UnixTime) -> AccountKey {
        AccountKey(
            cap: "acme", unit: .tokens, period: .day,
            periodID: PeriodKind.day.window(containing: time, in: .utc).id, values: [])
    }

    /// Without the waits that make sense in production only.
    static let impatient: CounterEngine.Settings = {
        var settings = CounterEngine.Settings()
        settings.leaseTTL = 150
        settings.housekeepingInterval = 50
        return settings
    }()

    /// Runs `body` against a counter, and stops it afterwards.
    ///
    /// - Parameter gate: what the counter's commits have to pass.
    static func run(
        limit: UInt64 = 100, store: MemoryStore = MemoryStore(), gate: StoreGate = StoreGate(),
        settings: CounterEngine.Settings = CounterEngine.Settings(),
        backlog: BacklogBounds = BacklogBounds(), reports: ReportBounds = ReportBounds(),
        _ body: @Sendable (CounterSite) async throws -> Void
    ) async throws {
        let wall = TestWall()
        let fatal = FatalErrors()
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let registry = MetricRegistry()
        let core = try CounterCore(
            name: "counter-1", store: GatedStore(store, gate), policy: policy(limit: limit),
            settings: settings, metrics: CounterMetrics(registry), logger: logger,
            backlog: backlog, reports: reports, wall: wall.read, onFatal: { fatal.append($0) })
        core.start()
        let (ports, port) = AsyncStream.makeStream(of: Int.self)
        let listener = LeaseListener(
            host: "127.0.0.1", port: 0, core: core, group: .singletonMultiThreadedEventLoopGroup,
            logger: logger, onBound: { port.yield($0) })
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await listener.run() }
            for await bound in ports {
                try await body(
                    CounterSite(
                        core: core, store: store, wall: wall, fatal: fatal, registry: registry,
                        port: bound))
                break
            }
            tasks.cancelAll()
        }
    }

    func connect() async throws -> TestEdge { try await TestEdge(port: port) }

    /// An answer to an operator, as `holdfast` gets it.
    func get(_ path: String, _ query: [String: String] = [:]) async throws -> AdminResponse {
        let route = try #require(core.reports.first { $0.path == path })
        return try await route.handler(query)
    }

    func post(_ path: String, _ body: String) async throws -> AdminResponse {
        let route = try #require(
            core.operations(token: "token").handlers.first { $0.path == path })
        return try await route.handler(Array(body.utf8))
    }

    /// Connected and welcome.
    func join(session: SessionID? = nil) async throws -> TestEdge {
        let edge = try await connect()
        try await edge.hello(session: session)
        return edge
    }
}

/// An edge's end of one connection, driven by hand.
final class TestEdge {
    struct HungUp: Error {}

    private let channel: any Channel
    private var frames: AsyncStream<CounterFrame>.AsyncIterator
    private(set) var welcome: CounterFrame.Welcome?
    private var lastWish: UInt64 = 0
    private var lastNeed = Amount.zero

    init(port: Int) async throws {
        let (stream, arrived) = AsyncStream.makeStream(of: CounterFrame.self)
        channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(
                        ByteToMessageHandler(FrameDecoder()),
                        FrameReceiver(
                            onPayload: { payload, channel in
                                do {
                                    arrived.yield(try FrameCodec.decodeCounterFrame(payload))
                                } catch {
                                    Issue.record("the counter sent no frame: \(error)")
                                    channel.close(promise: nil)
                                }
                            }, onClose: { _ in arrived.finish() }))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        frames = stream.makeAsyncIterator()
    }

    deinit { channel.close(promise: nil) }

    var session: SessionID { welcome?.session ?? SessionID(0) }

    // MARK: - Out

    func send(_ bytes: [UInt8]) async throws {
        try await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()
    }

    /// Does not wait until the counter's end has room for it.
    func post(_ bytes: [UInt8]) {
        channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
    }

    func send(_ frame: EdgeFrame) async throws { try await send(FrameCodec.encode(frame)) }

    func hangUp() async throws { try await channel.close().get() }

    func hello(session: SessionID? = nil) async throws {
        try await send(.hello(.init(edgeName: "test", session: session)))
        guard case .welcome(let welcome) = try await next() else { throw HungUp() }
        self.welcome = welcome
        guard case .policy = try await next() else { throw HungUp() }
    }

    /// Reports on one account; `wants` is a total.
    func report(
        _ key: AccountKey = CounterSite.account, reference: UInt32 = 1, granted: UInt64 = 0,
        released: UInt64 = 0, spent: UInt64 = 0, held: UInt64 = 0, wants: UInt64? = nil,
        recallEpoch: UInt64 = 0
    ) async throws {
        var wish: LeaseWish?
        if let wants {
            lastWish += 1
            lastNeed = Amount(wants)
            wish = LeaseWish(number: lastWish, need: Amount(wants), ceiling: Amount(wants))
        }
        try await send(
            .report([
                ReportEntry(
                    reference: reference, key: key,
                    report: LeaseReport(
                        granted: Amount(granted), released: Amount(released),
                        spent: Amount(spent), held: Amount(held), wish: wish,
                        recallEpoch: recallEpoch))
            ]))
    }

    // MARK: - In

    func next() async throws -> CounterFrame {
        guard let frame = await frames.next() else { throw HungUp() }
        return frame
    }

    /// The first grant on a reference that is as it should be, past everything else. The test's time
    /// limit ends the wait for one that never comes.
    func grant(
        _ reference: UInt32 = 1, where isExpected: (LeaseGrant) -> Bool = { _ in true }
    ) async throws -> LeaseGrant {
        while true {
            if case .grants(let entries, _) = try await next(),
                let entry = entries.first(where: {
                    $0.reference == reference && isExpected($0.grant)
                })
            {
                return entry.grant
            }
        }
    }

    /// The counter's last word on the newest wish: met, or not to be met now.
    func answerToWish(_ reference: UInt32 = 1) async throws -> LeaseGrant {
        let (number, need) = (lastWish, lastNeed)
        return try await grant(reference) { $0.granted >= need || $0.unmetWish >= number }
    }

    /// The first recall, past frames of other kinds.
    func recall() async throws -> UInt64 {
        while true {
            if case .recall(_, let epoch) = try await next() { return epoch }
        }
    }

    /// Everything that still comes until the counter hangs up.
    func untilHungUp() async -> [CounterFrame] {
        var rest: [CounterFrame] = []
        while let frame = await frames.next() { rest.append(frame) }
        return rest
    }
}

extension [CounterFrame] {
    var rejections: [Rejection.Reason] {
        compactMap { frame in
            guard case .rejected(let rejection) = frame else { return nil }
            return rejection.reason
        }
    }

    var hasGrants: Bool {
        contains { frame in
            if case .grants = frame { true } else { false }
        }
    }
}
