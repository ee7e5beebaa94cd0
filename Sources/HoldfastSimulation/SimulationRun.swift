import Synchronization

/// Many seeds on several threads, and what they add up to.
public struct SimulationRun: Sendable {
    public var firstSeed: UInt64
    public var seedCount: Int
    /// Simulated hours per seed, before everything is mended.
    public var hours: UInt64
    public var workers: Int
    /// Ends with the first broken promise.
    public var stopsAtViolation: Bool

    public init(
        firstSeed: UInt64 = 1, seedCount: Int = 1, hours: UInt64 = 1, workers: Int = 1,
        stopsAtViolation: Bool = false
    ) {
        precondition(seedCount > 0 && workers > 0, "nothing to run")
        self.firstSeed = firstSeed
        self.seedCount = seedCount
        self.hours = hours
        self.workers = workers
        self.stopsAtViolation = stopsAtViolation
    }

    public struct Totals: Sendable {
        public var seeds = 0
        public var simulatedSeconds: UInt64 = 0
        public var events = 0
        public var admitted = 0
        public var refusedSpent = 0
        public var refusedInFlight = 0
        public var refusedUnavailable = 0
        public var falseRefusals = 0
        public var commits = 0
        public var strandedNanoUSD: UInt64 = 0
        public var framesPerSecondMost = 0
        public var faults = FaultCounts()
        /// Of the seeds that broke a promise, ascending by seed.
        public var violations: [(seed: UInt64, violation: Simulation.Violation)] = []

        mutating func add(_ outcome: Simulation.Outcome) {
            seeds += 1
            simulatedSeconds += outcome.simulatedSeconds
            events += outcome.events
            admitted += outcome.admitted
            refusedSpent += outcome.refusedSpent
            refusedInFlight += outcome.refusedInFlight
            refusedUnavailable += outcome.refusedUnavailable
            falseRefusals += outcome.falseRefusals
            commits += outcome.commits
            strandedNanoUSD += outcome.strandedNanoUSD
            framesPerSecondMost = max(framesPerSecondMost, outcome.framesPerSecondMost)
            faults.add(outcome.faults)
            guard let violation = outcome.violation else { return }
            violations.append((outcome.seed, violation))
            violations.sort { $0.seed < $1.seed }
        }
    }

    /// - Parameter progress: called now and then with what there is so far.
    public func run(progress: @escaping @Sendable (Totals) -> Void = { _ in }) async -> Totals {
        let state = State()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<workers {
                group.addTask { work(state, progress) }
            }
        }
        return state.totals.withLock { $0 }
    }

    private final class State: Sendable {
        let next = Atomic<Int>(0)
        let isStopped = Atomic<Bool>(false)
        let totals = Mutex(Totals())
    }

    private func work(_ state: State, _ progress: @Sendable (Totals) -> Void) {
        while !state.isStopped.load(ordering: .relaxed) {
            let number = state.next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard number < seedCount else { return }
            let outcome = Simulation.run(seed: firstSeed + UInt64(number), hours: hours)
            let totals = state.totals.withLock { totals in
                totals.add(outcome)
                return totals
            }
            if stopsAtViolation, outcome.violation != nil {
                state.isStopped.store(true, ordering: .relaxed)
            }
            progress(totals)
        }
    }
}

extension SimulationRun.Totals {
    /// For people.
    ///
    /// - Parameters:
    ///   - wallSeconds: how long it took.
    ///   - command: which, with a seed behind it, tells one seed again.
    public func report(wallSeconds: Double, workers: Int, command: String) -> [String] {
        let speed = Double(simulatedSeconds) / max(wallSeconds, 0.001)
        var lines = [
            "\(seeds) seeds, \(simulatedSeconds / 3_600) simulated hours in "
                + "\(Int(wallSeconds)) s: \(Int(speed)) simulated seconds per second, "
                + "\(Int(speed) / workers) per worker",
            "\(events) events, \(commits) account writes, \(admitted) requests admitted; refused: "
                + "\(refusedSpent) cap spent, \(refusedInFlight) in flight, "
                + "\(refusedUnavailable) unavailable",
            "cap spent although there was room that faults kept out of reach: \(falseRefusals)",
            "presumed spent by sessions that are gone, at the end: "
                + "\(strandedNanoUSD / 1_000_000_000) dollars",
            "the most that one edge sent within a second: \(framesPerSecondMost) frames",
            "faults:",
        ]
        for fault in Fault.allCases {
            let name = fault.title + String(repeating: " ", count: max(0, 24 - fault.title.count))
            lines.append("  \(name) \(faults[fault])")
        }
        if !faults.missing.isEmpty {
            lines.append("never happened: \(faults.missing.map(\.title).joined(separator: ", "))")
        }
        for (seed, violation) in violations.prefix(10) {
            lines.append(
                "VIOLATION of \(violation.invariant) in seed \(seed) after \(violation.at) s: "
                    + violation.message)
            lines.append("  \(command) --seed \(seed) --trace")
        }
        lines.append(
            violations.isEmpty
                ? "no promise was broken" : "\(violations.count) seeds broke a promise")
        return lines
    }
}
