import HoldfastCore
import HoldfastLedger

/// The cluster's store: compare-and-put, and everything that a replicated store can do wrong.
///
/// Two copies of the truth: what is there, and a log of what the last seconds have changed, so that
/// a failover can lose the end of it.
struct SimulatedStore {
    private struct Change {
        var at: UInt64
        var key: AccountKey?
        var account: VersionedAccount?
        var session: SessionID?
        var record: SessionRecord?
    }

    private(set) var accounts: [AccountKey: VersionedAccount] = [:]
    private(set) var sessions: [SessionID: SessionRecord] = [:]
    private(set) var generation = StoreGeneration(current: 1, learned: 1)
    private(set) var floor = UnixTime(0)
    private(set) var records: [OperatorRecord] = []
    private var nextSession: UInt32 = 1
    private var changes: [Change] = []

    /// Changes older than this cannot be lost any more, in milliseconds.
    static let lossWindow: UInt64 = 400
    /// A row that goes back by itself may be older.
    static let silentLossWindow: UInt64 = 5_000

    // MARK: - What counters ask

    /// `onPut` sees every account before and after its write.
    mutating func answer(
        _ request: CounterEngine.StoreRequest, at now: UInt64, damaged: AccountKey?,
        onPut: (AccountKey, StoredAccount?, StoredAccount, StoreBatch) -> Void
    ) -> CounterEngine.StoreAnswer {
        switch request {
        case .generation: return .generation(generation)
        case .openSession(let edge, let time):
            let id = SessionID(generation: generation.current, number: nextSession)
            nextSession += 1
            keepSession(
                SessionRecord(id: id, edge: edge, openedAt: time, seenAt: time, closedAt: nil),
                at: now)
            return .opened(id)
        case .adoptSession(let id, let edge, let time):
            guard id.generation < generation.current else {
                return .failed(.unavailable("a session of this generation cannot be adopted"))
            }
            if sessions[id] == nil {
                keepSession(
                    SessionRecord(id: id, edge: edge, openedAt: time, seenAt: time, closedAt: nil),
                    at: now)
            }
            return .adopted
        case .session(let id): return .session(sessions[id])
        case .sessionsUnseen(let since):
            let unseen = sessions.values.filter { $0.closedAt == nil && $0.seenAt < since }
            return .sessions(unseen.sorted { $0.id < $1.id })
        case .load(let keys):
            var result = LoadResult()
            for key in keys {
                if key == damaged {
                    result.damaged[key] = "its checksum is wrong"
                } else if let account = accounts[key] {
                    result.found[key] = account
                }
            }
            return .loaded(result)
        case .commit(let batch): return .committed(commit(batch, at: now, onPut: onPut))
        }
    }

    private mutating func commit(
        _ batch: StoreBatch, at now: UInt64,
        onPut: (AccountKey, StoredAccount?, StoredAccount, StoreBatch) -> Void
    ) -> CommitResult {
        let closed = batch.reporting.filter { sessions[$0]?.closedAt != nil || sessions[$0] == nil }
        guard closed.isEmpty else { return CommitResult(closedSessions: closed) }
        let conflicts = batch.puts.filter { $0.expected != accounts[$0.key]?.version ?? 0 }
        if !conflicts.isEmpty, batch.isAllOrNothing {
            return CommitResult(conflicts: conflicts.map(\.key))
        }
        var result = CommitResult(conflicts: conflicts.map(\.key))
        for put in batch.puts where put.expected == accounts[put.key]?.version ?? 0 {
            let old = accounts[put.key]
            onPut(put.key, old?.account, put.account, batch)
            changes.append(Change(at: now, key: put.key, account: old))
            accounts[put.key] = VersionedAccount(version: put.expected + 1, account: put.account)
            result.written.append(.init(put.key, put.expected + 1))
        }
        if let newFloor = batch.clockFloor { floor = max(floor, newFloor) }
        for id in batch.seenSessions { seen(id, at: now) }
        for id in batch.closedSessions {
            guard var record = sessions[id], record.closedAt == nil else { continue }
            record.closedAt = floor
            keepSession(record, at: now)
        }
        if let learned = batch.learnedGeneration {
            generation.learned = max(generation.learned, min(learned, generation.current))
        }
        records += batch.records
        result.clockFloor = floor
        forgetChanges(before: now)
        return result
    }

    private mutating func seen(_ id: SessionID, at now: UInt64) {
        guard var record = sessions[id] else { return }
        record.seenAt = max(record.seenAt, floor)
        keepSession(record, at: now)
    }

    private mutating func keepSession(_ record: SessionRecord, at now: UInt64) {
        changes.append(Change(at: now, session: record.id, record: sessions[record.id]))
        sessions[record.id] = record
    }

    private mutating func forgetChanges(before now: UInt64) {
        guard changes.count > 64 else { return }
        changes.removeAll { $0.at + Self.silentLossWindow < now }
    }

    // MARK: - What goes wrong

    /// A replica takes over that has not all of the last `window` milliseconds. Returns what the
    /// accounts were before.
    mutating func fail(
        over window: UInt64, at now: UInt64
    ) -> [(key: AccountKey, before: StoredAccount, after: StoredAccount)] {
        var lost: [AccountKey: StoredAccount] = [:]
        var order: [AccountKey] = []
        while let change = changes.last, change.at + window >= now {
            changes.removeLast()
            if let key = change.key {
                if lost[key] == nil {
                    lost[key] = accounts[key]?.account
                    order.append(key)
                }
                accounts[key] = change.account
            } else if let session = change.session {
                sessions[session] = change.record
            }
        }
        changes = []
        generation.current += 1
        nextSession = 1
        return order.compactMap { key in
            lost[key].map {
                let empty = StoredAccount(base: .zero, isFrozen: false, lines: [])
                return (key, $0, accounts[key]?.account ?? empty)
            }
        }
    }

    /// Puts an account back to what it was before its newest change, and tells nobody.
    mutating func loseSilently(
        at now: UInt64
    ) -> (key: AccountKey, before: StoredAccount, after: StoredAccount)? {
        guard let change = changes.last(where: { $0.key != nil && $0.account != nil }),
            let key = change.key, let old = change.account, let current = accounts[key],
            change.at + Self.silentLossWindow >= now
        else { return nil }
        changes.removeAll { $0.key == key }
        accounts[key] = VersionedAccount(version: current.version + 1, account: old.account)
        return (key, current.account, old.account)
    }

    /// Accounts with a line of such a session.
    func accounts(with session: SessionID) -> [AccountKey] {
        accounts.filter { $0.value.account.lines.contains { $0.session == session } }.keys
            .sorted { $0.text < $1.text }
    }
}
