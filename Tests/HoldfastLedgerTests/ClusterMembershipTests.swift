import HoldfastCore
import HoldfastLedger
import Testing

/// Several counters: who tells edges of whom, whose policy is followed, and how much one edge may
/// take.
@Suite struct `Counters of a cluster` {
    private let nodes = [
        CounterNode(name: "a", address: "10.0.0.1:7070"),
        CounterNode(name: "b", address: "10.0.0.2:7070"),
    ]

    // MARK: - Who is there

    @Test func `edges hear of the counters when they join, and when that changes`() throws {
        var fixture = CounterEngineFixture()
        let early = try fixture.join()
        #expect(fixture.run([.counters(nodes)]).frames(to: early.id) == [.counters(nodes)])
        // Nothing new.
        #expect(fixture.run([.counters(nodes)]).isEmpty)
        let (late, outputs) = fixture.greet()
        #expect(outputs.frames(to: late).contains(.counters(nodes)))
        let one = Array(nodes.prefix(1))
        #expect(fixture.run([.counters(one)]).frames(to: late) == [.counters(one)])
    }

    @Test func `a counter alone says nothing of counters`() throws {
        var fixture = CounterEngineFixture()
        let (id, outputs) = fixture.greet()
        for case .counters in outputs.frames(to: id) { Issue.record("told of counters") }
    }

    @Test func `an edge hands the list on, from whom it knows only`() throws {
        var fixture = SessionFixture(counters: ["a"])
        #expect(fixture.receive(.counters(nodes)) == [.counters(nodes)])
        _ = fixture.connect(2)
        #expect(fixture.receive(.counters(nodes), 2).isEmpty)
    }

    // MARK: - Whose policy

    private func policy(_ version: UInt64, windows: Int64 = 1) -> EdgePolicy {
        EdgePolicy(
            version: version, caps: [], prices: "",
            windows: PolicyWindows(
                policyVersion: version, caps: [], counterTimeMilliseconds: windows))
    }

    private func adopted(_ outputs: [EdgeSession.Output]) -> [UInt64] {
        outputs.compactMap { output in
            if case .policy(let policy) = output { policy.version } else { nil }
        }
    }

    @Test func `when the counter of a policy goes, that of the others is followed`() throws {
        var fixture = SessionFixture(counters: ["a", "b", "c"])
        #expect(adopted(fixture.receive(.policy(policy(1)), 1)) == [1])
        #expect(adopted(fixture.receive(.policy(policy(1)), 2)).isEmpty)
        #expect(adopted(fixture.receive(.policy(policy(2)), 3)) == [2])
        // Periods that the older policy's counters tell of are kept for later.
        let windows = policy(1, windows: 9).windows
        _ = fixture.receive(.windows(windows), 1)
        let outputs = fixture.disconnect(3)
        #expect(adopted(outputs) == [1])
        #expect(outputs.contains(.counterTime(milliseconds: 9)))
        // Its own counter is still there, or one with the same.
        #expect(adopted(fixture.disconnect(1)).isEmpty)
        #expect(adopted(fixture.disconnect(2)).isEmpty)
    }

    // MARK: - How much

    private func settings(_ change: (inout CounterEngine.Settings) -> Void)
        -> CounterEngine.Settings
    {
        var settings = CounterEngineFixture.patient
        change(&settings)
        return settings
    }

    @Test func `an edge that names more accounts than it may is hung up on`() throws {
        var fixture = CounterEngineFixture(
            limits: [100, 100, 100], settings: settings { $0.accountsPerPeerMax = 2 })
        let link = try fixture.join()
        fixture.report(link, 0, LeaseReport(0, wish: LeaseWish(1, need: 1)))
        fixture.report(link, 1, LeaseReport(0, wish: LeaseWish(1, need: 1)))
        // Known ones may be named again.
        #expect(fixture.report(link, 1, LeaseReport(1)).rejection(of: link.id) == nil)
        let outputs = fixture.report(link, 2, LeaseReport(0, wish: LeaseWish(1, need: 1)))
        #expect(outputs.rejection(of: link.id) == .unavailable)
        #expect(outputs.isHungUp(on: link.id))
        // It comes back with those that it still uses.
        let again = try fixture.join(link.session)
        let third = fixture.report(again, 2, LeaseReport(0, wish: LeaseWish(2, need: 1)))
        #expect(third.told(again, 2)?.granted == Amount(1))
    }

    @Test func `without a share, who waits for its own holds keeps its place`() throws {
        var fixture = CounterEngineFixture(limits: [100])
        let link = try fixture.join()
        fixture.report(link, 0, LeaseReport(0, wish: LeaseWish(1, need: 80)))
        let waiting = LeaseReport(80, 0, 0, held: 80, wish: LeaseWish(2, need: 120))
        #expect(fixture.report(link, 0, waiting).told(link)?.granted == Amount(80))
        // The hold settles below its ceiling: served without another wish.
        let settled = fixture.report(link, 0, LeaseReport(80, 30, 50))
        #expect(settled.told(link)?.granted == Amount(120))
    }

    @Test func `one edge holds no more of a cap than its share`() throws {
        var fixture = CounterEngineFixture(
            limits: [1_000], settings: settings { $0.slicePercentMax = 25 })
        let link = try fixture.join()
        let most = fixture.report(
            link, 0, LeaseReport(0, wish: LeaseWish(1, need: 200, ceiling: 900)))
        #expect(most.told(link)?.granted == Amount(250))
        // The rest is there, but it has to settle what it holds first.
        let refused = fixture.report(
            link, 0, LeaseReport(250, 0, 0, held: 250, wish: LeaseWish(2, need: 251)))
        #expect(refused.told(link)?.granted == Amount(250))
        #expect(refused.told(link)?.unmetWish == 2)
        let settled = fixture.report(
            link, 0, LeaseReport(250, 0, 240, wish: LeaseWish(3, need: 490)))
        #expect(settled.told(link)?.granted == Amount(490))
        #expect(settled.told(link)?.unmetWish == 2)
    }

    @Test(
        arguments: [
            (0, 1, 0), (99, 25, 24), (100, 25, 25), (UInt64.max, 50, UInt64.max / 2), (7, 100, 7),
            (7, 200, 7), (UInt64.max, 99, 18_262_276_632_972_456_098), (5, 0, 0),
        ] as [(UInt64, UInt64, UInt64)])
    func `a share is rounded down`(amount: UInt64, percent: UInt64, share: UInt64) {
        #expect(Amount(amount).percent(percent) == Amount(share))
    }
}
