import HoldfastCore
import HoldfastLedger
import Testing

/// Admit and settle: what is held, what is spent, what is left.
@Suite struct `Edge admission` {
    struct Row: Sendable, CustomTestStringConvertible {
        var slices: [UInt64]
        var ceilings: [UInt64]
        var isHeld: Bool
        var observed: Set<Int> = []

        var testDescription: String { "\(ceilings) of \(slices), observed \(observed)" }
    }

    @Test(arguments: [
        Row(slices: [100], ceilings: [100], isHeld: true),
        Row(slices: [100], ceilings: [101], isHeld: false),
        Row(slices: [0], ceilings: [1], isHeld: false),
        Row(slices: [0], ceilings: [0], isHeld: true),
        Row(slices: [100, 100, 100], ceilings: [100, 100, 100], isHeld: true),
        Row(slices: [100, 99, 100], ceilings: [100, 100, 100], isHeld: false),
        Row(slices: [100, 100, 99], ceilings: [100, 100, 100], isHeld: false),
        Row(slices: [0, 100], ceilings: [500, 100], isHeld: true, observed: [0]),
        Row(slices: [0, 99], ceilings: [500, 100], isHeld: false, observed: [0]),
        Row(slices: [100], ceilings: [.max], isHeld: false),
    ])
    func `a request is held on all its accounts or on none`(row: Row) {
        var edge = EdgeFixture(slices: row.slices, observed: row.observed)
        let demands = edge.demands(Array(row.ceilings.enumerated()).map { ($0.offset, $0.element) })
        let admission = edge.ledger.admit(demands)
        if case .held = admission {
            #expect(row.isHeld)
        } else {
            #expect(!row.isHeld)
            #expect(admission == .short)
        }
        for number in row.slices.indices {
            #expect(
                edge.standing(number).held.rawValue == (row.isHeld ? row.ceilings[number] : 0))
        }
        #expect(edge.ledger.holdCount == (row.isHeld ? 1 : 0))
    }

    struct Settlement: Sendable, CustomTestStringConvertible {
        var slice: UInt64
        var ceiling: UInt64
        var actual: UInt64
        var says: EdgeLedger.SettleOutcome
        var available: UInt64
        var overrun: UInt64 = 0

        var testDescription: String { "\(actual) of \(ceiling) held, slice \(slice)" }
    }

    @Test(arguments: [
        Settlement(slice: 100, ceiling: 60, actual: 0, says: .settled, available: 100),
        Settlement(slice: 100, ceiling: 60, actual: 60, says: .settled, available: 40),
        Settlement(
            slice: 100, ceiling: 60, actual: 61, says: .overran(by: Amount(1)), available: 39),
        Settlement(
            slice: 100, ceiling: 60, actual: 100, says: .overran(by: Amount(40)), available: 0),
        Settlement(
            slice: 100, ceiling: 60, actual: 130, says: .overran(by: Amount(70)), available: 0,
            overrun: 30),
    ])
    func `an overrun draws on the rest of the slice, and only then counts as one`(
        row: Settlement
    ) throws {
        var edge = EdgeFixture(slices: [row.slice])
        let hold = try edge.hold([(0, row.ceiling)])
        #expect(edge.ledger.settle(hold, actual: [Amount(row.actual)]).outcome == row.says)
        #expect(edge.available(0) == row.available)
        #expect(edge.standing(0).spent == Amount(row.actual))
        #expect(edge.standing(0).held == .zero)
        let report = try edge.reported(0)
        #expect(report.overrun == Amount(row.overrun))
    }

    @Test func `a hold is settled once`() throws {
        var edge = EdgeFixture(slices: [100])
        let first = try edge.hold([(0, 50)])
        #expect(edge.ledger.settle(first, actual: [Amount(20)]).outcome == .settled)
        let before = edge.standing(0)
        #expect(edge.ledger.settle(first, actual: [Amount(20)]).outcome == .unknownHold)
        #expect(edge.standing(0) == before)
        // Its place may be taken by another hold by now.
        let second = try edge.hold([(0, 50)])
        #expect(edge.ledger.settle(first, actual: [Amount(50)]).outcome == .unknownHold)
        #expect(edge.ledger.settle(second, actual: [Amount(50)]).outcome == .settled)
        #expect(edge.standing(0).spent == Amount(70))
        #expect(edge.ledger.holdCount == 0)
    }

    @Test func `an overrun is paid for by the next grant, not forgotten`() throws {
        var edge = EdgeFixture(slices: [100])
        let hold = try edge.hold([(0, 100)])
        _ = edge.ledger.settle(hold, actual: [Amount(130)])
        let waiter = try edge.wait([(0, 10)])
        let wish = try edge.wish(0)
        #expect(wish.need == Amount(140))
        #expect(edge.grant(0, total: 139) == [])
        let wakeups = edge.grant(0, total: 140)
        guard case .held(waiter, _)? = wakeups.first else {
            Issue.record("\(wakeups)")
            return
        }
        #expect(edge.available(0) == 0)
    }

    @Test func `too many requests in flight are backpressure and not a spend decision`() throws {
        var edge = EdgeFixture(slices: [UInt64(Limits.holdCountMax) + 10])
        for _ in 0..<Limits.holdCountMax { _ = try edge.hold([(0, 1)]) }
        #expect(edge.ledger.admit(edge.demands([(0, 1)])) == .saturated)
    }

    @Test func `an account that is only observed is never short and never asks`() throws {
        var edge = EdgeFixture(slices: [0], observed: [0])
        let hold = try edge.hold([(0, 5_000)])
        #expect(edge.ledger.settle(hold, actual: [Amount(4_000)]).outcome == .settled)
        let report = try edge.reported(0)
        #expect(report == LeaseReport(0, 0, 4_000, overrun: 4_000))
    }

    @Test func `room counts what the counter has not heard yet`() throws {
        var edge = EdgeFixture(slices: [0, 100])
        #expect(edge.standing(0).room == nil, "the counter has said nothing yet")
        #expect(edge.standing(1).room == Amount(1_000))
        let hold = try edge.hold([(1, 80)])
        #expect(edge.standing(1).room == Amount(1_000), "a hold is not spent")
        _ = edge.ledger.settle(hold, actual: [Amount(80)])
        #expect(edge.standing(1).room == Amount(920))
    }
}
