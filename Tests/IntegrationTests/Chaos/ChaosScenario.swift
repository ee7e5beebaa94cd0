import Testing

/// What goes wrong in one row of the table, and what must hold all the same.
struct ChaosScenario: Sendable, CustomTestStringConvertible {
    var name: String
    var faults: [ChaosFault]
    /// From the fault until it is mended.
    var seconds = 4.0
    var plan = ChaosSite.Plan()
    /// Budget that the edges held when it began must go on being spent.
    var mustServeMeanwhile = true
    /// Part of `make test`.
    var isShort = false
    /// Instead of `faults`: many, at random, from this seed.
    var seed: UInt64?

    var testDescription: String { name }

    var killsEdge: Bool { seed != nil || faults.contains(where: \.killsEdge) }

    /// From mended until every new account is granted budget.
    var recoveryMax: Duration {
        seed != nil || faults.contains(where: \.isFailover) ? .seconds(60) : .seconds(20)
    }
}

extension ChaosScenario {
    private static let both = [0, 1]

    static let processes: [ChaosScenario] = [
        ChaosScenario(name: "edge killed", faults: [.edgeKilled(0)], seconds: 1),
        ChaosScenario(
            name: "edge killed, with a journal", faults: [.edgeKilled(0)], seconds: 1,
            plan: .init(hasJournals: true)),
        ChaosScenario(name: "edge paused for 6 s", faults: [.edgePaused(1)], seconds: 6),
        ChaosScenario(name: "counter killed", faults: [.counterKilled(0)], seconds: 2),
        ChaosScenario(name: "counter paused for 6 s", faults: [.counterPaused(1)], seconds: 6),
        ChaosScenario(
            name: "edge and counter killed", faults: [.edgeKilled(2), .counterKilled(1)],
            seconds: 1, plan: .init(hasJournals: true), isShort: true),
    ]

    static let stores: [ChaosScenario] = [
        ChaosScenario(name: "primary killed and started", faults: [.primaryKilled]),
        ChaosScenario(
            name: "primary paused for 10 s", faults: [.primaryPaused], seconds: 10, isShort: true),
        ChaosScenario(name: "PostgreSQL restarted", faults: [.primaryStopped], seconds: 1),
        ChaosScenario(
            name: "primary killed, standby promoted", faults: [.failover], seconds: 1,
            isShort: true),
        ChaosScenario(name: "standby killed and started", faults: [.standbyKilled]),
        ChaosScenario(
            name: "disk full for 5 s (SQLite)", faults: [.diskFull], seconds: 5,
            plan: .init(store: .smallDisk)),
    ]

    static let edgeLinks: [ChaosScenario] = [
        ChaosScenario(
            name: "edges – one counter cut", faults: [.edgeLinks(.cut, counters: [0])]),
        ChaosScenario(
            name: "edges – one counter black hole",
            faults: [.edgeLinks(.blackHole, counters: [1])]),
        ChaosScenario(
            name: "edges – counters cut for 5 s", faults: [.edgeLinks(.cut, counters: both)],
            seconds: 5, isShort: true),
        ChaosScenario(
            name: "edges – counters black hole for 5 s",
            faults: [.edgeLinks(.blackHole, counters: both)], seconds: 5),
        ChaosScenario(
            name: "edges – counters stalled for 5 s",
            faults: [.edgeLinks(.stalled, counters: both)], seconds: 5),
        ChaosScenario(
            name: "edges – counters 100 ms away for 10 s",
            faults: [.edgeLinks(.delayed(milliseconds: 100), counters: both)], seconds: 10),
    ]

    /// The account of the cap that all requests share is mostly placed on counter 1.
    static let storeLinks: [ChaosScenario] = [
        ChaosScenario(
            name: "one counter – store cut", faults: [.storeLinks(.cut, counters: [1])]),
        ChaosScenario(
            name: "one counter – store black hole",
            faults: [.storeLinks(.blackHole, counters: [1])]),
        ChaosScenario(
            name: "counters – store cut for 5 s", faults: [.storeLinks(.cut, counters: both)],
            seconds: 5),
        ChaosScenario(
            name: "counters – store black hole for 5 s",
            faults: [.storeLinks(.blackHole, counters: both)], seconds: 5),
        ChaosScenario(
            name: "counters – store stalled for 5 s",
            faults: [.storeLinks(.stalled, counters: both)], seconds: 5),
        ChaosScenario(
            name: "counters – store 50 ms away for 10 s",
            faults: [.storeLinks(.delayed(milliseconds: 50), counters: both)], seconds: 10),
    ]

    /// Everything at once.
    static func storm(seed: UInt64) -> ChaosScenario {
        ChaosScenario(
            name: "everything at once, seed \(seed)", faults: [], seconds: 30,
            plan: .init(hasJournals: true, capDollars: 30), seed: seed)
    }

    static let chosen: [ChaosScenario] = {
        let all = processes + stores + edgeLinks + storeLinks
        guard ChaosSettings.isComplete else { return all.filter(\.isShort) }
        let storms = (0..<ChaosSettings.rounds).map { storm(seed: ChaosSettings.seed &+ $0) }
        return (all + storms).filter {
            ChaosSettings.only.isEmpty || $0.name.contains(ChaosSettings.only)
        }
    }()
}
