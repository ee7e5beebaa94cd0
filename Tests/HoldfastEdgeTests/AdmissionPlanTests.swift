import HoldfastCore
import HoldfastLedger
import Testing

@testable import HoldfastEdge

@Suite struct AdmissionPlanTests {
    /// `20 of a`, `capSpent by b`: the outcome of a request with a prompt of 10 tokens.
    private func plan(
        _ accounts: [(target: AccountTarget, budget: UInt64)], wanted: UInt64 = 90,
        minimum: UInt64 = 16, ifShort: AdmissionRefusal.Reason = .capSpent
    ) -> String {
        let budgets = Dictionary(
            uniqueKeysWithValues: accounts.map { ($0.target.key, Amount($0.budget)) })
        let outcome = AdmissionPlan.plan(
            request(accounts.map(\.target), wanted: wanted, minimum: minimum),
            standings: accounts.map { _ in nil },
            budget: { target, _ in budgets[target.key] ?? .zero }, ifShort: ifShort)
        switch outcome {
        case .output(let output): return "output \(output)"
        case .refuse(let refusal):
            let fits = refusal.outputThatFits.map { "\($0)" } ?? "none"
            return "\(refusal.reason) by \(refusal.target.cap.name), \(fits) would fit"
        }
    }

    @Test func `no cap leaves the output alone`() {
        #expect(plan([]) == "output 90")
    }

    @Test(arguments: [
        (budget: UInt64(100), expected: "output 90"),
        (budget: 99, expected: "output 89"),
        (budget: 26, expected: "output 16"),
        (budget: 25, expected: "capSpent by a, 15 would fit"),
        (budget: 10, expected: "capSpent by a, 0 would fit"),
        (budget: 9, expected: "capSpent by a, none would fit"),
        (budget: 0, expected: "capSpent by a, none would fit"),
    ])
    func `the output is cut to the budget and not below the minimum`(
        _ row: (budget: UInt64, expected: String)
    ) {
        #expect(plan([(target("a", limit: 1_000), row.budget)]) == row.expected)
        #expect(plan([(target("a", limit: 1_000, unit: .usd), row.budget)]) == row.expected)
    }

    @Test func `without clamping the output is all or nothing`() {
        let a = target("a", limit: 1_000)
        #expect(plan([(a, 100)], minimum: 90) == "output 90")
        #expect(plan([(a, 99)], minimum: 90) == "capSpent by a, 89 would fit")
    }

    @Test func `the tightest of several caps decides and is named`() {
        let (a, b, c) = (
            target("a", limit: 1_000), target("b", limit: 1_000, unit: .usd),
            target("c", limit: 1_000)
        )
        #expect(plan([(a, 80), (b, 50), (c, 70)]) == "output 40")
        #expect(plan([(a, 20), (b, 15), (c, 18)]) == "capSpent by b, 5 would fit")
        #expect(plan([(a, 12), (b, 9), (c, 100)]) == "capSpent by b, none would fit")
        #expect(plan([(a, 9), (b, 5), (c, 100)]) == "capSpent by a, none would fit")
    }

    @Test func `a cap that only observes never decides`() {
        let watched = target("a", limit: 1_000, mode: .observe)
        #expect(plan([(watched, 0)]) == "output 90")
        #expect(plan([(watched, 0), (target("b", limit: 1_000), 60)]) == "output 50")
    }

    @Test func `what not even the whole cap would pay for is told apart`() {
        #expect(
            plan([(target("a", limit: 25), 0)], ifShort: .inFlight)
                == "exceedsCap by a, none would fit")
        #expect(
            plan([(target("a", limit: 26), 0)], ifShort: .inFlight)
                == "inFlight by a, none would fit")
    }

    @Test func `room and what is payable now never exceed the limit in force`() {
        let small = target("a", limit: 50)
        let standing = EdgeLedger.Standing.sample(limit: 100, totalSpent: 20, available: 30)
        #expect(AdmissionPlan.room(small, standing) == Amount(50))
        #expect(AdmissionPlan.room(target("a", limit: 500), standing) == Amount(80))
        #expect(AdmissionPlan.room(small, nil) == Amount(50))
        // Before the counter has answered nothing is payable, whatever the policy says.
        #expect(AdmissionPlan.payableNow(small, nil) == .zero)
        #expect(AdmissionPlan.payableNow(target("a", limit: 500), standing) == Amount(30 + 50))
    }
}

extension EdgeLedger.Standing {
    /// Of an account whose edge has nothing spent, and whose counter has an exposure of 50.
    fileprivate static func sample(
        limit: UInt64, totalSpent: UInt64, available: UInt64
    ) -> EdgeLedger.Standing {
        var ledger = EdgeLedger()
        let slot = ledger.slot(for: target("a", limit: limit).key, isEnforced: true)
        _ = ledger.apply([
            (
                ledger.reference(of: slot),
                LeaseGrant(
                    granted: Amount(available), totalSpent: Amount(totalSpent),
                    exposure: Amount(50), limit: Amount(limit))
            )
        ])
        return ledger.standing(of: slot)
    }
}
