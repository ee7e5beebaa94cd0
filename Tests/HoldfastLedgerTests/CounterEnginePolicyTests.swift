import HoldfastCore
import HoldfastLedger
import Testing

/// Rules that change, periods that end, clocks that lie, and recalls that nobody answers.
@Suite struct `Counter engine, policy and time` {
    typealias Fixture = CounterEngineFixture

    static let wish = LeaseReport(0, wish: LeaseWish(1, need: 60))

    // MARK: - Rules

    @Test func `new rules go to everyone, and a raised limit is granted from at once`() throws {
        var counter = Fixture()
        let holder = try counter.join()
        let waiting = try counter.join()
        counter.lend(holder, 0, 100)
        counter.report(holder, 0, LeaseReport(100, 0, 0, held: 100))
        counter.report(waiting, 0, Self.wish)
        let outputs = counter.run([.rules(Fixture.rules(2, [160, 1_000]))])
        #expect(outputs.notices.contains(.policyAdopted(version: 2, caps: 2)))
        for link in [holder, waiting] {
            let frames = outputs.frames(to: link.id)
            #expect(frames.contains(.keysChanged))
            let isSent = frames.contains { frame in
                if case .policy(let policy) = frame { policy.version == 2 } else { false }
            }
            #expect(isSent)
        }
        #expect(outputs.told(waiting)?.granted == Amount(60))
        #expect(outputs.told(holder)?.limit == Amount(160))
        #expect(outputs.recallEpoch(to: holder) == nil)
        #expect(counter.engines[0].currentRules.version == 2)
    }

    @Test func `a lowered limit is called in from all who hold idle budget`() throws {
        var counter = Fixture()
        let holders = [try counter.join(), try counter.join()]
        for link in holders { counter.lend(link, 0, 50) }
        let outputs = counter.run([.rules(Fixture.rules(2, [60, 1_000]))])
        for link in holders {
            #expect(outputs.recallEpoch(to: link) != nil)
            #expect(outputs.told(link)?.limit == Amount(60))
            #expect(outputs.told(link)?.exposure == Amount(100))
        }
        counter.report(holders[0], 0, LeaseReport(50, 50))
        #expect(counter.store.exposure(account(0)) == 50)
    }

    @Test func `a cap that is removed and made again does not start from zero`() throws {
        var counter = Fixture()
        let link = try counter.join()
        counter.lend(link, 1, 50)
        counter.report(link, 1, LeaseReport(50, 0, 50))
        let removed = counter.run([.rules(Fixture.rules(2, [100]))])
        #expect(removed.told(link, 1)?.isClosed == true)
        let wish = LeaseReport(50, 0, 50, wish: LeaseWish(2, need: 60))
        let no = counter.report(link, 1, wish)
        #expect(no.told(link, 1)?.granted == Amount(50))
        #expect(no.told(link, 1)?.unmetWish == 2)
        let back = counter.run([.rules(Fixture.rules(3, [100, 55]))])
        #expect(back.told(link, 1)?.isClosed == false)
        #expect(back.told(link, 1)?.totalSpent == Amount(50))
        #expect(counter.granted(1, link) == 50, "60 is above the new limit")
        counter.run([.rules(Fixture.rules(4, [100, 60]))])
        #expect(counter.granted(1, link) == 60)
    }

    @Test func `accounts that the rules do not change are left alone`() throws {
        var counter = Fixture()
        let link = try counter.join()
        counter.lend(link, 0, 10)
        counter.lend(link, 1, 10)
        let outputs = counter.run([.rules(Fixture.rules(2, [100, 900]))])
        #expect(outputs.told(link, 0) == nil)
        #expect(outputs.told(link, 1)?.limit == Amount(900))
    }

    @Test func `another zone opens other periods`() throws {
        var counter = Fixture()
        let link = try counter.join()
        counter.lend(link, 0, 10)
        // Noon is already the next day where clocks are 13 hours ahead.
        let outputs = counter.run([.rules(Fixture.rules(2, [100, 1_000], zone: 13 * 3_600))])
        #expect(outputs.told(link)?.isClosed == true)
        #expect(outputs.told(link)?.limit == Amount(100))
    }

    @Test func `rules tell keys, caps and windows apart`() {
        let rules = Fixture.rules(1, [100])
        #expect(rules.key(digest: [1, 2])?.name == "known")
        #expect(rules.key(digest: []) == nil)
        #expect(rules.cap(named: "cap-0")?.limit == Amount(100))
        #expect(rules.cap(named: "cap-9") == nil)
        #expect(rules.openAccounts.map(\.window.id) == [20_778])
        #expect(rules.window(of: account(0))?.id == 20_778)
        #expect(rules.window(of: account(9)) == nil)
    }

    struct Mismatch: Sendable, CustomTestStringConvertible {
        var key: AccountKey
        var testDescription: String { key.text }
    }

    @Test(arguments: [
        Mismatch(
            key: .init(cap: "cap-0", unit: .tokens, period: .day, periodID: 20_778, values: ["a"])),
        Mismatch(
            key: .init(cap: "cap-0", unit: .usd, period: .week, periodID: 20_778, values: ["a"])),
        Mismatch(key: .init(cap: "cap-0", unit: .usd, period: .day, periodID: 20_778, values: [])),
        Mismatch(
            key: .init(cap: "cap-0", unit: .usd, period: .day, periodID: 20_777, values: ["a"])),
        Mismatch(
            key: .init(cap: "cap-0", unit: .usd, period: .day, periodID: 20_779, values: ["a"])),
        Mismatch(
            key: .init(cap: "cap-0", unit: .usd, period: .day, periodID: .max, values: ["a"])),
    ])
    func `nothing is granted on accounts that are not of an open period`(row: Mismatch) throws {
        var counter = Fixture()
        let link = try counter.join()
        let entry = ReportEntry(reference: 1, key: row.key, report: Self.wish)
        let outputs = counter.run([.frame(link.id, .report([entry]))])
        #expect(outputs.told(link)?.isClosed == true)
        #expect(outputs.told(link)?.granted == .zero)
    }

    // MARK: - Time

    private func key(_ periodID: Int64) -> AccountKey {
        .init(cap: "cap-0", unit: .usd, period: .day, periodID: periodID, values: ["acme"])
    }

    @Test func `the next period may be asked for shortly before it starts`() throws {
        var counter = Fixture()
        let link = try counter.join()
        let entry = ReportEntry(reference: 5, key: key(20_779), report: Self.wish)
        func ask() -> CounterEngine.Event { .frame(link.id, .report([entry])) }
        counter.pass(43_200_000 - 16_000)
        #expect(counter.run([ask()]).told(link, 4)?.isClosed == true)
        counter.pass(1_000)
        #expect(counter.run([ask()]).told(link, 4)?.granted == Amount(60))
    }

    @Test func `a period ends: everyone gets the windows, and who waits is told`() throws {
        var counter = Fixture()
        let holder = try counter.join()
        let waiting = try counter.join()
        counter.pass(43_200_000 - 1_000)
        counter.lend(holder, 0, 100)
        counter.report(holder, 0, LeaseReport(100, 0, 0, held: 100))
        counter.report(waiting, 0, Self.wish)
        let now = CounterEngine.Moment(elapsed: counter.elapsed, wall: counter.wall)
        #expect(counter.engines[0].nextWake(at: now) <= counter.elapsed + 1_000)
        let outputs = counter.sleep(1_000)
        for link in [holder, waiting] {
            let windows = outputs.frames(to: link.id).compactMap { frame in
                if case .windows(let windows) = frame { windows.caps[0].map(\.id) } else { nil }
            }
            #expect(windows == [[20_779, 20_780]])
        }
        #expect(outputs.told(waiting)?.isClosed == true)
        #expect(outputs.told(waiting)?.unmetWish == 1)
        let late = counter.report(holder, 0, LeaseReport(100, 40, 60))
        #expect(late.told(holder)?.totalSpent == Amount(60), "settled where it was admitted")
        #expect(counter.granted(0, waiting) ?? 0 == 0)
    }

    @Test func `the clock never goes back, also over a restart`() throws {
        var counter = Fixture()
        let link = try counter.join()
        counter.lend(link, 0, 10)
        let noon = counter.engines[0].clock
        #expect(counter.store.floor == noon)
        counter.wall -= 7_200_000
        counter.elapsed += 1
        let pong = counter.run([.frame(link.id, .ping(1))])
        #expect(
            pong.frames(to: link.id)
                == [.pong(1, counterTimeMilliseconds: noon.seconds * 1_000)])
        counter.elapsed += 30_000
        let kept = counter.run()
        #expect(kept.notices.contains(.clockBehind(seconds: 7_200)))
        counter.restart()
        #expect(counter.engines[0].clock == noon)
        counter.wall += 7_200_000 + 5_000
        counter.run()
        #expect(counter.engines[0].clock == UnixTime(noon.seconds + 5))
    }

    @Test func `a counter without periods that end can still sleep`() {
        for limits: [UInt64] in [[], [100]] {
            var counter = Fixture()
            counter.run([.rules(Fixture.rules(2, limits, period: .total))])
            let now = CounterEngine.Moment(elapsed: 7, wall: counter.wall)
            #expect(counter.engines[0].nextWake(at: now) == 30_000)
        }
    }

    @Test func `wakes for what is due next`() throws {
        var counter = Fixture()
        func wake() -> UInt64 {
            counter.engines[0].nextWake(
                at: .init(elapsed: counter.elapsed, wall: counter.wall))
        }
        #expect(wake() == 30_000)
        let holder = try counter.join()
        let waiting = try counter.join()
        counter.lend(holder, 0, 100)
        counter.report(waiting, 0, Self.wish)
        #expect(wake() == 50, "the recall")
        counter.sleep(49)
        #expect(wake() == 50)
        counter.sleep(1)
        #expect(wake() == 30_000)
        counter.pass(40_000)
        #expect(wake() == counter.elapsed, "not in the past")
        counter.run()
        counter.store.fallBack(to: counter.store)
        counter.restart()
        _ = try counter.join()
        counter.sleep(15_000)
        counter.pass(10_000)
        #expect(wake() == 70_050, "the end of learning")
    }

    @Test func `accounts that nobody uses are forgotten, others are not`() throws {
        var counter = Fixture(limits: [100, 1_000, 1_000])
        let link = try counter.join()
        let other = try counter.join()
        counter.lend(link, 1, 10)
        counter.report(link, 2, LeaseReport(0, wish: LeaseWish(1, need: 20)))
        counter.report(link, 2, LeaseReport(20, 0, 0, held: 5))
        counter.lend(link, 0, 100)
        counter.report(link, 0, LeaseReport(100, 0, 0, held: 100))
        counter.report(other, 0, Self.wish)
        counter.sleep(599_000)
        #expect(counter.engines[0].cachedAccounts.count == 3)
        counter.sleep(30_000)
        #expect(
            Set(counter.engines[0].cachedAccounts.map(\.key)) == [account(0), account(2)],
            "held, or waited for")
        #expect(counter.report(link, 1, LeaseReport(10)).told(link, 1)?.granted == Amount(10))
    }

    @Test func `a recall of a forgotten account is not taken for an old one`() throws {
        var counter = Fixture()
        let holder = try counter.join()
        let waiting = try counter.join()
        counter.lend(holder, 0, 100)
        let first = counter.report(waiting, 0, Self.wish)
        let epoch = try #require(first.recallEpoch(to: holder))
        counter.report(holder, 0, LeaseReport(100, 60, 0, recallEpoch: epoch))
        counter.report(waiting, 0, LeaseReport(60, 60, wish: LeaseWish(2, need: 0)))
        counter.report(holder, 0, LeaseReport(100, 60))
        counter.sleep(630_000)
        #expect(counter.engines[0].cachedAccounts.isEmpty)
        let again = counter.report(waiting, 0, LeaseReport(60, 60, wish: LeaseWish(3, need: 130)))
        let next = try #require(again.recallEpoch(to: holder))
        #expect(next > epoch)
        // Sent before the recall arrived: it answers the old one.
        let crossing = counter.report(holder, 0, LeaseReport(100, 60, recallEpoch: epoch))
        #expect(crossing.told(waiting) == nil)
        let freed = counter.report(holder, 0, LeaseReport(100, 100, recallEpoch: next))
        #expect(freed.told(waiting)?.granted == Amount(130))
    }

    // MARK: - Recalls

    @Test func `a recall that nobody answers ends, and its answer counts later`() throws {
        var counter = Fixture()
        let holder = try counter.join()
        let waiting = try counter.join()
        counter.lend(holder, 0, 80)
        let asked = counter.report(waiting, 0, Self.wish)
        #expect(asked.notices.contains(.recalled(account(0), holder.session)))
        let epoch = try #require(asked.recallEpoch(to: holder))
        #expect(counter.sleep(49).isEmpty)
        let ended = counter.sleep(1)
        #expect(ended.notices.contains(.recallTimedOut(account(0))))
        #expect(ended.told(waiting)?.unmetWish == 1)
        let late = counter.report(holder, 0, LeaseReport(80, 80, recallEpoch: epoch))
        #expect(late.told(waiting)?.granted == Amount(60))
        #expect(counter.sleep(1_000).isEmpty)
    }

    @Test func `a recall that was answered does not time out`() throws {
        var counter = Fixture()
        let holder = try counter.join()
        let waiting = try counter.join()
        counter.lend(holder, 0, 80)
        let asked = counter.report(waiting, 0, Self.wish)
        let epoch = try #require(asked.recallEpoch(to: holder))
        counter.report(holder, 0, LeaseReport(80, 80, recallEpoch: epoch))
        #expect(counter.sleep(50).isEmpty)
    }

    // MARK: - Silence and other counters

    @Test func `an edge that says nothing is hung up on, and its wish not met`() throws {
        var counter = Fixture(settings: .init())
        let holder = try counter.join()
        let silent = try counter.join()
        counter.lend(holder, 0, 100)
        counter.report(holder, 0, LeaseReport(100, 0, 0, held: 100))
        counter.report(silent, 0, Self.wish)
        counter.pass(10_000)
        counter.run([.frame(holder.id, .ping(1))])
        counter.pass(4_999)
        #expect(counter.run().rejection(of: silent.id) == nil)
        counter.pass(5_000)
        let now = CounterEngine.Moment(elapsed: counter.elapsed, wall: counter.wall)
        #expect(counter.engines[0].nextWake(at: now) == counter.elapsed)
        let outputs = counter.run()
        #expect(outputs.rejection(of: silent.id) == .unavailable)
        #expect(outputs.isHungUp(on: silent.id))
        #expect(outputs.rejection(of: holder.id) == nil)
        counter.report(holder, 0, LeaseReport(100, 100))
        #expect(counter.granted(0, silent) ?? 0 == 0)
        #expect(counter.engines[0].cachedAccount(account(0))?.isWaitedFor == false)
    }

    @Test func `what another counter has written is seen after a while`() throws {
        var counter = Fixture(nodes: 2, settings: .init())
        let here = try counter.join(on: 0)
        let there = try counter.join(on: 1)
        counter.lend(here, 0, 10)
        counter.lend(there, 0, 70)
        let known = LeaseReport(10)
        #expect(counter.report(here, 0, known).told(here)?.exposure == Amount(10))
        counter.pass(1_999)
        #expect(counter.report(here, 0, known).told(here)?.exposure == Amount(10))
        counter.pass(1)
        #expect(counter.report(here, 0, known).told(here)?.exposure == Amount(80))
        counter.asked = []
        counter.pass(2_000)
        #expect(counter.report(here, 0, known).told(here)?.exposure == Amount(80))
        #expect(counter.asked == [.load([account(0)])], "compared, and found the same")
        counter.asked = []
        counter.report(here, 0, known)
        #expect(counter.asked.isEmpty)
    }

    // MARK: - A shell's mistakes

    @Test func `rules for a zone that is not known stop the process`() async {
        await #expect(processExitsWith: .failure) {
            let cap = Cap(name: "cap", unit: .usd, limit: .zero, period: .day, zone: "Mars/Phobos")
            _ = CounterRules(
                version: 1, caps: [cap], keys: [:], prices: "", zones: [:], now: UnixTime(0))
        }
    }

    @Test func `a batch within a batch stops the process`() async {
        await #expect(processExitsWith: .failure) {
            var counter = CounterEngineFixture()
            counter.run([.operation(1, .unfreeze(account(0), reason: "why"))]) { _, counter in
                counter.run()
            }
        }
    }

    @Test func `an answer to another question stops the process`() async {
        await #expect(processExitsWith: .failure) {
            var counter = CounterEngineFixture()
            let now = CounterEngine.Moment(elapsed: 0, wall: counter.wall)
            _ = counter.engines[0].begin(
                [.operation(1, .unfreeze(account(0), reason: "why"))], at: now)
            _ = counter.engines[0].resume(.adopted, at: now)
        }
        await #expect(processExitsWith: .failure) {
            var counter = CounterEngineFixture()
            let now = CounterEngine.Moment(elapsed: 0, wall: counter.wall)
            let id = counter.connect()
            let hello = EdgeFrame.hello(.init(edgeName: "edge", session: nil))
            _ = counter.engines[0].begin([.frame(id, hello)], at: now)
            _ = counter.engines[0].resume(.generation(counter.store.generation), at: now)
            _ = counter.engines[0].resume(.loaded(LoadResult()), at: now)
        }
    }
}
