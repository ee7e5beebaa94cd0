import HoldfastCore
import HoldfastLedger
import Synchronization
import Testing

@testable import HoldfastEdge

@Suite struct LeaseTableTests {
    private let account = target("acme", limit: 1_000)

    /// A table whose slice of `account` is `slice`, and a request that waits for more.
    private func waiting(
        slice: UInt64 = 0, limit: UInt64 = 1_000
    ) throws -> (TableFixture, EdgeLedger.WaiterID) {
        let fixture = TableFixture()
        let id = try #require(fixture.wait(request([account])))
        fixture.answer(totalGranted: slice, limit: limit, isUnmet: true)
        return (fixture, id)
    }

    // MARK: - Answers

    @Test func `a request without a slice waits and is held when the grant comes`() throws {
        let fixture = TableFixture()
        #expect(fixture.wait(request([account])) != nil)
        #expect(fixture.answers.isEmpty)
        fixture.answer(totalGranted: 100, limit: 1_000)
        #expect(fixture.answers.map(\.name) == ["held"])
        let hold = try #require(fixture.answers.first?.hold)
        #expect(hold.output == 90)
        #expect(fixture.table.settle(hold, usd: NanoUSD(40), tokens: 40) == .settled)
        #expect(fixture.table.settle(hold, usd: NanoUSD(40), tokens: 40) == .unknownHold)
        #expect(fixture.table.counts.holds == 0)
        #expect(fixture.table.standing(of: account.key)?.spent == Amount(40))
    }

    @Test func `each account is charged in its own unit`() throws {
        let dollars = target("dollars", limit: 1_000, unit: .usd)
        let fixture = TableFixture()
        _ = fixture.wait(request([account, dollars]))
        fixture.answer(totalGranted: 100, limit: 1_000)
        let hold = try #require(fixture.answers.first?.hold)
        #expect(fixture.table.settle(hold, usd: NanoUSD(7), tokens: 40) == .settled)
        #expect(fixture.table.standing(of: account.key)?.spent == Amount(40))
        #expect(fixture.table.standing(of: dollars.key)?.spent == Amount(7))
    }

    @Test func `a cost above the hold is counted in full and reported`() throws {
        let fixture = TableFixture()
        _ = fixture.wait(request([account]))
        fixture.answer(totalGranted: 100, limit: 1_000)
        let hold = try #require(fixture.answers.first?.hold)
        #expect(
            fixture.table.settle(hold, usd: NanoUSD(130), tokens: 130)
                == .overran(by: Amount(30)))
        #expect(fixture.table.standing(of: account.key)?.spent == Amount(130))
        #expect(fixture.table.standing(of: account.key)?.available == .zero)
    }

    @Test func `a cap that is spent refuses and one with a little left clamps`() throws {
        func answers(spent: UInt64) -> (names: [String], output: UInt64?) {
            let fixture = TableFixture()
            _ = fixture.wait(request([account]))
            fixture.answer(
                totalGranted: 0, limit: 1_000, totalSpent: spent, exposure: spent, isUnmet: true)
            fixture.answer(
                totalGranted: 1_000 - spent, limit: 1_000, totalSpent: spent, exposure: 1_000)
            return (fixture.answers.map(\.name), fixture.answers.first?.hold?.output)
        }
        #expect(answers(spent: 975).names == ["refused: capSpent"])
        let clamped = answers(spent: 960)
        #expect(clamped.names == ["held"])
        #expect(clamped.output == 30)
    }

    @Test(arguments: [
        (isFrozen: false, isClosed: true, expected: "expired"),
        (isFrozen: true, isClosed: false, expected: "refused: frozen"),
        // A frozen account of a period that is over is of no concern to the new one.
        (isFrozen: true, isClosed: true, expected: "expired"),
    ])
    func `an account that grants nothing any more answers at once`(
        _ row: (isFrozen: Bool, isClosed: Bool, expected: String)
    ) {
        let fixture = TableFixture()
        _ = fixture.wait(request([account]))
        fixture.answer(
            totalGranted: 0, limit: 1_000, isFrozen: row.isFrozen, isClosed: row.isClosed)
        #expect(fixture.answers.map(\.name) == [row.expected])
        #expect(fixture.table.counts.waiting == 0)
    }

    // MARK: - Deadline

    @Test func `at the deadline a request takes what is payable now`() throws {
        let (fixture, id) = try waiting(slice: 60)
        // Others hold the rest.
        fixture.answer(totalGranted: 60, limit: 1_000, exposure: 1_000, isUnmet: true)
        #expect(fixture.answers.isEmpty)
        #expect(!fixture.table.deadline(id))
        #expect(fixture.answers.map(\.name) == ["held"])
        #expect(fixture.answers.first?.hold?.output == 50)
    }

    @Test func `at the deadline a request for which nothing is payable is told to come back`()
        throws
    {
        let fixture = TableFixture()
        let id = try #require(fixture.wait(request([account])))
        fixture.answer(totalGranted: 0, limit: 1_000, exposure: 990, isUnmet: true)
        #expect(!fixture.table.deadline(id))
        #expect(fixture.answers.map(\.name) == ["refused: inFlight"])
        #expect(fixture.table.counts.waiting == 0)
    }

    @Test func `the last try has an end too`() throws {
        let fixture = TableFixture()
        let id = try #require(fixture.wait(request([account])))
        // The counter has 50 free, but they do not come.
        fixture.answer(totalGranted: 0, limit: 1_000, exposure: 950, isUnmet: true)
        #expect(fixture.table.deadline(id))
        #expect(fixture.answers.isEmpty)
        #expect(!fixture.table.deadline(id))
        #expect(fixture.answers.map(\.name) == ["refused: inFlight"])
        #expect(!fixture.table.deadline(id))
        #expect(fixture.answers.count == 1)
    }

    @Test func `the cap that pays for the least output is named, whatever its unit`() throws {
        let tokens = target("tokens", limit: 1_000_000)
        let dollars = target("dollars", limit: 1_000_000, unit: .usd)
        let rates = HoldRatesFixture.manyNanosPerToken
        let expensive = AdmissionRequest(
            targets: [tokens, dollars], formula: rates, outputWanted: 90, outputMinimum: 16,
            keyName: "support")
        let fixture = TableFixture()
        let id = try #require(fixture.wait(expensive))
        // 400,000 of each are free: more than enough tokens, dollars for 30 tokens of output.
        fixture.answer(totalGranted: 0, limit: 1_000_000, exposure: 600_000, isUnmet: true)
        #expect(fixture.table.deadline(id))
        fixture.answer(totalGranted: 0, limit: 1_000_000, exposure: 600_000, isUnmet: true)
        #expect(!fixture.table.deadline(id))
        guard case .refused(let refusal) = try #require(fixture.answers.first) else {
            Issue.record("not refused")
            return
        }
        #expect(refusal.target.cap.name == "dollars")
    }

    @Test func `at the deadline without a counter the answer is that none answers`() throws {
        let fixture = TableFixture()
        let neverHeard = try #require(fixture.wait(request([account])))
        #expect(!fixture.table.deadline(neverHeard))
        let (other, id) = try waiting()
        other.hangUp()
        #expect(!other.table.deadline(id))
        #expect((fixture.answers + other.answers).map(\.name) == ["unavailable", "unavailable"])
    }

    @Test func `at the deadline while the counter only listens the answer is not a refusal`() throws
    {
        let fixture = TableFixture()
        let id = try #require(fixture.wait(request([account])))
        fixture.answer(
            totalGranted: 0, limit: 1_000, exposure: 1_000, isLearning: true, isUnmet: true)
        #expect(fixture.answers.isEmpty)
        #expect(!fixture.table.deadline(id))
        #expect(fixture.answers.map(\.name) == ["unavailable"])
    }

    // MARK: - Leaving

    @Test func `a caller that leaves is not called back and passes its turn on`() throws {
        let fixture = TableFixture()
        let first = try #require(fixture.wait(request([account])))
        let small = request([account], wanted: 30)
        #expect(fixture.wait(small) != nil)
        fixture.answer(totalGranted: 50, limit: 1_000)
        #expect(fixture.answers.isEmpty)
        fixture.table.withdraw(first)
        #expect(fixture.answers.map(\.name) == ["held"])
        #expect(fixture.answers.first?.hold?.output == 30)
        fixture.table.withdraw(first)
        fixture.answer(totalGranted: 500, limit: 1_000)
        #expect(fixture.answers.count == 1)
        #expect(fixture.table.counts.waiting == 0)
    }

    @Test func `newcomers do not pass those who wait`() throws {
        let (fixture, _) = try waiting(slice: 60)
        #expect(fixture.admit(request([account], wanted: 30)).name == "waiting")
        fixture.answer(totalGranted: 140, limit: 1_000)
        #expect(fixture.answers.compactMap(\.hold?.output) == [90, 30])
    }

    @Test func `too many waiting requests are turned away`() {
        let fixture = TableFixture()
        for _ in 0..<Limits.waiterCountMax { _ = fixture.admit(request([account])) }
        #expect(fixture.admit(request([account])).name == "saturated")
        #expect(fixture.table.counts.waiting == Limits.waiterCountMax)
        #expect(fixture.answers.isEmpty)
    }

    // MARK: - New accounts

    @Test func `made-up scope values are bounded for each key`() {
        let fixture = TableFixture(newAccountsPerMinuteMax: 2)
        func step(_ user: String, key: String = "support") -> String {
            fixture.admit(
                request([target("each-user", limit: 1_000, user: user)], keyName: key)
            ).name
        }
        #expect(step("u1") == "waiting")
        #expect(step("u2") == "waiting")
        #expect(step("u3") == "too many new accounts")
        #expect(fixture.table.counts.accounts == 2)
        // Known ones go on, other keys are not concerned, nor caps without made-up values.
        #expect(step("u1") == "waiting")
        #expect(step("u4", key: "other") == "waiting")
        #expect(fixture.admit(request([account])).name == "waiting")
    }

    // MARK: - Locks

    @Test func `answers are given outside the lock`() throws {
        let table = TableFixture(newAccountsPerMinuteMax: 10).table
        let counts = Mutex<[Int]>([])
        // With the lock held this would never return.
        let step = table.admit(request([account])) { _ in
            counts.withLock { $0.append(table.counts.waiting) }
        }
        guard case .waiting(let id) = step else {
            Issue.record("not waiting")
            return
        }
        #expect(!table.deadline(id))
        #expect(counts.withLock { $0 } == [0])
    }

    @Test func `who waits makes the counter hear at once`() {
        let fixture = TableFixture()
        let flushes = Mutex(0)
        fixture.table.onUrgent { flushes.withLock { $0 += 1 } }
        _ = fixture.admit(request([account]))
        #expect(flushes.withLock { $0 } == 1)
    }

    @Test func `a request from before a change of policy finds its accounts again`() throws {
        let observed = target("account", limit: 1_000, mode: .observe)
        let fixture = TableFixture()
        var newer = request([account])
        newer.policyGeneration = 2
        #expect(fixture.wait(newer) != nil)
        var older = request([observed])
        older.policyGeneration = 1
        guard case .answered(.expired) = fixture.admit(older) else {
            Issue.record("an older policy was applied")
            return
        }
        // The account is still enforced: the one that waits has not been let through unpaid.
        #expect(fixture.answers.isEmpty)
        #expect(fixture.table.standing(of: account.key)?.isEnforced == true)
    }
}
