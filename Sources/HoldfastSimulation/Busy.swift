import HoldfastCore
import HoldfastLedger

extension Simulation {
    /// What eight busy edges make of one small cap when nothing goes wrong.
    public struct BusyOutcome: Sendable {
        public let seed: UInt64
        public let violation: Violation?
        public let admitted: Int
        public let refusedSpent: Int
        /// Told that the cap is spent while the smallest request would have fitted.
        public let refusedTooEarly: Int
        /// Ten-thousandths of the cap that were billed.
        public let used: Int
    }

    /// 8 edges × 16 streams, each asking again as soon as it is answered, until the cap is spent.
    public static func runBusy(seed: UInt64) -> BusyOutcome {
        var scenario = Scenario(seed: seed, hours: 1)
        var random = SplitMix(seed: seed)
        scenario.makeBusy(requests: 300 + UInt64(random.below(700)))
        let world = World(scenario, isTracing: false)
        world.streamsPerEdge = 16
        for edge in 0..<scenario.edgeCount { world.schedule(.streams(edge: edge), in: 2_000) }
        world.run(until: 400_000)
        let account = world.auditor.accounts.first
        let billed = account?.billed.rawValue ?? 0
        return BusyOutcome(
            seed: seed, violation: world.outcome.violation, admitted: world.auditor.admitted,
            refusedSpent: world.auditor.refusedSpent,
            refusedTooEarly: world.auditor.falseRefusals,
            used: Int(billed * 10_000 / scenario.caps[0].limit.rawValue))
    }
}

extension Scenario {
    /// One small cap, no faults, a quick network.
    mutating func makeBusy(requests: UInt64) {
        edgeCount = 8
        faults = FaultRates()
        isJournaled = false
        latency = 1...3
        commitLatency = 1...4
        startsAt = 1_780_272_060
        tokens = 100...400
        largestRequest = seed.isMultiple(of: 2) ? 8 * tokens.upperBound : tokens.upperBound
        durationMax = 2_000
        quietMean = 1_000_000_000
        let cost = 250 * Self.price.nanoUSDPerMillionTokens / 1_000_000
        caps = [Cap(name: "all", unit: .usd, limit: Amount(cost * requests), period: .day)]
    }
}

extension World {
    /// Keeps so many requests going on an edge. With an even seed the first edge asks for a few large
    /// ones instead, for which the others have to give back what lies idle in their slices.
    func keepStreaming(_ edge: Int) {
        guard auditor.refusedSpent < 2_000 else { return }
        if edge == 0, scenario.seed.isMultiple(of: 2) {
            schedule(.streams(edge: edge), in: 700)
            let tokens = scenario.largestRequest
            let wanted = Wanted(tenant: 0, user: 0, most: tokens, least: tokens)
            return whenAwake(edge) { $0.admit(wanted, on: edge) }
        }
        schedule(.streams(edge: edge), in: 10)
        while edges[edge].isUp,
            edges[edge].flights.count + edges[edge].waiting.count < streamsPerEdge
        {
            let before = auditor.refusedSpent + auditor.refusedInFlight + auditor.refusedUnavailable
            let most = random.within(scenario.tokens)
            let wanted = Wanted(tenant: 0, user: 0, most: most, least: scenario.tokens.lowerBound)
            whenAwake(edge) { $0.admit(wanted, on: edge) }
            let after = auditor.refusedSpent + auditor.refusedInFlight + auditor.refusedUnavailable
            if after > before { return }
        }
    }
}
