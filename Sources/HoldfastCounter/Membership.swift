import HoldfastCore
import HoldfastLedger
package import Logging
import ServiceLifecycle

/// Counters find each other in the store: each says every two seconds where it is, and tells its
/// edges of all that have said so lately. So counters join and leave without a change of anybody's
/// configuration.
package struct Membership: Service {
    private static let interval = Duration.seconds(2)
    /// A counter that has said nothing for so long is gone.
    static let absenceSeconds: Int64 = 10

    private let core: CounterCore
    private let address: @Sendable () async throws -> String
    private let logger: Logger

    /// - Parameter address: where edges reach this counter, as soon as it is known.
    package init(
        core: CounterCore, address: @escaping @Sendable () async throws -> String, logger: Logger
    ) {
        self.core = core
        self.address = address
        self.logger = logger
    }

    package func run() async throws {
        let node = CounterNode(name: core.name, address: try await address())
        await cancelWhenGracefulShutdown { await meetForEver(as: node) }
        do throws(StoreError) {
            try await core.readStore { (store) throws(StoreError) in try store.leave(node) }
        } catch {
            // The others notice by themselves, only later.
            logger.debug("not taken off the list of counters", metadata: ["error": "\(error)"])
        }
    }

    private func meetForEver(as node: CounterNode) async {
        var known: [CounterNode] = []
        var failedAt: ContinuousClock.Instant?
        while !Task.isCancelled {
            do throws(StoreError) {
                let nodes = try await core.readStore { (store) throws(StoreError) in
                    try store.meet(node, within: Self.absenceSeconds)
                }
                // After an outage the others have to say first that they are still there.
                let isTrusted = failedAt.map { $0 + .seconds(Self.absenceSeconds) < .now } ?? true
                if nodes != known, isTrusted || nodes.count >= known.count {
                    adopt(nodes)
                    known = nodes
                }
            } catch {
                failedAt = .now
                // What edges know stays: with the store away nobody can tell who is there.
                logger.debug("counters not read", metadata: ["error": "\(error)"])
            }
            do {
                try await Task.sleep(for: Self.interval)
            } catch {
                return
            }
        }
    }

    private func adopt(_ nodes: [CounterNode]) {
        if nodes.count > Limits.counterCountMax {
            logger.error(
                "there are more counters than edges connect to",
                metadata: ["counters": "\(nodes.count)", "limit": "\(Limits.counterCountMax)"])
        }
        let told = Array(nodes.prefix(Limits.counterCountMax))
        logger.info(
            "counters of this cluster",
            metadata: ["counters": "\(told.map(\.name).joined(separator: ", "))"])
        core.replaceCounters(told)
    }
}
