import HoldfastCore
import HoldfastLedger
import Testing

/// More than one counter on one store, and commits whose outcome is not known.
@Suite struct `Counter engine, conflicts` {
    @Test func `a stale account is loaded again, and those who wait keep their places`() throws {
        var counter = CounterEngineFixture(nodes: 2)
        let holder = try counter.join(on: 0)
        let first = try counter.join(on: 0)
        let second = try counter.join(on: 0)
        let stranger = try counter.join(on: 1)
        counter.lend(holder, 0, 80)
        counter.report(holder, 0, LeaseReport(80, 0, 0, held: 80))
        counter.report(first, 0, LeaseReport(0, wish: LeaseWish(1, need: 40)))
        counter.report(second, 0, LeaseReport(0, wish: LeaseWish(1, need: 30)))
        // Written behind the back of node 0.
        counter.lend(stranger, 0, 10)
        let outputs = counter.report(holder, 0, LeaseReport(80, 60, 0, held: 20))
        #expect(outputs.notices.contains(.conflicted(accounts: 1)))
        #expect(outputs.told(first)?.granted == Amount(40))
        #expect(outputs.told(second)?.granted == Amount(30))
        #expect(counter.store.exposure(account(0)) == 100)
        #expect(counter.granted(0, stranger) == 10)
    }

    @Test func `that there is nothing left is said only of what the store says now`() throws {
        var counter = CounterEngineFixture(nodes: 2)
        let here = try counter.join(on: 0)
        let there = try counter.join(on: 1)
        counter.lend(there, 0, 100)
        let no = counter.report(here, 0, LeaseReport(0, wish: LeaseWish(1, need: 50)))
        #expect(no.told(here)?.unmetWish == 1, "the holder is not reachable here")
        counter.report(there, 0, LeaseReport(100, 100))
        let yes = counter.report(here, 0, LeaseReport(0, wish: LeaseWish(2, need: 60)))
        #expect(yes.told(here)?.granted == Amount(60))
        #expect(yes.told(here)?.unmetWish != 2)
    }

    @Test func `a whole batch of another counter between load and commit`() throws {
        var counter = CounterEngineFixture(nodes: 2)
        let here = try counter.join(on: 0)
        let there = try counter.join(on: 1)
        let wish = LeaseReport(0, wish: LeaseWish(1, need: 60))
        var elsewhere: [CounterEngine.Output] = []
        let outputs = counter.report(here, 0, wish) { request, counter in
            guard case .commit = request, elsewhere.isEmpty else { return }
            elsewhere = counter.report(there, 0, wish)
        }
        #expect(elsewhere.told(there)?.granted == Amount(60))
        #expect(outputs.told(here)?.granted == .zero)
        #expect(outputs.told(here)?.unmetWish == 1)
        #expect(counter.store.exposure(account(0)) == 60)
        let freed = counter.report(there, 0, LeaseReport(60, 60))
        #expect(freed.told(there)?.released == Amount(60))
        let again = counter.report(here, 0, LeaseReport(0, wish: LeaseWish(2, need: 60)))
        #expect(again.told(here)?.granted == Amount(60))
    }

    @Test func `two counters in every interleaving never lend more than there is`() throws {
        var random = SplitMix(seed: 3)
        for _ in 0..<300 {
            var counter = CounterEngineFixture(nodes: 2)
            var links: [CounterEngineFixture.Link] = []
            for node in [0, 1, 0, 1] { links.append(try counter.join(on: node)) }
            for number: UInt64 in 1...6 {
                let mine = links[random.below(4)]
                let theirs = links.first { $0.node != mine.node }
                let other = try #require(theirs)
                let at = random.below(4)
                var asked = 0
                let need = random.amount(1...60)
                let known = counter.granted(0, mine) ?? 0
                let report = LeaseReport(
                    known, wish: LeaseWish(number, need: known + need, ceiling: known + 90))
                counter.report(mine, 0, report) { _, counter in
                    asked += 1
                    guard asked == at else { return }
                    let known = counter.granted(0, other) ?? 0
                    counter.report(
                        other, 0,
                        LeaseReport(known, wish: LeaseWish(number, need: known + need)))
                }
                #expect(counter.store.exposure(account(0)) <= 100)
            }
        }
    }

    @Test func `a batch that conflicts for ever gives up, and the edges say it again`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        let other = try counter.join()
        counter.lend(other, 1, 5)
        let write: @Sendable (inout ScriptedStore) -> Void = {
            $0.put(.init(base: .zero, isFrozen: false, lines: []), under: account(0))
        }
        counter.store.interlopers = Array(repeating: write, count: 5)
        let outputs = counter.report(link, 0, LeaseReport(0, wish: LeaseWish(1, need: 10)))
        #expect(outputs.rejection(of: link.id) == .unavailable)
        #expect(outputs.isHungUp(on: link.id))
        #expect(outputs.rejection(of: other.id) == nil, "it does not use that account")
        #expect(counter.granted(0, link) == nil)
        let again = try counter.join(link.session)
        let told = counter.report(again, 0, LeaseReport(0, wish: LeaseWish(1, need: 10)))
        #expect(told.told(again)?.granted == Amount(10))
    }

    @Test func `one conflict less is still answered`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        let write: @Sendable (inout ScriptedStore) -> Void = {
            $0.put(.init(base: .zero, isFrozen: false, lines: []), under: account(0))
        }
        counter.store.interlopers = Array(repeating: write, count: 4)
        let outputs = counter.report(link, 0, LeaseReport(0, wish: LeaseWish(1, need: 10)))
        #expect(outputs.told(link)?.granted == Amount(10))
    }

    @Test func `an account without a conflict is not written twice`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.store.interlopers = [
            { $0.put(.init(base: Amount(1), isFrozen: false, lines: []), under: account(1)) }
        ]
        let wish = LeaseReport(0, wish: LeaseWish(1, need: 10))
        let outputs = counter.run([CounterEngineFixture.frame(link, [(0, wish), (1, wish)])])
        #expect(outputs.told(link, 0)?.granted == Amount(10))
        #expect(outputs.told(link, 1)?.granted == Amount(10))
        #expect(outputs.told(link, 1)?.exposure == Amount(11))
        #expect(
            counter.store.batches.map { $0.puts.map(\.key) } == [
                [account(0), account(1)], [account(1)],
            ])
        #expect(counter.store.accounts[account(0)]?.version == 1)
    }

    @Test func `what was refused stays refused after a conflict, and is said once`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.lend(link, 0, 50)
        counter.store.interlopers = [{ $0.put($0.stored(account(0)) ?? .empty, under: account(0)) }]
        let outputs = counter.run([
            CounterEngineFixture.frame(link, [(0, LeaseReport(50, 60)), (0, LeaseReport(50, 20))])
        ])
        let rejections = outputs.frames(to: link.id).filter { frame in
            if case .rejected = frame { true } else { false }
        }
        #expect(rejections.count == 1)
        #expect(counter.line(0, link)?.released == Amount(20))
    }

    @Test func `an account that turns out to be damaged after a conflict`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.store.interlopers = [
            {
                $0.put(.empty, under: account(0))
                $0.damaged[account(0)] = "a bad checksum"
            }
        ]
        let wish = LeaseReport(0, wish: LeaseWish(1, need: 10))
        let outputs = counter.run([CounterEngineFixture.frame(link, [(0, wish), (1, wish)])])
        #expect(outputs.rejection(of: link.id) == .unavailable)
        #expect(outputs.told(link, 0) == nil)
        #expect(outputs.told(link, 1)?.granted == Amount(10))
        #expect(counter.store.stored(account(0)) == .empty)
    }

    @Test func `a new limit is not told to a session that was closed elsewhere`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        let other = try counter.join()
        counter.lend(link, 0, 10)
        counter.lend(other, 0, 10)
        counter.store.interlopers = [{ $0.closeSession(other.session) }]
        let outputs = counter.run([
            .rules(CounterEngineFixture.rules(2, [200, 1_000])),
            CounterEngineFixture.frame(link, [(0, LeaseReport(10, 0, 5))]),
            CounterEngineFixture.frame(other, [(0, LeaseReport(10, 0, 5))]),
        ])
        #expect(outputs.rejection(of: other.id) == .sessionClosed)
        #expect(outputs.told(other) == nil)
        #expect(outputs.told(link)?.limit == Amount(200))
        #expect(counter.store.line(account(0), link.session)?.spent == Amount(5))
        #expect(counter.store.line(account(0), other.session)?.spent == .zero)
    }

    @Test func `a batch that is set aside whole leaves nothing to the next one`() throws {
        var settings = CounterEngineFixture.patient
        settings.cacheTrust = 1
        var counter = CounterEngineFixture(settings: settings)
        let link = try counter.join()
        counter.lend(link, 1, 5)
        counter.store.interlopers = [
            {
                $0.put(.empty, under: account(0))
                $0.damaged[account(0)] = "a bad checksum"
            }
        ]
        let wish = LeaseReport(0, wish: LeaseWish(1, need: 10))
        #expect(counter.report(link, 0, wish).rejection(of: link.id) == .unavailable)
        // It is compared with the store again, as every first look of a batch is.
        counter.elapsed += 1
        counter.asked = []
        let more = LeaseReport(5, wish: LeaseWish(2, need: 9))
        #expect(counter.report(link, 1, more).told(link, 1)?.granted == Amount(9))
        #expect(counter.asked.contains(.load([account(1)])))
    }

    // MARK: - Interrupted commits

    @Test(arguments: [false, true])
    func `after an interrupted commit the store says whether it was written`(
        isWritten: Bool
    ) throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.store.commitFaults = [.interrupted(isWritten: isWritten)]
        let outputs = counter.report(link, 0, LeaseReport(0, wish: LeaseWish(1, need: 60)))
        #expect(outputs.told(link)?.granted == Amount(60))
        #expect(counter.granted(0, link) == 60)
        #expect(counter.store.accounts[account(0)]?.version == 1, "written once")
        #expect(outputs.notices.contains(.storeFailed(.interrupted("in the test"))))
        #expect(outputs.notices.contains(.storeWorks))
    }

    @Test func `written, and written over before it was looked at again`() throws {
        var counter = CounterEngineFixture(nodes: 2)
        let here = try counter.join(on: 0)
        let there = try counter.join(on: 1)
        counter.lend(here, 0, 10)
        counter.store.commitFaults = [.interrupted(isWritten: true)]
        var isDone = false
        let wish = LeaseReport(10, 0, 10, wish: LeaseWish(2, need: 70))
        let outputs = counter.report(here, 0, wish) { request, counter in
            guard case .load = request, !isDone else { return }
            isDone = true
            counter.report(there, 0, LeaseReport(0, wish: LeaseWish(1, need: 30)))
        }
        #expect(isDone)
        #expect(outputs.told(here)?.granted == Amount(70), "told although it was granted before")
        #expect(counter.granted(0, there) == 30)
        #expect(counter.store.exposure(account(0)) == 100)
    }

    @Test func `a store that is interrupted again and again gives up`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.store.commitFaults = Array(repeating: .interrupted(isWritten: false), count: 5)
        let outputs = counter.report(link, 0, LeaseReport(0, wish: LeaseWish(1, need: 60)))
        #expect(outputs.rejection(of: link.id) == .unavailable)
        #expect(counter.granted(0, link) == nil)
        #expect(counter.store.commitFaults.isEmpty)
    }

    @Test(arguments: [false, true])
    func `after an unknown outcome nothing is answered`(isWritten: Bool) throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.store.commitFaults = [.outcomeUnknown(isWritten: isWritten)]
        let outputs = counter.report(link, 0, LeaseReport(0, wish: LeaseWish(1, need: 60)))
        #expect(outputs.told(link) == nil)
        #expect(outputs.isHungUp(on: link.id))
        counter.restart()
        let again = try counter.join(link.session)
        let told = counter.report(again, 0, LeaseReport(0, wish: LeaseWish(1, need: 60)))
        #expect(told.told(again)?.granted == Amount(60))
    }

    // MARK: - Sessions closed by the other counter

    @Test func `the reports of a session that was closed elsewhere are left out`() throws {
        var counter = CounterEngineFixture(nodes: 2)
        let here = try counter.join(on: 0)
        let gone = try counter.join(on: 0)
        counter.lend(gone, 0, 50)
        let closing = try counter.join(gone.session, on: 1)
        counter.close(closing, [(0, LeaseReport(50, 0, 20))])
        #expect(counter.store.stored(account(0))?.base == Amount(50))
        let wish = LeaseReport(0, wish: LeaseWish(1, need: 30))
        let outputs = counter.run([
            CounterEngineFixture.frame(gone, [(0, LeaseReport(50, 10, 20))]),
            CounterEngineFixture.frame(here, [(0, wish)]),
        ])
        #expect(outputs.rejection(of: gone.id) == .sessionClosed)
        #expect(outputs.told(here)?.granted == Amount(30))
        #expect(counter.line(0, gone) == nil, "not written again")
        #expect(counter.store.stored(account(0))?.base == Amount(50))
        #expect(counter.store.stored(account(0))?.isFrozen == false)
    }

    @Test func `nothing is granted to a session that was closed elsewhere while it waited`() throws
    {
        var counter = CounterEngineFixture(nodes: 2)
        let holder = try counter.join(on: 0)
        let waiting = try counter.join(on: 0)
        counter.lend(holder, 0, 100)
        counter.report(holder, 0, LeaseReport(100, 0, 0, held: 100))
        counter.report(waiting, 0, LeaseReport(0, wish: LeaseWish(1, need: 40)))
        counter.store.closeSession(waiting.session)
        let outputs = counter.report(holder, 0, LeaseReport(100, 100))
        #expect(outputs.rejection(of: waiting.id) == .sessionClosed)
        #expect(outputs.told(holder)?.exposure == .zero)
        #expect(counter.granted(0, waiting) ?? 0 == 0)
        #expect(counter.store.exposure(account(0)) == 0)
    }

    @Test func `a session whose edge has just left too`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.lend(link, 0, 50)
        counter.store.closeSession(link.session)
        let outputs = counter.run([
            CounterEngineFixture.frame(link, [(0, LeaseReport(50, 50))]), .disconnected(link.id),
        ])
        #expect(outputs.rejection(of: link.id) == nil)
        #expect(counter.line(0, link)?.released == .zero)
    }
}
