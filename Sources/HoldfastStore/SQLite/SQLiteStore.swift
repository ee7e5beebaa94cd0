import Foundation
import GRDB
public import HoldfastCore
import HoldfastLedger
import Synchronization

/// The embedded store: one SQLite file, one process, one connection.
///
/// Write-ahead log with `synchronous = FULL`: `commit` returns after the log is flushed to disk.
/// One connection and not a pool, because the counter is the only user and batches its writes; a
/// reader of its own would only add a second set of locks. The file has four tables:
///
///     account  key (the text of `AccountKey`), version, value (see `AccountRecord`)
///     session  id, edge, opened_at, closed_at; seconds since 1970
///     secret   name, value
///     clock    one row: floor, in seconds since 1970
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

    private let file: StoreFile
    private let queue: DatabaseQueue
    private let standing = Mutex(Standing.open)

    /// Opens the store at `path`, or creates it with permission for the current user only. Its
    /// directory must exist.
    public init(path: String) throws(StoreError) {
        let file = try StoreFile(path: path, create: SQLiteSchema.create)
        self.file = file
        self.queue = try SQLiteSchema.open(file.path)
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

    public func load(
        _ keys: [AccountKey]
    ) throws(StoreError) -> [AccountKey: VersionedAccount] {
        try read { db in
            let select = try db.cachedStatement(
                sql: "SELECT key, version, value FROM account WHERE key = ?")
            var found: [AccountKey: VersionedAccount] = [:]
            for key in keys {
                let arguments: StatementArguments = [Data(key.text.utf8)]
                guard let row = try Row.fetchOne(select, arguments: arguments) else { continue }
                found[key] = try AccountRow(row).decoded(path: file.path)
            }
            return found
        }
    }

    public func commit(_ batch: StoreBatch) throws(StoreError) -> CommitResult {
        precondition(
            Set(batch.puts.map(\.key)).count == batch.puts.count, "a batch has a key twice")
        return try write { db in
            let result = try put(batch.puts, db)
            if let floor = batch.clockFloor {
                try db.cachedStatement(sql: "UPDATE clock SET floor = max(floor, ?)")
                    .execute(arguments: [floor.seconds])
            }
            for session in batch.closedSessions {
                guard let id = Int64(exactly: session.rawValue) else { continue }
                try db.cachedStatement(
                    sql: """
                        UPDATE session SET closed_at = (SELECT floor FROM clock)
                        WHERE id = ? AND closed_at IS NULL
                        """
                ).execute(arguments: [id])
            }
            return result
        }
    }

    private func put(_ puts: [StoreBatch.Put], _ db: Database) throws -> CommitResult {
        let insert = try db.cachedStatement(
            sql: """
                INSERT INTO account (key, version, value) VALUES (?, ?, ?)
                ON CONFLICT (key) DO NOTHING
                """)
        let update = try db.cachedStatement(
            sql: "UPDATE account SET version = ?, value = ? WHERE key = ? AND version = ?")
        var result = CommitResult()
        for put in puts {
            precondition(!put.key.cap.isEmpty, "an account without a cap")
            // What cannot be a version cannot be the current one either.
            guard let expected = Int64(exactly: put.expected), expected < .max else {
                result.conflicts.append(put.key)
                continue
            }
            let key = Array(put.key.text.utf8)
            let version = put.expected + 1
            let value = Data(AccountRecord.encode(put.account, key: key, version: version))
            if expected == 0 {
                try insert.execute(arguments: [Data(key), expected + 1, value])
            } else {
                try update.execute(arguments: [expected + 1, value, Data(key), expected])
            }
            if db.changesCount == 1 {
                result.versions[put.key] = version
            } else {
                result.conflicts.append(put.key)
            }
        }
        return result
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
                let row = try AccountRow(row)
                found.append(
                    ScannedAccount(
                        key: try row.accountKey(path: file.path),
                        stored: try row.decoded(path: file.path)))
            }
            return found
        }
    }

    // MARK: - Sessions, secrets, clock

    public func openSession(edge: String, at time: UnixTime) throws(StoreError) -> SessionID {
        try write { db in
            try db.execute(
                sql: "INSERT INTO session (edge, opened_at) VALUES (?, ?)",
                arguments: [edge, time.seconds])
            return SessionID(UInt64(db.lastInsertedRowID))
        }
    }

    public func session(_ id: SessionID) throws(StoreError) -> SessionRecord? {
        guard let rowID = Int64(exactly: id.rawValue) else { return nil }
        return try read { db in
            let row = try Row.fetchOne(
                db, sql: "SELECT edge, opened_at, closed_at FROM session WHERE id = ?",
                arguments: [rowID])
            guard let row else { return nil }
            let closedAt: Int64? = row["closed_at"]
            return SessionRecord(
                id: id, edge: row["edge"], openedAt: UnixTime(row["opened_at"]),
                closedAt: closedAt.map { UnixTime($0) })
        }
    }

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

    public func clockFloor() throws(StoreError) -> UnixTime {
        let floor = try read { db in
            try Int64.fetchOne(db, sql: "SELECT floor FROM clock")
        }
        guard let floor else {
            throw .corrupt("\(file.path): the row that holds the clock floor is missing")
        }
        return UnixTime(floor)
    }

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
