import HoldfastCore
import HoldfastLedger

// How long one spend decision takes: admit and settle on a warm ledger, without the shell around
// it.
//
//     swift run -c release --package-path Benchmarks decision [iterations]
//
// Every decision is timed by itself, so that the quantiles are those of decisions and not of means.
// The clock's own cost is measured the same way and is part of every number.

let goalNanoseconds: UInt64 = 3_000
let iterationCount = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 1_000_000
let userCount = 10_000

struct Quantiles {
    let median: UInt64
    let p99: UInt64
    let longest: UInt64

    init(_ samples: [UInt64]) {
        let sorted = samples.sorted()
        median = sorted[sorted.count / 2]
        p99 = sorted[sorted.count * 99 / 100]
        longest = sorted[sorted.count - 1]
    }
}

func nanoseconds(_ duration: Duration) -> UInt64 {
    let (seconds, attoseconds) = duration.components
    return UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
}

func measure(_ body: (Int) -> Void) -> Quantiles {
    let clock = ContinuousClock()
    var samples: [UInt64] = []
    samples.reserveCapacity(iterationCount)
    for iteration in 0..<iterationCount {
        let start = clock.now
        body(iteration)
        samples.append(nanoseconds(start.duration(to: clock.now)))
    }
    return Quantiles(samples)
}

/// The first cap has one account per user; the others have one account each.
func key(cap: Int, user: Int) -> AccountKey {
    AccountKey(
        cap: "monthly-budget-\(cap)", unit: .usd, period: .month, periodID: 24_310,
        values: cap == 0 ? ["user-\(user)@example.com"] : ["acme"])
}

func warmLedger(capCount: Int) -> EdgeLedger {
    var ledger = EdgeLedger()
    for cap in 0..<capCount {
        for user in 0..<(cap == 0 ? userCount : 1) {
            let slot = ledger.slot(for: key(cap: cap, user: user), isEnforced: true)
            let slice = Amount(Limits.amountMax / 2)
            _ = ledger.apply([
                (ledger.reference(of: slot), LeaseGrant(granted: slice, limit: slice))
            ])
        }
    }
    return ledger
}

func decide(_ ledger: inout EdgeLedger, _ slots: [EdgeLedger.SlotID], _ costs: [Amount]) {
    let demands = slots.map { EdgeLedger.Demand(slot: $0, amount: Amount(10_000)) }
    guard case .held(let hold) = ledger.admit(demands) else {
        preconditionFailure("a warm slice is never short")
    }
    let (outcome, wakeups) = ledger.settle(hold, actual: costs)
    precondition(outcome == .settled && wakeups.isEmpty, "nobody waits")
}

func row(_ name: String, _ quantiles: Quantiles) {
    func column(_ value: UInt64) -> String {
        let text = String(value)
        return String(repeating: " ", count: max(0, 11 - text.count)) + text
    }
    print(
        name + String(repeating: " ", count: max(0, 34 - name.count))
            + column(quantiles.median) + column(quantiles.p99) + column(quantiles.longest))
}

func main() {
    print("\(iterationCount) decisions each, nanoseconds, the clock's own cost included")
    print("                                          p50        p99    longest")
    row("the clock alone", measure { _ in })
    var medianOfThree: UInt64 = 0
    for capCount in [1, 3, 10] {
        var ledger = warmLedger(capCount: capCount)
        let costs = Array(repeating: Amount(9_000), count: capCount)
        let slots = (0..<capCount).map {
            ledger.slot(for: key(cap: $0, user: 0), isEnforced: true)
        }
        row("\(capCount) caps, slots known", measure { _ in decide(&ledger, slots, costs) })

        let keys = (0..<userCount).map { user in
            (0..<capCount).map { key(cap: $0, user: user) }
        }
        let lookedUp = measure { iteration in
            // A step that visits all users in no order that a cache would know.
            let wanted = keys[iteration &* 7_919 % userCount]
            let slots = wanted.map { ledger.slot(for: $0, isEnforced: true) }
            decide(&ledger, slots, costs)
        }
        row("\(capCount) caps, of \(userCount) users", lookedUp)
        if capCount == 3 { medianOfThree = lookedUp.median }
    }
    let verdict = medianOfThree <= goalNanoseconds ? "met" : "MISSED"
    print("goal: p50 of three caps, lookup included, at most \(goalNanoseconds) ns: \(verdict)")
}

main()
