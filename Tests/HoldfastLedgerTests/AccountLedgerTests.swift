import HoldfastCore
import HoldfastLedger
import Testing

/// What the counter believes, stores and counts.
@Suite struct `Account books` {
    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var first = LeaseReport(0)
        var report: LeaseReport
        var refusal: AccountLedger.Refusal?

        var testDescription: String { name }
    }

    private static let most = Limits.amountMax

    /// 100 are granted to session 1.
    @Test(arguments: [
        Row(name: "all of the slice is spent", report: LeaseReport(100, 0, 100)),
        Row(name: "all of it is released", report: LeaseReport(100, 100, 0)),
        Row(name: "part of both", report: LeaseReport(100, 40, 60)),
        Row(name: "an overrun", report: LeaseReport(100, 0, 130, overrun: 30)),
        Row(
            name: "released more than granted", report: LeaseReport(100, 101, 0),
            refusal: .releasedMoreThanGranted),
        Row(
            name: "spent more than granted", report: LeaseReport(100, 0, 101),
            refusal: .spentMoreThanGranted),
        Row(
            name: "released and spent the same", report: LeaseReport(100, 60, 41),
            refusal: .spentMoreThanGranted),
        Row(
            name: "an overrun beyond what it says", report: LeaseReport(100, 0, 131, overrun: 30),
            refusal: .spentMoreThanGranted),
        Row(
            name: "contradicts what was said before", first: LeaseReport(100, 100, 0),
            report: LeaseReport(100, 0, 100), refusal: .spentMoreThanGranted),
        Row(
            name: "an absurd amount", report: LeaseReport(100, 0, 0, held: most + 1),
            refusal: .amountOutOfBounds),
        Row(
            name: "an absurd wish",
            report: LeaseReport(100, wish: LeaseWish(9, need: 0, ceiling: .max)),
            refusal: .amountOutOfBounds),
        Row(
            name: "an absurd sum", report: LeaseReport(.max, .max, .max, overrun: .max),
            refusal: .amountOutOfBounds),
    ])
    func `a report that cannot be is refused, and nothing of it is taken`(row: Row) throws {
        var account = AccountFixture(limit: 100)
        _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 100)))
        _ = try account.report(1, row.first)
        let before = account.ledger
        do {
            try account.ledger.apply(.report(SessionID(1), row.report))
            #expect(row.refusal == nil)
            #expect(account.ledger.line(of: SessionID(1))?.spent == row.report.spent)
            #expect(account.ledger.line(of: SessionID(1))?.released == row.report.released)
        } catch {
            #expect(error == row.refusal)
            #expect(account.ledger == before)
        }
        _ = account.decide([1])
    }

    @Test func `repeated, reordered and lost reports end in the same books`() throws {
        let reports: [(UInt64, LeaseReport)] = [
            (1, LeaseReport(0, wish: LeaseWish(1, need: 100))),
            (1, LeaseReport(100, 0, 0, held: 100)),
            (1, LeaseReport(100, 0, 60, held: 40)),
            (1, LeaseReport(100, 15, 85)),
        ]
        var random = SplitMix(seed: 11)
        for _ in 0..<200 {
            var account = AccountFixture(limit: 100)
            _ = try account.report(reports[0].0, reports[0].1)
            for _ in 0..<random.below(12) {
                let (session, report) = reports[random.below(reports.count)]
                try account.ledger.apply(.report(SessionID(session), report))
            }
            try account.ledger.apply(.report(SessionID(1), reports[3].1))
            try account.ledger.apply(.report(SessionID(1), reports[random.below(3)].1))
            let line = try #require(account.ledger.line(of: SessionID(1)))
            #expect(line.granted == Amount(100))
            #expect(line.released == Amount(15))
            #expect(line.spent == Amount(85))
            #expect(line.held == .zero, "an older report does not say what is held")
            #expect(account.ledger.exposure == Amount(85))
            #expect(!account.ledger.isFrozen)
        }
    }

    @Test func `an edge that has seen more granted than is stored freezes the account`() throws {
        var account = AccountFixture(limit: 1_000)
        _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 100)))
        _ = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 0, ceiling: 10)))
        let old = account.ledger.stored
        _ = try account.report(1, LeaseReport(100, wish: LeaseWish(2, need: 300)))
        #expect(account.granted(1) == 300)

        account.ledger = AccountLedger(old)
        let actions = try account.report(1, LeaseReport(300))
        #expect(account.ledger.isFrozen)
        #expect(actions.told(1)?.isFrozen == true)
        #expect(account.ledger.exposure >= Amount(300), "what was seen counts")
        let asking = try account.report(2, LeaseReport(0, wish: LeaseWish(2, need: 500)))
        #expect(asking.told(2)?.isFrozen == true)
        #expect(asking.told(2)?.granted == Amount(10), "nothing more is granted")
        #expect(AccountLedger(account.ledger.stored).isFrozen, "and that survives")
    }

    struct Exposure: Sendable, CustomTestStringConvertible {
        var report: LeaseReport
        var exposure: UInt64

        var testDescription: String { "\(report)" }
    }

    @Test(arguments: [
        Exposure(report: LeaseReport(100), exposure: 100),
        Exposure(report: LeaseReport(100, 40, 10, held: 20), exposure: 60),
        Exposure(report: LeaseReport(100, 90, 10), exposure: 10),
        Exposure(report: LeaseReport(100, 0, 130, overrun: 30), exposure: 130),
        Exposure(report: LeaseReport(100, 0, 70, held: 50), exposure: 120),
        Exposure(report: LeaseReport(100, 0, 130, held: 5, overrun: 30), exposure: 135),
    ])
    func `a closed session stays charged with the most that it can have spent`(
        row: Exposure
    ) throws {
        var account = AccountFixture(limit: 100)
        _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 100)))
        _ = try account.report(1, row.report)
        #expect(account.ledger.exposure == Amount(row.exposure))
        try account.ledger.apply(.disconnected(SessionID(1)))
        #expect(account.ledger.exposure == Amount(row.exposure), "a lost connection frees nothing")
        try account.ledger.apply(.closed(SessionID(1)))
        #expect(account.ledger.base == Amount(row.exposure))
        #expect(account.ledger.exposure == Amount(row.exposure))
        #expect(account.ledger.lines.isEmpty)
        try account.ledger.apply(.closed(SessionID(1)))
        #expect(account.ledger.exposure == Amount(row.exposure), "once")
    }

    @Test func `what is stored comes back the same`() throws {
        var account = AccountFixture(limit: 500)
        _ = try account.report(3, LeaseReport(0, wish: LeaseWish(1, need: 100)))
        _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 50)))
        _ = try account.report(3, LeaseReport(100, 20, 90, overrun: 10))
        _ = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 7)))
        try account.ledger.apply(.closed(SessionID(2)))
        let stored = account.ledger.stored
        #expect(stored.lines.map(\.session.rawValue) == [1, 3])
        #expect(stored.base == Amount(7))
        #expect(AccountLedger(stored).stored == stored)
        #expect(AccountLedger(stored).exposure == account.ledger.exposure)
        #expect(account.ledger.sessions == [SessionID(1), SessionID(3)])
    }

    @Test func `stored lines out of order stop the process`() async {
        await #expect(processExitsWith: .failure) {
            let line = StoredAccount.Line(
                session: SessionID(1), granted: .zero, released: .zero, spent: .zero,
                overrun: .zero)
            _ = AccountLedger(StoredAccount(base: .zero, isFrozen: false, lines: [line, line]))
        }
    }
}
