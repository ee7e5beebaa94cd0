import HoldfastCore

/// What one seed simulates: the cluster, its caps, its traffic, and which faults can happen.
struct Scenario {
    /// How often faults of one kind happen.
    struct FaultRates {
        // Per mille of frames.
        var loss = 0
        var duplication = 0
        var replay = 0
        var reordering = 0
        var delay = 0
        // Per mille of store commits.
        var conflict = 0
        var unknownKept = 0
        var unknownLost = 0
        // Per mille of requests.
        var overrun = 0
        var callerGone = 0
        /// Things that happen at a moment, drawn from this list.
        var disasters: [Fault] = []
        /// Disasters per simulated hour.
        var disastersPerHour = 0
    }

    var seed: UInt64
    var hours: UInt64
    var edgeCount: Int
    var counterCount: Int
    var caps: [Cap]
    var tenantCount: Int
    var userCount: Int
    var faults: FaultRates
    /// Frames of a connection come in order, as over TCP; else any may overtake any.
    var isOrdered: Bool
    var isJournaled: Bool
    /// One-way, in milliseconds, to each counter.
    var latency: ClosedRange<UInt64>
    /// Milliseconds that a commit takes.
    var commitLatency: ClosedRange<UInt64>
    /// Wall clock at the start, in seconds since 1970.
    var startsAt: Int64
    /// Tokens that a request may cost at most.
    var tokens: ClosedRange<UInt64>
    /// In tokens, what anybody asks for at most.
    var largestRequest: UInt64
    var durationMax: UInt64
    /// Mean time between two spells of traffic, in milliseconds.
    var quietMean: UInt64
    var spellMax: UInt64
    /// Requests per second in a spell, at most.
    var rateMax: UInt64

    var isFaultFree: Bool {
        faults.disasters.isEmpty && faults.loss == 0 && faults.duplication == 0
            && faults.replay == 0 && faults.reordering == 0 && faults.delay == 0
            && faults.conflict == 0 && faults.unknownKept == 0 && faults.unknownLost == 0
            && faults.overrun == 0
    }

    /// Nano-dollars per million output tokens: $15.
    static let price = TokenPrice(nanoUSDPerMillionTokens: 15_000_000_001)

    init(seed: UInt64, hours: UInt64) {
        var random = SplitMix(seed: seed &* 0x2545_F491_4F6C_DD1D ^ 0x5EED)
        self.seed = seed
        self.hours = hours
        edgeCount = 2 + random.below(3)
        counterCount = 1 + random.below(3)
        tenantCount = 1 + random.below(3)
        userCount = 1 + random.below(8)
        isOrdered = random.chance(600)
        isJournaled = random.chance(300)
        latency = random.chance(500) ? 1...3 : 5...(10 + UInt64(random.below(60)))
        commitLatency = random.chance(700) ? 1...4 : 5...40
        startsAt = Self.start(&random)
        let typical = 1 + random.scaled(100...4_000)
        tokens = (typical / 10 + 1)...(typical * 3)
        largestRequest = tokens.upperBound
        durationMax = random.chance(200) ? 400_000 : 20_000
        quietMean = 60_000 + random.within(0...400_000)
        spellMax = 5_000 + random.within(0...40_000)
        rateMax = 2 + random.scaled(0...30)
        caps = Self.caps(typical: typical, &random)
        faults = random.chance(120) ? FaultRates() : Self.faults(&random)
    }

    // MARK: - Parts

    /// Shortly before an hour, a day, a week, a month or a change of clocks begins, or anywhere.
    private static func start(_ random: inout SplitMix) -> Int64 {
        let hour: Int64 = 3_600
        // 2026-03-29 01:00 UTC: Berlin's clocks change. 2026-06-01 is a Monday and a first.
        let moments: [Int64] = [1_774_746_000, 1_780_272_000, 1_798_761_600, 1_792_371_600]
        let moment = random.pick(moments)
        guard random.chance(800) else { return moment + Int64(random.below(400)) * hour + 77 }
        return moment - Int64(60 + random.below(3_000))
    }

    private static func caps(typical: UInt64, _ random: inout SplitMix) -> [Cap] {
        let requestCost = typical * price.nanoUSDPerMillionTokens / 1_000_000
        func limit(_ unit: CapUnit, _ random: inout SplitMix) -> Amount {
            let requests = random.scaled(3...1_500)
            return Amount(
                (unit == .usd ? requestCost : typical) * requests + UInt64(random.below(99)))
        }
        let periods: [PeriodKind] = [.hour, .hour, .day, .week, .month, .total]
        var caps = [
            Cap(
                name: "all", unit: .usd, limit: limit(.usd, &random), period: random.pick(periods),
                zone: random.pick(["UTC", "Berlin"]))
        ]
        if random.chance(600) {
            caps.append(
                Cap(
                    name: "tenant", unit: .usd, limit: limit(.usd, &random),
                    period: random.pick(periods), each: [.tenant]))
        }
        if random.chance(600) {
            caps.append(
                Cap(
                    name: "user", unit: .tokens, limit: limit(.tokens, &random),
                    period: random.pick(periods), zone: random.pick(["UTC", "Berlin"]),
                    each: [.tenant, .user]))
        }
        if random.chance(200) {
            caps.append(
                Cap(
                    name: "watched", unit: .tokens, limit: limit(.tokens, &random), period: .day,
                    mode: .observe))
        }
        return caps
    }

    private static func faults(_ random: inout SplitMix) -> FaultRates {
        var rates = FaultRates()
        // Swarm: each kind is there or not, so that rare ones are not always drowned by others.
        func maybe(_ random: inout SplitMix, _ most: Int) -> Int {
            random.chance(350) ? 1 + Int(random.scaled(0...UInt64(most))) : 0
        }
        rates.loss = maybe(&random, 300)
        rates.duplication = maybe(&random, 300)
        rates.replay = maybe(&random, 100)
        rates.reordering = maybe(&random, 300)
        rates.delay = maybe(&random, 50)
        rates.conflict = maybe(&random, 200)
        rates.unknownKept = maybe(&random, 30)
        rates.unknownLost = maybe(&random, 30)
        rates.overrun = maybe(&random, 30)
        rates.callerGone = maybe(&random, 50)
        rates.disasters = Fault.disasters.filter { _ in random.chance(400) }
        rates.disastersPerHour = 2 + Int(random.scaled(0...60))
        return rates
    }

    /// The offsets of the zones that caps name: UTC, and Berlin's rules for 2025 to 2027.
    static let zones: [String: ZoneOffsets] = [
        "UTC": .utc,
        "Berlin": ZoneOffsets(
            initialOffsetSeconds: 3_600,
            transitions: [
                .init(at: UnixTime(1_743_296_400), offsetSeconds: 7_200),
                .init(at: UnixTime(1_761_440_400), offsetSeconds: 3_600),
                .init(at: UnixTime(1_774_746_000), offsetSeconds: 7_200),
                .init(at: UnixTime(1_792_890_000), offsetSeconds: 3_600),
                .init(at: UnixTime(1_806_195_600), offsetSeconds: 7_200),
            ]),
    ]
}

extension Fault {
    /// Those that happen at a moment, to somebody.
    static let disasters: [Fault] = [
        .linkClogged, .linkCut, .linkBlackholed, .partition, .oneWayPartition, .edgeCrashed,
        .edgePaused, .edgeDrained, .counterCrashed, .counterPaused, .storeOutage, .storeFailover,
        .failoverLostWrites, .writesLostSilently, .accountDamaged, .clockStepped,
        .clockJumpedAZone, .limitRaised, .limitLowered, .capDeleted, .capZoneChanged,
        .operatorRefunded,
    ]
}
