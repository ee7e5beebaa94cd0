import HoldfastCore
import HoldfastLedger
import Testing

/// How an account stands, as far as an edge knows, and amounts at the end of the scale.
@Suite struct `Edge standing` {
    struct Row: Sendable, CustomTestStringConvertible {
        var testDescription: String
        /// By everyone, as the counter says.
        var totalSpent: UInt64 = 0
        /// Granted to everyone.
        var exposure: UInt64 = 0
        /// Here, and not reported yet.
        var spent: UInt64 = 0
        var held: UInt64 = 0
        var room: UInt64
        var payableNow: UInt64
    }

    @Test(arguments: [
        Row(testDescription: "nothing spent", exposure: 40, room: 100, payableNow: 100),
        Row(
            testDescription: "spent by others", totalSpent: 30, exposure: 70, room: 70,
            payableNow: 70),
        Row(
            testDescription: "spent here", totalSpent: 30, exposure: 70, spent: 15, room: 55,
            payableNow: 55),
        Row(testDescription: "held here", exposure: 40, held: 10, room: 100, payableNow: 90),
        Row(
            testDescription: "lent to others", totalSpent: 10, exposure: 100, held: 25, room: 90,
            payableNow: 15),
        Row(
            testDescription: "used up", totalSpent: 90, exposure: 130, spent: 20, room: 0,
            payableNow: 20),
    ])
    func `of a limit of 100, 40 of it lent to us, is left`(row: Row) throws {
        var edge = EdgeFixture(slices: [40])
        let grant = LeaseGrant(
            granted: Amount(40), totalSpent: Amount(row.totalSpent),
            exposure: Amount(row.exposure), limit: Amount(100))
        _ = edge.ledger.apply([(edge.ledger.reference(of: edge.slots[0]), grant)])
        let hold = try edge.hold([(0, row.spent)])
        _ = edge.ledger.settle(hold, actual: [Amount(row.spent)])
        _ = try edge.hold([(0, row.held)])
        #expect(edge.standing(0).room == Amount(row.room))
        #expect(edge.ledger.room(of: edge.slots[0]) == Amount(row.room))
        #expect(edge.standing(0).payableNow == Amount(row.payableNow))
    }

    @Test func `what is left is not known before the counter has answered`() {
        let edge = EdgeFixture(slices: [0])
        #expect(edge.standing(0).room == nil)
        #expect(edge.ledger.room(of: edge.slots[0]) == nil)
        #expect(edge.standing(0).payableNow == .zero)
    }

    @Test func `an account that has been met is found, and is enforced as said last`() {
        var edge = EdgeFixture(slices: [10])
        #expect(edge.ledger.knownSlot(for: account(1), isEnforced: true) == nil)
        #expect(edge.ledger.slotCount == 1)
        #expect(edge.ledger.knownSlot(for: account(0), isEnforced: false) == edge.slots[0])
        #expect(!edge.standing(0).isEnforced)
        #expect(edge.ledger.admit(edge.demands([(0, 11)])) != .short)
    }

    @Test func `the largest use there can be asks for no more than the largest amount`() throws {
        var edge = EdgeFixture(slices: [Limits.amountMax])
        // As much as there is, in every tick.
        for _ in 0..<60 {
            _ = edge.ledger.settle(
                try edge.hold([(0, Limits.amountMax)]), actual: [.zero])
            edge.ledger.tick()
        }
        #expect(try edge.reported(0).released == .zero)
        _ = try edge.hold([(0, Limits.amountMax)])
        edge.ledger.tick()
        let wish = try edge.wish(0)
        #expect(wish.need == .zero && wish.ceiling == Amount(Limits.amountMax))
    }

    @Test func `the largest use there can be is a journal's block of the largest amount`() {
        var ledger = EdgeLedger(isJournaled: true)
        let slot = ledger.slot(for: account(0), isEnforced: false)
        let demand = EdgeLedger.Demand(slot: slot, amount: Amount(1 << 56))
        for _ in 0..<60 {
            for _ in 0..<16 {
                guard case .held(let id) = ledger.admit([demand]) else {
                    Issue.record("not held")
                    return
                }
                _ = ledger.settle(id, actual: [.zero])
            }
            ledger.tick()
        }
        let records = ledger.takeJournalRecords()
        #expect(records.map(\.unlocked) == [Amount(Limits.amountMax)])
        // There is nothing larger to write.
        let most = EdgeLedger.Demand(slot: slot, amount: Amount(Limits.amountMax))
        guard case .held(let id) = ledger.admit([most]) else {
            Issue.record("not held")
            return
        }
        _ = ledger.settle(id, actual: [Amount(Limits.amountMax)])
        #expect(!ledger.isJournalDue)
    }
}
