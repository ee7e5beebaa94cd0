import HoldfastCore
import HoldfastLedger
import Testing

/// What the edge says, gives back, asks for and forgets.
@Suite struct `Edge lease` {
    // MARK: - Giving back

    @Test func `idle budget goes back after half a second, and not before`() throws {
        var edge = EdgeFixture(slices: [100_000])
        let hold = try edge.hold([(0, 80_000)])
        _ = edge.ledger.settle(hold, actual: [Amount(30_000)])
        #expect(try edge.reported(0) == LeaseReport(100_000, 0, 30_000))
        _ = edge.grant(0)
        for tick in 1...10 {
            edge.pass(ticks: 1)
            let released = edge.report(0)?.released ?? .zero
            #expect(released == .zero, "tick \(tick)")
        }
        edge.pass(ticks: 1)
        #expect(try edge.reported(0) == LeaseReport(100_000, 70_000, 30_000))
        #expect(edge.available(0) == 0)
    }

    @Test func `what is in a hold never goes back`() throws {
        var edge = EdgeFixture(slices: [100])
        _ = try edge.hold([(0, 80)])
        edge.pass(ticks: 30)
        #expect(try edge.reported(0) == LeaseReport(100, 20, 0, held: 80))
        edge.ledger.releaseAll()
        #expect(try edge.reported(0) == LeaseReport(100, 20, 0, held: 80))
    }

    @Test func `a recall is answered with all that is idle, at once and under its number`() throws {
        var edge = EdgeFixture(slices: [100])
        _ = try edge.hold([(0, 30)])
        edge.ledger.recall(reference: edge.ledger.reference(of: edge.slots[0]), epoch: 7)
        #expect(edge.ledger.takeUrgency() == true)
        #expect(edge.ledger.takeUrgency() == false, "reading it clears it")
        #expect(try edge.reported(0) == LeaseReport(100, 70, 0, held: 30, recallEpoch: 7))
    }

    @Test func `a recall of nothing is answered too`() throws {
        var edge = EdgeFixture(slices: [0])
        edge.ledger.recall(reference: edge.ledger.reference(of: edge.slots[0]), epoch: 3)
        #expect(try edge.reported(0) == LeaseReport(0, recallEpoch: 3))
        edge.ledger.recall(reference: 999, epoch: 4)
        #expect(edge.ledger.collectReports().isEmpty, "not an account of ours")
    }

    @Test func `a recall takes parts, and leaves what a request in line keeps`() throws {
        var edge = EdgeFixture(slices: [40, 100])
        _ = try edge.wait([(0, 50)])
        _ = edge.ledger.collectReports()
        edge.ledger.recall(reference: edge.ledger.reference(of: edge.slots[0]), epoch: 1)
        let part = try edge.reported(0)
        #expect(part.released == Amount(40))
        #expect(part.wish?.need == Amount(90), "what was given back is asked for again")

        var patient = EdgeFixture(slices: [100, 0])
        _ = try patient.wait([(0, 60), (1, 1)])
        patient.ledger.recall(reference: patient.ledger.reference(of: patient.slots[0]), epoch: 1)
        let rest = try patient.reported(0)
        #expect(rest.released == Amount(40))
        #expect(rest.held == Amount(60), "kept counts as held")
    }

    @Test func `in central mode what a request leaves goes back when it settles`() throws {
        var edge = EdgeFixture(slices: [100])
        _ = edge.grant(0, isCentral: true)
        let hold = try edge.hold([(0, 100)])
        _ = edge.ledger.settle(hold, actual: [Amount(30)])
        #expect(edge.ledger.takeUrgency() == true)
        #expect(try edge.reported(0) == LeaseReport(100, 70, 30))
    }

    @Test func `giving back never makes a grant on its way too small`() throws {
        var edge = EdgeFixture(slices: [100])
        _ = edge.grant(0, isCentral: true)
        let hold = try edge.hold([(0, 100)])
        let waiter = try edge.wait([(0, 50)])
        let need = try edge.wish(0).need
        _ = edge.ledger.settle(hold, actual: [Amount(80)])
        #expect(try edge.reported(0).released == Amount(20))
        let wakeups = edge.grant(0, total: need.rawValue, isCentral: true)
        guard case .held(waiter, _)? = wakeups.first else {
            Issue.record("\(wakeups)")
            return
        }
    }

    @Test func `a grant for a request that is gone goes back`() throws {
        var edge = EdgeFixture(slices: [0])
        let waiter = try edge.wait([(0, 50)])
        _ = edge.ledger.collectReports()
        _ = edge.ledger.withdraw(waiter)
        let withdrawal = try edge.wish(0)
        #expect(withdrawal.need == .zero && withdrawal.ceiling == .zero)
        edge.pass(ticks: 20)
        _ = edge.grant(0, total: 50)
        #expect(edge.available(0) == 50)
        #expect(try edge.reported(0) == LeaseReport(50, 50, 0))
    }

    // MARK: - Wishes

    @Test func `a wish is numbered, cumulative, and said once`() throws {
        var edge = EdgeFixture(slices: [100])
        _ = try edge.hold([(0, 100)])
        _ = try edge.wait([(0, 30)])
        let first = try edge.wish(0)
        #expect(first.need == Amount(130))
        edge.pass(ticks: 1)
        #expect(edge.report(0) == nil, "nothing has changed")
        _ = try edge.wait([(0, 5)])
        let second = try edge.wish(0)
        #expect(second.need == Amount(130))
        #expect(second.ceiling >= Amount(135))
        #expect(second.number > first.number)
    }

    @Test func `more is asked for ahead below three tenths of what five seconds take`() throws {
        let perTick: UInt64 = 160_000
        let target = perTick * 100
        var edge = EdgeFixture(slices: [10 * perTick])
        var wishCount = 0
        for tick in 1...1_000 {
            let hold = try edge.hold([(0, perTick)])
            _ = edge.ledger.settle(hold, actual: [Amount(perTick)])
            edge.pass(ticks: 1)
            let available = edge.available(0)
            let wish = edge.report(0)?.wish
            if let wish {
                #expect(wish.need == .zero, "nobody waits")
                #expect(available < target / 10 * 3, "tick \(tick)")
                if tick > 300 { wishCount += 1 }
            }
            _ = edge.grant(0, total: wish?.ceiling.rawValue, limit: 1 << 50)
        }
        #expect((8...14).contains(wishCount), "\(wishCount) in 700 ticks")
    }

    @Test func `nothing is asked for ahead in central mode or when nothing happens`() throws {
        for isCentral in [true, false] {
            var edge = EdgeFixture(slices: [160_000])
            let hold = try edge.hold([(0, 160_000)])
            _ = edge.ledger.settle(hold, actual: [Amount(160_000)])
            _ = edge.grant(0, isCentral: isCentral)
            edge.pass(ticks: isCentral ? 1 : 12)
            for _ in 0..<20 {
                edge.pass(ticks: 1)
                let said = edge.report(0)
                #expect(said?.wish == nil)
            }
        }
    }

    // MARK: - Forgetting

    @Test func `an account is forgotten only when the counter can grant nothing any more`() throws {
        var edge = EdgeFixture(slices: [0])
        let waiter = try edge.wait([(0, 50)])
        let number = try edge.wish(0).number
        guard case .held(waiter, let hold)? = edge.grant(0, total: 50).first else {
            Issue.record("not held")
            return
        }
        _ = edge.ledger.settle(hold, actual: [Amount(50)])
        _ = edge.report(0)
        _ = edge.grant(0)
        idle(&edge)
        edge.ledger.forgetUnused()
        #expect(edge.ledger.slotCount == 1, "an answer to the wish may be on its way")
        let farewell = try edge.wish(0)
        #expect(farewell == LeaseWish(farewell.number, need: 0))
        #expect(farewell.number > number)
        edge.ledger.forgetUnused()
        #expect(edge.ledger.slotCount == 1, "not heard yet")
        _ = edge.grant(0, unmetWish: farewell.number)
        _ = edge.ledger.collectReports()
        edge.ledger.forgetUnused()
        #expect(edge.ledger.slotCount == 0)
        #expect(edge.ledger.existingSlot(for: account(0)) == nil)
        #expect(edge.ledger.apply([(1, LeaseGrant(granted: Amount(9), limit: .zero))]) == [])
    }

    @Test func `a forgotten account comes back with what is stored, and loses nothing`() throws {
        var edge = EdgeFixture(slices: [0], observed: [0])
        try spend(30, &edge)
        _ = edge.report(0)
        _ = edge.grant(0)
        idle(&edge)
        edge.ledger.forgetUnused()
        #expect(edge.ledger.slotCount == 0)

        edge.slots[0] = edge.ledger.slot(for: account(0), isEnforced: false)
        try spend(5, &edge)
        #expect(try edge.reported(0) == LeaseReport(0), "nothing that a maximum could swallow")
        _ = edge.ledger.apply([
            (
                edge.ledger.reference(of: edge.slots[0]),
                LeaseGrant(granted: .zero, spent: Amount(30), limit: .zero)
            )
        ])
        #expect(try edge.reported(0) == LeaseReport(0, 0, 35, overrun: 35))
    }

    @Test func `wishes of an account that comes back are newer than its old ones`() throws {
        var edge = EdgeFixture(slices: [0, 0])
        let waiter = try edge.wait([(0, 50)])
        let old = try edge.wish(0).number
        _ = edge.ledger.withdraw(waiter)
        let farewell = try edge.wish(0).number
        _ = edge.grant(0, unmetWish: farewell)
        idle(&edge)
        edge.ledger.forgetUnused()
        #expect(edge.ledger.existingSlot(for: account(0)) == nil)
        edge.slots[0] = edge.ledger.slot(for: account(0), isEnforced: true)
        _ = try edge.wait([(0, 50)])
        #expect(try edge.wish(0).number > farewell)
        #expect(farewell > old)
    }

    @Test(arguments: ["a hold", "a hold of nothing", "a slice", "a request that waits"])
    func `an account is not forgotten with`(what: String) throws {
        var edge = EdgeFixture(slices: [100])
        switch what {
        case "a hold": _ = try edge.hold([(0, 100)])
        case "a hold of nothing": _ = try edge.hold([(0, 0)])
        case "a slice": break
        default: _ = try edge.wait([(0, 200)])
        }
        edge.pass(ticks: 7_000)
        edge.ledger.forgetUnused()
        #expect(edge.ledger.slotCount == 1)
    }

    // MARK: - Connections

    @Test func `after a reconnect everything is said again under newer numbers`() throws {
        var edge = EdgeFixture(slices: [100])
        let hold = try edge.hold([(0, 100)])
        _ = edge.ledger.settle(hold, actual: [Amount(40)])
        _ = try edge.wait([(0, 90)])
        edge.ledger.recall(reference: edge.ledger.reference(of: edge.slots[0]), epoch: 9)
        let before = try edge.reported(0)
        let wish = try #require(before.wish)
        #expect(edge.report(0) == nil)
        edge.ledger.reconnected()
        #expect(edge.ledger.takeUrgency() == true)
        let after = try edge.reported(0)
        #expect(after.wish?.need == wish.need)
        #expect(after.wish?.number ?? 0 > wish.number)
        #expect(after.spent == before.spent && after.released == before.released)
        #expect(after.recallEpoch == 0, "recalls of the new counter start again")
    }

    @Test func `after a reconnect wishes that were never answered are reported on too`() throws {
        var edge = EdgeFixture(slices: [0])
        let waiter = try edge.wait([(0, 50)])
        _ = edge.report(0)
        _ = edge.ledger.withdraw(waiter)
        _ = edge.report(0)
        #expect(edge.report(0) == nil)
        edge.ledger.reconnected()
        #expect(try edge.reported(0) == LeaseReport(0))
    }

    @Test func `grants that come late or twice change nothing`() throws {
        var edge = EdgeFixture(slices: [100])
        let hold = try edge.hold([(0, 100)])
        _ = edge.ledger.settle(hold, actual: [Amount(60)])
        let reference = edge.ledger.reference(of: edge.slots[0])
        let new = LeaseGrant(
            granted: Amount(150), spent: Amount(60), totalSpent: Amount(60), limit: Amount(500))
        let old = LeaseGrant(granted: Amount(100), limit: Amount(500))
        _ = edge.ledger.apply([(reference, new)])
        let before = edge.standing(0)
        _ = edge.ledger.apply([(reference, old), (reference, new), (reference, old)])
        #expect(edge.standing(0) == before)
        #expect(edge.available(0) == 90)
    }

    @Test func `a long report is cut, and those left out come first next time`() throws {
        var edge = EdgeFixture(slices: Array(repeating: 10, count: 5))
        for number in 0..<5 { _ = try edge.hold([(number, 1)]) }
        let first = edge.ledger.collectReports(max: 3)
        #expect(edge.ledger.takeUrgency() == true)
        for number in 0..<5 { _ = try edge.hold([(number, 1)]) }
        let second = edge.ledger.collectReports(max: 3)
        #expect(first.map(\.key) == [account(0), account(1), account(2)])
        #expect(second.map(\.key) == [account(3), account(4), account(0)])
    }

    private func spend(_ amount: UInt64, _ edge: inout EdgeFixture) throws {
        let hold = try edge.hold([(0, amount)])
        _ = edge.ledger.settle(hold, actual: [Amount(amount)])
    }

    private func idle(_ edge: inout EdgeFixture) {
        for _ in 0..<6_100 {
            edge.pass(ticks: 1)
            _ = edge.ledger.collectReports()
        }
    }
}

/// Ticks that are skipped.
@Suite struct `Edge ticks` {
    @Test func `a ledger without anything to do is asleep, and no longer with a request`() throws {
        var edge = EdgeFixture(slices: [0])
        edge.pass(ticks: 2)
        _ = edge.ledger.collectReports()
        #expect(edge.ledger.isAsleep)
        edge.ledger.tick(count: 1_000_000_000)
        #expect(edge.ledger.isAsleep)
        _ = try edge.wait([(0, 5)])
        #expect(!edge.ledger.isAsleep)
    }

    @Test(arguments: [1, 7, 400])
    func `many ticks at once are as many ticks one by one`(count: UInt64) throws {
        func reports(_ tick: (inout EdgeLedger) -> Void) throws -> [[EdgeLedger.Report]] {
            var edge = EdgeFixture(slices: [1_000_000, 500])
            let hold = try edge.hold([(0, 400_000)])
            _ = edge.ledger.settle(hold, actual: [Amount(200_000)])
            var said: [[EdgeLedger.Report]] = []
            for _ in 0..<3 {
                tick(&edge.ledger)
                said.append(edge.ledger.collectReports())
            }
            return said
        }
        let oneByOne = try reports { ledger in for _ in 0..<count { ledger.tick() } }
        #expect(try reports { $0.tick(count: count) } == oneByOne)
        #expect(!oneByOne.flatMap(\.self).isEmpty)
    }
}
