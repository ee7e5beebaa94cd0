import HoldfastCore
import HoldfastLedger
import Testing

/// Stores that fail, and stores that have forgotten.
@Suite struct `Counter engine, trouble` {
    static let wish = LeaseReport(0, wish: LeaseWish(1, need: 60))

    @Test func `who uses an account that cannot be written is hung up on`() throws {
        var counter = CounterEngineFixture()
        let reporting = try counter.join()
        let holding = try counter.join()
        let elsewhere = try counter.join()
        counter.lend(holding, 0, 10)
        counter.lend(elsewhere, 1, 10)
        counter.store.commitFaults = [.fails(.full("in the test"))]
        let outputs = counter.report(reporting, 0, Self.wish)
        #expect(outputs.rejection(of: reporting.id) == .unavailable)
        #expect(outputs.rejection(of: holding.id) == .unavailable)
        #expect(outputs.rejection(of: elsewhere.id) == nil)
        #expect(outputs.told(reporting) == nil)
        #expect(counter.engines[0].cachedAccount(account(0)) == nil)
        let again = try counter.join(reporting.session)
        #expect(counter.report(again, 0, Self.wish).told(again)?.granted == Amount(60))
    }

    @Test func `an account that cannot be loaded is not empty`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        let outputs = counter.run([CounterEngineFixture.frame(link, [(0, Self.wish)])]) {
            request, counter in
            if case .load = request { counter.store.trouble = .unavailable("in the test") }
        }
        #expect(outputs.rejection(of: link.id) == .unavailable)
        #expect(outputs.told(link) == nil)
    }

    @Test func `a store that is down fails every batch, and each of them ends`() throws {
        var counter = CounterEngineFixture()
        let links = [try counter.join(), try counter.join(), try counter.join()]
        for link in links { for number in 0...1 { counter.lend(link, number, 10) } }
        counter.store.trouble = .unavailable("in the test")
        counter.store.commitFaults = [.fails(.unavailable("in the test"))]
        let outputs = counter.report(links[0], 0, LeaseReport(10, 10))
        for link in links { #expect(outputs.rejection(of: link.id) == .unavailable) }
        #expect(counter.engines[0].reachableSessions.isEmpty)
        #expect(counter.engines[0].cachedAccounts.isEmpty)
    }

    @Test func `hellos of a batch that is given up are refused`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.store.commitFaults = [.fails(.unavailable("in the test"))]
        _ = counter.report(link, 0, Self.wish)
        let id = counter.connect()
        counter.store.trouble = .unavailable("in the test")
        let hello = EdgeFrame.hello(.init(edgeName: "edge", session: nil))
        let outputs = counter.run([
            .frame(id, hello), .operation(5, .unfreeze(account(0), reason: "looked")),
            .operation(6, .refund(link.session, accounts: [account(0)], reason: "dead")),
        ])
        #expect(outputs.rejection(of: id) == .unavailable)
        guard case .refused = outputs.result(of: 5), case .refused = outputs.result(of: 6) else {
            Issue.record("\(outputs)")
            return
        }
    }

    // MARK: - Generations

    @Test func `a new generation hangs up on everyone, and learns before it grants`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        let waiting = try counter.join()
        counter.lend(link, 0, 20)
        let earlier = counter.store
        counter.report(link, 0, LeaseReport(20, wish: LeaseWish(2, need: 80)))
        counter.store.fallBack(to: earlier)
        counter.store.commitFaults = [.fails(.unavailable("failover"))]
        let failed = counter.report(link, 0, LeaseReport(80, 0, 10))
        #expect(failed.notices.contains(.learning(generation: 2)) == false)
        let outputs = counter.run([CounterEngineFixture.frame(waiting, [(0, Self.wish)])])
        #expect(outputs.notices.contains(.learning(generation: 2)))
        #expect(outputs.isHungUp(on: waiting.id))
        #expect(outputs.rejection(of: waiting.id) == .unavailable)
        #expect(counter.engines[0].isLearning)
        #expect(counter.engines[0].reachableSessions.isEmpty)

        let hungry = try counter.join(waiting.session)
        let told = counter.report(hungry, 0, Self.wish)
        #expect(told.told(hungry)?.isLearning == true)
        #expect(told.told(hungry)?.granted == .zero)
        #expect(told.told(hungry)?.unmetWish == 0, "not known yet")
        let again = try counter.join(link.session)
        let heard = counter.report(again, 0, LeaseReport(80, 0, 10))
        #expect(heard.told(again)?.isFrozen == false, "that it lost writes is known")
        #expect(counter.granted(0, again) == 80)

        let nothing = counter.sleep(29_999)
        #expect(nothing.told(hungry)?.isLearning ?? true)
        let learned = counter.sleep(1)
        #expect(learned.notices.contains(.learned(generation: 2)))
        #expect(counter.store.generation == StoreGeneration(current: 2, learned: 2))
        #expect(!counter.engines[0].isLearning)
        #expect(learned.recallEpoch(to: again) != nil, "who waited is served")
        let freed = counter.report(again, 0, LeaseReport(80, 70, 10, recallEpoch: 9))
        #expect(freed.told(hungry)?.granted == Amount(60))
        #expect(counter.store.exposure(account(0)) == 70)
    }

    @Test func `a counter that starts on a restored store learns too`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.lend(link, 0, 50)
        counter.store.fallBack(to: ScriptedStore())
        counter.restart()
        let (id, outputs) = counter.greet(link.session)
        #expect(outputs.notices.contains(.learning(generation: 2)))
        #expect(outputs.notices.contains(.adopted(edge: "edge", link.session)))
        #expect(outputs.welcome(to: id)?.session == link.session)
        let again = CounterEngineFixture.Link(id: id, session: link.session, node: 0)
        #expect(counter.report(again, 0, LeaseReport(50)).told(again)?.isFrozen == false)
        #expect(counter.granted(0, link) == 50)
        let fresh = try counter.join()
        #expect(fresh.session == SessionID(generation: 2, number: 1))
    }

    @Test func `who comes too late to be learned of freezes the account`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.lend(link, 0, 50)
        counter.store.fallBack(to: ScriptedStore())
        counter.restart()
        let other = try counter.join()
        counter.sleep(30_000)
        counter.sleep(1)
        #expect(counter.report(other, 0, Self.wish).told(other)?.granted == Amount(60))
        let late = try counter.join(link.session)
        let outputs = counter.report(late, 0, LeaseReport(50))
        #expect(outputs.notices.contains(.frozen(account(0), link.session)))
        #expect(counter.store.exposure(account(0)) == 110)
    }

    @Test func `nobody may invent a session of an earlier generation`() throws {
        for session in [SessionID(1), SessionID(generation: 1, number: 0)] {
            var counter = CounterEngineFixture()
            counter.store.fallBack(to: ScriptedStore())
            let (id, outputs) = counter.greet(session)
            #expect(outputs.rejection(of: id) == .sessionUnknown)
            let isStoreBlamed = outputs.notices.contains { notice in
                if case .storeFailed = notice { true } else { false }
            }
            #expect(!isStoreBlamed)
        }
    }

    @Test func `an adoption that fails refuses the hello`() throws {
        var counter = CounterEngineFixture()
        counter.store.fallBack(to: ScriptedStore())
        let id = counter.connect()
        let session = SessionID(generation: 1, number: 4)
        let hello = EdgeFrame.hello(.init(edgeName: "edge", session: session))
        let outputs = counter.run([.frame(id, hello)]) { request, counter in
            if case .adoptSession = request { counter.store.trouble = .full("in the test") }
        }
        #expect(outputs.rejection(of: id) == .unavailable)
        #expect(counter.store.sessions.isEmpty)
    }

    @Test func `a generation that changes in the middle of a batch`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        let other = try counter.join()
        counter.lend(link, 0, 20)
        let earlier = counter.store
        counter.report(link, 0, LeaseReport(20, wish: LeaseWish(2, need: 70)))
        counter.lend(other, 1, 5)
        counter.store.interlopers = [{ $0.fallBack(to: earlier) }]
        counter.store.commitFaults = [.interrupted(isWritten: false)]
        let outputs = counter.report(link, 0, LeaseReport(70, 0, 30))
        #expect(outputs.notices.contains(.learning(generation: 2)))
        #expect(outputs.isHungUp(on: link.id) && outputs.isHungUp(on: other.id))
        #expect(outputs.told(link) == nil)
        #expect(counter.granted(0, link) == 20, "nothing was written on what is gone")
        let again = try counter.join(link.session)
        #expect(counter.report(again, 0, LeaseReport(70, 0, 30)).told(again)?.isFrozen == false)
        #expect(counter.granted(0, link) == 70)
    }

    @Test(arguments: [false, true])
    func `learning ends once, also over an interrupted commit`(isWritten: Bool) throws {
        var counter = CounterEngineFixture()
        counter.store.fallBack(to: ScriptedStore())
        let link = try counter.join()
        counter.report(link, 0, Self.wish)
        counter.pass(30_000)
        counter.store.commitFaults = [.interrupted(isWritten: isWritten)]
        let outputs = counter.run()
        #expect(outputs.notices.contains(.learned(generation: 2)))
        #expect(!outputs.notices.contains(.learning(generation: 2)))
        #expect(outputs.told(link)?.granted == Amount(60))
        #expect(counter.store.generation.learned == 2)
    }

    @Test func `a store that fails while it is learned of does not make it last longer`() throws {
        var counter = CounterEngineFixture()
        counter.store.fallBack(to: ScriptedStore())
        let link = try counter.join()
        counter.pass(29_000)
        counter.store.commitFaults = [.fails(.full("in the test"))]
        #expect(counter.report(link, 0, LeaseReport(10)).isHungUp(on: link.id))
        let again = try counter.join(link.session)
        counter.report(again, 0, LeaseReport(10))
        #expect(counter.engines[0].isLearning)
        let outputs = counter.sleep(1_000)
        #expect(outputs.notices.contains(.learned(generation: 2)))
        #expect(counter.store.generation.learned == 2)
    }

    @Test func `learning that could not be recorded begins again`() throws {
        var counter = CounterEngineFixture()
        counter.store.fallBack(to: ScriptedStore())
        _ = try counter.join()
        counter.pass(30_000)
        counter.store.commitFaults = [.fails(.full("in the test"))]
        counter.run()
        #expect(counter.store.generation.learned == 1)
        let next = counter.greet()
        #expect(next.outputs.notices.contains(.learning(generation: 2)))
        counter.sleep(30_000)
        #expect(counter.store.generation.learned == 2)
    }
}
