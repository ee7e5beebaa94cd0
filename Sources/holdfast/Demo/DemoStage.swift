import ArgumentParser
import Foundation
import HoldfastAdmin
import HoldfastConfig
import HoldfastCore
import HoldfastCounter
import HoldfastEgress
import HoldfastTestKit
import Logging
import NIOCore
import ServiceLifecycle
import UnixSignals

/// Everything the demo shows: the fake provider, a counter with a temporary store, an edge.
struct DemoStage {
    static let key = "hf_demo_key"
    static let model = "gpt-4o"

    let limit: NanoUSD
    private let node: Node
    private let bill = Bill()
    private let core: CounterCore
    private let providerPort = BoundPort()
    private let counterPort = BoundPort()
    private let edgePort = BoundPort()

    init(limit: NanoUSD, port: Int, directory: URL) throws {
        self.limit = limit
        // The provider's port is not known yet, so it is asked for in `perform`.
        var config = Config(file: "demo")
        config.listen = Address(host: "127.0.0.1", port: port)
        config.store = .sqlite(directory.appendingPathComponent("demo.db").path)
        config.keys = [
            KeyEntry(
                policy: KeyPolicy(
                    name: "demo", fixed: [.tenant: "acme"], callerSettable: [.user]),
                secret: Secret(Self.key))
        ]
        config.caps = [
            Cap(
                name: "demo-daily", unit: .usd, limit: Amount(limit.rawValue), period: .day,
                scope: [.tenant: "acme"])
        ]
        // The show is on standard output; only trouble is worth a log line.
        let logger = Logger(label: "holdfast.demo") { JSONLogHandler(label: $0, level: .error) }
        node = Node(config: config, logger: logger)
        let node = node
        core = try openOrExplain { try node.openCounter() }
    }

    func perform(clients: Int, screen: DemoScreen, staysUp: Bool) async throws -> DemoResult {
        let provider = FakeProvider(
            host: "127.0.0.1", port: 0,
            behaviour: FakeBehaviour(), bill: bill,
            logger: quiet, onBound: { providerPort.set($0) })
        let listener = LeaseListener(
            host: "127.0.0.1", port: 0, core: core, group: node.group, logger: node.logger,
            onBound: { counterPort.set($0) })
        let edge = LateEdge(stage: self)
        let services: [any Service] = [provider, listener, edge]
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: services.map { .init(service: $0) },
                gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet))
        return try await withThrowingTaskGroup(of: DemoResult?.self) { tasks in
            tasks.addTask {
                try await group.run()
                return nil
            }
            tasks.addTask { try await self.show(clients, screen, staysUp) }
            var result: DemoResult?
            while result == nil, let next = try await tasks.next() {
                if next == nil { throw ExitCode(Exit.failure) }
                result = next
            }
            if !staysUp { await group.triggerGracefulShutdown() }
            // Until Ctrl-C, or until the shutdown is over.
            try await tasks.waitForAll()
            guard let result else { throw ExitCode(Exit.failure) }
            return result
        }
    }

    private func show(
        _ clients: Int, _ screen: DemoScreen, _ staysUp: Bool
    ) async throws -> DemoResult {
        let port = try await edgePort.get()
        let egress = try Egress(threadCount: 1, bufferByteCountMax: 16 << 20)
        defer { egress.shutdown() }
        let traffic = DemoTraffic(port: port, egress: egress, bill: bill)
        screen.opening(port: port, clients: clients)
        let result = try await traffic.run(clients: clients, limit: limit, screen: screen)
        screen.closing(result)
        if staysUp { screen.invitation(port: port, providerPort: try await providerPort.get()) }
        return result
    }

    private var quiet: Logger {
        var logger = node.logger
        logger.logLevel = .critical
        return logger
    }

    /// The edge needs the ports of the provider and the counter first.
    private struct LateEdge: Service {
        let stage: DemoStage

        func run() async throws {
            let port = try await stage.providerPort.get()
            var config = stage.node.config
            let url = "http://127.0.0.1:\(port)"
            config.providers = [
                "openai": ProviderSettings(apiKey: Secret("fake-openai"), baseURL: url),
                "anthropic": ProviderSettings(apiKey: Secret("fake-anthropic"), baseURL: url),
            ]
            try await EmbeddedEdge(
                node: Node(config: config, logger: stage.node.logger), counterHost: "127.0.0.1",
                counterPort: stage.counterPort, onBound: { stage.edgePort.set($0) }
            ).run()
        }
    }
}

/// What the demo has shown.
struct DemoResult: Sendable {
    var limit: NanoUSD
    var billed: NanoUSD
    var requestCount: Int
    var refusedCount: Int
    var clampedCount: Int
    var failedCount: Int
    var duration: Duration
    var refusal: String

    var isWithinCap: Bool { billed <= limit }
    var wasRefused: Bool { refusedCount > 0 }

    var json: String {
        let seconds = duration.components.seconds
        let millis = duration.components.attoseconds / 1_000_000_000_000_000
        let padded = String(repeating: "0", count: 3 - String(millis).count) + String(millis)
        return """
            {"cap_usd":"\(limit.dollars)","billed_usd":"\(billed.dollars)",\
            "within_cap":\(isWithinCap),"requests":\(requestCount),"refused":\(refusedCount),\
            "clamped":\(clampedCount),"failed":\(failedCount),"seconds":\(seconds).\(padded)}
            """
    }
}
