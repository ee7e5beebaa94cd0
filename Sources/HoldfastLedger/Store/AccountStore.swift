public import HoldfastCore

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
    /// Whether writes that were acknowledged may have been lost since a counter last looked.
    func generation() throws(StoreError) -> StoreGeneration

    /// The accounts that exist. A key that is missing from the result has never been written: any
    /// doubt about that is thrown, or named as damaged, instead.
    func load(_ keys: [AccountKey]) throws(StoreError) -> LoadResult

    /// Writes all puts whose expected version still holds, in one transaction with the rest of the
    /// batch. Durable when it returns. Throws `outcomeUnknown` or `interrupted` when it may or may
    /// not have been written; after every other error nothing of the batch was.
    func commit(_ batch: StoreBatch) throws(StoreError) -> CommitResult

    /// Issues a session. Ids increase and are never issued again, also after a crash, and also after
    /// lost writes: the store's generation is part of them.
    func openSession(edge: String, at: UnixTime) throws(StoreError) -> SessionID

    /// Takes up a session of an earlier generation whose row was lost. Does nothing when it exists.
    func adoptSession(_ id: SessionID, edge: String, at: UnixTime) throws(StoreError)

    /// `nil` when this store has never issued it.
    func session(_ id: SessionID) throws(StoreError) -> SessionRecord?

    /// Up to `limit` sessions with ids above `after`, ascending. An empty result is the end.
    func sessions(
        _ selection: SessionSelection, limit: Int, after: SessionID?
    ) throws(StoreError) -> [SessionRecord]

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

    /// What operators have done, newest first.
    func operatorRecords(limit: Int) throws(StoreError) -> [OperatorRecord]

    /// Says that this counter is there, and which others were within the last `seconds`, in the order
    /// of their names, this one among them.
    func meet(_ node: CounterNode, within seconds: Int64) throws(StoreError) -> [CounterNode]

    /// This counter ends.
    func leave(_ node: CounterNode) throws(StoreError)

    /// Lets go of the store. Idempotent; everything else throws `unavailable` from then on.
    func close()
}

/// A store that was restored from a backup, or whose replica took over without all that was
/// acknowledged, has a new generation. Counters then learn from the edges what they hold before they
/// grant anything, see `CounterEngine`.
public struct StoreGeneration: Sendable, Hashable {
    public var current: UInt64
    /// The generation up to which a counter has finished learning.
    public var learned: UInt64

    public init(current: UInt64, learned: UInt64) {
        self.current = current
        self.learned = learned
    }
}

public struct LoadResult: Sendable, Equatable {
    public var found: [AccountKey: VersionedAccount]
    /// Stored values that cannot be believed, with the reason. Never read as "nothing was spent".
    public var damaged: [AccountKey: String]

    public init(found: [AccountKey: VersionedAccount] = [:], damaged: [AccountKey: String] = [:]) {
        self.found = found
        self.damaged = damaged
    }
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
    /// Whose reports the puts take up. If one of them is closed, nothing of the batch is written.
    public var reporting: [SessionID]
    /// Closed with the batch. If a put conflicts, nothing of such a batch is written: a session must
    /// not go on with accounts in which it was folded already. Closing one again changes nothing.
    public var closedSessions: [SessionID]
    /// Were connected at the time of the floor.
    public var seenSessions: [SessionID]
    /// Ignored when it is below what is stored: the floor never goes back.
    public var clockFloor: UnixTime?
    /// A counter has finished learning what edges held at the start of this generation.
    public var learnedGeneration: UInt64?
    /// What an operator did with this batch. As with `closedSessions`, nothing of such a batch is
    /// written if a put conflicts: a record is of what has happened, once.
    public var records: [OperatorRecord]

    public init(
        puts: [Put] = [], reporting: [SessionID] = [], closedSessions: [SessionID] = [],
        seenSessions: [SessionID] = [], clockFloor: UnixTime? = nil,
        learnedGeneration: UInt64? = nil, records: [OperatorRecord] = []
    ) {
        self.puts = puts
        self.reporting = reporting
        self.closedSessions = closedSessions
        self.seenSessions = seenSessions
        self.clockFloor = clockFloor
        self.learnedGeneration = learnedGeneration
        self.records = records
    }

    /// Whether a conflict of one put keeps the rest from being written too.
    public var isAllOrNothing: Bool { !closedSessions.isEmpty || !records.isEmpty }
}

public struct CommitResult: Sendable, Equatable {
    public struct Written: Sendable, Hashable {
        public var key: AccountKey
        /// Its new version.
        public var version: UInt64

        public init(_ key: AccountKey, _ version: UInt64) {
            self.key = key
            self.version = version
        }
    }

    /// Every account that was written, in the order of the batch.
    public var written: [Written]
    /// Not written: somebody else wrote them since they were loaded. In the order of the batch.
    public var conflicts: [AccountKey]
    /// Sessions of `StoreBatch.reporting` that are closed: nothing of the batch was written.
    public var closedSessions: [SessionID]
    /// As stored now: the latest time that any counter has recorded. Counters follow it, so that all
    /// of them name the same period.
    public var clockFloor: UnixTime

    public init(
        written: [Written] = [], conflicts: [AccountKey] = [],
        closedSessions: [SessionID] = [], clockFloor: UnixTime = UnixTime(0)
    ) {
        self.written = written
        self.conflicts = conflicts
        self.closedSessions = closedSessions
        self.clockFloor = clockFloor
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

public enum SessionSelection: Sendable, Hashable {
    case all
    case open
    /// Open, and not seen since the time given.
    case openUnseen(since: UnixTime)
}

public struct SessionRecord: Sendable, Equatable {
    public var id: SessionID
    /// The name that the edge gave itself.
    public var edge: String
    public var openedAt: UnixTime
    /// The newest time at which a counter has recorded that it was connected.
    public var seenAt: UnixTime
    /// The clock floor when it was closed; `nil` while it is open.
    public var closedAt: UnixTime?

    public init(
        id: SessionID, edge: String, openedAt: UnixTime, seenAt: UnixTime, closedAt: UnixTime?
    ) {
        self.id = id
        self.edge = edge
        self.openedAt = openedAt
        self.seenAt = seenAt
        self.closedAt = closedAt
    }
}

/// What an operator changed by hand, and why. Kept for ever.
public struct OperatorRecord: Sendable, Hashable {
    public enum Action: UInt8, Sendable, Hashable, CaseIterable {
        /// A frozen account grants again.
        case release = 0
        /// What a dead session was presumed to have spent on an account was given back.
        case refund = 1
    }

    public var action: Action
    public var at: UnixTime
    public var account: AccountKey
    /// The session that was refunded.
    public var session: SessionID?
    /// What came free by it, in the account's unit.
    public var amount: Amount
    public var reason: String

    public init(
        action: Action, at: UnixTime, account: AccountKey, session: SessionID?, amount: Amount,
        reason: String
    ) {
        self.action = action
        self.at = at
        self.account = account
        self.session = session
        self.amount = amount
        self.reason = reason
    }
}
