import Foundation
import Testing

extension Integration {
    /// Edges and counters far from each other. Part of `make chaos`.
    @Suite(.enabled(if: ChaosSettings.isComplete && ChaosSettings.only.isEmpty))
    struct DistanceTests {
        private static let away = FaultyLink.Weather.delayed(milliseconds: 100)

        @Test(arguments: [false, true])
        func `edges that are 100 ms away decide by themselves`(hasLargeOnes: Bool) async throws {
            try await withChaosSite(.init(capDollars: hasLargeOnes ? 6 : 3)) { chaos in
                for place in chaos.counterPlaces { try await place.link.set(Self.away) }
                let load = ChaosLoad(chaos, seed: 11, hasLargeOnes: hasLargeOnes)
                let span = try await load.run { load in
                    let span = try await Self.watch(chaos)
                    load.enter(.spurt)
                    try await load.ended(within: .seconds(60))
                    return span
                }
                let bill = try await chaos.provider.finalBill().nanoUSDRoundedUp
                let decisions = span.end.subtracting(span.start)
                let mix = hasLargeOnes ? "one request in eight is large" : "requests alike"
                try ChaosTable.add(
                    note: """
                        100 ms of delay in each direction between edges and counters, \
                        \(mix): of \(decisions.count) decisions before 90 % of the cap were \
                        used, \(decisions.localPercent.text(3)) % were local \
                        (\(Int(span.start.waited)) waited for the first slices, before that); \
                        p99 of a decision \(decisions.p99Text); \
                        billed \(Self.percent(bill, chaos.capNanoUSD)) % of the cap; \
                        \(load.tally.unavailable) × 503.
                        """)
                // A large request may be larger than all that an edge keeps.
                #expect(decisions.localPercent >= (hasLargeOnes ? 95 : 99.9))
                #expect(decisions.count > 1_000)
                if ChaosSettings.isOptimised { #expect(decisions.quantile(0.99) <= 0.001) }
                #expect(bill <= chaos.capNanoUSD)
                #expect(load.tally.spentCap > 0)
                #expect(load.tally.unavailable == 0 && load.tally.refusedEarly == 0)
                #expect(load.tally.broken == 0 && load.tally.strange == [])
            }
        }

        @Test(arguments: [false, true])
        func `what one edge has spent counts on another within a second`(isFar: Bool) async throws {
            // A request that does not fit is refused, not cut down, and the refusal says what is spent.
            try await withChaosSite(.init(limits: "clamp: false")) { chaos in
                if isFar {
                    for place in chaos.counterPlaces { try await place.link.set(Self.away) }
                }
                var times: [Double] = []
                for trial in 0..<120 {
                    times.append(try await Self.freshness(chaos, user: "reader-\(trial)"))
                }
                times.sort()
                let p99 = times[times.count * 99 / 100]
                let place = isFar ? "100 ms away" : "near"
                let p50 = times[times.count / 2]
                try ChaosTable.add(
                    note: """
                        From the end of a request on one edge until another edge's decision \
                        shows what it cost, \(place): p50 \(p50.text(0)) ms, \
                        p99 \(p99.text(0)) ms, longest \((times.last ?? 0).text(0)) ms, \
                        of \(times.count).
                        """)
                #expect(p99 <= 1_000)
            }
        }

        // MARK: - Steps

        private static func percent(_ bill: UInt64, _ cap: UInt64) -> String {
            (Double(bill) / Double(cap) * 100).text(3)
        }

        /// The edges' counts after the first seconds, and when almost 90 % of the cap were billed.
        private static func watch(
            _ chaos: ChaosSite
        ) async throws -> (start: Decisions, end: Decisions) {
            try await Task.sleep(for: .seconds(5))
            let start = try await Decisions(of: chaos.edges)
            var end = start
            let limit = ContinuousClock.now + .seconds(75)
            while ContinuousClock.now < limit {
                // Counted first: what is billed meanwhile only makes this stricter.
                let now = try await Decisions(of: chaos.edges)
                let bill = try await chaos.provider.bill().nanoUSDRoundedUp
                guard bill < chaos.capNanoUSD / 10 * 9 else { break }
                end = now
                try await Task.sleep(for: .milliseconds(100))
            }
            return (start, end)
        }

        /// Milliseconds from one edge's answer until the other edge knows its cost.
        private static func freshness(_ chaos: ChaosSite, user: String) async throws -> Double {
            let (one, other) = (chaos.edges[0], chaos.edges[1])
            // $0.05 of $0.10, and as much again, of which more has to be held.
            let spend = Call(mark: "[[tokens=5000]][[delay=0]]", maxTokens: 5_000)
            let probe = Call(mark: "[[tokens=1]]", maxTokens: 5_000).from(user: user)
            let first = try await one.send(spend.from(user: user))
            #expect(first.status == 200, "\(first.text.prefix(500))")
            let answered = ContinuousClock.now
            return try await eventually("\(user)'s spending to be seen", within: .seconds(10)) {
                let refusal = try await other.send(probe)
                #expect(refusal.status != 200, "served beyond what is left")
                let spent = (refusal.holdfast["spent"] as? String).flatMap(nanoUSD(dollars:)) ?? 0
                guard spent >= 50_000_000 else { return nil }
                return answered.duration(to: .now) / .milliseconds(1)
            }
        }
    }
}

/// What edges say about their decisions, summed up.
private struct Decisions: Sendable {
    private(set) var local = 0.0
    private(set) var waited = 0.0
    /// By upper bound in seconds; each counts all up to it.
    private var buckets: [Double: Double] = [:]

    init(of edges: [Node]) async throws {
        for edge in edges {
            let text = try await edge.admin("/metrics").text
            for line in text.split(separator: "\n") { note(line) }
        }
    }

    private mutating func note(_ line: Substring) {
        guard let value = line.split(separator: " ").last.flatMap({ Double($0) }) else { return }
        let admissions = "holdfast_admissions_total{decided="
        if line.hasPrefix(admissions + "\"locally\"}") { local += value }
        if line.hasPrefix(admissions + "\"after_waiting\"}") { waited += value }
        if line.hasPrefix("holdfast_decision_seconds_bucket"),
            let text = line.firstMatch(of: /le="([^"]+)"/)?.1
        {
            let bound = text == "+Inf" ? .infinity : Double(text) ?? .infinity
            buckets[bound, default: 0] += value
        }
    }

    func subtracting(_ earlier: Decisions) -> Decisions {
        var difference = self
        difference.local -= earlier.local
        difference.waited -= earlier.waited
        for (bound, count) in earlier.buckets { difference.buckets[bound, default: 0] -= count }
        return difference
    }

    var count: Int { Int(local + waited) }
    var localPercent: Double { local * 100 / max(1, local + waited) }

    /// With how many took longer than the longest that is told apart.
    var p99Text: String {
        let bound = quantile(0.99)
        if bound < .infinity { return "at most \((bound * 1_000_000).text(1)) µs" }
        let total = buckets[.infinity] ?? 0
        let longest = buckets.keys.filter { $0 < .infinity }.max() ?? 0
        let above = (total - (buckets[longest] ?? 0)) * 100 / max(1, total)
        return "above \((longest * 1_000).text(1)) ms: \(above.text(1)) % were"
    }

    /// The upper bound of the bucket that it is in.
    func quantile(_ part: Double) -> Double {
        let total = buckets[.infinity] ?? 0
        return buckets.filter { $0.value >= total * part }.keys.min() ?? .infinity
    }
}

extension Double {
    fileprivate func text(_ decimals: Int) -> String { String(format: "%.\(decimals)f", self) }
}
