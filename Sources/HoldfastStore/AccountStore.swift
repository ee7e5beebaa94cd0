public import HoldfastCore
public import HoldfastLedger

/// Where the authoritative total of every account lives.
///
/// The counter keeps no truth of its own, so that any of its nodes can serve any account: safety
/// rests on `commit` comparing versions, and on nothing being answered to an edge before `commit`
/// has returned.
///
/// Synchronous on purpose. The counter calls a store from a thread of its own and gathers what
/// arrives meanwhile into the next batch.
///
/// A new store must pass `StoreConformance` in the tests.
public protocol AccountStore: Sendable {
    /// The accounts that exist. A key that is missing from the result has never been written: any
    /// doubt about that is thrown instead.
    func load(_ keys: [AccountKey]) throws(StoreError) -> [AccountKey: VersionedAccount]

    /// Writes all puts whose expected version still holds, in one transaction with the rest of the
    /// batch. Durable when it returns. Throws `outcomeUnknown` when it may or may not have been
    /// written; after every other error nothing of the batch was.
    func commit(_ batch: StoreBatch) throws(StoreError) -> CommitResult

    /// Issues a session. Ids increase and are never issued again, also after a crash.
    func openSession(edge: String, at: UnixTime) throws(StoreError) -> SessionID

    /// `nil` when this store has never issued it.
    func session(_ id: SessionID) throws(StoreError) -> SessionRecord?

    /// The bytes kept under `name`; made by `generate` and kept the first time.
    func secret(named name: String, generate: () -> [UInt8]) throws(StoreError) -> [UInt8]

    /// The latest time that any batch has recorded; the start of 1970 when none has. A clock that
    /// shows less has gone back.
    func clockFloor() throws(StoreError) -> UnixTime

    /// Up to `limit` selected accounts, ascending by the UTF-8 bytes of the key's text, which come
    /// after `after` in that order. An empty result is the end.
    func scan(
        _ selection: AccountSelection, limit: Int, after: AccountKey?
    ) throws(StoreError) -> [ScannedAccount]

    /// Lets go of the store. Idempotent; everything else throws `unavailable` from then on.
    func close()
}

/// What one transaction writes.
public struct StoreBatch: Sendable, Equatable {
    public struct Put: Sendable, Equatable {
        public var key: AccountKey
        /// The version that the new value was computed from; 0: the account must not exist yet.
        public var expected: UInt64
        public var account: StoredAccount

        public init(key: AccountKey, expected: UInt64, account: StoredAccount) {
            self.key = key
            self.expected = expected
            self.account = account
        }
    }

    /// Each key at most once.
    public var puts: [Put]
    /// Closed also when a put of the batch conflicts. Closing one again changes nothing.
    public var closedSessions: [SessionID]
    /// Ignored when it is below what is stored: the floor never goes back.
    public var clockFloor: UnixTime?

    public init(
        puts: [Put] = [], closedSessions: [SessionID] = [], clockFloor: UnixTime? = nil
    ) {
        self.puts = puts
        self.closedSessions = closedSessions
        self.clockFloor = clockFloor
    }
}

public struct CommitResult: Sendable, Equatable {
    /// The new version of every account that was written.
    public var versions: [AccountKey: UInt64]
    /// Not written: somebody else wrote them since they were loaded. In the order of the batch.
    public var conflicts: [AccountKey]

    public init(versions: [AccountKey: UInt64] = [:], conflicts: [AccountKey] = []) {
        self.versions = versions
        self.conflicts = conflicts
    }
}

/// An account as stored, with the number that `commit` compares. The first version is 1.
public struct VersionedAccount: Sendable, Equatable {
    public var version: UInt64
    public var account: StoredAccount

    public init(version: UInt64, account: StoredAccount) {
        self.version = version
        self.account = account
    }
}

public struct ScannedAccount: Sendable, Equatable {
    public var key: AccountKey
    public var stored: VersionedAccount

    public init(key: AccountKey, stored: VersionedAccount) {
        self.key = key
        self.stored = stored
    }
}

public enum AccountSelection: Sendable, Hashable {
    case all
    /// All accounts of one period of one cap.
    case period(cap: String, unit: CapUnit, period: PeriodKind, periodID: Int64)
}

public struct SessionRecord: Sendable, Equatable {
    public var id: SessionID
    /// The name that the edge gave itself.
    public var edge: String
    public var openedAt: UnixTime
    /// The clock floor when it was closed; `nil` while it is open.
    public var closedAt: UnixTime?

    public init(id: SessionID, edge: String, openedAt: UnixTime, closedAt: UnixTime?) {
        self.id = id
        self.edge = edge
        self.openedAt = openedAt
        self.closedAt = closedAt
    }
}
