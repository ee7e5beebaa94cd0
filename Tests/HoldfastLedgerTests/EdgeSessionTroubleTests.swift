import HoldfastCore
import HoldfastLedger
import Testing

/// What counters could not take or answer, and when there is nothing to do.
@Suite struct `Edge session, trouble` {
    private func rejection(_ reference: UInt32, _ reason: Rejection.Reason) -> CounterFrame {
        .rejected(Rejection(reason: reason, message: "damaged", reference: reference))
    }

    // MARK: - Entries that were not taken

    struct Row: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var reason = Rejection.Reason.unavailable
        var reference: UInt32 = 1
        var isSaidAgain = false
    }

    @Test(arguments: [
        Row(testDescription: "cannot be read now", isSaidAgain: true),
        Row(testDescription: "is not believed", reason: .notBelieved),
        Row(testDescription: "is not named", reference: 0),
        Row(testDescription: "is not known", reference: 9),
    ])
    func `after a second is said again what`(row: Row) throws {
        var edge = SessionFixture(counters: ["a"])
        _ = edge.want(10, account(0))
        let first = try #require(edge.session.flush().entries(1).first?.report.wish)
        let outputs = edge.receive(rejection(row.reference, row.reason))
        #expect(outputs.count == 1 && outputs.closed == [], "the connection is good")
        #expect(edge.pass(milliseconds: 950).entries(1) == [])
        // Rejected twice, said once.
        _ = edge.receive(rejection(row.reference, row.reason))
        let again = edge.pass(milliseconds: 50).entries(1)
        #expect(again.map(\.reference) == (row.isSaidAgain ? [1] : []))
        if let wish = again.first?.report.wish {
            #expect(wish.need == first.need && wish.number > first.number)
        }
        #expect(edge.pass(milliseconds: 1_500).entries(1) == [])
    }

    @Test func `what was spent is said again, also when nobody waits`() throws {
        var edge = SessionFixture(counters: ["a"])
        _ = edge.want(10, account(0))
        _ = edge.session.flush()
        let wakeups = try edge.grant(account(0), total: 10).wakeups
        guard case .held(_, let hold)? = wakeups.first else { throw NotHeld() }
        _ = edge.session.ledger.settle(hold, actual: [Amount(10)])
        _ = edge.session.flush()
        _ = try edge.grant(account(0), total: 10)
        _ = edge.session.flush()
        #expect(edge.session.isAsleep)
        _ = edge.receive(rejection(1, .unavailable))
        #expect(!edge.session.isAsleep, "a tick is due that says it again")
        #expect(edge.pass(milliseconds: 950).entries(1) == [])
        let again = edge.pass(milliseconds: 50).entries(1)
        #expect(again.map(\.report.spent) == [Amount(10)])
    }

    @Test func `an account that was forgotten meanwhile is not said again`() throws {
        var edge = SessionFixture(counters: ["a"])
        let held = edge.want(0, account(0))
        let hold = try #require(held)
        _ = edge.session.ledger.settle(hold, actual: [.zero])
        _ = edge.session.flush()
        _ = try edge.grant(account(0), total: 0)
        _ = edge.session.flush()
        _ = edge.session.tick(at: edge.now, counterNow: nil, count: 5_995)
        _ = edge.receive(rejection(1, .unavailable))
        _ = edge.session.tick(at: edge.now, counterNow: nil, count: 6)
        #expect(edge.session.ledger.slotCount == 0)
        // Its place is taken by another one.
        _ = edge.session.ledger.slot(for: account(1), isEnforced: true)
        #expect(!edge.session.isAsleep)
        #expect(edge.pass(milliseconds: 1_000).entries(1) == [])
        #expect(edge.session.isAsleep)
    }

    // MARK: - Connections

    @Test func `a connection without a welcome says nothing that counts`() {
        var edge = SessionFixture()
        _ = edge.connect(1)
        #expect(edge.receive(.keysChanged) == [])
        #expect(edge.receive(.pong(1, counterTimeMilliseconds: 9)) == [])
        #expect(edge.session.leaseProblem(at: edge.now) == .neverHeard)
    }

    @Test func `a rejection is a sign of life of a counter that knows us`() {
        var edge = SessionFixture(counters: ["a"])
        edge.now += 10_000
        _ = edge.reject(1, .notBelieved)
        #expect(edge.session.leaseProblem(at: edge.now + 15_000) == nil)
    }

    @Test func `a connection that was never there is no loss`() {
        var edge = SessionFixture(counters: ["a"])
        #expect(edge.disconnect(9) == [])
        #expect(edge.session.isConnected)
    }

    @Test func `keys are asked for elsewhere in the order of their questions`() {
        var edge = SessionFixture(counters: ["a", "b"])
        let numbers: [UInt64] = [8, 2, 6, 4]
        for number in numbers {
            #expect(edge.session.resolveKey(request: number, digest: [9]).frames(1).count == 1)
        }
        let again = numbers.sorted().map { EdgeFrame.resolveKey(request: $0, digest: [9]) }
        #expect(edge.disconnect(1).frames(2) == again)
    }

    @Test func `a session that is over answers no question`() {
        var edge = SessionFixture(counters: ["a"])
        for number: UInt64 in [5, 3, 4] {
            _ = edge.session.resolveKey(request: number, digest: [9])
        }
        let outputs = edge.receive(.sessionClosed)
        let unanswered: [EdgeSession.Output] = [3, 4, 5].map { .keyUnanswered(request: $0) }
        #expect(Array(outputs.suffix(3)) == unanswered)
        #expect(outputs.closed == [1])
    }

    // MARK: - Sleep

    @Test func `a session sleeps while there is nothing to do but to wait for its end`() throws {
        var edge = SessionFixture(counters: ["a"])
        #expect(edge.session.isAsleep)
        let held = edge.want(0, account(0))
        let hold = try #require(held)
        #expect(!edge.session.isAsleep)
        _ = edge.session.ledger.settle(hold, actual: [.zero])
        _ = edge.session.flush()
        #expect(edge.session.isAsleep)
        #expect(edge.session.close().frames(1).last == .closeSession([]))
        #expect(edge.session.ledger.isAsleep && !edge.session.isAsleep)
        #expect(edge.receive(.sessionClosed).contains(.ended))
        #expect(edge.session.isAsleep)
    }

    // MARK: - Errands

    @Test func `a counter with many questions is answered in parts, and soon`() {
        var edge = EdgeFixture(slices: [10, 20, 30])
        for slot in edge.slots {
            edge.ledger.recall(
                reference: edge.ledger.reference(of: slot), epoch: 4,
                from: EdgeSession.LinkID(9))
        }
        for number in 0...2 {
            _ = edge.ledger.takeUrgency()
            let reports = edge.ledger.collectReports(max: 1)
            #expect(reports.map(\.key) == [account(number)])
            #expect(reports.first?.route == EdgeSession.LinkID(9))
            #expect(reports.first?.report.recallEpoch == 4)
            #expect(edge.ledger.takeUrgency() == true, "there is more")
            #expect(edge.available(number) == 0)
        }
    }
}
