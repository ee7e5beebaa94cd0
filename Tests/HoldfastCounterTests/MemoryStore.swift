import HoldfastCore
import HoldfastLedger
import HoldfastStore
import Synchronization

/// A store that forgets with the test, and does what a test tells it to.
final class MemoryStore: AccountStore {
    private struct State {
        var accounts: [AccountKey: VersionedAccount] = [:]
        var sessions: [SessionID: SessionRecord] = [:]
        var secrets: [String: [UInt8]] = [:]
        var floor = UnixTime(0)
        var failures: [StoreError] = []
        var loadFailures: [StoreError] = []
        var writtenFirst: [(AccountKey, StoredAccount)] = []
        var commitCount = 0
    }

    private let state = Mutex(State())

    // MARK: - Told by tests

    /// The next commits fail with these errors, and write nothing.
    func failCommits(_ errors: StoreError...) { state.withLock { $0.failures += errors } }

    func failLoads(_ errors: StoreError...) { state.withLock { $0.loadFailures += errors } }

    /// Another counter writes this just before the next commit.
    func writeFirst(_ key: AccountKey, _ account: StoredAccount) {
        state.withLock { $0.writtenFirst.append((key, account)) }
    }

    func stored(_ key: AccountKey) -> StoredAccount? {
        state.withLock { $0.accounts[key]?.account }
    }

    func isClosed(_ session: SessionID) -> Bool {
        state.withLock { $0.sessions[session]?.closedAt != nil }
    }

    var commitCount: Int { state.withLock { $0.commitCount } }

    // MARK: - AccountStore

    func load(_ keys: [AccountKey]) throws(StoreError) -> [AccountKey: VersionedAccount] {
        let (found, failure) = state.withLock { state in
            guard state.loadFailures.isEmpty else {
                return (
                    [AccountKey: VersionedAccount](), Optional(state.loadFailures.removeFirst())
                )
            }
            return (state.accounts.filter { keys.contains($0.key) }, nil)
        }
        if let failure { throw failure }
        return found
    }

    func commit(_ batch: StoreBatch) throws(StoreError) -> CommitResult {
        let (result, failure) = state.withLock { state -> (CommitResult, StoreError?) in
            for (key, account) in state.writtenFirst {
                let version = (state.accounts[key]?.version ?? 0) + 1
                state.accounts[key] = VersionedAccount(version: version, account: account)
            }
            state.writtenFirst = []
            guard state.failures.isEmpty else {
                return (CommitResult(), state.failures.removeFirst())
            }
            return (Self.apply(batch, to: &state), nil)
        }
        if let failure { throw failure }
        return result
    }

    private static func apply(_ batch: StoreBatch, to state: inout State) -> CommitResult {
        state.commitCount += 1
        var result = CommitResult()
        for put in batch.puts {
            guard (state.accounts[put.key]?.version ?? 0) == put.expected else {
                result.conflicts.append(put.key)
                continue
            }
            let version = put.expected + 1
            state.accounts[put.key] = VersionedAccount(version: version, account: put.account)
            result.versions[put.key] = version
        }
        if let floor = batch.clockFloor { state.floor = max(state.floor, floor) }
        for session in batch.closedSessions { state.sessions[session]?.closedAt = state.floor }
        return result
    }

    func openSession(edge: String, at time: UnixTime) throws(StoreError) -> SessionID {
        state.withLock { state in
            let id = SessionID(UInt64(state.sessions.count) + 1)
            state.sessions[id] = SessionRecord(id: id, edge: edge, openedAt: time, closedAt: nil)
            return id
        }
    }

    func session(_ id: SessionID) throws(StoreError) -> SessionRecord? {
        state.withLock { $0.sessions[id] }
    }

    func secret(named name: String, generate: () -> [UInt8]) throws(StoreError) -> [UInt8] {
        state.withLock { state in
            let secret = state.secrets[name] ?? generate()
            state.secrets[name] = secret
            return secret
        }
    }

    func clockFloor() throws(StoreError) -> UnixTime { state.withLock { $0.floor } }

    func scan(
        _ selection: AccountSelection, limit: Int, after: AccountKey?
    ) throws(StoreError) -> [ScannedAccount] {
        state.withLock { state in
            state.accounts.map { ScannedAccount(key: $0.key, stored: $0.value) }
        }
    }

    func close() {}
}
