import HoldfastCore
import HoldfastLedger
import Testing

/// The exhaustive model takes two accounts that encode alike for one.
@Suite struct `Account fingerprint` {
    private static func bytes(_ ledger: AccountLedger) -> [UInt8] {
        var bytes: [UInt8] = []
        ledger.encode(
            wishNumbers: { session in
                var mask: UInt64 = 0
                ledger.markWishNumbers(of: session, in: &mask)
                return mask
            }, into: &bytes)
        return bytes
    }

    /// A history of an account with a limit of 100.
    struct History: Sendable {
        var name: String
        var happen: @Sendable (inout AccountFixture) throws -> Void
    }

    /// Session 1 holds 90 idle, which 2 waits for.
    private static func recall(_ account: inout AccountFixture) throws {
        try account.lend([1: 90])
        _ = try account.report(2, LeaseReport(0, wish: LeaseWish(1, need: 60)))
    }

    private static let histories: [History] = [
        History(name: "nothing") { _ in },
        History(name: "decided") { _ = $0.decide() },
        History(name: "heard of") { _ = try $0.report(1, LeaseReport(0)) },
        History(name: "lent") { try $0.lend([1: 10]) },
        History(name: "lent to another") { try $0.lend([2: 10]) },
        History(name: "lent to two") { try $0.lend([1: 10, 2: 10]) },
        History(name: "spent") { account in
            try account.lend([1: 10])
            _ = try account.report(1, LeaseReport(10, 0, 4))
        },
        History(name: "released") { account in
            try account.lend([1: 10])
            _ = try account.report(1, LeaseReport(10, 4))
        },
        History(name: "held") { account in
            try account.lend([1: 10])
            _ = try account.report(1, LeaseReport(10, held: 4))
        },
        History(name: "overrun") { _ = try $0.report(1, LeaseReport(0, 0, 4, overrun: 4)) },
        History(name: "unlocked") { account in
            _ = try account.report(1, LeaseReport(granted: .zero, unlocked: Amount(4)))
        },
        History(name: "closed") { account in
            try account.lend([1: 10])
            _ = try account.happen(.closed(SessionID(1)))
        },
        History(name: "frozen") { _ = try $0.report(1, LeaseReport(10)) },
        History(name: "said while it was learned") { account in
            account.context.isLearning = true
            _ = try account.report(1, LeaseReport(10))
        },
        History(name: "limit changed") { account in
            account.context.limit = Amount(99)
            _ = account.decide()
        },
        History(name: "limit lowered, not decided yet") { account in
            _ = account.decide()
            try account.ledger.apply(.limitLowered)
        },
        History(name: "recalled") { try Self.recall(&$0) },
        History(name: "recalled and answered") { account in
            try Self.recall(&account)
            _ = try account.report(1, LeaseReport(90, 0, 0, held: 90, recallEpoch: 1))
        },
        History(name: "two wait") { account in
            try Self.recall(&account)
            _ = try account.report(3, LeaseReport(0, wish: LeaseWish(1, need: 50)))
        },
        History(name: "unmet") { account in
            _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 101)))
        },
        History(name: "withdrawn") { account in
            _ = try account.report(1, LeaseReport(0, wish: LeaseWish(1, need: 0)))
        },
    ]

    @Test func `different accounts encode differently`() throws {
        var seen: [[UInt8]: String] = [:]
        for history in Self.histories {
            var account = AccountFixture(limit: 100)
            try history.happen(&account)
            let twin = seen.updateValue(history.name, forKey: Self.bytes(account.ledger))
            #expect(twin == nil, "as \(history.name)")
        }
    }

    @Test func `wishes count by their order, not by their numbers`() throws {
        var first = AccountFixture(limit: 100)
        var later = AccountFixture(limit: 100)
        _ = try first.report(1, LeaseReport(0, wish: LeaseWish(1, need: 20)))
        _ = try later.report(1, LeaseReport(0, wish: LeaseWish(9, need: 20)))
        #expect(first.ledger != later.ledger)
        #expect(Self.bytes(first.ledger) == Self.bytes(later.ledger))
    }

    @Test func `recalls are counted`() throws {
        var account = AccountFixture(limit: 100)
        #expect(account.ledger.newestRecallEpoch == 0)
        try Self.recall(&account)
        #expect(account.ledger.newestRecallEpoch == 1)
    }

    @Test func `a session without a line marks nothing`() {
        var mask: UInt64 = 4
        AccountLedger().markWishNumbers(of: SessionID(1), in: &mask)
        #expect(mask == 4)
    }
}
