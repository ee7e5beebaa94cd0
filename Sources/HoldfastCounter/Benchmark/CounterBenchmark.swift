import HoldfastAdmin
import HoldfastCore
package import HoldfastLedger
import HoldfastTransport
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle

/// Drives one counter node with edges over loopback, all in this process: the whole way of a report,
/// from its frame to the committed answer.
package struct CounterBenchmark: Sendable {
    /// How edges behave.
    package struct Load: Sendable {
        package var edgeCount = 8
        package var accountCount = 1_000
        /// Every edge uses all accounts; otherwise each has its own part of them.
        package var isShared = false
        package var entriesPerFrame = 1_000
        /// From one report of an edge to its next; `nil`: when the last one is answered.
        package var pauseMilliseconds: Int64?
        package var seconds = 5.0

        package init() {}
    }

    package struct Result: Sendable {
        package let entriesPerSecond: Double
        package let commitsPerSecond: Double
        /// From the report to its answer, in milliseconds.
        package let p50: Double
        package let p99: Double
        package let max: Double
    }

    package struct Failed: Error, CustomStringConvertible {
        package let description: String
    }

    private static let cap = Cap(
        name: "benchmark", unit: .usd, limit: Amount(Limits.amountMax), period: .total,
        each: [.user])

    private let load: Load
    private let settings: CounterEngine.Settings
    /// Sessions of earlier runs stay in their accounts.
    private let run = UInt32.random(in: 0 ... .max)

    package init(_ load: Load, settings: CounterEngine.Settings) {
        self.load = load
        self.settings = settings
    }

    /// - Parameter store: closed when this returns.
    package func run(on store: any AccountStore) async throws -> Result {
        let registry = MetricRegistry()
        let metrics = CounterMetrics(registry)
        var logger = Logger(label: "holdfast.benchmark")
        logger.logLevel = .critical
        let policy = CounterPolicy(
            caps: [Self.cap], keys: [], prices: "", zones: ["UTC": .utc])
        let core = try CounterCore(
            name: "benchmark", store: store, policy: policy, settings: settings,
            metrics: metrics, logger: logger, onFatal: { fatal in preconditionFailure("\(fatal)") })
        core.start()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let (bound, port) = AsyncStream.makeStream(of: Int.self)
        let listener = LeaseListener(
            host: "127.0.0.1", port: 0, core: core, group: group, logger: logger,
            onBound: { port.yield($0) })
        let tally = LoadTally()
        let result = try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await listener.run() }
            for await port in bound {
                try await connect(to: port, group, tally)
                break
            }
            let result = try await measure(tally, metrics)
            tasks.cancelAll()
            return result
        }
        try await group.shutdownGracefully()
        return result
    }

    private func connect(
        to port: Int, _ group: any EventLoopGroup, _ tally: LoadTally
    ) async throws {
        for edge in 0..<load.edgeCount {
            let keys = keys(of: edge)
            _ = try await ClientBootstrap(group: group)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandlers(
                            ByteToMessageHandler(FrameDecoder()),
                            LoadEdge(
                                name: "load-\(edge)", keys: keys,
                                entriesPerFrame: load.entriesPerFrame,
                                pause: load.pauseMilliseconds.map { .milliseconds($0) },
                                tally: tally))
                    }
                }
                .connect(host: "127.0.0.1", port: port).get()
        }
    }

    private func keys(of edge: Int) -> [AccountKey] {
        let part = load.accountCount / load.edgeCount
        let range = load.isShared ? 0..<load.accountCount : edge * part..<(edge + 1) * part
        return range.map { number in
            AccountKey(
                cap: Self.cap.name, unit: .usd, period: .total, periodID: 0,
                values: ["user-\(number)-\(run)"])
        }
    }

    private func measure(_ tally: LoadTally, _ metrics: CounterMetrics) async throws -> Result {
        // The first reports introduce accounts and create their rows.
        try await Task.sleep(for: .seconds(min(3, load.seconds)))
        guard tally.readyCount == load.edgeCount else {
            throw Failed(description: tally.failure ?? "the counter did not welcome all edges")
        }
        tally.startMeasuring()
        let commits = metrics.commits.value
        let started = ContinuousClock.now
        try await Task.sleep(for: .seconds(load.seconds))
        let seconds = started.duration(to: .now) / .seconds(1)
        let committed = metrics.commits.value - commits
        let (entryCount, latencies) = tally.end()
        if let failure = tally.failure { throw Failed(description: failure) }
        guard !latencies.isEmpty else { throw Failed(description: "no report was answered") }
        func quantile(_ share: Double) -> Double {
            Double(latencies[Int(Double(latencies.count - 1) * share)]) / 1e6
        }
        return Result(
            entriesPerSecond: Double(entryCount) / seconds,
            commitsPerSecond: Double(committed) / seconds, p50: quantile(0.5),
            p99: quantile(0.99), max: quantile(1))
    }
}
