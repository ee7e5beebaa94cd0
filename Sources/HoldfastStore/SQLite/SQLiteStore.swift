import Foundation
import GRDB
public import HoldfastCore
public import HoldfastLedger
import Synchronization

/// The embedded store: one SQLite file, one process, one connection.
///
/// Write-ahead log with `synchronous = FULL`: `commit` returns after the log is flushed to disk.
/// One connection and not a pool, because the counter is the only user and batches its writes; a
/// reader of its own would only add a second set of locks. The file has five tables:
///
///     account          key (the text of `AccountKey`), version, value (see `AccountRecord`)
///     session          id (see `SessionID.generation`), edge, opened_at, seen_at, closed_at
///     operator_record  action, at, account, session, amount, reason
///     secret           name, value
///     watermark        one row: clock_floor, generation, learned; none of them goes back
///
/// Times are seconds since 1970.
///
/// Opening reads the whole file once and checks every account, because a damaged key would
/// otherwise look like an account that nobody has spent from.
public final class SQLiteStore: AccountStore {
    private enum Standing {
        case open
        case closed
        /// A write ended in `outcomeUnknown`: nothing that this connection says can be relied on.
        case failed(StoreError)
    }

    let file: StoreFile
    private let queue: DatabaseQueue
    private let standing = Mutex(Standing.open)

    /// Opens the store at `path`, or creates it with permission for the current user only. Its
    /// directory must exist.
    ///
    /// Pass `isRestored` when the file is older than the newest that was acknowledged: a backup, a
    /// snapshot of its disk, a copy from a replica. It begins a new generation, so that counters
    /// learn from the edges what the file has forgotten. Doing so without need costs the time of
    /// learning, nothing else. The file must exist then.
    public convenience init(path: String, isRestored: Bool = false) throws(StoreError) {
        let now = UnixTime(Int64(Date().timeIntervalSince1970))
        try self.init(path: path, restoredAt: isRestored ? now : nil)
    }

    /// `restoredAt`: what the system's clock shows, when the file is older than it should be.
    init(path: String, restoredAt: UnixTime?) throws(StoreError) {
        let file = try StoreFile(
            path: path, isRestored: restoredAt != nil, create: SQLiteSchema.create)
        self.file = file
        self.queue = try SQLiteSchema.open(file.path)
        guard let restoredAt else { return }
        try write { db in try GenerationRow.begin(db, at: restoredAt, path: file.path) }
    }

    deinit {
        close()
    }

    public func close() {
        standing.withLock { standing in
            if case .open = standing { standing = .closed }
        }
        do {
            try queue.close()
        } catch {
            // Every commit is durable already. The next process reads the log that stays behind.
        }
        file.release()
    }

    // MARK: - Accounts

    public func load(_ keys: [AccountKey]) throws(StoreError) -> LoadResult {
        try read { db in
            let select = try db.cachedStatement(
                sql: "SELECT key, version, value FROM account WHERE key = ?")
            var result = LoadResult()
            for key in keys {
                let arguments: StatementArguments = [Data(key.textBytes)]
                guard let row = try Row.fetchOne(select, arguments: arguments) else { continue }
                do throws(AccountRecord.Damage) {
                    result.found[key] = try AccountRow(row).decoded()
                } catch {
                    result.damaged[key] = "\(error)"
                }
            }
            return result
        }
    }

    public func scan(
        _ selection: AccountSelection, limit: Int, after: AccountKey?
    ) throws(StoreError) -> [ScannedAccount] {
        precondition(limit > 0, "a scan for no accounts")
        return try read { db in
            var conditions: [String] = []
            var arguments: [any DatabaseValueConvertible] = []
            if let after {
                conditions.append("key > ?")
                arguments.append(Data(after.text.utf8))
            }
            if case .period(let cap, let unit, let period, let periodID) = selection {
                let first = AccountKey(
                    cap: cap, unit: unit, period: period, periodID: periodID, values: [])
                // A longer key goes on with "|", whose successor is "}".
                conditions.append("(key = ? OR (key >= ? AND key < ?))")
                for end in ["", "|", "}"] { arguments.append(Data((first.text + end).utf8)) }
            }
            arguments.append(limit)
            let filter = conditions.isEmpty ? "" : "WHERE " + conditions.joined(separator: " AND ")
            let rows = try Row.fetchCursor(
                db, sql: "SELECT key, version, value FROM account \(filter) ORDER BY key LIMIT ?",
                arguments: StatementArguments(arguments))
            var found: [ScannedAccount] = []
            while let row = try rows.next() {
                let (row, stored) = try AccountRow.read(row, path: file.path)
                found.append(
                    ScannedAccount(key: try row.accountKey(path: file.path), stored: stored))
            }
            return found
        }
    }

    // MARK: - Secrets, watermarks, operators

    public func secret(
        named name: String, generate: () -> [UInt8]
    ) throws(StoreError) -> [UInt8] {
        try write { db in
            let stored = try Data.fetchOne(
                db, sql: "SELECT value FROM secret WHERE name = ?", arguments: [name])
            if let stored { return [UInt8](stored) }
            let value = generate()
            precondition(!value.isEmpty, "an empty secret")
            try db.execute(
                sql: "INSERT INTO secret (name, value) VALUES (?, ?)",
                arguments: [name, Data(value)])
            return value
        }
    }

    public func generation() throws(StoreError) -> StoreGeneration {
        try read { db in try GenerationRow.read(db, path: file.path) }
    }

    public func clockFloor() throws(StoreError) -> UnixTime {
        try read { db in try readClockFloor(db) }
    }

    func readClockFloor(_ db: Database) throws -> UnixTime {
        let select = try db.cachedStatement(sql: "SELECT clock_floor FROM watermark")
        guard let floor = try Int64.fetchOne(select) else {
            throw StoreError.corrupt("\(file.path): the row that holds the clock floor is missing")
        }
        return UnixTime(floor)
    }

    public func operatorRecords(limit: Int) throws(StoreError) -> [OperatorRecord] {
        precondition(limit > 0, "a list of no records")
        return try read { db in
            let rows = try Row.fetchAll(
                db,
                sql: "SELECT \(OperatorRecordRow.columns) FROM operator_record "
                    + "ORDER BY id DESC LIMIT ?",
                arguments: [limit])
            return try rows.map { try OperatorRecordRow.read($0, path: file.path) }
        }
    }

    // MARK: - Counters

    /// The file is one counter's alone.
    public func meet(
        _ node: CounterNode, within seconds: Int64
    ) throws(StoreError) -> [CounterNode] { [node] }

    public func leave(_ node: CounterNode) throws(StoreError) {}

    // MARK: - Access

    func read<Value>(_ body: (Database) throws -> Value) throws(StoreError) -> Value {
        try checkUsable()
        do {
            return try queue.read(body)
        } catch {
            throw StoreError(error, path: file.path, isWrite: false)
        }
    }

    /// Runs `body` in one transaction that has the write lock from its start.
    func write<Value>(_ body: (Database) throws -> Value) throws(StoreError) -> Value {
        try checkUsable()
        try file.checkInPlace()
        do {
            return try queue.write(body)
        } catch {
            let error = StoreError(error, path: file.path, isWrite: true)
            if case .outcomeUnknown = error {
                standing.withLock { $0 = .failed(error) }
            }
            throw error
        }
    }

    private func checkUsable() throws(StoreError) {
        switch standing.withLock({ $0 }) {
        case .open: return
        case .closed: throw .unavailable("\(file.path) has been closed.")
        case .failed(let error): throw error
        }
    }
}
