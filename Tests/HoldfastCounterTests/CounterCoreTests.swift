import HoldfastCore
import HoldfastCounter
import HoldfastLedger
import HoldfastStore
import HoldfastTransport
import HoldfastWire
import Testing

/// The counter as edges meet it: over a connection.
@Suite(.timeLimit(.minutes(1))) struct CounterCoreTests {
    private let account = CounterSite.account

    private func stored(_ site: CounterSite) throws -> StoredAccount {
        try #require(site.store.stored(account))
    }

    // MARK: - Commit, then answer

    @Test func `what is granted is in the store when the edge hears of it`() async throws {
        try await CounterSite.run { site in
            let edge = try await site.join()
            for need: UInt64 in [10, 30, 70, 100] {
                try await edge.report(wants: need)
                let grant = try await edge.grant()
                #expect(grant.granted == Amount(need))
                let line = try #require(stored(site).lines.first)
                #expect(line.session == edge.session)
                #expect(line.granted >= grant.granted)
            }
        }
    }

    @Test func `a commit that fails answers nobody and nothing of it is kept`() async throws {
        try await CounterSite.run { site in
            let holder = try await site.join()
            try await holder.report(wants: 60)
            #expect(try await holder.grant().granted == Amount(60))
            let waiter = try await site.join()
            site.store.failCommits(.full("no room"), .full("no room"))
            try await waiter.report(wants: 40)
            // Both use the account: what they have said before is forgotten with it.
            for edge in [waiter, holder] {
                let rest = await edge.untilHungUp()
                #expect(!rest.hasGrants)
                #expect(rest.rejections == [.unavailable])
            }
            #expect(try stored(site).lines.map(\.granted) == [Amount(60)])
            #expect(site.core.unreadyReason?.contains("no room") == true)
            #expect(site.fatal.all.isEmpty)
        }
    }

    @Test func `after a failure the store decides what is left`() async throws {
        try await CounterSite.run { site in
            let first = try await site.join()
            site.store.failCommits(.unavailable("busy"))
            try await first.report(wants: 80)
            _ = await first.untilHungUp()
            let again = try await site.join(session: first.session)
            let other = try await site.join()
            try await other.report(wants: 50)
            #expect(try await other.grant().granted == Amount(50))
            // The grant that was never written is not owed.
            try await again.report(wants: 80)
            let grant = try await again.grant()
            #expect(grant.granted == .zero)
            #expect(grant.exposure == Amount(50))
            #expect(site.core.unreadyReason == nil)
        }
    }

    @Test func `an unknown outcome ends the process`() async throws {
        try await CounterSite.run { site in
            let edge = try await site.join()
            site.store.failCommits(.outcomeUnknown("the disk said no"))
            try await edge.report(wants: 10)
            #expect(await !edge.untilHungUp().hasGrants)
            #expect(site.fatal.all == [.outcomeUnknown("the disk said no")])
        }
    }

    @Test(arguments: [
        (others: UInt64(50), granted: UInt64(40)), (others: 60, granted: 40),
        (others: 61, granted: 0), (others: 100, granted: 0),
    ])
    func `another counter's write is taken over and decided on again`(
        _ row: (others: UInt64, granted: UInt64)
    ) async throws {
        try await CounterSite.run { site in
            let edge = try await site.join()
            let theirs = StoredAccount.Line(
                session: SessionID(900), granted: Amount(row.others), released: .zero,
                spent: .zero, overrun: .zero)
            site.store.writeFirst(
                account, StoredAccount(base: .zero, isFrozen: false, lines: [theirs]))
            try await edge.report(wants: 40)
            let grant = try await edge.grant()
            #expect(grant.granted == Amount(row.granted))
            #expect(grant.exposure == Amount(row.others + row.granted))
            let stored = try stored(site)
            #expect(stored.lines.contains(theirs))
            // Who was granted nothing has no line.
            let line = stored.lines.first { $0.session == edge.session }
            #expect(line?.granted ?? .zero == Amount(row.granted))
        }
    }

    @Test func `an account that cannot be read grants nothing`() async throws {
        try await CounterSite.run { site in
            let edge = try await site.join()
            site.store.damage(account, "checksum")
            try await edge.report(wants: 10)
            guard case .rejected(let rejection) = try await edge.next() else {
                Issue.record("not rejected")
                return
            }
            #expect(rejection.reason == .unavailable)
            // One damaged account does not keep the edge from others.
            try await edge.send(.ping(1))
            guard case .pong(1, _) = try await edge.next() else {
                Issue.record("no pong")
                return
            }
            site.store.failLoads(.unavailable("busy"))
            try await edge.report(wants: 10)
            #expect(await edge.untilHungUp().rejections == [.unavailable])
        }
    }

    // MARK: - Several edges

    @Test func `a second edge gets what the first has idle`() async throws {
        var patient = CounterEngine.Settings()
        patient.recallPatience = 30_000
        try await CounterSite.run(settings: patient) { site in
            let holder = try await site.join()
            try await holder.report(wants: 100)
            #expect(try await holder.grant().granted == Amount(100))
            let waiter = try await site.join()
            try await waiter.report(wants: 40)
            let epoch = try await holder.recall()
            try await holder.report(
                granted: 100, released: 50, spent: 30, held: 20, recallEpoch: epoch)
            #expect(try await waiter.answerToWish().granted == Amount(40))
            #expect(try stored(site).lines.map(\.granted) == [Amount(100), Amount(40)])
        }
    }

    @Test func `a holder that does not answer is not waited for longer than its patience`()
        async throws
    {
        try await CounterSite.run { site in
            let holder = try await site.join()
            try await holder.report(wants: 100)
            #expect(try await holder.grant().granted == Amount(100))
            let waiter = try await site.join()
            try await waiter.report(wants: 40)
            // No answer to the recall: the waiter is told that its need cannot be met now.
            let grant = try await waiter.answerToWish()
            #expect(grant.granted == .zero)
            #expect(grant.unmetWish == 1)
        }
    }

    @Test func `two edges never get more than the limit together`() async throws {
        try await CounterSite.run { site in
            let first = try await site.join()
            try await first.report(wants: 70)
            #expect(try await first.answerToWish().granted == Amount(70))
            let second = try await site.join()
            try await second.report(wants: 31)
            let epoch = try await first.recall()
            try await first.report(granted: 70, spent: 70, recallEpoch: epoch)
            #expect(try await second.answerToWish().granted < Amount(31))
            try await second.report(wants: 30)
            let grant = try await second.answerToWish()
            #expect(grant.granted == Amount(30))
            #expect(grant.exposure == Amount(100))
        }
    }

    // MARK: - Sessions

    @Test func `a session goes on over a new connection`() async throws {
        try await CounterSite.run { site in
            let before = try await site.join()
            try await before.report(wants: 60)
            _ = try await before.grant()
            let after = try await site.join(session: before.session)
            #expect(after.session == before.session)
            // The old connection is hung up on, and what it would say is not heard.
            _ = await before.untilHungUp()
            try await after.report(granted: 60, spent: 10, wants: 90)
            let grant = try await after.grant()
            #expect(grant.granted == Amount(90))
            #expect(grant.spent == Amount(10))
            #expect(try stored(site).lines.count == 1)
        }
    }

    @Test func `a slice stays charged when its edge is gone`() async throws {
        try await CounterSite.run { site in
            let gone = try await site.join()
            try await gone.report(wants: 60)
            _ = try await gone.grant()
            try await gone.hangUp()
            let other = try await site.join()
            try await other.report(wants: 50)
            let grant = try await other.grant()
            #expect(grant.granted == .zero)
            #expect(grant.exposure == Amount(60))
        }
    }

    @Test func `a session that ends charges what it did not give back and never returns`()
        async throws
    {
        try await CounterSite.run { site in
            let edge = try await site.join()
            try await edge.report(wants: 60)
            _ = try await edge.grant()
            try await edge.report(granted: 60, released: 30, spent: 20)
            _ = try await edge.grant()
            // What follows the end in the same breath is not taken any more.
            let more = LeaseReport(
                granted: Amount(60), released: Amount(30), spent: Amount(20),
                wish: LeaseWish(number: 100, need: Amount(100), ceiling: Amount(100)))
            try await edge.send(
                FrameCodec.encode(EdgeFrame.closeSession([]))
                    + FrameCodec.encode(
                        EdgeFrame.report([ReportEntry(reference: 1, key: nil, report: more)])))
            let rest = await edge.untilHungUp()
            #expect(rest.contains(.sessionClosed))
            #expect(!rest.hasGrants)
            #expect(
                try stored(site)
                    == StoredAccount(base: Amount(30), isFrozen: false, lines: []))
            #expect(site.store.isClosed(edge.session))
            let again = try await site.connect()
            try await again.send(.hello(.init(edgeName: "test", session: edge.session)))
            #expect(await again.untilHungUp().rejections == [.sessionClosed])
        }
    }

    @Test func `the last report counts`() async throws {
        try await CounterSite.run { site in
            let edge = try await site.join()
            try await edge.report(wants: 60)
            _ = try await edge.grant()
            let last = LeaseReport(granted: Amount(60), released: Amount(55), spent: Amount(5))
            try await edge.send(
                .closeSession([ReportEntry(reference: 1, key: nil, report: last)]))
            _ = await edge.untilHungUp()
            #expect(
                try stored(site) == StoredAccount(base: Amount(5), isFrozen: false, lines: []))
        }
    }

    // MARK: - What is refused

    @Test(arguments: badBeginnings)
    func `a connection that does not begin with a good hello is closed`(
        _ row: BadBeginning
    ) async throws {
        try await CounterSite.run { site in
            let edge = try await site.connect()
            try await edge.send(row.bytes)
            #expect(await edge.untilHungUp().rejections == row.reasons)
            // It has harmed nobody else.
            _ = try await site.join()
            #expect(site.store.commitCount == 0)
        }
    }

    @Test func `a reference that was never introduced is refused`() async throws {
        try await CounterSite.run { site in
            let edge = try await site.join()
            try await edge.send(
                .report([ReportEntry(reference: 9, key: nil, report: LeaseReport())]))
            #expect(await edge.untilHungUp().rejections == [.malformed])
        }
    }

    @Test func `a second hello is refused`() async throws {
        try await CounterSite.run { site in
            let edge = try await site.join()
            try await edge.send(.hello(.init(edgeName: "test", session: nil)))
            #expect(await edge.untilHungUp().rejections == [.malformed])
        }
    }

    @Test func `a report that cannot be is not believed and changes nothing`() async throws {
        try await CounterSite.run { site in
            let edge = try await site.join()
            try await edge.report(wants: 60)
            _ = try await edge.grant()
            let before = try stored(site)
            try await edge.report(granted: 60, spent: 61)
            guard case .rejected(let rejection) = try await edge.next() else {
                Issue.record("not rejected")
                return
            }
            #expect(rejection.reason == .notBelieved)
            #expect(rejection.reference == 1)
            #expect(try stored(site) == before)
        }
    }

    @Test func `an account of no cap is granted nothing`() async throws {
        try await CounterSite.run { site in
            let edge = try await site.join()
            let unknown = AccountKey(
                cap: "nobody", unit: .tokens, period: .day, periodID: account.periodID, values: [])
            try await edge.report(unknown, wants: 10)
            let grant = try await edge.grant()
            #expect(grant.granted == .zero)
            #expect(grant.isClosed)
        }
    }

    @Test func `an edge that was granted more than the store knows freezes the account`()
        async throws
    {
        try await CounterSite.run { site in
            let edge = try await site.join()
            try await edge.report(granted: 50)
            #expect(try await edge.grant().isFrozen)
            #expect(try stored(site).isFrozen)
            // For everyone, and also when there would be room.
            let other = try await site.join()
            try await other.report(wants: 10)
            let grant = try await other.grant()
            #expect(grant.isFrozen)
            #expect(grant.granted == .zero)
        }
    }

    // MARK: - Policy, periods, keys

    @Test func `a new policy is pushed and a lowered limit is called in`() async throws {
        try await CounterSite.run { site in
            let edge = try await site.join()
            try await edge.report(wants: 60)
            _ = try await edge.grant()
            site.core.replacePolicy(CounterSite.policy(limit: 40))
            guard case .policy(let policy) = try await edge.next() else {
                Issue.record("no policy")
                return
            }
            #expect(policy.caps.map(\.limit) == [Amount(40)])
            #expect(try await edge.next() == .keysChanged)
            _ = try await edge.recall()
            #expect(try await edge.grant().limit == Amount(40))
            try await edge.report(granted: 60, released: 30, wants: 71)
            #expect(try await edge.answerToWish().granted < Amount(71))
            try await edge.report(granted: 60, released: 30, wants: 70)
            let grant = try await edge.answerToWish()
            #expect(grant.granted == Amount(70))
            #expect(grant.exposure == Amount(40))
        }
    }

    @Test func `a raised limit serves who has waited for it`() async throws {
        try await CounterSite.run { site in
            let edge = try await site.join()
            try await edge.report(wants: 150)
            let before = try await edge.answerToWish()
            #expect(before.unmetWish == 1)
            #expect(before.granted <= Amount(100))
            site.core.replacePolicy(CounterSite.policy(limit: 200))
            #expect(try await edge.grant { $0.limit == Amount(200) }.granted == Amount(150))
        }
    }

    @Test func `a new period is announced and those who wait in the old one hear of it`()
        async throws
    {
        try await CounterSite.run { site in
            let holder = try await site.join()
            try await holder.report(wants: 100)
            _ = try await holder.grant()
            let waiter = try await site.join()
            try await waiter.report(wants: 40)
            #expect(try await waiter.answerToWish().unmetWish == 1)
            site.wall.advance(seconds: 86_400)
            try await holder.send(.ping(1))
            let tomorrow = CounterSite.account(on: site.wall.now)
            while true {
                guard case .windows(let windows) = try await waiter.next() else { continue }
                #expect(windows.caps.first?.first?.id == tomorrow.periodID)
                #expect(windows.counterTimeMilliseconds >= site.wall.now.seconds * 1_000)
                break
            }
            #expect(try await waiter.grant().isClosed)
            try await waiter.report(tomorrow, reference: 2, wants: 40)
            #expect(try await waiter.grant(2).granted == Amount(40))
        }
    }

    @Test func `a period that is over still takes what was spent in it`() async throws {
        try await CounterSite.run { site in
            let edge = try await site.join()
            try await edge.report(wants: 60)
            _ = try await edge.grant()
            site.wall.advance(seconds: 86_400)
            try await edge.report(granted: 60, released: 10, spent: 50, wants: 90)
            let grant = try await edge.grant()
            #expect(grant.isClosed)
            #expect(grant.spent == Amount(50))
            #expect(grant.granted == Amount(60))
            #expect(try stored(site).lines.map(\.spent) == [Amount(50)])
        }
    }

    @Test func `a key is found by its digest under the pepper of the store`() async throws {
        try await CounterSite.run { site in
            let edge = try await site.join()
            let pepper = try #require(edge.welcome?.keyPepper)
            let digest = KeyDigest.of(secret: "sk-support", pepper: pepper)
            try await edge.send(.resolveKey(request: 7, digest: digest))
            #expect(
                try await edge.next()
                    == .keyAnswer(request: 7, policy: KeyPolicy(name: "support")))
            try await edge.send(.resolveKey(request: 8, digest: Array(digest.reversed())))
            #expect(try await edge.next() == .keyAnswer(request: 8, policy: nil))
        }
    }
}

struct BadBeginning: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let bytes: [UInt8]
    /// None where it is no frame at all: nothing is answered then.
    let reasons: [Rejection.Reason]

    init(_ description: String, _ bytes: [UInt8], _ reasons: [Rejection.Reason] = []) {
        testDescription = description
        self.bytes = bytes
        self.reasons = reasons
    }

    init(_ description: String, _ frame: EdgeFrame, _ reason: Rejection.Reason) {
        self.init(description, FrameCodec.encode(frame), [reason])
    }
}

private let badBeginnings: [BadBeginning] = [
    BadBeginning(
        "a session that was never issued",
        .hello(.init(edgeName: "test", session: SessionID(77))), .sessionUnknown),
    BadBeginning(
        "another version", .hello(.init(protocolVersion: 1, edgeName: "test", session: nil)),
        .protocolVersion),
    BadBeginning("a ping", .ping(1), .malformed),
    BadBeginning("a report", .report([]), .malformed),
    BadBeginning("garbage", [0, 0, 0, 3, 0xFF, 0xFF, 0xFF]),
    BadBeginning("an empty frame", [0, 0, 0, 0]),
    BadBeginning("one byte more than a frame may have", [0, 0x40, 0, 1]),
    BadBeginning("another protocol", Array("GET / HTTP/1.1\r\n\r\n".utf8)),
]
