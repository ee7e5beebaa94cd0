import HoldfastCore
import HoldfastLedger
import Synchronization
import Testing

/// What every store shares: how the engine's questions become calls, and what its errors say.
@Suite struct `Account store` {
    /// A scripted store as the protocol wants it.
    final class Shared: AccountStore {
        private let state: Mutex<ScriptedStore>

        init(_ store: ScriptedStore) { state = Mutex(store) }

        func generation() throws(StoreError) -> StoreGeneration {
            guard case .generation(let found) = try ask(.generation) else { throw Self.confused }
            return found
        }
        func meet(_ node: CounterNode, within seconds: Int64) throws(StoreError) -> [CounterNode] {
            [node]
        }
        func leave(_ node: CounterNode) throws(StoreError) {}

        func load(_ keys: [AccountKey]) throws(StoreError) -> LoadResult {
            guard case .loaded(let result) = try ask(.load(keys)) else { throw Self.confused }
            return result
        }

        func commit(_ batch: StoreBatch) throws(StoreError) -> CommitResult {
            guard case .committed(let result) = try ask(.commit(batch)) else {
                throw Self.confused
            }
            return result
        }

        func openSession(edge: String, at time: UnixTime) throws(StoreError) -> SessionID {
            guard case .opened(let id) = try ask(.openSession(edge: edge, at: time)) else {
                throw Self.confused
            }
            return id
        }

        func adoptSession(_ id: SessionID, edge: String, at time: UnixTime) throws(StoreError) {
            _ = try ask(.adoptSession(id, edge: edge, at: time))
        }

        func session(_ id: SessionID) throws(StoreError) -> SessionRecord? {
            guard case .session(let record) = try ask(.session(id)) else { throw Self.confused }
            return record
        }

        func sessions(
            _ selection: SessionSelection, limit: Int, after: SessionID?
        ) throws(StoreError) -> [SessionRecord] {
            guard case .openUnseen(let time) = selection, after == nil,
                case .sessions(let records) = try ask(.sessionsUnseen(since: time))
            else { throw Self.confused }
            return Array(records.prefix(limit))
        }

        func clockFloor() throws(StoreError) -> UnixTime { state.withLock { $0.floor } }

        func operatorRecords(limit: Int) throws(StoreError) -> [OperatorRecord] {
            Array(state.withLock { $0.records }.reversed().prefix(limit))
        }

        // The engine does not ask for these.

        func secret(named: String, generate: () -> [UInt8]) throws(StoreError) -> [UInt8] {
            throw Self.confused
        }

        func scan(
            _ selection: AccountSelection, limit: Int, after: AccountKey?
        ) throws(StoreError) -> [ScannedAccount] { throw Self.confused }

        func close() {}

        private static let confused = StoreError.corrupt("not what was asked")

        private func ask(
            _ request: CounterEngine.StoreRequest
        ) throws(StoreError) -> CounterEngine.StoreAnswer {
            let answer = state.withLock { $0.answer(request) }
            if case .failed(let error) = answer { throw error }
            return answer
        }
    }

    private let noon = UnixTime(CounterEngineFixture.noon)

    @Test func `every question of the engine is a call of the store`() throws {
        let store: any AccountStore = Shared(ScriptedStore())
        guard case .generation(let generation) = store.answer(.generation),
            case .opened(let id) = store.answer(.openSession(edge: "edge", at: noon)),
            case .session(let record?) = store.answer(.session(id)),
            case .session(nil) = store.answer(.session(SessionID(9))),
            case .adopted = store.answer(.adoptSession(id, edge: "edge", at: noon)),
            case .sessions(let unseen) = store.answer(
                .sessionsUnseen(since: UnixTime(noon.seconds + 1))),
            case .loaded(let loaded) = store.answer(.load([account(0)])),
            case .committed(let result) = store.answer(.commit(StoreBatch(clockFloor: noon)))
        else {
            Issue.record("the wrong answer")
            return
        }
        #expect(generation == StoreGeneration(current: 1, learned: 1))
        #expect(unseen == [record])
        #expect(loaded == LoadResult())
        #expect(result == CommitResult())
        #expect(try store.clockFloor() == noon)
    }

    @Test func `what a store throws is an answer too`() {
        var scripted = ScriptedStore()
        scripted.trouble = .unavailable("in the test")
        let store: any AccountStore = Shared(scripted)
        guard case .failed(.unavailable("in the test")) = store.answer(.generation) else {
            Issue.record("no failure")
            return
        }
    }

    struct Sentence: Sendable, CustomTestStringConvertible {
        var error: StoreError
        var advice: String
        var testDescription: String { "\(error)" }
    }

    @Test(arguments: [
        Sentence(error: .unavailable("why"), advice: "unavailable: why"),
        Sentence(error: .full("why"), advice: "writing goes on by itself"),
        Sentence(error: .corrupt("why"), advice: "restore a backup"),
        Sentence(error: .lockedByOther(path: "why"), advice: "fuser why.lock"),
        Sentence(error: .newerSchema(found: 9, supported: 2), advice: "(schema 9, this"),
        Sentence(error: .readOnly("why"), advice: "mounted read-write"),
        Sentence(error: .interrupted("why"), advice: "asked again"),
        Sentence(error: .outcomeUnknown("why"), advice: "start the process again"),
    ])
    func `an error says what is wrong and what to do`(row: Sentence) {
        #expect(row.error.description.contains(row.advice))
    }

    @Test func `a batch that closes or records is written whole or not at all`() {
        let put = StoreBatch.Put(key: account(0), expected: 0, account: .empty)
        let record = OperatorRecord(
            action: .release, at: noon, account: account(0), session: nil, amount: .zero,
            reason: "looked")
        let sessions = [SessionID(1)]
        let apart = StoreBatch(
            puts: [put], reporting: sessions, seenSessions: sessions, clockFloor: noon,
            learnedGeneration: 1)
        #expect(!apart.isAllOrNothing)
        #expect(StoreBatch(puts: [put], closedSessions: sessions).isAllOrNothing)
        #expect(StoreBatch(puts: [put], records: [record]).isAllOrNothing)
    }

    struct Line: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var report: LeaseReport
        var isStored = true
    }

    @Test(arguments: [
        Line(testDescription: "nothing", report: LeaseReport(0), isStored: false),
        Line(
            testDescription: "only a wish", report: LeaseReport(0, wish: LeaseWish(1, need: 200)),
            isStored: false),
        Line(testDescription: "only holds", report: LeaseReport(0, held: 5), isStored: false),
        Line(testDescription: "a slice", report: LeaseReport(0, wish: LeaseWish(1, need: 20))),
        Line(testDescription: "an overrun", report: LeaseReport(0, overrun: 5)),
        Line(testDescription: "spent", report: LeaseReport(0, 0, 5, overrun: 5)),
        Line(
            testDescription: "a journal",
            report: LeaseReport(granted: .zero, unlocked: Amount(5))),
    ])
    func `a session is stored with its account when it has`(row: Line) throws {
        var account = AccountFixture(limit: 100)
        _ = try account.report(2, row.report)
        let stored = account.ledger.stored
        #expect(stored.lines.map(\.session) == (row.isStored ? [SessionID(2)] : []))
        #expect(AccountLedger(stored).stored == stored)
        // It has a line here all the same, also when the account is read again.
        let rebased = account.ledger.rebased(on: stored)
        #expect(rebased.sessions == [SessionID(2)])
        #expect(rebased.isWaitedFor == account.ledger.isWaitedFor)
    }

    @Test func `values are compared by what they hold`() {
        let key = account(0)
        let stored = VersionedAccount(
            version: 1, account: .init(base: .zero, isFrozen: false, lines: []))
        #expect(
            ScannedAccount(key: key, stored: stored) == ScannedAccount(key: key, stored: stored))
        #expect(LoadResult(damaged: [key: "why"]) != LoadResult())
    }
}
