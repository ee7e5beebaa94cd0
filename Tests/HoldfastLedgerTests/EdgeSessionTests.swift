import HoldfastCore
import HoldfastLedger
import Testing

/// Hello, silence, lease and end: what a session says over its connections.
@Suite struct `Edge session` {
    // MARK: - Hello

    @Test func `only one connection at a time asks for a session, the others go on with it`() {
        var edge = SessionFixture()
        #expect(edge.connect(1).hellos == [1: 0])
        #expect(edge.connect(2) == [])
        #expect(edge.connect(3) == [])
        #expect(edge.welcome(1, "a").hellos == [2: 7, 3: 7])
        #expect(edge.connect(4).hellos == [4: 7])
        #expect(edge.session.id == SessionID(7))
    }

    @Test(arguments: ["lost", "refused", "silent"])
    func `the next takes the turn when the one that asked is`(_ end: String) {
        var edge = SessionFixture()
        _ = edge.connect(1)
        _ = edge.connect(2)
        let outputs =
            switch end {
            case "lost": edge.disconnect(1)
            case "refused": edge.reject(1, .unavailable)
            default: edge.pass(milliseconds: 10_100)
            }
        #expect(outputs.hellos == [2: 0])
        #expect(outputs.closed == (end == "lost" ? [] : [1]))
        #expect(edge.welcome(1, "a") == [], "nothing more is taken from there")
        #expect(edge.welcome(2, "b").contains { if case .welcomed = $0 { true } else { false } })
    }

    @Test func `a counter that takes us for another session is hung up on`() {
        var edge = SessionFixture(counters: ["a"])
        _ = edge.connect(2)
        #expect(edge.welcome(2, "b", session: 8).closed == [2])
        #expect(edge.session.id == SessionID(7))
        #expect(edge.welcome(1, "a").closed == [1], "welcomed twice")
    }

    @Test(arguments: [Rejection.Reason.sessionClosed, .sessionUnknown])
    func `a session that is refused is refused for good`(reason: Rejection.Reason) {
        var edge = SessionFixture(counters: ["a", "b"])
        _ = edge.disconnect(1)
        _ = edge.connect(3)
        let rejection = Rejection(reason: reason, message: "no")
        let outputs = edge.reject(3, reason)
        #expect(outputs.contains(.refused(rejection)) && outputs.contains(.rejected(rejection)))
        #expect(outputs.closed == [2, 3])
        #expect(edge.session.leaseProblem(at: edge.now) == .refused("no"))
        #expect(edge.connect(4).closed == [4])
        #expect(edge.pass(milliseconds: 5_000) == [])
    }

    @Test func `other rejections after the welcome are only noted`() {
        var edge = SessionFixture(counters: ["a"])
        let rejection = Rejection(reason: .notBelieved, message: "no")
        #expect(edge.reject(1, .notBelieved) == [.rejected(rejection)])
        #expect(edge.session.isConnected)
    }

    // MARK: - Life

    @Test func `each connection is pinged, and one that is silent is closed`() {
        var edge = SessionFixture(counters: ["a", "b"])
        let outputs = edge.pass(milliseconds: 6_000)
        for link in [UInt64(1), 2] { #expect(outputs.frames(link).count == 3) }
        _ = edge.receive(.pong(1, counterTimeMilliseconds: 9), 2)
        #expect(edge.pass(milliseconds: 4_000).closed == [])
        #expect(edge.pass(milliseconds: 50).closed == [1])
        #expect(edge.pass(milliseconds: 5_900).closed == [])
        #expect(edge.pass(milliseconds: 100).closed == [2])
        #expect(!edge.session.isConnected)
    }

    @Test func `the lease lives as long as any counter is heard`() {
        var edge = SessionFixture()
        #expect(edge.session.leaseProblem(at: edge.now) == .neverHeard)
        _ = edge.connect(1)
        _ = edge.connect(2)
        _ = edge.welcome(1, "a", leaseTTL: 15_000)
        _ = edge.welcome(2, "b", leaseTTL: 15_000)
        edge.now += 10_000
        _ = edge.receive(.pong(1, counterTimeMilliseconds: 9), 2)
        _ = edge.disconnect(2)
        edge.now += 15_000
        #expect(edge.session.leaseProblem(at: edge.now) == nil)
        #expect(edge.session.leaseProblem(at: edge.now + 1) == .silent(milliseconds: 15_001))
        // One that does not know us is no sign of life.
        _ = edge.connect(3)
        _ = edge.reject(3, .unavailable)
        #expect(edge.session.leaseProblem(at: edge.now + 1) == .silent(milliseconds: 15_001))
        #expect(edge.session.leaseProblem(at: 0) == nil, "a time before the last frame")
    }

    @Test func `what counters say is handed on`() {
        var edge = SessionFixture(counters: ["a", "b"])
        let windows = PolicyWindows(policyVersion: 3, caps: [], counterTimeMilliseconds: 8)
        let policy = EdgePolicy(version: 3, caps: [], prices: "p", windows: windows)
        #expect(edge.receive(.policy(policy)) == [.counterTime(milliseconds: 8), .policy(policy)])
        // The same one from another counter is no news.
        #expect(
            edge.receive(.policy(policy), 2) == [.counterTime(milliseconds: 8), .windows(windows)])
        var other = policy
        other.prices = "q"
        #expect(edge.receive(.policy(other), 2).contains(.policy(other)))
        #expect(
            edge.receive(.windows(windows)) == [.counterTime(milliseconds: 8), .windows(windows)])
        #expect(edge.receive(.keysChanged) == [.keysChanged])
        #expect(
            edge.receive(.pong(1, counterTimeMilliseconds: 9)) == [.counterTime(milliseconds: 9)])
        #expect(edge.receive(.keysChanged, 9) == [], "no connection of ours")
    }

    @Test func `a key is asked for elsewhere when a counter goes, and given up with the last`() {
        var edge = SessionFixture(counters: ["a", "b"])
        let asked = edge.session.resolveKey(request: 4, digest: [9])
        #expect(asked.frames(1) == [.resolveKey(request: 4, digest: [9])])
        #expect(edge.session.resolveKey(request: 5, digest: [8]).frames(2).count == 1)
        #expect(edge.receive(.keyAnswer(request: 5, policy: nil), 2).count == 1)
        #expect(edge.disconnect(1).frames(2) == [.resolveKey(request: 4, digest: [9])])
        #expect(edge.disconnect(2) == [.keyUnanswered(request: 4)])
        #expect(edge.session.resolveKey(request: 6, digest: [9]) == [])
    }

    // MARK: - Reports

    @Test func `a key goes along once on each connection`() throws {
        var edge = SessionFixture(counters: ["a"])
        _ = edge.want(10, account(0))
        #expect(edge.session.flush().entries(1).map(\.key) == [account(0)])
        _ = try edge.grant(account(0), total: 10)
        #expect(edge.session.flush().entries(1).map(\.key) == [nil])
        _ = edge.disconnect(1)
        #expect(edge.session.flush() == [])
        _ = edge.connect(2)
        #expect(edge.welcome(2, "a").entries(2).map(\.key) == [account(0)])
    }

    @Test func `reports are cut by size, and by number`() {
        var edge = SessionFixture(counters: ["a"])
        let long = String(repeating: "|", count: 250)
        let count = Limits.reportEntryCountMax + 100
        for number in 0..<count {
            let key = AccountKey(
                cap: "cap", unit: .usd, period: .day, periodID: Int64(number), values: [long, long])
            _ = edge.want(1, key)
        }
        let outputs = edge.session.flush()
        #expect(outputs.entries(1).count == count)
        #expect(Set(outputs.entries(1).map(\.reference)).count == count)
        #expect(outputs.count > 3)
        for case .report(let entries) in outputs.frames(1) {
            let byteCount = entries.reduce(0) { $0 + 144 + ($1.key?.text.utf8.count ?? 0) }
            #expect(byteCount <= Limits.frameByteCountMax / 4)
        }
    }

    @Test func `a forgotten account is introduced anew when it comes back`() throws {
        var edge = SessionFixture(counters: ["a"])
        let held = edge.want(0, account(0))
        let hold = try #require(held)
        _ = edge.session.ledger.settle(hold, actual: [.zero])
        _ = edge.session.flush()
        _ = try edge.grant(account(0), total: 0)
        for _ in 0..<40 {
            _ = edge.pass(milliseconds: 8_000)
            _ = edge.receive(.pong(1, counterTimeMilliseconds: 9))
        }
        #expect(edge.session.ledger.slotCount == 0)
        _ = edge.want(1, account(0))
        let said = edge.session.flush()
        let entry = try #require(said.entries(1).first)
        #expect(entry.key == account(0) && entry.reference == 2)
    }

    // MARK: - Learning

    @Test func `a counter that only listens as yet refuses nobody`() throws {
        for isLearning in [true, false] {
            var edge = SessionFixture(counters: ["a"])
            _ = edge.want(10, account(0))
            let said = edge.session.flush()
            let wish = try #require(said.entries(1).first?.report.wish)
            let outputs = try edge.grant(
                account(0), total: 0, unmetWish: wish.number, isLearning: isLearning)
            #expect(outputs.wakeups.count == (isLearning ? 0 : 1))
            #expect(try edge.standing(account(0)).counter?.isLearning == isLearning)
        }
    }

    // MARK: - End

    @Test func `without a session there is nothing to close`() {
        var edge = SessionFixture()
        _ = edge.connect(1)
        #expect(edge.session.close() == [.ended, .close(EdgeSession.LinkID(1))])
    }

    @Test func `all is given back and heard before the last frame`() throws {
        var edge = SessionFixture(counters: ["a"])
        _ = edge.want(10, account(0))
        _ = edge.session.flush()
        let wakeups = try edge.grant(account(0), total: 25).wakeups
        guard case .held(_, let hold)? = wakeups.first else { throw NotHeld() }
        _ = edge.session.ledger.settle(hold, actual: [Amount(4)])
        let outputs = edge.session.close()
        let entry = try #require(outputs.entries(1).first)
        #expect(entry.report.released == Amount(21) && entry.report.spent == Amount(4))
        let withdrawal = try #require(entry.report.wish)
        #expect(withdrawal.isWithdrawal)
        #expect(outputs.frames(1).count == 1, "the last frame waits for the answer")
        #expect(edge.pass(milliseconds: 200) == [])
        // A grant was on its way.
        _ = try edge.grant(account(0), total: 30, unmetWish: withdrawal.number)
        let second = edge.pass(milliseconds: 50)
        #expect(second.entries(1).map(\.report.released) == [Amount(26)])
        _ = try edge.grant(account(0), total: 30, unmetWish: withdrawal.number)
        #expect(edge.pass(milliseconds: 50).frames(1) == [.closeSession([])])
        #expect(edge.session.flush() == [])
        #expect(edge.receive(.sessionClosed) == [.ended, .close(EdgeSession.LinkID(1))])
        #expect(edge.session.close() == [], "once")
    }

    @Test func `what was not heard in time is said again before the last frame`() throws {
        var edge = SessionFixture(counters: ["a", "b"])
        for number in 0..<20 { _ = edge.want(10, account(number)) }
        _ = edge.session.flush()
        let outputs = edge.session.close()
        #expect(outputs.entries(2).count > 0)
        let late = edge.pass(milliseconds: 1_050)
        #expect(late.entries(1).count == 20, "those of the other counter too")
        #expect(late.frames(1).last == .closeSession([]))
        #expect(!late.frames(2).contains(.closeSession([])))
    }

    @Test func `a session that was closed already has ended`() {
        for reason in [Rejection.Reason.sessionClosed, .sessionUnknown] {
            var edge = SessionFixture(counters: ["a"])
            #expect(edge.session.close().frames(1) == [.closeSession([])])
            _ = edge.disconnect(1)
            #expect(edge.connect(2).hellos == [2: 7])
            #expect(edge.reject(2, reason).contains(.ended))
        }
    }

    @Test func `the last frame is said again when its connection is lost`() {
        var edge = SessionFixture(counters: ["a", "b"])
        #expect(edge.session.close().frames(1) == [.closeSession([])])
        #expect(edge.disconnect(1).contains(.ended) == false)
        #expect(edge.pass(milliseconds: 50).frames(2) == [.closeSession([])])
        #expect(edge.receive(.sessionClosed, 2).contains(.ended))
    }

    @Test func `a session that a counter closes unasked is refused`() {
        var edge = SessionFixture(counters: ["a"])
        #expect(
            edge.receive(.sessionClosed).contains { if case .refused = $0 { true } else { false } })
    }

    // MARK: - Recovery

    @Test func `an older life gives back what its journal does not cover`() {
        var recovery = EdgeSession.recovery(
            of: SessionID(5), name: "edge",
            entries: [(account(0), Amount(30)), (account(1), Amount(4))])
        let hello = EdgeFrame.hello(
            .init(edgeName: "edge", session: SessionID(5), isFinal: true))
        #expect(recovery.connected() == [.send(hello)])
        let welcome = CounterFrame.welcome(
            .init(
                session: SessionID(5), keyPepper: [], counterTimeMilliseconds: 0,
                leaseTTLMilliseconds: 1))
        func entry(_ reference: UInt32, _ unlocked: UInt64) -> ReportEntry {
            ReportEntry(
                reference: reference, key: account(Int(reference) - 1),
                report: LeaseReport(granted: .zero, unlocked: Amount(unlocked)))
        }
        let last = EdgeFrame.closeSession([entry(1, 30), entry(2, 4)])
        #expect(recovery.received(welcome) == [.send(last)])
        #expect(recovery.received(welcome) == [], "once on each connection")
        #expect(recovery.connected() == [.send(hello)])
        #expect(recovery.received(welcome) == [.send(last)])
        let old = Rejection(reason: .notBelieved, message: "old", reference: 2)
        #expect(recovery.received(.rejected(old)) == [.refusedEntry(account(1), old)])
        #expect(recovery.received(.keysChanged) == [])
        #expect(recovery.received(.sessionClosed) == [.refunded])
        #expect(recovery.isOver)
        #expect(recovery.connected() == [] && recovery.received(.sessionClosed) == [])
    }

    @Test func `a recovery that is refused is over`() {
        var recovery = EdgeSession.recovery(of: SessionID(5), name: "edge", entries: [])
        _ = recovery.connected()
        let rejection = Rejection(reason: .sessionUnknown, message: "no")
        #expect(recovery.received(.rejected(rejection)) == [.refused(rejection)])
        #expect(recovery.isOver)
    }

    @Test(arguments: [(0, 2_000), (250, 1_264)])
    func `a recovery is one frame, and says what found no place`(_ row: (Int, Int)) {
        let (length, taken) = row
        let value = String(repeating: "%", count: length)
        let entries = (0..<2_100).map { number in
            let key = AccountKey(
                cap: "c", unit: .usd, period: .day, periodID: Int64(number), values: [value, value])
            return (key, Amount(1))
        }
        let recovery = EdgeSession.recovery(of: SessionID(5), name: "edge", entries: entries)
        #expect(abs(recovery.leftOutCount - (2_100 - taken)) < 10)
    }
}
