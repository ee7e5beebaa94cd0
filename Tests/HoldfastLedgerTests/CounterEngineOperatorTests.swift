import HoldfastCore
import HoldfastLedger
import Testing

/// What operators do by hand: done and recorded, or refused and not done.
@Suite struct `Counter engine, operators` {
    typealias Fixture = CounterEngineFixture

    private func freeze(_ counter: inout Fixture, _ number: Int = 0) {
        counter.store.put(.init(base: Amount(5), isFrozen: true, lines: []), under: account(number))
    }

    /// A session with slices of 60 on both accounts, 20 of them spent, gone for ten minutes.
    private func lose(_ counter: inout Fixture) throws -> Fixture.Link {
        let lost = try counter.join()
        for number in 0...1 {
            counter.lend(lost, number, 60)
            counter.report(lost, number, LeaseReport(60, 0, 20, held: 10))
        }
        counter.disconnect(lost)
        counter.sleep(600_000)
        counter.sleep(1)
        return lost
    }

    private func refusal(
        _ outputs: [CounterEngine.Output], of operation: UInt64 = 1
    ) -> String? {
        if case .refused(let reason) = outputs.result(of: operation) { reason } else { nil }
    }

    private func record(
        _ counter: Fixture, _ number: Int, _ session: SessionID? = nil, _ amount: UInt64 = 0
    ) -> OperatorRecord {
        OperatorRecord(
            action: session == nil ? .release : .refund, at: counter.engines[0].clock,
            account: account(number), session: session, amount: Amount(amount), reason: "why")
    }

    @Test func `a frozen account grants again, with a record`() throws {
        var counter = Fixture()
        let link = try counter.join()
        freeze(&counter)
        let wish = LeaseReport(0, wish: LeaseWish(1, need: 60))
        #expect(counter.report(link, 0, wish).told(link)?.isFrozen == true)
        let outputs = counter.run([.operation(1, .unfreeze(account(0), reason: "why"))])
        #expect(outputs.result(of: 1) == .done([record(counter, 0)]))
        #expect(counter.store.records == [record(counter, 0)])
        #expect(counter.store.stored(account(0))?.isFrozen == false)
        #expect(outputs.told(link)?.granted == Amount(60), "who waits is served")
        let again = counter.run([.operation(2, .unfreeze(account(0), reason: "why"))])
        #expect(refusal(again, of: 2) == "account `\(account(0).text)` is not frozen")
        #expect(counter.store.records.count == 1)
    }

    @Test func `of two who release the same account one did it`() {
        var counter = Fixture()
        freeze(&counter)
        let outputs = counter.run([
            .operation(1, .unfreeze(account(0), reason: "why")),
            .operation(2, .unfreeze(account(0), reason: "why")),
        ])
        #expect(outputs.result(of: 1) == .done([record(counter, 0)]))
        #expect(refusal(outputs, of: 2) != nil)
        #expect(counter.store.records.count == 1)
    }

    @Test(arguments: [false, true])
    func `a conflict makes no second record`(isOwn: Bool) {
        var counter = Fixture()
        freeze(&counter, 0)
        freeze(&counter, 1)
        counter.store.interlopers = [
            {
                $0.put(
                    .init(base: Amount(9), isFrozen: isOwn, lines: []),
                    under: account(isOwn ? 0 : 1))
            }
        ]
        let outputs = counter.run([
            .operation(1, .unfreeze(account(0), reason: "why")),
            .operation(2, .unfreeze(account(1), reason: "why")),
        ])
        #expect(outputs.result(of: 1) == .done([record(counter, 0)]))
        #expect((refusal(outputs, of: 2) == nil) == isOwn, "another counter released it")
        #expect(
            counter.store.records.map(\.account)
                == (isOwn ? [account(0), account(1)] : [account(0)]))
    }

    @Test(arguments: [false, true])
    func `an interrupted commit makes no second record`(isWritten: Bool) throws {
        var counter = Fixture()
        let lost = try lose(&counter)
        freeze(&counter, 7)
        counter.store.commitFaults = [.interrupted(isWritten: isWritten)]
        let outputs = counter.run([
            .operation(1, .unfreeze(account(7), reason: "why")),
            .operation(2, .refund(lost.session, accounts: [account(0)], reason: "why")),
        ])
        #expect(outputs.result(of: 1) == .done([record(counter, 7)]))
        #expect(outputs.result(of: 2) == .done([record(counter, 0, lost.session, 40)]))
        #expect(counter.store.records.count == 2)
        #expect(counter.store.isClosed(lost.session))
    }

    @Test func `a dead session's unspent slice is given back, and the session ends`() throws {
        var counter = Fixture()
        let lost = try lose(&counter)
        let accounts = [account(0), account(1), account(0)]
        let outputs = counter.run([
            .operation(1, .refund(lost.session, accounts: accounts, reason: "why"))
        ])
        let records = [record(counter, 0, lost.session, 40), record(counter, 1, lost.session, 40)]
        #expect(outputs.result(of: 1) == .done(records))
        #expect(counter.store.records == records)
        #expect(outputs.notices.contains(.refunded(account(0), lost.session, Amount(40))))
        #expect(counter.store.exposure(account(0)) == 20)
        #expect(counter.store.isClosed(lost.session))
        let (id, refused) = counter.greet(lost.session)
        #expect(refused.rejection(of: id) == .sessionClosed, "it cannot use any more of it")
        let again = counter.run([
            .operation(2, .refund(lost.session, accounts: accounts, reason: "why"))
        ])
        #expect(again.result(of: 2) == .done([]), "once")
        #expect(counter.store.records.count == 2)
    }

    @Test func `two refunds in one batch are each recorded with their own`() throws {
        var counter = Fixture()
        let lost = try lose(&counter)
        let outputs = counter.run([
            .operation(1, .refund(lost.session, accounts: [account(0)], reason: "why")),
            .operation(
                2, .refund(lost.session, accounts: [account(0), account(1)], reason: "why")),
        ])
        #expect(outputs.result(of: 1) == .done([record(counter, 0, lost.session, 40)]))
        #expect(outputs.result(of: 2) == .done([record(counter, 1, lost.session, 40)]))
        #expect(counter.store.records.count == 2)
    }

    struct Refused: Sendable, CustomTestStringConvertible {
        var name: String
        var prepare: @Sendable (inout Fixture, Fixture.Link) throws -> SessionID
        var testDescription: String { name }
    }

    @Test(arguments: [
        Refused(name: "the session is connected") { counter, lost in
            try counter.join(lost.session).session
        },
        Refused(name: "it was until a moment ago") { counter, lost in
            counter.disconnect(try counter.join(lost.session))
            return lost.session
        },
        Refused(name: "another counter has seen it") { counter, lost in
            counter.store.see(lost.session, at: UnixTime(counter.engines[0].clock.seconds - 90))
            return lost.session
        },
        Refused(name: "it was never issued") { _, _ in SessionID(generation: 1, number: 77) },
        Refused(name: "the counter has just started") { counter, lost in
            counter.restart()
            return lost.session
        },
        Refused(name: "an account is damaged") { counter, lost in
            counter.store.damaged[account(1)] = "a bad checksum"
            counter.restart()
            counter.run()
            counter.sleep(40_000)
            return lost.session
        },
        Refused(name: "an account turns out to be damaged after a conflict") { counter, lost in
            counter.store.interlopers = [
                {
                    $0.put(.init(base: .zero, isFrozen: false, lines: []), under: account(1))
                    $0.damaged[account(1)] = "a bad checksum"
                }
            ]
            return lost.session
        },
        Refused(name: "the store is full") { counter, lost in
            counter.store.commitFaults = [.fails(.full("in the test"))]
            return lost.session
        },
    ])
    func `a refund is refused, and nothing of it is done`(row: Refused) throws {
        var counter = Fixture()
        let lost = try lose(&counter)
        let session = try row.prepare(&counter, lost)
        let outputs = counter.run([
            .operation(
                1, .refund(session, accounts: [account(0), account(1)], reason: "why"))
        ])
        #expect(refusal(outputs) != nil)
        #expect(counter.store.records.isEmpty)
        #expect(counter.store.exposure(account(0)) == 60)
        #expect(!counter.store.isClosed(lost.session))
        #expect(!outputs.notices.contains(.refunded(account(0), lost.session, Amount(40))))
    }

    @Test func `the store does not say whether the session exists`() throws {
        var counter = Fixture()
        let lost = try lose(&counter)
        let outputs = counter.run([
            .operation(1, .refund(lost.session, accounts: [account(0)], reason: "why"))
        ]) { request, counter in
            if case .session = request { counter.store.trouble = .unavailable("in the test") }
        }
        #expect(refusal(outputs) != nil)
        #expect(counter.store.exposure(account(0)) == 60)
    }

    @Test func `a batch that is given up refuses what was asked`() throws {
        var counter = Fixture()
        let lost = try lose(&counter)
        let link = try counter.join()
        counter.store.commitFaults = [.fails(.unavailable("in the test"))]
        counter.report(link, 0, LeaseReport(0, wish: LeaseWish(1, need: 1)))
        counter.store.trouble = .unavailable("in the test")
        let outputs = counter.run([
            .operation(1, .refund(lost.session, accounts: [account(0)], reason: "why"))
        ])
        #expect(refusal(outputs) == "the store is unavailable: in the test")
        #expect(counter.store.exposure(account(0)) == 60)
    }

    @Test func `an edge that comes back in the same batch is not refunded`() throws {
        for isFirst in [true, false] {
            var counter = Fixture()
            let lost = try lose(&counter)
            let id = counter.connect()
            let hello = CounterEngine.Event.frame(
                id, .hello(.init(edgeName: "edge", session: lost.session)))
            let refund = CounterEngine.Event.operation(
                1, .refund(lost.session, accounts: [account(0)], reason: "why"))
            let outputs = counter.run(isFirst ? [hello, refund] : [refund, hello])
            #expect((outputs.welcome(to: id) != nil) == isFirst)
            #expect((refusal(outputs) != nil) == isFirst)
            #expect(counter.store.exposure(account(0)) == (isFirst ? 60 : 20))
            #expect(counter.engines[0].livingSessions?.contains(lost.session) == isFirst)
        }
    }

    @Test func `a damaged account stays as it is`() {
        var counter = Fixture()
        freeze(&counter)
        counter.store.damaged[account(0)] = "a bad checksum"
        let outputs = counter.run([
            .operation(1, .unfreeze(account(0), reason: "why")),
            .operation(2, .unfreeze(account(1), reason: "why")),
            .operation(3, .refund(SessionID(1), accounts: [], reason: "why")),
        ])
        #expect(refusal(outputs)?.contains("a bad checksum") == true)
        #expect(refusal(outputs, of: 2)?.contains("not frozen") == true)
        #expect(refusal(outputs, of: 3)?.contains("try again in 30 s") == true)
        #expect(counter.store.stored(account(0))?.isFrozen == true)
    }
}
