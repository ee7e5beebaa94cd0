import HoldfastCore
import HoldfastLedger
import Testing

/// The exhaustive model takes two ledgers that encode alike for one.
@Suite struct `Edge fingerprint` {
    private static func bytes(
        _ ledger: EdgeLedger, _ keys: [AccountKey], canForget: Bool = true, canWait: Bool = true
    ) -> [UInt8] {
        let masks = keys.map { key in
            var mask: UInt64 = 0
            ledger.markWishNumbers(of: key, canForget: canForget, in: &mask)
            return mask
        }
        var bytes: [UInt8] = []
        ledger.encode(
            keys, wishNumbers: masks, canForget: canForget, canWait: canWait, into: &bytes)
        return bytes
    }

    /// A history of accounts 0 and 1, of which 10 and 5 were granted unless said otherwise.
    struct History: Sendable {
        var name: String
        var slices: [UInt64] = [10, 5]
        var observed: Set<Int> = []
        var happen: @Sendable (inout EdgeFixture) throws -> Void = { _ in }
    }

    private static func recall(_ number: Int, _ epoch: UInt64, _ edge: inout EdgeFixture) {
        edge.ledger.recall(
            reference: edge.ledger.reference(of: edge.slots[number]), epoch: epoch)
    }

    private static let histories: [History] = [
        History(name: "nothing"),
        History(name: "no second account", slices: [10]),
        History(name: "never answered", slices: [10, 0]),
        History(name: "answered with nothing", slices: [10, 0]) { _ = $0.grant(1, total: 0) },
        History(name: "granted more") { _ = $0.grant(0, total: 11) },
        History(name: "not enforced", observed: [0]),
        History(name: "held") { _ = try $0.hold([(0, 1)]) },
        History(name: "nothing held") { _ = try $0.hold([(0, 0)]) },
        History(name: "two holds of nothing") { edge in
            for _ in 0..<2 { _ = try edge.hold([(0, 0)]) }
        },
        History(name: "settled") { edge in
            _ = edge.ledger.settle(try edge.hold([(0, 1)]), actual: [Amount(1)])
        },
        History(name: "settled, reported") { edge in
            _ = edge.ledger.settle(try edge.hold([(0, 1)]), actual: [Amount(1)])
            _ = edge.ledger.collectReports()
        },
        History(name: "overran the slice") { edge in
            _ = edge.ledger.settle(try edge.hold([(0, 1)]), actual: [Amount(12)])
        },
        History(name: "released") { $0.ledger.releaseAll() },
        History(name: "draining") { $0.ledger.beginDraining() },
        History(name: "idle") { $0.pass(ticks: 11) },
        History(name: "idle for very long") { $0.pass(ticks: 6_001) },
        History(name: "waits") { _ = try $0.wait([(0, 12)]) },
        History(name: "waits for both") { _ = try $0.wait([(0, 12), (1, 1)]) },
        History(name: "waits for the second") { _ = try $0.wait([(1, 12)]) },
        History(name: "two wait") { edge in
            _ = try edge.wait([(0, 12)])
            _ = try edge.wait([(1, 12)])
        },
        History(name: "two wait the other way round") { edge in
            _ = try edge.wait([(1, 12)])
            _ = try edge.wait([(0, 12)])
        },
        History(name: "wishes") { edge in
            _ = try edge.wait([(0, 12)])
            _ = edge.ledger.collectReports()
        },
        History(name: "wish without an answer, no longer wanted") { edge in
            let waiter = try edge.wait([(0, 12)])
            _ = edge.ledger.collectReports()
            _ = edge.ledger.withdraw(waiter)
        },
        History(name: "wish unmet") { edge in
            _ = try edge.wait([(0, 12)])
            let wish = try edge.wish(0)
            _ = edge.grant(0, unmetWish: wish.number)
        },
        History(name: "needs less than wished for") { edge in
            let waiter = try edge.wait([(0, 12)])
            _ = edge.ledger.collectReports()
            _ = edge.ledger.reduce(waiter, to: edge.demands([(0, 11)]))
        },
        History(name: "another need of the same size") { edge in
            let waiter = try edge.wait([(0, 12)])
            _ = edge.ledger.collectReports()
            _ = edge.ledger.reduce(waiter, to: edge.demands([(0, 12)]))
        },
        History(name: "central") { _ = $0.grant(0, isCentral: true) },
        History(name: "recalled") { Self.recall(0, 1, &$0) },
        History(name: "recalled twice") { edge in
            for epoch in 1...2 { Self.recall(0, UInt64(epoch), &edge) }
        },
        History(name: "recalled and answered") { edge in
            Self.recall(0, 1, &edge)
            _ = edge.ledger.collectReports()
        },
        History(name: "idle, then recalled") { edge in
            edge.pass(ticks: 11)
            Self.recall(0, 1, &edge)
        },
        History(name: "recalled, then idle") { edge in
            Self.recall(0, 1, &edge)
            edge.pass(ticks: 11)
        },
        History(name: "recalled long ago") { edge in
            Self.recall(0, 1, &edge)
            edge.pass(ticks: 20)
        },
        History(name: "forgets an account") { edge in
            _ = edge.ledger.slot(for: account(2), isEnforced: true)
            edge.pass(ticks: 6_001)
            #expect(edge.ledger.forgetUnused() == [3])
        },
        History(name: "meets an account, then forgets another", slices: [10]) { edge in
            _ = edge.ledger.slot(for: account(2), isEnforced: true)
            edge.pass(ticks: 6_001)
            _ = edge.ledger.slot(for: account(1), isEnforced: true)
            #expect(edge.ledger.forgetUnused() == [2])
        },
        History(name: "forgets an account, then meets another", slices: [10]) { edge in
            _ = edge.ledger.slot(for: account(2), isEnforced: true)
            edge.pass(ticks: 6_001)
            #expect(edge.ledger.forgetUnused() == [2])
            _ = edge.ledger.slot(for: account(1), isEnforced: true)
        },
        History(name: "forgets the second account", slices: [10, 0]) { edge in
            edge.pass(ticks: 6_001)
            #expect(edge.ledger.forgetUnused() == [2])
        },
    ]

    @Test func `different ledgers encode differently`() throws {
        var seen: [[UInt8]: String] = [:]
        for history in Self.histories {
            var edge = EdgeFixture(slices: history.slices, observed: history.observed)
            try history.happen(&edge)
            let bytes = Self.bytes(edge.ledger, [account(0), account(1)])
            let twin = seen.updateValue(history.name, forKey: bytes)
            #expect(twin == nil, "as \(history.name)")
        }
    }

    @Test func `every step of a journal encodes differently`() throws {
        var ledger = EdgeLedger(isJournaled: true)
        let slot = ledger.slot(for: account(0), isEnforced: true)
        let grant = LeaseGrant(granted: Amount(10), limit: Amount(10))
        _ = ledger.apply([(ledger.reference(of: slot), grant)])
        var steps = [Self.bytes(ledger, [account(0)])]
        _ = ledger.wait(for: [EdgeLedger.Demand(slot: slot, amount: Amount(4))])
        steps.append(Self.bytes(ledger, [account(0)]))
        let records = ledger.takeJournalRecords()
        steps.append(Self.bytes(ledger, [account(0)]))
        let last = try #require(records.last)
        #expect(ledger.journaled(upTo: last.sequence).count == 1)
        steps.append(Self.bytes(ledger, [account(0)]))
        #expect(Set(steps).count == 4)
    }

    @Test func `neither the age of a ledger nor its wish numbers count, only their order`() throws {
        var young = EdgeFixture(slices: [10, 5])
        var old = young
        let waiter = try old.wait([(1, 12)])
        _ = old.ledger.collectReports()
        _ = old.ledger.withdraw(waiter)
        _ = old.ledger.collectReports()
        old.pass(ticks: 500)
        old = try settled(old)
        young = try settled(young)
        #expect(try old.wish(0).number == 3)
        #expect(try young.wish(0).number == 1)
        for canForget in [true, false] {
            #expect(
                Self.bytes(young.ledger, [account(0)], canForget: canForget)
                    == Self.bytes(old.ledger, [account(0)], canForget: canForget))
        }
    }

    /// Uses account 0, so that it was used just now, and waits for more.
    private func settled(_ edge: EdgeFixture) throws -> EdgeFixture {
        var edge = edge
        _ = edge.ledger.settle(try edge.hold([(0, 1)]), actual: [.zero])
        _ = try edge.wait([(0, 12)])
        return edge
    }

    @Test func `what a model cannot do is left out`() throws {
        var edge = EdgeFixture(slices: [10])
        let keys = [account(0)]
        let all = Self.bytes(edge.ledger, keys)
        #expect(Self.bytes(edge.ledger, keys, canForget: false).count == all.count - 1)
        #expect(Self.bytes(edge.ledger, keys, canWait: false).count == all.count - 2)
        // Who waits for an account that is none of the model's does not stop it.
        _ = edge.ledger.slot(for: account(1), isEnforced: true)
        edge.slots.append(edge.ledger.slot(for: account(1), isEnforced: true))
        _ = try edge.wait([(1, 3)])
        #expect(Self.bytes(edge.ledger, keys).suffix(4) == [1, 254, 3, 0])
    }

    @Test func `an account that was forgotten is reconciled by an answer`() throws {
        var edge = EdgeFixture(slices: [0])
        #expect(edge.ledger.isReconciled(edge.slots[0]), "nothing can be stored of a new account")
        edge.pass(ticks: 6_001)
        #expect(edge.ledger.forgetUnused() == [1])
        edge.slots[0] = edge.ledger.slot(for: account(0), isEnforced: true)
        #expect(!edge.ledger.isReconciled(edge.slots[0]))
        _ = edge.grant(0, total: 3)
        #expect(edge.ledger.isReconciled(edge.slots[0]))
    }

    @Test func `draining gives back and wishes for nothing`() throws {
        var edge = EdgeFixture(slices: [10])
        _ = try edge.wait([(0, 12)])
        _ = edge.ledger.collectReports()
        edge.ledger.beginDraining()
        let report = try edge.reported(0)
        #expect(report.released == Amount(10))
        #expect(report.wish?.isWithdrawal == true)
    }

    @Test(arguments: [(0, 0), (1, 0), (3, 1), (5, 1), (8, 2), (63, 3)] as [(UInt64, UInt8)])
    func `a number's rank is how many are not above it`(row: (number: UInt64, rank: UInt8)) {
        var mask: UInt64 = 0
        for number: UInt64 in [8, 0, 3, 63, 3] { mask.mark(number) }
        #expect(mask.rank(of: row.number) == row.rank)
    }
}
