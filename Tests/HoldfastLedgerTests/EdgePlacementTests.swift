import HoldfastCore
import HoldfastLedger
import Testing

/// Which counter serves which account, and what becomes of accounts that move.
@Suite struct `Edge placement` {
    private let counters = ["counter-a", "counter-b", "counter-c"]

    /// The connection over which each of so many accounts is reported.
    private func routes(_ edge: inout SessionFixture, count: Int, links: UInt64) -> [UInt64?] {
        for number in 0..<count { _ = edge.want(10, account(number)) }
        let outputs = edge.session.flush()
        return (0..<count).map { number in
            (1...links).first { link in
                outputs.entries(link).contains { $0.key == account(number) }
            }
        }
    }

    @Test func `accounts are spread evenly, the same on every edge`() {
        var one = SessionFixture(counters: counters)
        var other = SessionFixture(counters: counters.reversed())
        let count = 900
        let here = routes(&one, count: count, links: 3)
        let there = routes(&other, count: count, links: 3)
        for link in 1...UInt64(3) {
            #expect((250...350).contains(here.count { $0 == link }), "\(link)")
        }
        #expect(here == there.map { $0.map { 4 - $0 } })
    }

    @Test func `only the accounts of a counter that goes move, and they come back with it`() {
        var all = SessionFixture(counters: counters)
        let before = routes(&all, count: 300, links: 3)
        let moved = all.disconnect(2) + all.session.flush()
        let lost = Set((0..<300).filter { before[$0] == 2 }.map { account($0) })
        #expect(moved.entries(1).count + moved.entries(3).count == lost.count)
        #expect(Set((moved.entries(1) + moved.entries(3)).compactMap(\.key)) == lost)
        _ = all.connect(4)
        let back = all.welcome(4, "counter-b")
        #expect(Set(back.entries(4).compactMap(\.key)) == lost)
        #expect(back.entries(1).count + back.entries(3).count == lost.count, "withdrawn there")
    }

    /// An account that counter b takes over from a.
    private func mover() throws -> (SessionFixture, AccountKey) {
        for number in 0..<50 {
            var edge = SessionFixture(counters: ["a"])
            _ = edge.want(10, account(number))
            _ = edge.session.flush()
            _ = edge.connect(2)
            var later = edge
            if !later.welcome(2, "b").entries(2).isEmpty { return (edge, account(number)) }
        }
        Issue.record("50 accounts and none moves")
        throw NotHeld()
    }

    @Test func `an account that moves withdraws its wish under a number below the new one`() throws
    {
        var (edge, key) = try mover()
        let outputs = edge.welcome(2, "b")
        let old = try #require(outputs.entries(1).first?.report.wish)
        let new = try #require(outputs.entries(2).first)
        #expect(old.isWithdrawal)
        #expect(new.key == key)
        let wish = try #require(new.report.wish)
        #expect(wish.need == Amount(10))
        #expect(old.number < wish.number)
        // The answer to the withdrawal is none to the request.
        #expect(try edge.grant(key, 1, total: 0, unmetWish: old.number).wakeups == [])
        #expect(try edge.grant(key, 2, total: 0, unmetWish: wish.number).wakeups.count == 1)
    }

    @Test func `a grant of the counter that an account has left is money all the same`() throws {
        var (edge, key) = try mover()
        _ = edge.welcome(2, "b")
        #expect(try edge.grant(key, 1, total: 10).wakeups.count == 1)
        #expect(try edge.grant(key, 2, total: 4).wakeups == [])
        #expect(try edge.standing(key).granted == Amount(10))
        // How things stand is known by the one that serves the account.
        #expect(try edge.standing(key).counter?.granted == Amount(10))
        _ = try edge.grant(key, 2, total: 12)
        _ = try edge.grant(key, 1, total: 20, isCentral: true)
        let standing = try edge.standing(key)
        #expect(standing.granted == Amount(20))
        #expect(standing.counter?.granted == Amount(12))
        #expect(standing.counter?.isCentral == false)
    }

    @Test func `a recall of another counter is answered where it came from`() throws {
        var (edge, key) = try mover()
        _ = edge.welcome(2, "b")
        let wakeups = try edge.grant(key, 2, total: 50).wakeups
        #expect(wakeups.count == 1)
        _ = edge.session.flush()
        #expect(
            edge.receive(.recall(reference: try edge.reference(key), epoch: 3), 1) == [.recalled])
        let outputs = edge.session.flush()
        let answer = try #require(outputs.entries(1).first?.report)
        #expect(answer.recallEpoch == 3 && answer.released == Amount(40) && answer.wish == nil)
        let report = try #require(outputs.entries(2).first?.report)
        #expect(report.recallEpoch == 0, "epochs are each counter's own")
        #expect(report.released == Amount(40))
        _ = edge.receive(.recall(reference: try edge.reference(key), epoch: 1), 2)
        #expect(edge.session.flush().entries(2).first?.report.recallEpoch == 1)
    }

    @Test func `nothing is said any more at a counter that is gone`() throws {
        var (edge, key) = try mover()
        _ = edge.welcome(2, "b")
        _ = edge.receive(.recall(reference: try edge.reference(key), epoch: 3), 1)
        _ = edge.disconnect(1)
        #expect(edge.session.flush().frames(1) == [])
        _ = edge.disconnect(2)
        #expect(edge.session.flush() == [])
        #expect(edge.session.ledger.slotCount == 1)
    }

    @Test func `of two connections to one counter the newer one serves`() throws {
        var edge = SessionFixture(counters: ["a"])
        _ = edge.want(10, account(0))
        #expect(edge.session.flush().entries(1).count == 1)
        _ = edge.connect(2)
        let outputs = edge.welcome(2, "a")
        #expect(outputs.entries(2).first?.report.wish?.need == Amount(10))
        #expect(outputs.entries(1).first?.report.wish?.isWithdrawal == true)
        _ = edge.want(10, account(1))
        #expect(edge.session.flush().entries(2).map(\.key) == [account(1)])
        #expect(edge.disconnect(2) == [])
        #expect(edge.session.flush().entries(1).count == 2, "the older one is still good")
    }

    @Test func `an account that was never reported moves without a word`() {
        var edge = SessionFixture(counters: ["a"])
        for number in 0..<50 {
            _ = edge.session.ledger.slot(for: account(number), isEnforced: true)
        }
        _ = edge.connect(2)
        let outputs = edge.welcome(2, "b")
        #expect(outputs.frames(1) == [] && outputs.frames(2) == [])
    }
}
