import HoldfastCore
import HoldfastLedger
import Testing

/// Who gets how much, in which order, and what is said when there is nothing.
@Suite struct `Account grants` {
    struct Row: Sendable, CustomTestStringConvertible {
        var need: UInt64
        var isGranted: Bool
        /// Whether the edge hears that nothing can be granted now.
        var isUnmet: Bool

        var testDescription: String { "need \(need) of 40 left" }
    }

    @Test(arguments: [
        Row(need: 1, isGranted: true, isUnmet: false),
        Row(need: 40, isGranted: true, isUnmet: false),
        Row(need: 41, isGranted: false, isUnmet: true),
        Row(need: 100, isGranted: false, isUnmet: true),
        Row(need: 101, isGranted: false, isUnmet: true),
    ])
    func `exposure after the grant is never above the limit`(row: Row) throws {
        var account = AccountFixture(limit: 100, sessions: 2)
        _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 60)))
        _ = try account.report(1, LeaseReport(60, 0, 0, held: 60))
        var actions = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: row.need)))
        if let epoch = actions.recallEpoch {
            #expect(actions.recalled == [1])
            actions = try account.report(1, LeaseReport(60, 0, 0, held: 60, recallEpoch: epoch))
        }
        let told = try #require(actions.told(2))
        #expect(told.granted == Amount(row.isGranted ? row.need : 0))
        #expect((told.unmetWish == 1) == row.isUnmet)
        #expect(account.ledger.exposure <= Amount(100))
    }

    @Test func `a wish is a total, so repeating it grants nothing more`() throws {
        var account = AccountFixture(limit: 1_000, sessions: 1)
        let wish = LeaseWish(1, need: 100)
        #expect(try account.report(1, LeaseReport(0, wish: wish)).told(1)?.granted == Amount(100))
        #expect(try account.report(1, LeaseReport(0, wish: wish)).told(1)?.granted == Amount(100))
        let older = LeaseReport(0, wish: LeaseWish(1, need: 300))
        #expect(try account.report(1, older).told(1)?.granted == Amount(100), "not a newer number")
    }

    @Test func `what is granted ahead of need is granted once`() throws {
        var account = AccountFixture(limit: 1_000, sessions: 2)
        let wish = LeaseWish(1, need: 10, ceiling: 600)
        // Half of the 990 that are left: nobody else uses the account.
        #expect(try account.report(1, LeaseReport(0, wish: wish)).told(1)?.granted == Amount(505))
        for report in [LeaseReport(0, wish: wish), LeaseReport(505, wish: wish), LeaseReport(505)] {
            #expect(try account.report(1, report).told(1)?.granted == Amount(505))
        }
        let next = LeaseReport(505, wish: LeaseWish(2, need: 0, ceiling: 900))
        #expect(try account.report(1, next).told(1)?.granted == Amount(505 + 495 / 2))
    }

    @Test func `a part of what can never fit is not granted ahead of need`() throws {
        var account = AccountFixture(limit: 1_000, sessions: 2)
        _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 10, ceiling: 600)))
        _ = try account.report(1, LeaseReport(505, 0, 505))
        let wish = LeaseWish(1, need: 800, ceiling: 900)
        let told = try account.report(2, LeaseReport(0, wish: wish)).told(2)
        #expect(told?.isCentral == false)
        #expect(told?.granted == .zero && told?.unmetWish == 1)
        // A higher limit fits it, and the rest is not wanted any more.
        account.context.limit = Amount(1_305)
        #expect(account.decide().told(2)?.granted == Amount(800))
    }

    @Test func `first come first served, also past those who need little`() throws {
        var account = AccountFixture(limit: 100)
        _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 90)))
        _ = try account.report(1, LeaseReport(90, 0, 0, held: 90))
        _ = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 20)))
        _ = try account.report(3, LeaseReport(0, wish: LeaseWish(1, need: 5)))
        #expect(account.granted(2) == 0 && account.granted(3) == 0)
        #expect(account.ledger.isWaitedFor)
        let actions = try account.report(1, LeaseReport(90, 60, 30))
        #expect(actions.told(2)?.granted == Amount(20))
        #expect(actions.told(3)?.granted == Amount(5))
        #expect(!account.ledger.isWaitedFor)
    }

    @Test func `a changed need keeps its place, and a withdrawn one loses it`() throws {
        var account = AccountFixture(limit: 100)
        _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 100)))
        _ = try account.report(1, LeaseReport(100, 0, 0, held: 100))
        _ = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 80)))
        _ = try account.report(3, LeaseReport(0, wish: LeaseWish(1, need: 60)))
        _ = try account.report(2, LeaseReport(0, wish: LeaseWish(2, need: 50)))
        var actions = try account.report(1, LeaseReport(100, 50, 0, held: 50))
        #expect(actions.told(2)?.granted == Amount(50))
        _ = try account.report(3, LeaseReport(0, wish: LeaseWish(2, need: 0)))
        #expect(!account.ledger.isWaitedFor)
        actions = try account.report(1, LeaseReport(100, 100, 0))
        #expect(account.granted(3) == 0)
        #expect(account.ledger.line(of: SessionID(3)) != nil)
    }

    @Test func `who gave back a part of what was on its way is not behind the others`() throws {
        var account = AccountFixture(limit: 100)
        _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 100)))
        _ = try account.report(1, LeaseReport(100, 0, 0, held: 100))
        _ = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 60)))
        _ = try account.report(3, LeaseReport(0, wish: LeaseWish(1, need: 60)))
        _ = try account.report(1, LeaseReport(100, 70, 0, held: 30))
        #expect(account.granted(2) == 60)
        // Sent before that grant was seen.
        let actions = try account.report(2, LeaseReport(30, 30, 0, wish: LeaseWish(2, need: 90)))
        #expect(actions.told(2)?.granted == Amount(90))
        #expect(account.granted(3) == 0)
    }

    @Test func `a need that can never fit is answered at once and blocks nobody`() throws {
        var account = AccountFixture(limit: 100)
        _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 30)))
        _ = try account.report(1, LeaseReport(30, 0, 30))
        let actions = try account.report(2, LeaseReport(0, wish: LeaseWish(5, need: 71)))
        #expect(actions.told(2)?.unmetWish == 5)
        #expect(actions.recalled == [])
        #expect(!account.ledger.isWaitedFor)
        let next = try account.report(3, LeaseReport(0, wish: LeaseWish(1, need: 70)))
        #expect(next.told(3)?.granted == Amount(70))
    }

    @Test func `a raised limit also serves what could never fit before`() throws {
        var account = AccountFixture(limit: 100)
        _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 150)))
        #expect(!account.ledger.isWaitedFor)
        account.context.limit = Amount(150)
        #expect(account.decide().told(1)?.granted == Amount(150))
    }

    // MARK: - Recall

    @Test func `idle budget elsewhere is asked for before anyone is told no`() throws {
        var account = AccountFixture(limit: 100)
        try account.lend([1: 50, 2: 50])
        let asked = try account.report(3, LeaseReport(0, wish: LeaseWish(1, need: 60)))
        #expect(asked.recalled == [1, 2])
        #expect(asked.told(3)?.unmetWish == 0)
        let epoch = try #require(asked.recallEpoch)
        #expect(account.ledger.openRecallEpoch == epoch)
        let half = try account.report(1, LeaseReport(50, 50, 0, recallEpoch: epoch))
        #expect(half.told(3) == nil, "one has not answered")
        #expect(half.recalled == [])
        let last = try account.report(2, LeaseReport(50, 45, 0, held: 5, recallEpoch: epoch))
        #expect(last.told(3)?.granted == Amount(60))
        #expect(account.ledger.openRecallEpoch == nil)
    }

    struct End: Sendable, CustomTestStringConvertible {
        var name: String
        var act: @Sendable (inout AccountFixture, UInt64) throws -> [AccountLedger.Action]
        var testDescription: String { name }
    }

    @Test(arguments: [
        End(name: "answers that all is held") { account, epoch in
            try account.report(1, LeaseReport(50, 0, 0, held: 50, recallEpoch: epoch))
        },
        End(name: "does not answer in time") { account, epoch in
            try account.ledger.apply(.recallTimedOut(epoch: epoch))
            return account.decide()
        },
        End(name: "is disconnected") { account, _ in
            try account.ledger.apply(.disconnected(SessionID(1)))
            account.context.reachable = [SessionID(2), SessionID(3)]
            return account.decide()
        },
        End(name: "is not reachable any more") { account, _ in
            account.context.reachable = [SessionID(2), SessionID(3)]
            return account.decide()
        },
    ])
    func `when the last holder`(end: End) throws {
        var account = AccountFixture(limit: 100)
        try account.lend([1: 50])
        let asked = try account.report(2, LeaseReport(0, wish: LeaseWish(4, need: 60)))
        let epoch = try #require(asked.recallEpoch)
        let actions = try end.act(&account, epoch)
        #expect(actions.told(2)?.unmetWish == 4)
        #expect(account.ledger.isWaitedFor, "it keeps its place")
        #expect(account.ledger.openRecallEpoch == nil)
        #expect(account.decide().told(2) == nil, "said once")
        let freed = try account.report(1, LeaseReport(50, 50, 0))
        #expect(freed.told(2)?.granted == Amount(60))
    }

    @Test func `a timer of an older recall ends nothing`() throws {
        var account = AccountFixture(limit: 100)
        try account.lend([1: 50])
        let first = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 60)))
        let second = try account.report(2, LeaseReport(0, wish: LeaseWish(2, need: 70)))
        #expect(second.recalled == [1], "more is needed than was asked for")
        try account.ledger.apply(.recallTimedOut(epoch: #require(first.recallEpoch)))
        #expect(account.ledger.openRecallEpoch == second.recallEpoch)
    }

    @Test func `a smaller need is not asked for again, and what comes free later is`() throws {
        var account = AccountFixture(limit: 100)
        try account.lend([1: 50])
        let asked = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 90)))
        let epoch = try #require(asked.recallEpoch)
        _ = try account.report(1, LeaseReport(50, 0, 0, held: 50, recallEpoch: epoch))
        let smaller = try account.report(2, LeaseReport(0, wish: LeaseWish(2, need: 80)))
        #expect(smaller.recalled == [])
        #expect(smaller.told(2)?.unmetWish == 2)
        let idle = try account.report(1, LeaseReport(50, 0, 10, recallEpoch: epoch))
        #expect(idle.recalled == [1], "40 are idle now")
        #expect(idle.told(1)?.isCentral == true, "somebody waits")
    }

    @Test func `nobody is asked for its own slice, or who has nothing`() throws {
        var account = AccountFixture(limit: 100)
        try account.lend([1: 50, 2: 30])
        _ = try account.report(1, LeaseReport(50, 20, 30))
        let actions = try account.report(2, LeaseReport(30, wish: LeaseWish(2, need: 100)))
        #expect(actions.recalled == [])
        #expect(actions.told(2)?.unmetWish == 2)
    }

    // MARK: - Losing sessions

    @Test func `the slice of a session that is gone is charged, whoever waits`() throws {
        var account = AccountFixture(limit: 100)
        try account.lend([1: 50])
        _ = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 51)))
        try account.ledger.apply(.closed(SessionID(1)))
        account.context.reachable = [SessionID(2), SessionID(3)]
        let actions = account.decide()
        #expect(actions.told(2)?.unmetWish == 1)
        #expect(!account.ledger.isWaitedFor, "it can never fit any more")
        let fits = try account.report(2, LeaseReport(0, wish: LeaseWish(2, need: 50)))
        #expect(fits.told(2)?.granted == Amount(50))
    }

    @Test func `who loses the connection loses the place, and is told nothing`() throws {
        var account = AccountFixture(limit: 100)
        try account.lend([1: 100])
        _ = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 60)))
        try account.ledger.apply(.disconnected(SessionID(2)))
        account.context.reachable = [SessionID(1), SessionID(3)]
        #expect(!account.ledger.isWaitedFor)
        let actions = try account.report(1, LeaseReport(100, 100, 0))
        #expect(actions.told(2) == nil)
        #expect(account.granted(2) == 0)
    }
}
