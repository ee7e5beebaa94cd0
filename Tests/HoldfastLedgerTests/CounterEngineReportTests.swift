import HoldfastCore
import HoldfastLedger
import Testing

/// What edges say about accounts, believed and not.
@Suite struct `Counter engine, reports` {
    @Test func `a wish is granted, stored, and only then told`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        let wish = LeaseReport(0, wish: LeaseWish(1, need: 60))
        let outputs = counter.report(link, 0, wish) { request, counter in
            if case .commit = request { #expect(counter.granted(0, link) == nil) }
        }
        #expect(outputs.told(link)?.granted == Amount(60))
        #expect(counter.granted(0, link) == 60)
        #expect(outputs.notices.contains(.reported(entries: 1)))
        #expect(outputs.notices.contains(.committed(accounts: 1)))
        let again = counter.report(link, 0, wish)
        #expect(again.told(link)?.granted == Amount(60))
        #expect(counter.store.batches.count == 2, "who may have forgotten is told the newest")
        let known = counter.report(link, 0, LeaseReport(60, wish: LeaseWish(1, need: 60)))
        #expect(known.told(link)?.granted == Amount(60))
        #expect(counter.store.batches.count == 2, "nothing new, nothing written")
    }

    @Test func `an account that was forgotten comes back under a larger reference`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        let wish = LeaseReport(0, wish: LeaseWish(1, need: 10))
        // The smaller one comes late.
        let entries = [
            ReportEntry(reference: 3, key: account(0), report: wish),
            ReportEntry(reference: 1, key: account(0), report: LeaseReport(0)),
            ReportEntry(reference: 3, key: account(0), report: LeaseReport(0)),
            ReportEntry(reference: 1, key: nil, report: LeaseReport(0)),
        ]
        let outputs = counter.run([.frame(link.id, .report(entries))])
        #expect(outputs.told(link, 2)?.granted == Amount(10))
        #expect(outputs.told(link, 0) == nil)
        let closed = counter.close(link)
        #expect(closed.isHungUp(on: link.id))
        #expect(counter.store.stored(account(0))?.base == Amount(10), "folded once")
        #expect(counter.store.line(account(0), link.session) == nil)
    }

    @Test func `a reference never names another account`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.lend(link, 0, 10)
        let other = [ReportEntry(reference: 1, key: account(1), report: LeaseReport(0))]
        let outputs = counter.run([.frame(link.id, .report(other))])
        #expect(outputs.rejection(of: link.id) == .malformed)
        #expect(outputs.isHungUp(on: link.id))
        #expect(counter.store.stored(account(1)) == nil)
    }

    struct Bad: Sendable, CustomTestStringConvertible {
        var name: String
        var report: LeaseReport
        var refusal: AccountLedger.Refusal
        var testDescription: String { name }
    }

    /// 50 are granted.
    @Test(arguments: [
        Bad(
            name: "released above granted", report: LeaseReport(50, 51),
            refusal: .releasedMoreThanGranted),
        Bad(
            name: "spent above granted without an overrun", report: LeaseReport(50, 0, 51),
            refusal: .spentMoreThanGranted),
        Bad(
            name: "released and spent above granted", report: LeaseReport(50, 25, 26),
            refusal: .spentMoreThanGranted),
        Bad(
            name: "the largest numbers there are",
            report: LeaseReport(
                .max, .max, .max, held: .max, overrun: .max,
                wish: LeaseWish(.max, need: .max, ceiling: .max), recallEpoch: .max),
            refusal: .amountOutOfBounds),
        Bad(
            name: "one above the bound", report: LeaseReport(Limits.amountMax + 1),
            refusal: .amountOutOfBounds),
    ])
    func `what cannot be is refused by entry, noticed, and nothing of it is taken`(
        row: Bad
    ) throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.lend(link, 0, 50)
        let before = counter.store.stored(account(0))
        let outputs = counter.run([
            CounterEngineFixture.frame(
                link, [(0, row.report), (1, LeaseReport(0, wish: LeaseWish(1, need: 9)))])
        ])
        let rejection = Rejection(reason: .notBelieved, message: "\(row.refusal)", reference: 1)
        #expect(outputs.frames(to: link.id).contains(.rejected(rejection)))
        #expect(
            outputs.notices.contains(.entryRefused(account(0), edge: "edge", rejection)))
        #expect(!outputs.isHungUp(on: link.id))
        #expect(outputs.told(link, 1)?.granted == Amount(9), "the other entry counts")
        #expect(counter.store.stored(account(0)) == before)
    }

    @Test func `a bad report of an edge that has left is refused all the same`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.lend(link, 0, 50)
        let bad = CounterEngineFixture.frame(link, [(0, LeaseReport(50, 51))])
        let outputs = counter.run([bad, .disconnected(link.id)])
        #expect(outputs.rejection(of: link.id) == nil)
        #expect(counter.line(0, link)?.released == .zero)
    }

    @Test func `an unknown reference hangs up, what came before it counts`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.lend(link, 0, 50)
        let unknown = ReportEntry(reference: 9, key: nil, report: LeaseReport(50, 0, 50))
        let entries =
            CounterEngineFixture.entries([(0, LeaseReport(50, 20))]) + [unknown]
        let outputs = counter.run([.frame(link.id, .report(entries))])
        #expect(outputs.rejection(of: link.id) == .malformed)
        #expect(outputs.isHungUp(on: link.id))
        #expect(counter.line(0, link)?.released == Amount(20))
        let next = try counter.join(link.session)
        let closing = counter.run([.frame(next.id, .closeSession([unknown]))])
        #expect(closing.rejection(of: next.id) == .malformed)
        #expect(!counter.store.isClosed(next.session))
    }

    @Test func `accounts of unknown caps are listened to and granted nothing`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        let outputs = counter.report(link, 7, LeaseReport(0, wish: LeaseWish(1, need: 1)))
        #expect(outputs.told(link, 7)?.isClosed == true)
        #expect(outputs.told(link, 7)?.unmetWish == 1)
        #expect(counter.granted(7, link) ?? 0 == 0)
    }

    @Test func `many answers come in frames of a bounded size`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        let count = Limits.reportEntryCountMax + 1
        let half = (0..<count).map { number in
            ReportEntry(
                reference: UInt32(number + 1), key: account(number), report: LeaseReport(0))
        }
        let outputs = counter.run([
            .frame(link.id, .report(Array(half[..<1_000]))),
            .frame(link.id, .report(Array(half[1_000...]))),
        ])
        let sizes = outputs.frames(to: link.id).compactMap { frame in
            if case .grants(let entries, _) = frame { entries.count } else { nil }
        }
        #expect(sizes == [Limits.reportEntryCountMax, 1])
    }

    // MARK: - Lost writes

    @Test func `a store that lost a write without knowing freezes the account, once`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.lend(link, 0, 20)
        let earlier = counter.store
        counter.report(link, 0, LeaseReport(20, wish: LeaseWish(2, need: 50)))
        #expect(counter.granted(0, link) == 50)
        counter.store.lose(account(0), to: earlier)
        counter.restart()
        let again = try counter.join(link.session)
        let outputs = counter.report(again, 0, LeaseReport(50, wish: LeaseWish(3, need: 60)))
        #expect(outputs.notices.contains(.frozen(account(0), link.session)))
        #expect(outputs.told(again)?.isFrozen == true)
        #expect(outputs.told(again)?.unmetWish == 3)
        #expect(counter.store.stored(account(0))?.isFrozen == true)
        #expect(counter.granted(0, link) == 50, "what was seen counts")
        let next = counter.report(again, 0, LeaseReport(50))
        #expect(!next.notices.contains(.frozen(account(0), link.session)))
    }

    @Test func `only those who prove the loss are named`() throws {
        var counter = CounterEngineFixture()
        let honest = try counter.join()
        let proof = try counter.join()
        let outputs = counter.run([
            CounterEngineFixture.frame(honest, [(0, LeaseReport(0))]),
            CounterEngineFixture.frame(proof, [(0, LeaseReport(9))]),
        ])
        #expect(!outputs.notices.contains(.frozen(account(0), honest.session)))
        #expect(outputs.notices.contains(.frozen(account(0), proof.session)))
        #expect(outputs.told(honest)?.isFrozen == true)
    }

    struct Damage: Sendable, CustomTestStringConvertible {
        var name: String
        var make: @Sendable (inout ScriptedStore) -> Void
        var testDescription: String { name }
    }

    @Test(arguments: [
        Damage(name: "the store says so") { $0.damaged[account(0)] = "a bad checksum" },
        Damage(name: "released above granted") {
            let line = StoredAccount.Line(
                session: SessionID(1), granted: Amount(1), released: Amount(2), spent: .zero,
                overrun: .zero)
            $0.put(.init(base: .zero, isFrozen: false, lines: [line]), under: account(0))
        },
        Damage(name: "spent above granted, beyond 64 bits") {
            let line = StoredAccount.Line(
                session: SessionID(1), granted: Amount(.max - 1), released: Amount(.max - 1),
                spent: Amount(.max), overrun: .zero)
            $0.put(.init(base: .zero, isFrozen: false, lines: [line]), under: account(0))
        },
        Damage(name: "lines out of order") {
            let line = StoredAccount.Line(
                session: SessionID(1), granted: .zero, released: .zero, spent: .zero,
                overrun: .zero)
            $0.put(.init(base: .zero, isFrozen: false, lines: [line, line]), under: account(0))
        },
    ])
    func `a damaged account is refused, and the others go on`(row: Damage) throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        let leaving = try counter.join()
        counter.lend(leaving, 1, 5)
        row.make(&counter.store)
        let wish = LeaseReport(0, wish: LeaseWish(1, need: 9))
        let outputs = counter.run([
            CounterEngineFixture.frame(link, [(0, wish), (1, wish)]),
            .rules(CounterEngineFixture.rules(2, [100, 900])),
        ])
        #expect(outputs.rejection(of: link.id) == .unavailable)
        #expect(outputs.told(link, 0) == nil)
        #expect(outputs.told(link, 1)?.granted == Amount(9))
        let isAlarmed = outputs.notices.contains { notice in
            if case .storeFailed(.corrupt) = notice { true } else { false }
        }
        #expect(isAlarmed)
        #expect(counter.engines[0].cachedAccount(account(0)) == nil)
        #expect(counter.engines[0].cachedAccounts.map(\.key) == [account(1)])
    }
}
