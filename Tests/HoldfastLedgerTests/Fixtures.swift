import HoldfastCore
import HoldfastLedger
import Testing

/// Keys whose order is the order of their numbers.
func account(_ number: Int) -> AccountKey {
    AccountKey(
        cap: "cap-\(number)", unit: .usd, period: .day, periodID: 20_778, values: ["acme"])
}

/// One edge with accounts 0, 1, …, and what it says to the counter.
struct EdgeFixture {
    var ledger = EdgeLedger()
    var slots: [EdgeLedger.SlotID] = []
    private var granted: [UInt64] = []

    init(slices: [UInt64], observed: Set<Int> = []) {
        for (number, slice) in slices.enumerated() {
            slots.append(
                ledger.slot(for: account(number), isEnforced: !observed.contains(number)))
            granted.append(0)
            if slice > 0 { _ = grant(number, total: slice) }
        }
        _ = ledger.collectReports()
        _ = ledger.takeUrgency()
    }

    func demands(_ amounts: [(Int, UInt64)]) -> [EdgeLedger.Demand] {
        amounts.map { EdgeLedger.Demand(slot: slots[$0.0], amount: Amount($0.1)) }
    }

    func standing(_ number: Int) -> EdgeLedger.Standing { ledger.standing(of: slots[number]) }

    func available(_ number: Int) -> UInt64 { standing(number).available.rawValue }

    /// The hold, or a failed test.
    mutating func hold(_ amounts: [(Int, UInt64)]) throws -> EdgeLedger.HoldID {
        guard case .held(let id) = ledger.admit(demands(amounts)) else {
            Issue.record("short")
            throw NotHeld()
        }
        return id
    }

    mutating func wait(_ amounts: [(Int, UInt64)]) throws -> EdgeLedger.WaiterID {
        #expect(ledger.admit(demands(amounts)) == .short)
        let id = ledger.wait(for: demands(amounts))
        return try #require(id)
    }

    /// The counter's answer: a total, and that it has heard everything.
    mutating func grant(
        _ number: Int, total: UInt64? = nil, limit: UInt64 = 1_000, isCentral: Bool = false,
        isFrozen: Bool = false, isClosed: Bool = false, unmetWish: UInt64 = 0
    ) -> [EdgeLedger.Wakeup] {
        granted[number] = max(granted[number], total ?? 0)
        let books = ledger.standing(of: slots[number])
        return ledger.apply([
            (
                ledger.reference(of: slots[number]),
                LeaseGrant(
                    granted: Amount(granted[number]), released: books.released,
                    spent: books.spent, totalSpent: books.spent, limit: Amount(limit),
                    isCentral: isCentral, isFrozen: isFrozen, isClosed: isClosed,
                    unmetWish: unmetWish)
            )
        ])
    }

    /// What is said now about one account.
    mutating func report(_ number: Int) -> LeaseReport? {
        ledger.collectReports().first { $0.key == account(number) }?.report
    }

    /// The same, where there has to be something to say.
    mutating func reported(_ number: Int) throws -> LeaseReport {
        let said = report(number)
        return try #require(said)
    }

    mutating func wish(_ number: Int) throws -> LeaseWish {
        let said = report(number)?.wish
        return try #require(said)
    }

    mutating func pass(ticks: Int) {
        for _ in 0..<ticks { ledger.tick() }
    }
}

struct NotHeld: Error {}

extension LeaseReport {
    init(
        _ granted: UInt64, _ released: UInt64 = 0, _ spent: UInt64 = 0, held: UInt64 = 0,
        overrun: UInt64 = 0, wish: LeaseWish? = nil, recallEpoch: UInt64 = 0
    ) {
        self.init(
            granted: Amount(granted), released: Amount(released), spent: Amount(spent),
            held: Amount(held), overrun: Amount(overrun), wish: wish, recallEpoch: recallEpoch)
    }
}

extension LeaseWish {
    init(_ number: UInt64, need: UInt64, ceiling: UInt64? = nil) {
        self.init(number: number, need: Amount(need), ceiling: Amount(ceiling ?? need))
    }
}
