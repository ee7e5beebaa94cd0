import HoldfastCore
import HoldfastLedger

/// Runs seeds. A seed and a commit reproduce every event.
public enum Simulation {
    /// What became of one seed.
    public struct Outcome: Sendable {
        public let seed: UInt64
        public let violation: Violation?
        public let faults: FaultCounts
        public let simulatedSeconds: UInt64
        public let events: Int
        public let admitted: Int
        public let refusedSpent: Int
        public let refusedInFlight: Int
        public let refusedUnavailable: Int
        /// Told that a cap is spent while there was room that faults kept out of reach.
        public let falseRefusals: Int
        public let commits: Int
        /// Presumed spent by sessions that are gone, in nano-dollars, over all dollar accounts.
        public let strandedNanoUSD: UInt64
        /// The most that one edge has sent within a second.
        public let framesPerSecondMost: Int
        /// What happened last; empty unless asked for.
        public let trace: [String]
    }

    /// A broken promise.
    public struct Violation: Sendable, Equatable {
        /// As in `docs/protocol.md`: `I1`, `L2`, …
        public let invariant: String
        public let message: String
        /// Simulated seconds since the start.
        public let at: UInt64
    }

    public static func run(seed: UInt64, hours: UInt64, isTracing: Bool = false) -> Outcome {
        let world = World(Scenario(seed: seed, hours: hours), isTracing: isTracing)
        world.play()
        return world.outcome
    }
}

extension World {
    var outcome: Simulation.Outcome {
        Simulation.Outcome(
            seed: scenario.seed,
            violation: auditor.violation.map {
                .init(invariant: $0.invariant, message: $0.message, at: now / 1_000)
            },
            faults: faults, simulatedSeconds: now / 1_000, events: eventCount,
            admitted: auditor.admitted, refusedSpent: auditor.refusedSpent,
            refusedInFlight: auditor.refusedInFlight,
            refusedUnavailable: auditor.refusedUnavailable,
            falseRefusals: auditor.falseRefusals, commits: auditor.commits,
            strandedNanoUSD: stranded, framesPerSecondMost: framesPerSecondMost, trace: trace.lines)
    }

    private var stranded: UInt64 {
        store.accounts.keys.filter { $0.unit == .usd }.reduce(0) {
            $0 + presumedSpent($1).rawValue
        }
    }
}
