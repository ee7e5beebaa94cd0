import HoldfastCore
import HoldfastLedger
import Testing

/// How sessions end: closed by their edges, dead, or recovered from a journal.
@Suite struct `Counter engine, sessions` {
    @Test func `a session is closed with all accounts that it has used here`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.lend(link, 0, 50)
        counter.lend(link, 1, 70)
        let outputs = counter.close(link, [(0, LeaseReport(50, 30, 20))])
        #expect(outputs.frames(to: link.id).last == .sessionClosed)
        #expect(outputs.isHungUp(on: link.id))
        #expect(outputs.notices.contains(.left(edge: "edge", link.session)))
        #expect(counter.store.isClosed(link.session))
        #expect(
            counter.store.stored(account(0))
                == StoredAccount(base: Amount(20), isFrozen: false, lines: []))
        #expect(counter.store.stored(account(1))?.base == Amount(70), "charged in full")
        #expect(counter.engines[0].reachableSessions.isEmpty)
    }

    @Test func `what comes behind the last report is not taken`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.lend(link, 0, 50)
        let other = counter.connect()
        let hello = EdgeFrame.hello(.init(edgeName: "edge", session: link.session))
        let outputs = counter.run([
            .frame(
                link.id, .closeSession(CounterEngineFixture.entries([(0, LeaseReport(50, 50))]))),
            CounterEngineFixture.frame(link, [(0, LeaseReport(50, 0, 50))]),
            .frame(link.id, .ping(1)),
            .frame(other, hello),
        ])
        #expect(outputs.rejection(of: other) == .sessionClosed)
        #expect(outputs.frames(to: link.id) == [.sessionClosed])
        #expect(counter.store.exposure(account(0)) == 0)
    }

    @Test func `a refused last report leaves its account charged`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.lend(link, 0, 50)
        let outputs = counter.close(link, [(0, LeaseReport(50, 60))])
        #expect(outputs.rejection(of: link.id) == .notBelieved)
        #expect(counter.store.isClosed(link.session))
        #expect(counter.store.exposure(account(0)) == 50)
    }

    @Test func `closing is all or nothing`() throws {
        var counter = CounterEngineFixture(nodes: 2)
        let link = try counter.join(on: 0)
        let stranger = try counter.join(on: 1)
        counter.lend(link, 0, 50)
        counter.lend(link, 1, 50)
        counter.lend(stranger, 1, 10)
        var commits = 0
        let outputs = counter.close(link, [(0, LeaseReport(50, 50)), (1, LeaseReport(50, 50))]) {
            request, counter in
            guard case .commit = request else { return }
            commits += 1
            #expect(!counter.store.isClosed(link.session))
            #expect(counter.store.exposure(account(0)) == 50)
        }
        #expect(commits == 2)
        #expect(outputs.notices.contains(.conflicted(accounts: 1)))
        #expect(outputs.frames(to: link.id).last == .sessionClosed)
        #expect(counter.store.exposure(account(0)) == 0)
        #expect(counter.store.exposure(account(1)) == 10)
    }

    @Test(arguments: [false, true])
    func `closing over an interrupted commit`(isWritten: Bool) throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.lend(link, 0, 50)
        counter.store.commitFaults = [.interrupted(isWritten: isWritten)]
        let outputs = counter.close(link, [(0, LeaseReport(50, 10, 40))])
        #expect(outputs.frames(to: link.id).last == .sessionClosed)
        #expect(counter.store.isClosed(link.session))
        #expect(
            counter.store.stored(account(0))
                == StoredAccount(base: Amount(40), isFrozen: false, lines: []))
    }

    @Test func `closed by two counters at once it is charged once`() throws {
        var counter = CounterEngineFixture(nodes: 2)
        let link = try counter.join(on: 0)
        counter.lend(link, 0, 50)
        let twin = try counter.join(link.session, on: 1)
        counter.report(twin, 0, LeaseReport(50))
        let last = [(0, LeaseReport(50, 20, 30))]
        var isDone = false
        let outputs = counter.close(link, last) { request, counter in
            guard case .commit = request, !isDone else { return }
            isDone = true
            counter.close(twin, last)
        }
        #expect(outputs.rejection(of: link.id) == .sessionClosed)
        #expect(outputs.isHungUp(on: link.id))
        #expect(
            counter.store.stored(account(0))
                == StoredAccount(base: Amount(30), isFrozen: false, lines: []))
    }

    @Test func `a failed closing may be tried again`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.lend(link, 0, 50)
        counter.store.commitFaults = [.fails(.full("in the test"))]
        let outputs = counter.close(link, [(0, LeaseReport(50, 50))])
        #expect(outputs.rejection(of: link.id) == .unavailable)
        #expect(!counter.store.isClosed(link.session))
        let again = try counter.join(link.session)
        let closed = counter.close(again, [(0, LeaseReport(50, 50))])
        #expect(closed.frames(to: again.id).last == .sessionClosed)
        #expect(counter.store.exposure(account(0)) == 0)
    }

    @Test func `closing fails, and the edge has left meanwhile`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.lend(link, 0, 50)
        counter.store.commitFaults = [.fails(.full("in the test"))]
        let outputs = counter.run([.frame(link.id, .closeSession([])), .disconnected(link.id)])
        #expect(outputs.frames(to: link.id).isEmpty)
        #expect(!counter.store.isClosed(link.session))
        counter.run([.disconnected(link.id)])
        let again = try counter.join(link.session)
        let left = counter.run([.frame(again.id, .closeSession([])), .disconnected(again.id)])
        #expect(left.frames(to: again.id).isEmpty)
        #expect(counter.store.isClosed(link.session), "it was asked for all the same")
    }

    // MARK: - Recovery

    struct Recovery: Sendable, CustomTestStringConvertible {
        var name: String
        var unlocked: UInt64
        var isClosed = false
        var base: UInt64
        var refund: UInt64 = 0
        var rejection: Rejection.Reason?
        var testDescription: String { name }
    }

    /// 60 are granted, 20 spent, and the counter has heard that 30 may be used.
    @Test(arguments: [
        Recovery(name: "all beyond the journal comes back", unlocked: 45, base: 45, refund: 15),
        Recovery(name: "never less than was reported", unlocked: 30, base: 30, refund: 30),
        Recovery(name: "never more than was granted", unlocked: 90, base: 60),
        Recovery(
            name: "an old copy refunds nothing", unlocked: 29, base: 60, rejection: .notBelieved),
        Recovery(name: "nor an absurd one", unlocked: .max, base: 60, rejection: .notBelieved),
        Recovery(
            name: "also when the session was closed as dead", unlocked: 45, isClosed: true,
            base: 45, refund: 15),
    ])
    func `a journal refunds what was never unlocked`(row: Recovery) throws {
        var counter = CounterEngineFixture()
        let lost = try counter.join()
        counter.lend(lost, 0, 60)
        var known = LeaseReport(60, 0, 20)
        known.unlocked = Amount(30)
        counter.report(lost, 0, known)
        counter.disconnect(lost)
        if row.isClosed { counter.store.closeSession(lost.session) }
        counter.restart()
        let final = try counter.join(lost.session, isFinal: true)
        #expect(counter.engines[0].reachableSessions.isEmpty, "it is nobody to lend to")
        var report = LeaseReport(0)
        report.unlocked = Amount(row.unlocked)
        let outputs = counter.close(final, [(0, report)])
        #expect(outputs.frames(to: final.id).last == .sessionClosed)
        #expect(outputs.isHungUp(on: final.id))
        #expect(outputs.rejection(of: final.id) == row.rejection)
        #expect(counter.store.isClosed(lost.session))
        #expect(counter.store.exposure(account(0)) == row.base)
        let refund = CounterEngine.Notice.refunded(account(0), lost.session, Amount(row.refund))
        #expect(outputs.notices.contains(refund) == (row.refund > 0))
        guard row.rejection == nil else { return }
        let again = try counter.join(lost.session, isFinal: true)
        counter.close(again, [(0, report)])
        #expect(counter.store.exposure(account(0)) == row.base, "once")
    }

    @Test func `only a last report may come over such a connection`() throws {
        var counter = CounterEngineFixture()
        let lost = try counter.join()
        counter.lend(lost, 0, 60)
        let final = try counter.join(lost.session, isFinal: true)
        let outputs = counter.report(final, 0, LeaseReport(60, 0, 60))
        #expect(outputs.rejection(of: final.id) == .malformed)
        #expect(!counter.store.isClosed(lost.session))
        #expect(counter.report(lost, 0, LeaseReport(60, 60)).isEmpty, "the old one was hung up on")
    }

    @Test func `a zombie's report behind a recovery does not bring the session back`() throws {
        var counter = CounterEngineFixture()
        let lost = try counter.join()
        counter.lend(lost, 0, 60)
        let final = try counter.join(lost.session, isFinal: true)
        let zombie = try counter.join(lost.session)
        var report = LeaseReport(0)
        report.unlocked = Amount(10)
        let outputs = counter.run([
            .frame(final.id, .closeSession(CounterEngineFixture.entries([(0, report)]))),
            CounterEngineFixture.frame(zombie, [(0, LeaseReport(60, 0, 40))]),
        ])
        #expect(outputs.rejection(of: zombie.id) == .sessionClosed)
        #expect(
            counter.store.stored(account(0))
                == StoredAccount(base: Amount(10), isFrozen: false, lines: []))
    }

    @Test func `a final connection that just leaves changes nothing`() throws {
        var counter = CounterEngineFixture()
        let lost = try counter.join()
        let final = try counter.join(lost.session, isFinal: true)
        #expect(counter.disconnect(final).isEmpty)
        #expect(!counter.store.isClosed(lost.session))
    }

    @Test func `a refund on an account that turns out to be damaged is not announced`() throws {
        var counter = CounterEngineFixture()
        let lost = try counter.join()
        counter.lend(lost, 0, 60)
        counter.disconnect(lost)
        let final = try counter.join(lost.session, isFinal: true)
        counter.store.interlopers = [
            {
                $0.put($0.stored(account(0)) ?? .empty, under: account(0))
                $0.damaged[account(0)] = "a bad checksum"
            }
        ]
        let outputs = counter.close(final, [(0, LeaseReport(unlocked: Amount(1)))])
        #expect(outputs.rejection(of: final.id) == .unavailable)
        #expect(!outputs.notices.contains(.refunded(account(0), lost.session, Amount(60))))
        #expect(counter.store.isClosed(lost.session))
        #expect(counter.store.exposure(account(0)) == 60)
    }

    // MARK: - Lost ones

    @Test func `what lost sessions hold counts as spent, after a lease's lifetime`() throws {
        var counter = CounterEngineFixture()
        let lost = try counter.join()
        let asking = try counter.join()
        counter.lend(lost, 0, 60)
        #expect(counter.engines[0].context(for: account(0)).living == nil, "it has just started")
        counter.sleep(30_001)
        #expect(
            counter.engines[0].context(for: account(0)).living == [lost.session, asking.session])
        let left = counter.disconnect(lost)
        #expect(left.notices.contains(.left(edge: "edge", lost.session)))
        counter.sleep(29_999)
        let wish = LeaseReport(0, wish: LeaseWish(1, need: 60))
        let patient = counter.report(asking, 0, wish)
        #expect(patient.told(asking)?.totalSpent == .zero)
        counter.sleep(1)
        let now = counter.report(asking, 0, LeaseReport(0, wish: LeaseWish(2, need: 61)))
        #expect(now.told(asking)?.totalSpent == Amount(60))
        #expect(now.told(asking)?.unmetWish == 2)
        #expect(counter.store.exposure(account(0)) == 60, "and nothing is freed")
    }

    @Test func `a session that nobody has seen for a day is closed, and stays charged`() throws {
        var counter = CounterEngineFixture()
        let dead = try counter.join()
        let alive = try counter.join()
        counter.lend(dead, 0, 60)
        counter.disconnect(dead)
        counter.pass(86_400_000)
        let outputs = counter.sleep(30_000)
        #expect(outputs.notices.contains(.closedDead(dead.session)))
        #expect(!outputs.notices.contains(.closedDead(alive.session)))
        #expect(counter.store.isClosed(dead.session))
        #expect(!counter.store.isClosed(alive.session), "it is connected here")
        #expect(counter.store.exposure(account(0)) == 60)
        let (id, refused) = counter.greet(dead.session)
        #expect(refused.rejection(of: id) == .sessionClosed)
    }

    @Test func `the review of sessions may fail`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.pass(30_000)
        counter.store.trouble = .unavailable("in the test")
        let outputs = counter.run()
        #expect(outputs.notices.contains(.storeFailed(.unavailable("in the test"))))
        #expect(outputs.rejection(of: link.id) == nil)
        counter.store.trouble = nil
        let next = counter.sleep(30_000)
        #expect(next.notices.contains(.storeWorks))
        #expect(counter.store.sessions[link.session]?.seenAt == counter.engines[0].clock)
    }
}
