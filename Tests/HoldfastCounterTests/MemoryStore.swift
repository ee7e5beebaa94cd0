import HoldfastCore
import HoldfastLedger
import Synchronization

/// A store that forgets with the test, and does what a test tells it to.
final class MemoryStore: AccountStore {
    private struct State {
        var accounts: [AccountKey: VersionedAccount] = [:]
        var damaged: [AccountKey: String] = [:]
        var sessions: [SessionID: SessionRecord] = [:]
        var newestSession = MemoryStore.origin(of: 1)
        var secrets: [String: [UInt8]] = [:]
        var floor = UnixTime(0)
        var generation = StoreGeneration(current: 1, learned: 1)
        /// Oldest first.
        var records: [OperatorRecord] = []
        var failures: [StoreError] = []
        var loadFailures: [StoreError] = []
        var writtenFirst: [(AccountKey, StoredAccount)] = []
        var commitCount = 0
    }

    /// What is still there when a store is opened again.
    private final class Contents: Sendable {
        let state = Mutex(State())
    }

    private let contents: Contents
    private let isUsable = Atomic(true)

    init() { contents = Contents() }

    private init(_ contents: Contents) { self.contents = contents }

    // MARK: - Told by tests

    /// The same store, as the next process finds it.
    func reopened(isRestored: Bool = false) -> MemoryStore {
        if isRestored {
            withState { state in
                state.generation.current += 1
                state.newestSession = Self.origin(of: state.generation.current)
            }
        }
        return MemoryStore(contents)
    }

    /// The next commits fail with these errors, and write nothing.
    func failCommits(_ errors: StoreError...) { withState { $0.failures += errors } }

    func failLoads(_ errors: StoreError...) { withState { $0.loadFailures += errors } }

    /// What is stored under `key` cannot be read from now on.
    func damage(_ key: AccountKey, _ reason: String) { withState { $0.damaged[key] = reason } }

    /// Another counter writes this just before the next commit.
    func writeFirst(_ key: AccountKey, _ account: StoredAccount) {
        withState { $0.writtenFirst.append((key, account)) }
    }

    func stored(_ key: AccountKey) -> StoredAccount? { withState { $0.accounts[key]?.account } }

    func isClosed(_ session: SessionID) -> Bool {
        withState { $0.sessions[session]?.closedAt != nil }
    }

    var commitCount: Int { withState { $0.commitCount } }

    // MARK: - Accounts

    func meet(_ node: CounterNode, within seconds: Int64) throws(StoreError) -> [CounterNode] {
        [node]
    }

    func leave(_ node: CounterNode) throws(StoreError) {}

    func load(_ keys: [AccountKey]) throws(StoreError) -> LoadResult {
        try access { state throws(StoreError) in
            guard state.loadFailures.isEmpty else { throw state.loadFailures.removeFirst() }
            var result = LoadResult()
            for key in keys {
                if let reason = state.damaged[key] {
                    result.damaged[key] = reason
                } else {
                    result.found[key] = state.accounts[key]
                }
            }
            return result
        }
    }

    func scan(
        _ selection: AccountSelection, limit: Int, after: AccountKey?
    ) throws(StoreError) -> [ScannedAccount] {
        try access { state throws(StoreError) in
            let selected = state.accounts.filter { key, _ in
                guard Self.selects(selection, key) else { return false }
                return after.map { Self.precedes($0, key) } ?? true
            }
            let keys = selected.keys.sorted(by: Self.precedes).prefix(limit)
            if let key = keys.first(where: { state.damaged[$0] != nil }) {
                throw .corrupt("account `\(key.text)` cannot be read")
            }
            return keys.compactMap { key in
                selected[key].map { ScannedAccount(key: key, stored: $0) }
            }
        }
    }

    private static func selects(_ selection: AccountSelection, _ key: AccountKey) -> Bool {
        switch selection {
        case .all: true
        case .period(let cap, let unit, let period, let periodID):
            key
                == AccountKey(
                    cap: cap, unit: unit, period: period, periodID: periodID, values: key.values)
        }
    }

    private static func precedes(_ left: AccountKey, _ right: AccountKey) -> Bool {
        left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
    }

    // MARK: - Batches

    func commit(_ batch: StoreBatch) throws(StoreError) -> CommitResult {
        try access { state throws(StoreError) in
            for (key, account) in state.writtenFirst {
                let version = (state.accounts[key]?.version ?? 0) + 1
                state.accounts[key] = VersionedAccount(version: version, account: account)
            }
            state.writtenFirst = []
            guard state.failures.isEmpty else { throw state.failures.removeFirst() }
            state.commitCount += 1
            var result = Self.apply(batch, to: &state)
            result.clockFloor = state.floor
            return result
        }
    }

    private static func apply(_ batch: StoreBatch, to state: inout State) -> CommitResult {
        let gone = batch.reporting.filter { id in
            state.sessions[id].map { $0.closedAt != nil } ?? true
        }
        guard gone.isEmpty else { return CommitResult(closedSessions: gone) }
        let conflicts = batch.puts.filter { put in
            (state.accounts[put.key]?.version ?? 0) != put.expected
        }
        var result = CommitResult(conflicts: conflicts.map(\.key))
        guard !batch.isAllOrNothing || conflicts.isEmpty else { return result }
        for put in batch.puts where !result.conflicts.contains(put.key) {
            let version = put.expected + 1
            state.accounts[put.key] = VersionedAccount(version: version, account: put.account)
            state.damaged[put.key] = nil
            result.written.append(.init(put.key, version))
        }
        applyRest(of: batch, to: &state)
        return result
    }

    private static func applyRest(of batch: StoreBatch, to state: inout State) {
        let floor = max(state.floor, batch.clockFloor ?? state.floor)
        state.floor = floor
        for id in batch.seenSessions {
            guard let seenAt = state.sessions[id]?.seenAt else { continue }
            state.sessions[id]?.seenAt = max(seenAt, floor)
        }
        for id in batch.closedSessions where state.sessions[id]?.closedAt == nil {
            state.sessions[id]?.closedAt = floor
        }
        if let learned = batch.learnedGeneration, learned <= state.generation.current {
            state.generation.learned = max(state.generation.learned, learned)
        }
        state.records += batch.records
    }

    // MARK: - Sessions

    func openSession(edge: String, at time: UnixTime) throws(StoreError) -> SessionID {
        try access { state throws(StoreError) in
            let id = SessionID(state.newestSession.rawValue + 1)
            state.newestSession = id
            state.sessions[id] = Self.record(id, edge, time)
            return id
        }
    }

    func adoptSession(_ id: SessionID, edge: String, at time: UnixTime) throws(StoreError) {
        try access { state throws(StoreError) in
            guard state.sessions[id] == nil else { return }
            let generation = id.rawValue >> 32
            guard generation > 0, generation < state.generation.current,
                id != Self.origin(of: generation)
            else { throw .unavailable("session \(id.rawValue) is of no earlier generation") }
            state.sessions[id] = Self.record(id, edge, time)
        }
    }

    func session(_ id: SessionID) throws(StoreError) -> SessionRecord? {
        try access { state throws(StoreError) in state.sessions[id] }
    }

    func sessions(
        _ selection: SessionSelection, limit: Int, after: SessionID?
    ) throws(StoreError) -> [SessionRecord] {
        try access { state throws(StoreError) in
            let selected = state.sessions.values.filter { record in
                guard record.id > after ?? SessionID(0) else { return false }
                switch selection {
                case .all: return true
                case .open: return record.closedAt == nil
                case .openUnseen(let since): return record.closedAt == nil && record.seenAt < since
                }
            }
            return Array(selected.sorted { $0.id < $1.id }.prefix(limit))
        }
    }

    private static func record(_ id: SessionID, _ edge: String, _ time: UnixTime) -> SessionRecord {
        SessionRecord(id: id, edge: edge, openedAt: time, seenAt: time, closedAt: nil)
    }

    private static func origin(of generation: UInt64) -> SessionID { SessionID(generation << 32) }

    // MARK: - The rest

    func generation() throws(StoreError) -> StoreGeneration {
        try access { state throws(StoreError) in state.generation }
    }

    func clockFloor() throws(StoreError) -> UnixTime {
        try access { state throws(StoreError) in state.floor }
    }

    func secret(named name: String, generate: () -> [UInt8]) throws(StoreError) -> [UInt8] {
        try access { state throws(StoreError) in
            let secret = state.secrets[name] ?? generate()
            state.secrets[name] = secret
            return secret
        }
    }

    func operatorRecords(limit: Int) throws(StoreError) -> [OperatorRecord] {
        try access { state throws(StoreError) in Array(state.records.reversed().prefix(limit)) }
    }

    func close() { isUsable.store(false, ordering: .sequentiallyConsistent) }

    // MARK: - Access

    private func access<Value: Sendable>(
        _ body: (inout State) throws(StoreError) -> Value
    ) throws(StoreError) -> Value {
        guard isUsable.load(ordering: .sequentiallyConsistent) else {
            throw .unavailable("it has been closed")
        }
        return try withState(body)
    }

    private func withState<Value: Sendable, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        try contents.state.withLock { state throws(Failure) in try body(&state) }
    }
}
