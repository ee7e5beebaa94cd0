import HoldfastCore
import HoldfastLedger
import Testing

/// Slices ahead of need, central mode, and accounts that are closed, frozen or cut.
@Suite struct `Account modes` {
    struct Share: Sendable, CustomTestStringConvertible {
        var ceiling: UInt64
        var sessions: UInt64
        var granted: UInt64

        var testDescription: String { "\(ceiling) wished, \(sessions) sessions" }
    }

    @Test(arguments: [
        Share(ceiling: 100, sessions: 1, granted: 100),
        Share(ceiling: 10_000, sessions: 1, granted: 500),
        Share(ceiling: 10_000, sessions: 2, granted: 250),
        Share(ceiling: 10_000, sessions: 5, granted: 100),
    ])
    func `ahead of need a session gets at most half of its even share`(row: Share) throws {
        var account = AccountFixture(limit: 1_000, sessions: row.sessions)
        for session in 1...row.sessions { _ = try account.report(session, LeaseReport(0)) }
        let wish = LeaseWish(1, need: 0, ceiling: row.ceiling)
        let actions = try account.report(1, LeaseReport(0, wish: wish))
        #expect(actions.told(1)?.granted == Amount(row.granted))
        let again = try account.report(1, LeaseReport(row.granted))
        #expect(again.told(1)?.granted == Amount(row.granted), "one wish is granted once")
    }

    @Test func `nothing is granted ahead while somebody waits`() throws {
        var account = AccountFixture(limit: 1_000)
        _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 900)))
        _ = try account.report(1, LeaseReport(900, 0, 0, held: 900))
        _ = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 200)))
        let ahead = LeaseWish(1, need: 0, ceiling: 50)
        let actions = try account.report(3, LeaseReport(0, wish: ahead))
        #expect(actions.told(3)?.granted == .zero)
        #expect(actions.told(3)?.isCentral == true)
    }

    /// One session, requests of 100: central below 400 of room, and until 800.
    @Test func `central mode begins late and ends later`() throws {
        var account = AccountFixture(limit: 10_000, sessions: 1)
        var granted: UInt64 = 0
        var spent: UInt64 = 0
        var number: UInt64 = 0
        func ask() throws -> LeaseGrant {
            number += 1
            let report = LeaseReport(
                granted, 0, spent, wish: LeaseWish(number, need: granted + 100))
            let told = try account.report(1, report).told(1)
            granted = told?.granted.rawValue ?? 0
            return try #require(told)
        }
        func settle() throws -> LeaseGrant {
            spent = granted
            let told = try account.report(1, LeaseReport(granted, 0, spent)).told(1)
            return try #require(told)
        }
        var last = try ask()
        while account.context.limit.excess(over: Amount(spent)) > Amount(400) {
            #expect(!last.isCentral, "spent \(spent)")
            last = try settle()
            if account.context.limit.excess(over: Amount(spent)) > Amount(400) { last = try ask() }
        }
        #expect(!last.isCentral, "400 serve four")
        #expect(try ask().isCentral == false, "until it is spent or held")
        #expect(try settle().isCentral)
        account.context.limit = Amount(spent + 700)
        #expect(account.decide([1]).told(1)?.isCentral == true)
        account.context.limit = Amount(spent + 800)
        #expect(account.decide([1]).told(1)?.isCentral == false)
    }

    @Test func `in central mode exactly one need is granted`() throws {
        var account = AccountFixture(limit: 300, sessions: 1)
        let wish = LeaseWish(1, need: 100, ceiling: 300)
        let told = try account.report(1, LeaseReport(0, wish: wish)).told(1)
        #expect(told?.granted == Amount(100))
        #expect(told?.isCentral == true)
    }

    @Test func `an account counts as central while somebody waits, and only so long`() throws {
        var account = AccountFixture(limit: 10_000, sessions: 2)
        _ = try account.report(2, LeaseReport(0))
        for number: UInt64 in 1...40 {
            let ahead = LeaseWish(number, need: 0, ceiling: 10_000)
            _ = try account.report(1, LeaseReport(0, wish: ahead))
        }
        let idle = try #require(account.granted(1))
        #expect(idle > 9_900, "all of it idle")
        let waiting = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 100)))
        #expect(waiting.told(2)?.isCentral == true)
        let epoch = try #require(waiting.recallEpoch)
        let freed = try account.report(1, LeaseReport(idle, idle, recallEpoch: epoch))
        #expect(freed.told(2)?.granted == Amount(100))
        #expect(freed.told(2)?.isCentral == false)
    }

    @Test func `an impossible request does not make the account central`() throws {
        var account = AccountFixture(limit: 1_000, sessions: 2)
        _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 10)))
        let told = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 5_000))).told(2)
        #expect(told?.unmetWish == 1)
        #expect(told?.isCentral == false)
    }

    @Test func `a lowered limit grants nothing, asks everyone, and is reached`() throws {
        var account = AccountFixture(limit: 100)
        for session: UInt64 in [1, 2] {
            _ = try account.report(session, LeaseReport(0, wish: LeaseWish(1, need: 50)))
            _ = try account.report(session, LeaseReport(50))
        }
        account.context.limit = Amount(60)
        let recalls = try account.happen(.limitLowered)
        #expect(recalls.recalled == [1, 2])
        let epoch = try #require(recalls.recallEpoch)
        let asking = try account.report(3, LeaseReport(0, wish: LeaseWish(1, need: 1)))
        #expect(asking.told(3)?.granted == .zero)
        #expect(account.ledger.exposure == Amount(100), "nothing is taken from anyone")
        _ = try account.report(1, LeaseReport(50, 40, 10, recallEpoch: epoch))
        #expect(account.ledger.exposure == Amount(60), "the limit is met again")
        #expect(account.granted(3) == 0)
        let full = try account.report(2, LeaseReport(50, 50, 0, recallEpoch: epoch))
        #expect(full.told(3)?.granted == Amount(1))
        #expect(full.told(2)?.exposure == Amount(11))
    }

    @Test func `only reachable holders are asked`() throws {
        var account = AccountFixture(limit: 100)
        for session: UInt64 in [1, 2] {
            _ = try account.report(session, LeaseReport(0, wish: LeaseWish(1, need: 50)))
            _ = try account.report(session, LeaseReport(50))
        }
        account.context.reachable = [SessionID(2)]
        #expect(try account.happen(.limitLowered).recalled == [2])
    }

    @Test func `a closed account grants nothing, tells those who wait, and still settles`() throws {
        var account = AccountFixture(limit: 100)
        _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 100)))
        _ = try account.report(1, LeaseReport(100, 0, 0, held: 100))
        _ = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 50)))
        account.context.isOpen = false
        let actions = try account.report(1, LeaseReport(100, 60, 40))
        #expect(actions.told(2)?.isClosed == true)
        #expect(actions.told(2)?.unmetWish == 1)
        #expect(account.granted(2) == 0)
        #expect(account.ledger.totalSpent == Amount(40))
        #expect(account.decide().told(2) == nil, "said once")
        #expect(try account.report(3, LeaseReport(0)).told(3)?.isClosed == true)
    }

    @Test func `a withdrawn wish is confirmed, so that the account may be forgotten`() throws {
        var account = AccountFixture(limit: 100)
        let told = try account.report(1, LeaseReport(0, wish: LeaseWish(7, need: 0))).told(1)
        #expect(told?.unmetWish == 7)
    }
}
