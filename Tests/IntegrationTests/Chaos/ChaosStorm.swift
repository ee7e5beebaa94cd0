import Synchronization

/// Many faults at once: each part of the cluster has a series of its own, all from one seed.
struct ChaosStorm: Sendable {
    private enum Part: UInt64, CaseIterable {
        case edges, counters, edgeLinks, storeLinks, servers
    }

    let seed: UInt64
    let length: Duration
    private let story = Story()

    init(seed: UInt64, length: Duration) {
        self.seed = seed
        self.length = length
    }

    /// What happened when, for people.
    var log: String { story.lines.withLock { $0 }.joined(separator: "\n") }

    func run(on chaos: ChaosSite) async throws {
        let start = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for part in Part.allCases {
                tasks.addTask { try await self.run(part, on: chaos, since: start) }
            }
            try await tasks.waitForAll()
        }
    }

    private func run(
        _ part: Part, on chaos: ChaosSite, since start: ContinuousClock.Instant
    ) async throws {
        var random = SeededRandom(seed: seed &* 31 &+ part.rawValue)
        var hadFailover = false
        while start.duration(to: .now) < length {
            try await Task.sleep(for: .milliseconds(Int.random(in: 200...3_000, using: &random)))
            let fault = Self.fault(part, &random, allowsFailover: !hadFailover)
            if fault.isFailover { hadFailover = true }
            story.tell("\(fault)", since: start)
            try await chaos.inject(fault)
            try await Task.sleep(for: .milliseconds(Int.random(in: 300...5_000, using: &random)))
            try await chaos.mend(fault)
            story.tell("mended: \(fault)", since: start)
        }
    }

    private static func fault(
        _ part: Part, _ random: inout SeededRandom, allowsFailover: Bool
    ) -> ChaosFault {
        let counter = Int.random(in: 0...1, using: &random)
        let edge = Int.random(in: 0..<ChaosSite.edgeCount, using: &random)
        let choice = Int.random(in: 0..<5, using: &random)
        let counters = choice == 0 ? [0, 1] : [counter]
        switch part {
        case .edges: return choice < 2 ? .edgeKilled(edge) : .edgePaused(edge)
        case .counters: return choice < 2 ? .counterKilled(counter) : .counterPaused(counter)
        case .edgeLinks: return .edgeLinks(weather(&random), counters: counters)
        case .storeLinks: return .storeLinks(weather(&random), counters: counters)
        case .servers:
            switch choice {
            case 0: return .primaryKilled
            case 1: return .primaryPaused
            case 2: return .primaryStopped
            case 3 where allowsFailover: return .failover
            default: return .standbyKilled
            }
        }
    }

    private static func weather(_ random: inout SeededRandom) -> FaultyLink.Weather {
        switch Int.random(in: 0..<4, using: &random) {
        case 0: .cut
        case 1: .blackHole
        case 2: .stalled
        default: .delayed(milliseconds: Int64.random(in: 20...200, using: &random))
        }
    }

    private final class Story: Sendable {
        let lines = Mutex<[String]>([])

        func tell(_ line: String, since start: ContinuousClock.Instant) {
            let milliseconds = start.duration(to: .now) / .milliseconds(1)
            lines.withLock { $0.append("  \(Int(milliseconds)) ms: \(line)") }
        }
    }
}
