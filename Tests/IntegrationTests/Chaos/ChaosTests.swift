import Foundation
import Testing

extension Integration {
    /// Real processes, of which something fails under load. The provider's bill is the judge.
    @Suite struct ChaosTests {
        @Test(arguments: ChaosScenario.chosen)
        func `a cap holds, and all goes on after`(scenario: ChaosScenario) async throws {
            do {
                var row = ChaosRow(name: scenario.name)
                try await withChaosSite(scenario.plan) { chaos in
                    do {
                        row = try await ChaosRun(scenario: scenario, chaos: chaos).judged()
                    } catch {
                        try chaos.keepLogs(as: scenario.name)
                        throw error
                    }
                    try chaos.keepLogs(as: scenario.name)
                }
                try ChaosTable.add(row)
                #expect(row.problems == [])
            } catch is SmallDisk.NotPermitted {
                try ChaosTable.add(
                    note: "\(scenario.name): skipped, because only root may mount a small disk.")
            } catch {
                try ChaosTable.add(ChaosRow(name: scenario.name, problems: ["\(error)"]))
                throw error
            }
        }
    }
}

/// One scenario from its load to its verdict.
struct ChaosRun: Sendable {
    let scenario: ChaosScenario
    let chaos: ChaosSite

    private static let warmUp = Duration.seconds(3)
    private static let coolDown = Duration.seconds(2)

    func judged() async throws -> ChaosRow {
        let load = ChaosLoad(chaos, seed: scenario.seed ?? 1)
        var row = try await load.run { load in
            try await Task.sleep(for: Self.warmUp)
            var row = try await breakAndMend(load)
            row.recovery = await recovery()
            try await Task.sleep(for: Self.coolDown)
            load.enter(.spurt)
            try await load.ended(within: .seconds(75))
            return row
        }
        row.tally = load.tally
        try await judge(&row)
        return row
    }

    private func breakAndMend(_ load: ChaosLoad) async throws -> ChaosRow {
        let before = load.tally.served
        if let seed = scenario.seed {
            let storm = ChaosStorm(seed: seed, length: .seconds(scenario.seconds))
            defer { print("storm of seed \(seed):\n\(storm.log)") }
            try await storm.run(on: chaos)
        } else {
            for fault in scenario.faults { try await chaos.inject(fault) }
            try await Task.sleep(for: .seconds(scenario.seconds))
        }
        var row = ChaosRow(name: scenario.name, capNanoUSD: chaos.capNanoUSD)
        row.servedMeanwhile = load.tally.served - before
        for fault in scenario.faults { try await chaos.mend(fault) }
        return row
    }

    // MARK: - Recovery

    /// From now until on every edge several new accounts were granted budget: they are placed on both
    /// counters, and no edge has a slice of them.
    private func recovery() async -> Duration? {
        let mended = ContinuousClock.now
        return await withTaskGroup(of: Duration?.self) { tasks in
            for edge in chaos.edges {
                for number in 0..<4 {
                    let user = "\(edge.process.name)-\(edge.port)-\(number)"
                    tasks.addTask { await self.granted(user, by: edge, since: mended) }
                }
            }
            var slowest: Duration? = .zero
            for await time in tasks {
                slowest = slowest.flatMap { slowest in time.map { max(slowest, $0) } }
            }
            return slowest
        }
    }

    private func granted(
        _ user: String, by edge: Node, since mended: ContinuousClock.Instant
    ) async -> Duration? {
        let call = Call(mark: "[[tokens=1]][[delay=0]]", maxTokens: 1).from(user: user)
        var story: [String] = []
        do {
            let time = try await eventually("a new account", within: scenario.recoveryMax) {
                let answer: String
                do {
                    let response = try await edge.send(call)
                    if response.status == 200 { return mended.duration(to: .now) }
                    answer = response.reason ?? "\(response.status)"
                } catch {
                    answer = "\(error)"
                }
                story.append("\(mended.duration(to: .now).milliseconds) ms: \(answer)")
                return Duration?.none
            }
            if time > .seconds(2), scenario.recoveryMax < .seconds(60) {
                tell(user, story + ["served after \(time.milliseconds) ms"])
            }
            return time
        } catch {
            tell(user, story)
            return nil
        }
    }

    /// Why it took so long: the last few answers of many.
    private func tell(_ user: String, _ story: [String]) {
        print("recovery of \(user): " + story.suffix(6).joined(separator: "; "))
    }

    // MARK: - Verdict

    private func judge(_ row: inout ChaosRow) async throws {
        for edge in chaos.edges { try await edge.settled() }
        let bill = try await chaos.provider.finalBill()
        row.billNanoUSD = bill.nanoUSDRoundedUp
        for node in chaos.counters + chaos.edges where !node.process.isRunning {
            row.problems.append("\(node.process.name) has ended: \(node.process.log.suffix(1_000))")
        }
        row.frozen = try await frozen()
        let tally = row.tally
        let conditions: [(holds: Bool, text: String)] = [
            (row.billNanoUSD <= row.capNanoUSD, "the bill is above the cap"),
            (row.billNanoUSD >= row.capNanoUSD / 100 * 80, "the cap was not used up"),
            (tally.spentCap > 0, "nobody was refused by the cap"),
            (tally.refusedEarly == 0, "the cap was spent before the fault was over"),
            (tally.strange == [], "strange statuses: \(tally.strange)"),
            (scenario.killsEdge || tally.broken == 0, "\(tally.broken) requests broke"),
            (row.recovery != nil, "no new budget within \(scenario.recoveryMax)"),
            (row.frozen == 0, "\(row.frozen) accounts are frozen"),
            (
                try await sum("holdfast_overrun_usd_total", of: chaos.edges) == 0,
                "an edge has charged more than a hold"
            ),
            (
                row.servedMeanwhile > 0 || !scenario.mustServeMeanwhile,
                "nothing was served meanwhile"
            ),
        ]
        row.problems += conditions.filter { !$0.holds }.map(\.text)
        try await judgeFaults(&row)
        try await judgeBooks(&row)
    }

    private func frozen() async throws -> Int {
        let count = try await sum("holdfast_counter_frozen_accounts_total", of: chaos.counters)
        let accounts = try await chaos.counters[0].accounts()
        return Int(count) + accounts.count { $0.status == "frozen" }
    }

    private func sum(_ metric: String, of nodes: [Node]) async throws -> Double {
        var sum = 0.0
        for node in nodes {
            sum += try #require(try await node.metric(metric).flatMap(Double.init))
        }
        return sum
    }

    /// A fault that nobody has noticed was none.
    private func judgeFaults(_ row: inout ChaosRow) async throws {
        if scenario.faults.contains(where: \.failsStore),
            try await sum("holdfast_counter_store_failures_total", of: chaos.counters) == 0
        {
            row.problems.append("the store never failed")
        }
        if scenario.faults.contains(where: \.losesCounter),
            chaos.edges.allSatisfy({ $0.process.events("counter connection lost").isEmpty })
        {
            row.problems.append("no edge ever lost a counter")
        }
    }

    /// Our books equal the bill; for killed edges they may say more, never less.
    private func judgeBooks(_ row: inout ChaosRow) async throws {
        guard scenario.killsEdge else { return try await expectEqualBooks(&row) }
        var last: UInt64?
        var since = ContinuousClock.now
        // What is idle goes back within a second; then only dead sessions hold something.
        let charged = try await eventually("the books to be at rest") { () -> UInt64? in
            let sums = try await chaos.books().map { account -> UInt64? in
                guard let spent = account.spentNanoUSD, let reserved = account.reservedNanoUSD
                else { return nil }
                return spent + reserved
            }
            // The counters agree, also on what each of them was not asked about.
            guard sums.count == chaos.counters.count, Set(sums).count == 1 else { return nil }
            if sums[0] != last { since = .now }
            last = sums[0]
            return since.duration(to: .now) > .seconds(2) ? last : nil
        }
        guard charged >= row.billNanoUSD else {
            return row.problems.append("charged \(charged) n$, less than was billed")
        }
        row.strandedNanoUSD = charged - row.billNanoUSD
    }

    private func expectEqualBooks(_ row: inout ChaosRow) async throws {
        let bill = row.billNanoUSD
        var last: [Account] = []
        do {
            _ = try await eventually("the books to be closed", within: .seconds(15)) {
                last = try await chaos.books()
                let isClosed = last.allSatisfy {
                    $0.reservedNanoUSD == 0 && $0.spentNanoUSD == bill
                }
                return isClosed && last.count == chaos.counters.count ? true : nil
            }
        } catch {
            row.problems.append("\(error): bill \(bill) n$, \(last)")
        }
    }
}
