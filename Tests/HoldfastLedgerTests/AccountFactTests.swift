import HoldfastCore
import HoldfastLedger
import Testing

/// What ends sessions, and what comes free by it.
@Suite struct `Account facts` {
    struct Ending: Sendable, CustomTestStringConvertible {
        var name: String
        var fact: AccountLedger.Fact
        var freed: UInt64
        var base: UInt64
        var testDescription: String { name }
    }

    private static func recovered(_ unlocked: UInt64) -> AccountLedger.Fact {
        .recovered(SessionID(1), LeaseReport(unlocked: Amount(unlocked)))
    }

    /// 100 are granted, 10 released, 30 spent, 20 held, and 60 unlocked.
    @Test(arguments: [
        Ending(name: "closed", fact: .closed(SessionID(1)), freed: 0, base: 90),
        Ending(name: "refunded", fact: .refunded(SessionID(1)), freed: 60, base: 30),
        Ending(name: "recovered", fact: recovered(75), freed: 15, base: 75),
        Ending(name: "recovered with what was known", fact: recovered(60), freed: 30, base: 60),
        Ending(name: "recovered with more than there is", fact: recovered(95), freed: 0, base: 90),
        Ending(
            name: "recovered with the most there can be", fact: recovered(Limits.amountMax),
            freed: 0, base: 90),
    ])
    func `a session that ends is replaced by its charge, once`(row: Ending) throws {
        var account = AccountFixture(limit: 100)
        try account.lend([1: 100])
        var report = LeaseReport(100, 10, 30, held: 20)
        report.unlocked = Amount(60)
        _ = try account.report(1, report)
        #expect(account.ledger.stored.lines[0].unlocked == Amount(60))
        #expect(try account.ledger.apply(row.fact) == Amount(row.freed))
        #expect(account.ledger.base == Amount(row.base))
        #expect(account.ledger.lines.isEmpty)
        #expect(try account.ledger.apply(row.fact) == .zero)
        #expect(account.ledger.base == Amount(row.base))
    }

    @Test(arguments: [
        (UInt64(59), AccountLedger.Refusal.journalTooOld),
        (Limits.amountMax + 1, .amountOutOfBounds), (.max, .amountOutOfBounds),
    ])
    func `a journal that cannot be refunds nothing`(
        unlocked: UInt64, refusal: AccountLedger.Refusal
    ) throws {
        var account = AccountFixture(limit: 100)
        try account.lend([1: 100])
        var report = LeaseReport(100)
        report.unlocked = Amount(60)
        _ = try account.report(1, report)
        let before = account.ledger
        #expect(throws: refusal) { try account.ledger.apply(Self.recovered(unlocked)) }
        #expect(account.ledger == before)
    }

    @Test func `a recovered session frees its place and serves who waits`() throws {
        var account = AccountFixture(limit: 100)
        try account.lend([1: 100])
        _ = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 50)))
        let actions = try account.happen(Self.recovered(40))
        #expect(actions.told(2)?.granted == Amount(50))
        #expect(account.ledger.exposure == Amount(90))
    }

    @Test func `while it learns an account takes what it hears, and grants nothing`() throws {
        var account = AccountFixture(limit: 100)
        account.context.isLearning = true
        let heard = try account.report(1, LeaseReport(80, 0, 30))
        #expect(!account.ledger.isFrozen)
        #expect(heard.told(1)?.isLearning == true)
        let wish = LeaseReport(0, wish: LeaseWish(1, need: 50, ceiling: 60))
        let waiting = try account.report(2, wish)
        #expect(waiting.told(2)?.granted == .zero && waiting.told(2)?.unmetWish == 0)
        #expect(waiting.recalled == [])
        account.context.isLearning = false
        #expect(account.decide().recalled == [1], "then it goes on as ever")
    }

    @Test func `a frozen account grants again once somebody has looked`() throws {
        var account = AccountFixture(limit: 100)
        _ = try account.report(1, LeaseReport(80))
        let asking = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 20)))
        #expect(asking.told(2)?.isFrozen == true)
        #expect(asking.told(2)?.unmetWish == 1)
        #expect(try account.happen(.unfrozen).told(2)?.granted == Amount(20))
    }

    @Test func `what lost sessions hold counts as spent`() throws {
        var account = AccountFixture(limit: 100)
        try account.lend([1: 60])
        _ = try account.report(1, LeaseReport(60, 0, 20, held: 10))
        account.context.living = [SessionID(2)]
        account.context.reachable = [SessionID(2)]
        let told = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 41))).told(2)
        #expect(told?.totalSpent == Amount(60))
        #expect(told?.totalHeld == .zero)
        #expect(told?.unmetWish == 1)
        account.context.living = [SessionID(1), SessionID(2)]
        #expect(account.decide([2]).told(2)?.totalSpent == Amount(20))
        #expect(account.decide([2]).told(2)?.totalHeld == Amount(10))
        #expect(account.ledger.totalHeld == Amount(10))
    }

    @Test func `sums beyond 64 bits refuse everything and trap nothing`() throws {
        let most = Amount(Limits.amountMax)
        let line = { (number: UInt64) in
            StoredAccount.Line(
                session: SessionID(number), granted: most, released: .zero, spent: .zero,
                overrun: .zero)
        }
        var account = AccountFixture(limit: Limits.amountMax)
        account.ledger = AccountLedger(
            StoredAccount(base: Amount(.max - 1), isFrozen: false, lines: [line(1), line(2)]))
        #expect(account.ledger.exposure == Amount(.max))
        let wish = LeaseWish(.max, need: Limits.amountMax)
        let told = try account.report(3, LeaseReport(0, wish: wish)).told(3)
        #expect(told?.granted == .zero)
        #expect(told?.unmetWish == .max)
        try account.ledger.apply(.closed(SessionID(1)))
        try account.ledger.apply(.closed(SessionID(2)))
        #expect(account.ledger.base == Amount(.max))
        _ = account.decide([3])
    }

    @Test func `a huge typical need makes an account central, without overflow`() throws {
        var account = AccountFixture(limit: Limits.amountMax, sessions: 8)
        for session: UInt64 in 1...8 { _ = try account.report(session, LeaseReport(0)) }
        let wish = LeaseWish(1, need: Limits.amountMax)
        #expect(try account.report(1, LeaseReport(0, wish: wish)).told(1)?.isCentral == true)
    }

    @Test func `who cannot be reached loses the place at the next decision`() throws {
        var account = AccountFixture(limit: 100)
        try account.lend([1: 100])
        _ = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 60)))
        account.context.reachable = [SessionID(1), SessionID(3)]
        #expect(account.ledger.isWaitedFor)
        _ = try account.report(1, LeaseReport(100, 100))
        #expect(!account.ledger.isWaitedFor)
        #expect(account.granted(2) == 0)
    }

    @Test func `a round for one that has left is over`() throws {
        var account = AccountFixture(limit: 100)
        try account.lend([1: 100])
        _ = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 60)))
        let waiting = try account.report(3, LeaseReport(0, wish: LeaseWish(1, need: 70)))
        #expect(waiting.recalled == [])
        let actions = try account.happen(.disconnected(SessionID(2)))
        #expect(actions.recalled == [1], "asked anew for the next one")
        _ = try account.happen(.disconnected(SessionID(9)))
    }
}
