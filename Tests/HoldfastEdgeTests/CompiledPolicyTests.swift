import HoldfastCore
import HoldfastWire
import Testing

@testable import HoldfastEdge

@Suite struct CompiledPolicyTests {
    private let now = UnixTime(1_795_000_000)

    private func compiled(
        _ caps: [Cap], windows: [[PeriodWindow]]? = nil
    ) throws -> CompiledPolicy {
        try CompiledPolicy(
            EdgePolicy(
                version: 3, caps: caps, prices: emptyPrices,
                windows: PolicyWindows(
                    policyVersion: 3,
                    caps: windows
                        ?? caps.map { [$0.period.window(containing: now, in: .utc)] },
                    counterTimeMilliseconds: now.seconds * 1_000)))
    }

    /// What the index must agree with: every cap is asked whether it applies.
    private func scan(_ caps: [Cap], _ scopes: ScopeValues) -> Set<AccountKey> {
        var keys: Set<AccountKey> = []
        for cap in caps {
            guard let values = cap.accountValues(for: scopes) else { continue }
            keys.insert(
                AccountKey(
                    cap: cap.name, unit: cap.unit, period: cap.period,
                    periodID: cap.period.window(containing: now, in: .utc).id, values: values))
        }
        return keys
    }

    @Test(arguments: UInt64(1)...20)
    func `the index finds what asking every cap finds`(_ seed: UInt64) throws {
        var random = Steps(state: seed)
        let dimensions = ScopeDimension.allCases
        let values = ["a", "b", "c"]
        let caps = (0..<60).map { number in
            var scope: [ScopeDimension: String] = [:]
            for _ in 0..<random.next(below: 3) {
                scope[dimensions[random.next(below: dimensions.count)]] =
                    values[random.next(below: values.count)]
            }
            let each = random.next(below: 3) == 0 ? [dimensions[random.next(below: 8)]] : []
            return Cap(
                name: "cap-\(number)", unit: .usd, limit: Amount(1), period: .day, scope: scope,
                each: each)
        }
        let policy = try compiled(caps)
        var applied = 0
        for _ in 0..<50 {
            var scopes = ScopeValues()
            for dimension in dimensions where random.next(below: 4) > 0 {
                scopes[dimension] = values[random.next(below: values.count)]
            }
            let found = try #require(policy.targets(for: scopes, now: now)).map(\.key)
            #expect(Set(found) == scan(caps, scopes))
            #expect(Set(found).count == found.count)
            applied += found.count
        }
        #expect(applied > 100)
    }

    @Test func `a request belongs to the period that contains it`() throws {
        let first = PeriodWindow(id: 1, startsAt: UnixTime(0), endsAt: UnixTime(100))
        let second = PeriodWindow(id: 2, startsAt: UnixTime(100), endsAt: UnixTime(200))
        let cap = Cap(name: "a", unit: .usd, limit: Amount(1), period: .day)
        let policy = try compiled([cap], windows: [[first, second]])
        func periodID(_ seconds: Int64) -> Int64? {
            policy.targets(for: ScopeValues(), now: UnixTime(seconds))?.first?.key.periodID
        }
        #expect(periodID(0) == 1)
        #expect(periodID(99) == 1)
        #expect(periodID(100) == 2)
        #expect(periodID(199) == 2)
    }

    @Test func `a period that is not known applies no cap and refuses everything`() throws {
        let known = Cap(name: "a", unit: .usd, limit: Amount(1), period: .total)
        let unknown = Cap(
            name: "b", unit: .usd, limit: Amount(1), period: .day, scope: [.tenant: "acme"])
        let policy = try compiled(
            [known, unknown],
            windows: [
                [PeriodKind.total.window(containing: now, in: .utc)],
                [PeriodWindow(id: 1, startsAt: UnixTime(0), endsAt: UnixTime(100))],
            ])
        var scopes = ScopeValues()
        #expect(policy.targets(for: scopes, now: now)?.count == 1)
        scopes[.tenant] = "acme"
        #expect(policy.targets(for: scopes, now: now) == nil)
    }

    @Test func `newer periods are taken only for the policy they belong to`() throws {
        let cap = Cap(name: "a", unit: .usd, limit: Amount(1), period: .day)
        let policy = try compiled([cap])
        let next = [PeriodWindow(id: 9, startsAt: UnixTime(0), endsAt: .distantFuture)]
        func update(_ version: UInt64, _ windows: [[PeriodWindow]]) -> Int64? {
            policy.with(
                PolicyWindows(
                    policyVersion: version, caps: windows, counterTimeMilliseconds: 0)
            )?.targets(for: ScopeValues(), now: now)?.first?.key.periodID
        }
        #expect(update(3, [next]) == 9)
        #expect(update(4, [next]) == nil)
        #expect(update(3, [next, next]) == nil)
    }

    @Test func `a price book that cannot be read is no policy`() {
        let policy = EdgePolicy(
            version: 1, caps: [], prices: "no such column\n",
            windows: PolicyWindows(policyVersion: 1, caps: [], counterTimeMilliseconds: 0))
        #expect(throws: (any Error).self) { try CompiledPolicy(policy) }
    }
}

/// The columns that a price book must have, and no row.
let emptyPrices =
    "provider\tmodel\tinput\tcache_read\tcache_write\toutput\tcontext\tmax_output\tsource\n"

/// SplitMix64: the same numbers for the same seed.
private struct Steps {
    var state: UInt64

    mutating func next(below bound: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return Int((mixed ^ (mixed >> 31)) % UInt64(bound))
    }
}
