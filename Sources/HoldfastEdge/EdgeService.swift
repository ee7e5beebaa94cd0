package import HoldfastAdmin
import HoldfastCore
import HoldfastEgress
import HoldfastLedger
package import HoldfastTLS
package import Logging
package import NIOCore
import ServiceLifecycle

/// One edge: the callers' listener, the lease client, and an orderly end.
///
/// Shutdown order: stop admitting, let requests in flight finish up to a limit, cut the rest (they
/// settle at their ceilings), return slices, close the session.
package final class EdgeService: Service {
    package enum StartError: Error, CustomStringConvertible {
        case cannotListen(host: String, port: Int, reason: String)
        case noEgress(reason: String)
        case noJournal(reason: String)
        case noTLS(reason: String)

        package var description: String {
            switch self {
            case .cannotListen(let host, let port, let reason):
                "the edge cannot listen on \(host):\(port): \(reason)"
            case .noEgress(let reason):
                "the edge cannot start its connections to providers: \(reason)"
            case .noJournal(let reason):
                "the edge cannot keep its journal: \(reason)"
            case .noTLS(let reason):
                "the edge cannot serve callers over TLS ('tls'): \(reason)"
            }
        }
    }

    private let settings: EdgeSettings
    private let context: EdgeContext
    private let client: LeaseClient
    private let egress: Egress
    private let listener: DownstreamListener
    private let group: any EventLoopGroup
    private let logger: Logger
    private let onBound: @Sendable (_ port: Int) -> Void

    /// - Parameters:
    ///   - counters: host and port of each; all of them are connected.
    ///   - credentials: shown to the counters, which must show theirs; `nil`: plain text.
    ///   - egressThreadCount: threads of libcurl; each drives many transfers.
    ///   - onBound: told the port callers are accepted on.
    package init(
        settings: EdgeSettings, counters: [(host: String, port: Int)],
        credentials: NodeCredentials? = nil, registry: MetricRegistry,
        group: any EventLoopGroup, egressThreadCount: Int = 1, logger: Logger,
        onBound: @escaping @Sendable (_ port: Int) -> Void = { _ in }
    ) throws(StartError) {
        self.settings = settings
        self.group = group
        self.logger = logger
        self.onBound = onBound
        do {
            egress = try Egress(
                threadCount: egressThreadCount,
                bufferByteCountMax: settings.streamBufferByteCountMax)
        } catch {
            throw .noEgress(reason: error.message)
        }
        let metrics = EdgeMetrics(registry)
        let clock = CounterTime()
        let policy = PolicyBox()
        let keys = KeyDirectory(clock: clock)
        let journal = try Self.journal(settings, metrics, logger)
        let table = LeaseTable(
            nodeName: settings.nodeName, newAccountsPerMinuteMax: settings.newAccountsPerMinuteMax,
            clock: clock, isJournaled: journal != nil)
        client = LeaseClient(
            addresses: counters.map { .init(host: $0.host, port: $0.port) }, table: table,
            clock: clock, keys: keys, policy: policy, name: settings.nodeName, journal: journal,
            credentials: credentials, allowsPlaintext: settings.allowsPlaintextNodes,
            metrics: metrics, loop: group.next(), logger: logger)
        context = EdgeContext(
            settings: settings, policy: policy, clock: clock, table: table, keys: keys,
            leases: client, egress: egress, metrics: metrics, logger: logger)
        listener = DownstreamListener(context: context, tls: try Self.tls(settings, logger))
        registry.gauge("holdfast_holds_open", "Holds of requests in flight.") {
            [([], .count(UInt64(table.counts.holds)))]
        }
        registry.gauge("holdfast_budget_waiting", "Requests that wait for budget.") {
            [([], .count(UInt64(table.counts.waiting)))]
        }
        registry.gauge("holdfast_slices", "Accounts that this edge has met.") {
            [([], .count(UInt64(table.counts.accounts)))]
        }
    }

    private static func journal(
        _ settings: EdgeSettings, _ metrics: EdgeMetrics, _ logger: Logger
    ) throws(StartError) -> EdgeJournal? {
        guard let path = settings.journalPath else { return nil }
        do {
            return try EdgeJournal(
                disk: EdgeJournalDisk(path: path), metrics: metrics, logger: logger)
        } catch {
            throw .noJournal(reason: "\(error)")
        }
    }

    private static func tls(
        _ settings: EdgeSettings, _ logger: Logger
    ) throws(StartError) -> ReloadingContext? {
        guard let files = settings.tls else { return nil }
        do {
            return try ReloadingContext(certificate: files.certificate, key: files.key) { change in
                switch change {
                case .reloaded:
                    logger.info(
                        "callers' certificate reloaded", metadata: ["file": "\(files.certificate)"])
                case .refused(let problem):
                    logger.error(
                        "callers' certificate not reloaded; the old one stays",
                        metadata: ["error": "\(problem)"])
                }
            }
        } catch {
            throw .noTLS(reason: error.description)
        }
    }

    /// Why a load balancer should send nothing here.
    package var unreadyReasons: [String] {
        var reasons: [String] = []
        if context.isDraining { reasons.append("draining") }
        if let problem = client.leaseProblem { reasons.append(problem) }
        if let problem = client.journalProblem { reasons.append(problem) }
        if context.policy.policy == nil { reasons.append("no policy yet") }
        return reasons
    }

    /// `false` when only a new process can go on.
    package var isLive: Bool { client.fatalProblem == nil }

    package func run() async throws {
        let channel = try await bind()
        logger.info(
            "edge is up",
            metadata: [
                "host": "\(settings.host)", "port": "\(channel.localAddress?.port ?? 0)",
                "node": "\(settings.nodeName)", "tls": settings.tls == nil ? "off" : "on",
            ])
        onBound(channel.localAddress?.port ?? settings.port)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask {
                try await self.client.run()
                // Refused for good, perhaps: what is in flight ends all the same. Whoever watches
                // the probes replaces the process.
                try await Task.sleep(for: .seconds(10 * 365 * 86_400))
            }
            tasks.addTask {
                await self.untilShutdown()
                await self.drain(channel)
            }
            // The drain comes to an end, and with it the client.
            try await tasks.next()
            tasks.cancelAll()
            while let result = await tasks.nextResult() {
                if case .failure(let error) = result, !(error is CancellationError) { throw error }
            }
        }
        egress.shutdown()
    }

    private func bind() async throws(StartError) -> any Channel {
        do {
            return try await listener.bind(group: group)
        } catch {
            throw .cannotListen(
                host: settings.host, port: settings.port, reason: SocketFailure.reason(error))
        }
    }

    private func untilShutdown() async {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        await withTaskCancellationHandler {
            await withGracefulShutdownHandler {
                for await _ in stream {}
            } onGracefulShutdown: {
                continuation.finish()
            }
        } onCancel: {
            continuation.finish()
        }
    }

    private func drain(_ channel: any Channel) async {
        context.startDraining()
        logger.info("draining", metadata: ["in_flight": "\(context.inFlightCount)"])
        channel.close(promise: nil)
        listener.drain()
        await waitUntilIdle(for: settings.drainMax)
        if context.inFlightCount > 0 {
            logger.warning(
                "requests cut after the drain limit; they settle at their ceilings",
                metadata: ["in_flight": "\(context.inFlightCount)"])
            egress.shutdown()
            await waitUntilIdle(for: .seconds(2))
        }
        await client.closeSession()
        logger.info("edge stopped")
    }

    private static let unreadMax = Duration.seconds(10)

    private func waitUntilIdle(for limit: Duration) async {
        let end = ContinuousClock.now + limit
        var idleSince: ContinuousClock.Instant?
        while context.inFlightCount + context.unwrittenCount > 0, ContinuousClock.now < end {
            // A caller that does not read its answer must not keep the process: it costs nothing more.
            idleSince = context.inFlightCount > 0 ? nil : idleSince ?? .now
            if let idleSince, idleSince + Self.unreadMax < .now { return }
            do {
                try await Task.sleep(for: .milliseconds(20))
            } catch {
                return
            }
        }
    }
}
