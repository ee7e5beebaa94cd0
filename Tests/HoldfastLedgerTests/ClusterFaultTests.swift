import HoldfastCore
import HoldfastLedger
import Testing

/// Thousands of random histories of a small cluster. After every step the provider's bill and all
/// that is in flight must fit; after the network has healed everything that is left must be usable.
@Suite struct `Cluster with faults` {
    private static let seedCount = 2_000
    private static let stepCount = 200

    @Test(arguments: 0..<8)
    func `faults never cross a cap, and leave nothing blocked once healed`(part: Int) {
        let share = Self.seedCount / 8
        for seed in (part * share)..<((part + 1) * share) {
            let failure = Self.firstFailure(seed: UInt64(seed))
            #expect(failure == nil, "seed \(seed)")
            if failure != nil { return }
        }
    }

    // MARK: - One history

    static func firstFailure(seed: UInt64) -> String? {
        var draw = SplitMix(seed: seed ^ 0xA5A5)
        let accountCount = 1 + draw.below(3)
        let limits = (0..<accountCount).map { _ in draw.amount(20...2_000) }
        let observed: Set<Int> = draw.chance(25) ? [accountCount - 1] : []
        var cluster = Cluster(seed: seed, edgeCount: 3, limits: limits, observed: observed)
        let faultPercent = [0, 0, 3, 10, 30][draw.below(5)]
        let isOrdered = draw.chance(50)
        for step in 0..<stepCount {
            act(&cluster, faultPercent: faultPercent, isOrdered: isOrdered)
            cluster.check()
            if step.isMultiple(of: 4) { cluster.checkBooks() }
            if let failure = cluster.failures.first { return "step \(step): \(failure)" }
        }
        heal(&cluster)
        cluster.check()
        cluster.checkBooks()
        return cluster.failures.first
    }

    private static func act(_ cluster: inout Cluster, faultPercent: Int, isOrdered: Bool) {
        let edge = cluster.random.below(cluster.edges.count)
        switch cluster.random.below(100) {
        case ..<22: randomRequest(&cluster, edge)
        case ..<40:
            let count = cluster.edges[edge].flights.count
            if count > 0 { cluster.settle(on: edge, flight: cluster.random.below(count)) }
        case ..<58:
            cluster.tick(edge, count: cluster.random.chance(10) ? 15 : 1)
        case ..<94: exchange(&cluster, faultPercent: faultPercent, isOrdered: isOrdered)
        case ..<96:
            if let waiter = cluster.edges[edge].waiting.last?.id {
                cluster.withdraw(on: edge, waiter)
            }
        case ..<97:
            let account = cluster.random.below(cluster.keys.count)
            if let epoch = cluster.ledgers[account].openRecallEpoch {
                cluster.apply(.recallTimedOut(epoch: epoch), to: account)
                cluster.decide(account)
            }
        case ..<98:
            let account = cluster.random.below(cluster.keys.count)
            cluster.setLimit(account, Amount(cluster.random.amount(10...2_500)))
        default:
            if cluster.random.chance(faultPercent * 2) { disaster(&cluster, edge) }
        }
    }

    private static func randomRequest(_ cluster: inout Cluster, _ edge: Int) {
        let touched = cluster.keys.indices.filter { _ in cluster.random.chance(60) }
        let accounts = touched.isEmpty ? [cluster.random.below(cluster.keys.count)] : touched
        let isLarge = cluster.random.chance(10)
        let wanted = accounts.map { account in
            let limit = cluster.limits[account].rawValue
            let most = isLarge ? limit + limit / 2 : max(1, limit / 8)
            return (account: account, ceiling: Amount(cluster.random.amount(0...most)))
        }
        cluster.request(on: edge, wanted)
    }

    private static func exchange(_ cluster: inout Cluster, faultPercent: Int, isOrdered: Bool) {
        for _ in 0..<(1 + cluster.random.below(4)) where !cluster.network.isEmpty {
            let index = isOrdered ? 0 : cluster.random.below(cluster.network.count)
            if cluster.random.chance(faultPercent) {
                // Twice, or never.
                if cluster.random.chance(50) {
                    cluster.deliver(cluster.network[index])
                } else {
                    cluster.network.remove(at: index)
                }
            } else {
                cluster.deliver(cluster.network.remove(at: index))
            }
        }
    }

    private static func disaster(_ cluster: inout Cluster, _ edge: Int) {
        switch cluster.random.below(6) {
        case 0: cluster.crash(edge)
        case 1:
            // Taken for dead while it is alive: a zombie goes on with what it has.
            if !cluster.closed.contains(cluster.edges[edge].session) {
                cluster.close(cluster.edges[edge].session)
            }
        case 2, 3: cluster.restartCounter()
        case 4: cluster.reconnect(edge)
        default:
            cluster.tick(edge, count: 6_100)
            cluster.edges[edge].ledger.forgetUnused()
        }
    }

    // MARK: - Afterwards

    private static func heal(_ cluster: inout Cluster) {
        cluster.network = []
        for session in (1..<cluster.nextSession).map({ SessionID($0) }) {
            let isLive = cluster.edges.contains { $0.session == session }
            if !isLive, !cluster.closed.contains(session) { cluster.close(session) }
        }
        for edge in cluster.edges.indices {
            if cluster.closed.contains(cluster.edges[edge].session) { cluster.crash(edge) }
        }
        cluster.network = []
        for edge in cluster.edges.indices { cluster.reconnect(edge) }
        for round in 0..<400 {
            guard cluster.deliverAll(atMost: 20_000) else {
                return cluster.failures.append(
                    "messages without end in round \(round): \(cluster.summary)")
            }
            if cluster.ledgers.contains(where: { $0.openRecallEpoch != nil }) {
                cluster.failures.append("a recall was not answered")
            }
            let isQuiet = cluster.edges.allSatisfy { $0.flights.isEmpty && $0.waiting.isEmpty }
            if isQuiet { break }
            for edge in cluster.edges.indices {
                if !cluster.edges[edge].flights.isEmpty { cluster.settle(on: edge, flight: 0) }
                cluster.tick(edge)
            }
        }
        if cluster.edges.contains(where: { !$0.waiting.isEmpty }) {
            return cluster.failures.append("waits for ever: \(cluster.summary)")
        }
        checkUsable(&cluster)
        checkBooks(&cluster)
    }

    /// One edge can get all that is left, wherever it is idle.
    private static func checkUsable(_ cluster: inout Cluster) {
        for account in cluster.keys.indices where !cluster.isObserved[account] {
            let edge = cluster.random.below(cluster.edges.count)
            for edge in cluster.edges.indices { cluster.sendReports(from: edge) }
            _ = cluster.deliverAll(atMost: 20_000)
            let left = cluster.limits[account].excess(over: cluster.ledgers[account].totalSpent)
            guard left > .zero else { continue }
            cluster.request(on: edge, [(account, left)])
            for _ in 0..<3 {
                _ = cluster.deliverAll(atMost: 20_000)
                for edge in cluster.edges.indices { cluster.tick(edge) }
            }
            guard let flight = cluster.edges[edge].flights.last else {
                return cluster.failures.append("blocked: \(left.rawValue) left, \(cluster.summary)")
            }
            if flight.request.demands[0].amount != left {
                cluster.failures.append("less than what was left")
            }
            cluster.check()
            cluster.settle(on: edge, flight: cluster.edges[edge].flights.count - 1)
        }
    }

    /// With nobody lost, the counter ends with exactly what the provider has charged.
    private static func checkBooks(_ cluster: inout Cluster) {
        for _ in 0..<3 {
            for edge in cluster.edges.indices { cluster.tick(edge) }
            _ = cluster.deliverAll(atMost: 20_000)
        }
        for account in cluster.keys.indices {
            let total = cluster.ledgers[account].totalSpent
            let bill = cluster.billed[account]
            let isExact = cluster.lostSessionCount == 0 && cluster.closed.isEmpty
            if isExact ? total != bill : (total < bill && !cluster.isObserved[account]) {
                cluster.failures.append("counted \(total.rawValue), billed \(bill.rawValue)")
            }
        }
    }
}
