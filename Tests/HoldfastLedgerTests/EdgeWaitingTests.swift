import HoldfastCore
import HoldfastLedger
import Testing

/// Who is served when, and what those who wait keep.
@Suite struct `Edge waiting` {
    @Test func `a newcomer does not overtake those who wait`() throws {
        var edge = EdgeFixture(slices: [100])
        let hold = try edge.hold([(0, 60)])
        let first = try edge.wait([(0, 90)])
        #expect(edge.ledger.admit(edge.demands([(0, 10)])) == .short)
        #expect(held(edge.ledger.settle(hold, actual: [Amount(0)]).wakeups) == [first])
        guard case .held = edge.ledger.admit(edge.demands([(0, 10)])) else {
            Issue.record("the rest is free again")
            return
        }
        #expect(edge.available(0) == 0)
    }

    @Test func `waiting is first come first served, also past one that lacks little`() throws {
        var edge = EdgeFixture(slices: [100])
        _ = try edge.hold([(0, 100)])
        let first = try edge.wait([(0, 50)])
        let second = try edge.wait([(0, 10)])
        #expect(held(edge.grant(0, total: 149)) == [])
        #expect(held(edge.grant(0, total: 150)) == [first])
        #expect(held(edge.grant(0, total: 160)) == [second])
    }

    @Test func `a smaller need keeps its place`() throws {
        var edge = EdgeFixture(slices: [30])
        let first = try edge.wait([(0, 50)])
        let second = try edge.wait([(0, 10)])
        #expect(held(edge.ledger.reduce(first, to: edge.demands([(0, 31)]))) == [])
        #expect(held(edge.ledger.reduce(first, to: edge.demands([(0, 20)]))) == [first, second])
        #expect(edge.available(0) == 0)
        #expect(edge.ledger.reduce(first, to: edge.demands([(0, 1)])) == [], "waits no more")
    }

    @Test func `who withdraws makes way for those behind`() throws {
        var edge = EdgeFixture(slices: [30])
        let first = try edge.wait([(0, 50)])
        let second = try edge.wait([(0, 10)])
        #expect(edge.ledger.demands(of: first)?.first?.amount == Amount(50))
        #expect(held(edge.ledger.withdraw(first)) == [second])
        #expect(edge.ledger.withdraw(first) == [], "once")
        #expect(edge.ledger.demands(of: first) == nil)
        #expect(edge.ledger.waiterCount == 0)
    }

    @Test func `a request that lacks an earlier account holds nobody up on a later one`() throws {
        var edge = EdgeFixture(slices: [0, 100])
        _ = try edge.wait([(0, 10), (1, 100)])
        guard case .held = edge.ledger.admit(edge.demands([(1, 60)])) else {
            Issue.record("account 1 has 100 to spare")
            return
        }
        #expect(edge.available(1) == 40)
    }

    @Test func `a request that lacks only a later account keeps what it has`() throws {
        var edge = EdgeFixture(slices: [100, 0])
        let first = try edge.wait([(1, 10), (0, 100)])
        #expect(edge.ledger.admit(edge.demands([(0, 1)])) == .short)
        #expect(held(edge.grant(1, total: 10)) == [first])
    }

    @Test func `somebody behind is asked for while the first waits for another account`() throws {
        var edge = EdgeFixture(slices: [100, 0])
        _ = try edge.wait([(0, 100), (1, 10)])
        _ = try edge.wait([(0, 7)])
        let wish = try edge.wish(0)
        #expect(wish.need == Amount(107))
    }

    @Test func `what came free for one account serves those who waited only for it`() throws {
        var edge = EdgeFixture(slices: [50, 50])
        let hold = try edge.hold([(0, 50)])
        let both = try edge.wait([(0, 30), (1, 60)])
        let one = try edge.wait([(0, 20)])
        let wakeups = edge.ledger.settle(hold, actual: [Amount(0)]).wakeups
        #expect(held(wakeups) == [one], "30 of 50 are kept for the first")
        #expect(held(edge.grant(1, total: 60)) == [both])
    }

    @Test func `too many who wait are turned away`() throws {
        var edge = EdgeFixture(slices: [0])
        for _ in 0..<Limits.waiterCountMax { _ = edge.ledger.wait(for: edge.demands([(0, 1)])) }
        #expect(edge.ledger.wait(for: edge.demands([(0, 1)])) == nil)
    }

    struct Answer: Sendable, CustomTestStringConvertible {
        var name: String
        var isFrozen = false
        var isClosed = false
        /// Added to the number of the wish.
        var unmet: Int?
        var isToldToReconsider: Bool

        var testDescription: String { name }
    }

    @Test(arguments: [
        Answer(name: "nothing said", isToldToReconsider: false),
        Answer(name: "an older wish is unmet", unmet: -1, isToldToReconsider: false),
        Answer(name: "this wish is unmet", unmet: 0, isToldToReconsider: true),
        Answer(name: "frozen", isFrozen: true, isToldToReconsider: true),
        Answer(name: "closed", isClosed: true, isToldToReconsider: true),
    ])
    func `who waits is told when the counter cannot meet the need`(row: Answer) throws {
        var edge = EdgeFixture(slices: [10, 10])
        let waiter = try edge.wait([(0, 50)])
        let other = try edge.wait([(1, 50)])
        let number = try edge.wish(0).number
        let wakeups = edge.grant(
            0, isFrozen: row.isFrozen, isClosed: row.isClosed,
            unmetWish: row.unmet.map { UInt64(Int(number) + $0) } ?? 0)
        #expect(wakeups == (row.isToldToReconsider ? [.reconsider(waiter)] : []))
        #expect(edge.ledger.demands(of: waiter) != nil, "it keeps its place")
        #expect(edge.ledger.demands(of: other) != nil)
    }

    @Test func `an answer to one request is not taken for an answer to the next`() throws {
        var edge = EdgeFixture(slices: [10])
        let first = try edge.wait([(0, 50)])
        let number = try edge.wish(0).number
        _ = edge.ledger.withdraw(first)
        _ = edge.ledger.wait(for: edge.demands([(0, 50)]))
        #expect(edge.grant(0, unmetWish: number) == [])
        let next = try edge.wish(0)
        #expect(next.number > number)
    }

    private func held(_ wakeups: [EdgeLedger.Wakeup]) -> [EdgeLedger.WaiterID] {
        wakeups.compactMap { wakeup in
            if case .held(let id, _) = wakeup { id } else { nil }
        }
    }
}
