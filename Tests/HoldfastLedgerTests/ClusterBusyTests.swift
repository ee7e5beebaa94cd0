import HoldfastCore
import HoldfastLedger
import Testing

/// Nothing fails, and everybody wants the same money: a cap must be used up, not only kept.
@Suite struct `Cluster under load` {
    struct Row: Sendable, CustomTestStringConvertible {
        var seed: UInt64
        var edgeCount = 8
        var streamCount = 16
        var accountCount = 1
        /// A request costs at most one part in so many of the cap.
        var parts: UInt64
        var messagesPerRequestMax: Int

        var testDescription: String {
            "\(edgeCount) × \(streamCount) streams, \(accountCount) caps, 1/\(parts), seed \(seed)"
        }
    }

    private static let limit: UInt64 = 1_000_000
    private static let minimum = Amount(100)

    @Test(arguments: [
        Row(seed: 1, parts: 50, messagesPerRequestMax: 12),
        Row(seed: 2, parts: 50, messagesPerRequestMax: 12),
        Row(seed: 3, parts: 3, messagesPerRequestMax: 50),
        Row(seed: 4, parts: 2_000, messagesPerRequestMax: 2),
        Row(seed: 5, edgeCount: 2, streamCount: 1, parts: 50, messagesPerRequestMax: 8),
        Row(seed: 6, accountCount: 3, parts: 50, messagesPerRequestMax: 30),
        Row(seed: 7, edgeCount: 1, streamCount: 64, parts: 50, messagesPerRequestMax: 6),
    ])
    func `a cap is used to the end, and nobody is turned away before`(row: Row) {
        var cluster = Cluster(
            seed: row.seed, edgeCount: row.edgeCount,
            limits: Array(repeating: Self.limit, count: row.accountCount))
        cluster.minimum = Self.minimum
        cluster.isTurningAwayChecked = true
        var roundCount = 0
        while !isUsedUp(cluster), roundCount < 100_000 {
            roundCount += 1
            step(&cluster, row)
            if let failure = cluster.failures.first {
                Issue.record("round \(roundCount): \(failure)")
                return
            }
        }
        cluster.checkBooks()
        #expect(cluster.failures.isEmpty)
        let most = cluster.billed.max() ?? .zero
        #expect(most.rawValue * 100 >= Self.limit * 99, "billed \(most.rawValue)")
        let perRequest = cluster.messageCount / max(1, cluster.admittedCount)
        #expect(perRequest <= row.messagesPerRequestMax)
        print(
            "\(row.testDescription): \(cluster.admittedCount) requests,"
                + " \(perRequest) messages each, \(roundCount) rounds")
    }

    /// Every stream that is idle asks, some requests end, and messages go one way.
    private func step(_ cluster: inout Cluster, _ row: Row) {
        for edge in cluster.edges.indices {
            let busy = cluster.edges[edge].flights.count + cluster.edges[edge].waiting.count
            for _ in 0..<max(0, row.streamCount - busy) {
                let wanted = cluster.keys.indices.map { account in
                    (account, Amount(cluster.random.amount(100...(Self.limit / row.parts))))
                }
                cluster.request(on: edge, wanted)
            }
            for index in cluster.edges[edge].flights.indices.reversed()
            where cluster.random.chance(20) {
                cluster.settle(on: edge, flight: index)
            }
            cluster.tick(edge)
        }
        for _ in 0..<cluster.network.count { cluster.deliver(cluster.network.removeFirst()) }
        cluster.check()
    }

    private func isUsedUp(_ cluster: Cluster) -> Bool {
        cluster.billed.contains { Amount(Self.limit).excess(over: $0) < Self.minimum }
    }
}
