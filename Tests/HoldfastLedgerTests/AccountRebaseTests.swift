import HoldfastCore
import HoldfastLedger
import Testing

/// An account that another counter has written meanwhile.
@Suite struct `Account rebase` {
    private func stored(_ lines: StoredAccount.Line..., base: UInt64 = 0) -> StoredAccount {
        StoredAccount(base: Amount(base), isFrozen: false, lines: lines)
    }

    private func line(
        _ session: UInt64, _ granted: UInt64, _ released: UInt64 = 0, _ spent: UInt64 = 0
    ) -> StoredAccount.Line {
        StoredAccount.Line(
            session: SessionID(session), granted: Amount(granted), released: Amount(released),
            spent: Amount(spent), overrun: .zero)
    }

    /// Session 1 holds 60 and 20 idle; 2 waits for 50, then 3 for 30; a recall is under way.
    private func waiting() throws -> AccountFixture {
        var account = AccountFixture(limit: 100, sessions: 4)
        try account.lend([1: 80])
        _ = try account.report(1, LeaseReport(80, 0, 0, held: 60))
        _ = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 50)))
        _ = try account.report(3, LeaseReport(0, wish: LeaseWish(1, need: 30)))
        #expect(account.ledger.openRecallEpoch != nil)
        return account
    }

    @Test func `the same again changes nothing`() throws {
        let account = try waiting()
        #expect(account.ledger.rebased(on: account.ledger.stored) == account.ledger)
    }

    @Test func `amounts are theirs, places and recalls stay`() throws {
        var account = try waiting()
        let epoch = try #require(account.ledger.openRecallEpoch)
        account.ledger = account.ledger.rebased(on: stored(line(1, 80), line(4, 15), base: 1))
        #expect(account.ledger.exposure == Amount(96))
        #expect(account.ledger.openRecallEpoch == epoch)
        #expect(account.line(1)?.held == Amount(60))
        // Those who wait have nothing stored, and keep their order.
        let first = try account.report(1, LeaseReport(80, 60, recallEpoch: epoch))
        #expect(first.told(2)?.granted == Amount(50))
        #expect(first.told(3)?.granted == nil)
        #expect(account.ledger.isWaitedFor)
        let second = try account.report(4, LeaseReport(15, 15))
        #expect(second.told(3) == nil, "20 are not given back yet")
        #expect(try account.report(1, LeaseReport(80, 80)).told(3)?.granted == Amount(30))
    }

    @Test func `who was closed elsewhere is gone, with place and recall`() throws {
        var account = AccountFixture(limit: 100)
        try account.lend([1: 80, 2: 10])
        _ = try account.report(2, LeaseReport(10, wish: LeaseWish(2, need: 60)))
        #expect(account.ledger.openRecallEpoch != nil)
        account.ledger = account.ledger.rebased(on: stored(line(1, 80), base: 10))
        #expect(account.line(2) == nil)
        #expect(account.ledger.openRecallEpoch == nil)
        #expect(!account.ledger.isWaitedFor)
        #expect(account.ledger.exposure == Amount(90))
    }

    @Test(arguments: [(UInt64(80), UInt64(30), UInt64(50)), (80, 0, 60), (80, 20, 0)])
    func `what another counter has heard of since is not held any more`(
        granted: UInt64, released: UInt64, spent: UInt64
    ) throws {
        var account = try waiting()
        account.ledger = account.ledger.rebased(on: stored(line(1, granted, released, spent)))
        #expect(account.line(1)?.held == .zero)
        try account.ledger.apply(.closed(SessionID(1)))
        #expect(account.ledger.base == Amount(granted - released), "not charged twice")
    }

    @Test func `a grant by another counter alone says nothing about what is held`() throws {
        var account = try waiting()
        account.ledger = account.ledger.rebased(on: stored(line(1, 90)))
        #expect(account.line(1)?.held == Amount(60))
        #expect(account.granted(1) == 90)
    }

    @Test func `a request that was granted meanwhile is told of it`() throws {
        var account = try waiting()
        account.ledger = account.ledger.rebased(
            on: stored(line(1, 80, 60), line(2, 50), line(3, 0)))
        let actions = account.decide()
        #expect(actions.told(2)?.granted == Amount(50))
        #expect(actions.told(3)?.granted == Amount(30))
    }

    @Test func `an account that no counter can have written stops the process`() async {
        await #expect(processExitsWith: .failure) {
            let line = StoredAccount.Line(
                session: SessionID(1), granted: .zero, released: Amount(1), spent: .zero,
                overrun: .zero)
            _ = AccountLedger(StoredAccount(base: .zero, isFrozen: false, lines: [line]))
        }
    }
}
