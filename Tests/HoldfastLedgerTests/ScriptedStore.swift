import HoldfastCore
import HoldfastLedger

/// A store in memory that keeps every rule of `AccountStore` and fails when it is told to.
///
/// A value: a test can keep a copy of how it was, which is also what a store that loses writes goes
/// back to.
struct ScriptedStore: Sendable {
    /// What happens to the next commit.
    enum CommitFault: Sendable, Equatable {
        /// Refused; nothing is written.
        case fails(StoreError)
        /// The connection breaks, before or after it was written.
        case interrupted(isWritten: Bool)
        /// The same, and this process can never find out.
        case outcomeUnknown(isWritten: Bool)
    }

    private(set) var accounts: [AccountKey: VersionedAccount] = [:]
    private(set) var sessions: [SessionID: SessionRecord] = [:]
    private(set) var records: [OperatorRecord] = []
    private(set) var floor = UnixTime(0)
    private(set) var generation = StoreGeneration(current: 1, learned: 1)
    private(set) var batches: [StoreBatch] = []
    private var issuedCount: UInt32 = 0

    var damaged: [AccountKey: String] = [:]
    /// Taken by the next commits, in this order.
    var commitFaults: [CommitFault] = []
    /// Everything but commits fails with it while it is set.
    var trouble: StoreError?
    /// As if another counter wrote just before the next commits, one of them each.
    var interlopers: [@Sendable (inout ScriptedStore) -> Void] = []

    // MARK: - Told by tests

    /// Goes back to how it was then, with a new generation.
    mutating func fallBack(to earlier: ScriptedStore) {
        let next = generation.current + 1
        accounts = earlier.accounts
        sessions = earlier.sessions
        records = earlier.records
        floor = earlier.floor
        generation = StoreGeneration(current: next, learned: earlier.generation.learned)
        issuedCount = 0
    }

    /// Goes back without knowing it: what no store may do.
    mutating func lose(_ key: AccountKey, to earlier: ScriptedStore) {
        accounts[key] = earlier.accounts[key]
    }

    mutating func put(_ account: StoredAccount, under key: AccountKey) {
        let version = (accounts[key]?.version ?? 0) + 1
        accounts[key] = VersionedAccount(version: version, account: account)
    }

    mutating func closeSession(_ id: SessionID) { sessions[id]?.closedAt = floor }

    mutating func see(_ id: SessionID, at time: UnixTime) { sessions[id]?.seenAt = time }

    // MARK: - Read by tests

    func stored(_ key: AccountKey) -> StoredAccount? { accounts[key]?.account }

    func line(_ key: AccountKey, _ id: SessionID) -> StoredAccount.Line? {
        accounts[key]?.account.lines.first { $0.session == id }
    }

    func exposure(_ key: AccountKey) -> UInt64 {
        accounts[key].map { AccountLedger($0.account).exposure.rawValue } ?? 0
    }

    func isClosed(_ id: SessionID) -> Bool { sessions[id]?.closedAt != nil }

    // MARK: - The engine's questions

    mutating func answer(_ request: CounterEngine.StoreRequest) -> CounterEngine.StoreAnswer {
        if case .commit(let batch) = request { return answerCommit(batch) }
        if let trouble { return .failed(trouble) }
        switch request {
        case .generation: return .generation(generation)
        case .openSession(let edge, let time):
            issuedCount += 1
            let id = SessionID(generation: generation.current, number: issuedCount)
            sessions[id] = Self.record(id, edge, time)
            return .opened(id)
        case .adoptSession(let id, let edge, let time): return adopt(id, edge, time)
        case .session(let id): return .session(sessions[id])
        case .sessionsUnseen(let time):
            let unseen = sessions.values.filter { $0.closedAt == nil && $0.seenAt < time }
            return .sessions(unseen.sorted { $0.id < $1.id })
        case .load(let keys): return .loaded(load(keys))
        case .commit(let batch): return answerCommit(batch)
        }
    }

    private static func record(_ id: SessionID, _ edge: String, _ time: UnixTime) -> SessionRecord {
        SessionRecord(id: id, edge: edge, openedAt: time, seenAt: time, closedAt: nil)
    }

    private mutating func adopt(
        _ id: SessionID, _ edge: String, _ time: UnixTime
    ) -> CounterEngine.StoreAnswer {
        guard sessions[id] == nil else { return .adopted }
        let isIssuable =
            id.generation > 0 && id != SessionID(generation: id.generation, number: 0)
        guard isIssuable, id.generation < generation.current else {
            return .failed(.unavailable("no earlier generation has issued it"))
        }
        sessions[id] = Self.record(id, edge, time)
        return .adopted
    }

    private func load(_ keys: [AccountKey]) -> LoadResult {
        var result = LoadResult()
        for key in keys {
            if let reason = damaged[key] {
                result.damaged[key] = reason
            } else {
                result.found[key] = accounts[key]
            }
        }
        return result
    }

    // MARK: - Commit

    private mutating func answerCommit(_ batch: StoreBatch) -> CounterEngine.StoreAnswer {
        if let interloper = interlopers.first {
            interlopers.removeFirst()
            interloper(&self)
        }
        guard let fault = commitFaults.first else { return .committed(commit(batch)) }
        commitFaults.removeFirst()
        switch fault {
        case .fails(let error): return .failed(error)
        case .interrupted(let isWritten):
            if isWritten { _ = commit(batch) }
            return .failed(.interrupted("in the test"))
        case .outcomeUnknown(let isWritten):
            if isWritten { _ = commit(batch) }
            return .failed(.outcomeUnknown("in the test"))
        }
    }

    private mutating func commit(_ batch: StoreBatch) -> CommitResult {
        precondition(Set(batch.puts.map(\.key)).count == batch.puts.count, "a key comes twice")
        let gone = batch.reporting.filter { id in
            sessions[id].map { $0.closedAt != nil } ?? true
        }
        guard gone.isEmpty else { return CommitResult(closedSessions: gone) }
        let conflicts = batch.puts.filter { (accounts[$0.key]?.version ?? 0) != $0.expected }
            .map(\.key)
        // A session must not close, and nothing be recorded, beside what was not written.
        let isWhole = !batch.closedSessions.isEmpty || !batch.records.isEmpty
        guard conflicts.isEmpty || !isWhole else { return CommitResult(conflicts: conflicts) }
        var result = CommitResult(conflicts: conflicts)
        for put in batch.puts where !conflicts.contains(put.key) {
            self.put(put.account, under: put.key)
            result.written.append(.init(put.key, put.expected + 1))
        }
        writeRest(of: batch)
        batches.append(batch)
        return result
    }

    private mutating func writeRest(of batch: StoreBatch) {
        floor = max(floor, batch.clockFloor ?? floor)
        for id in batch.seenSessions {
            guard let seenAt = sessions[id]?.seenAt else { continue }
            sessions[id]?.seenAt = max(seenAt, floor)
        }
        for id in batch.closedSessions where sessions[id]?.closedAt == nil {
            sessions[id]?.closedAt = floor
        }
        if let learned = batch.learnedGeneration, learned <= generation.current {
            generation.learned = max(generation.learned, learned)
        }
        records += batch.records
    }
}

extension StoredAccount {
    static let empty = StoredAccount(base: .zero, isFrozen: false, lines: [])
}
