import Foundation
import GRDB
import HoldfastCore
import HoldfastLedger

/// Creates the file, and opens the connection and checks what is there.
enum SQLiteSchema {
    /// Written to `user_version`. Raise it with every change of the tables or of `AccountRecord`.
    static let version = 1
    /// "HLDF", written to `application_id`: keeps us out of the databases of other programs.
    static let applicationID: Int32 = 0x484C_4446

    /// Fills the empty file `path` and flushes it.
    static func create(_ path: String) throws(StoreError) {
        let queue = try connect(path) { db in
            try db.execute(sql: "PRAGMA synchronous = FULL")
            try db.inTransaction(.immediate) {
                try db.execute(sql: tables)
                return .commit
            }
        }
        do {
            try queue.close()
        } catch {
            throw StoreError(error, path: path, isWrite: false)
        }
    }

    /// Opens a file that `create` has made, ready for use.
    static func open(_ path: String) throws(StoreError) -> DatabaseQueue {
        try connect(path) { db in
            // Before anything is written: the journal mode, too, is kept in the file.
            try identify(db, path: path)
            try makeDurable(db, path: path)
            try verify(db, path: path)
        }
    }

    private static func connect(
        _ path: String, _ prepare: (Database) throws -> Void
    ) throws(StoreError) -> DatabaseQueue {
        var configuration = Configuration()
        configuration.label = "holdfast.store"
        // Nobody else should have it open. A backup may, for a moment.
        configuration.busyMode = .timeout(2)
        do {
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            do {
                try queue.writeWithoutTransaction(prepare)
            } catch {
                try queue.close()
                throw error
            }
            return queue
        } catch {
            throw StoreError(error, path: path, isWrite: false)
        }
    }

    // MARK: - Steps

    private static func identify(_ db: Database, path: String) throws {
        let applicationID = try Int32.fetchOne(db, sql: "PRAGMA application_id")
        let version = try Int.fetchOne(db, sql: "PRAGMA user_version")
        let objectCount = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_schema")
        if applicationID == 0, version == 0, objectCount == 0 {
            throw StoreError.corrupt(
                "\(path) is empty, and a store never is (delete it if it never was one)")
        }
        guard applicationID == Self.applicationID, let version, version > 0 else {
            throw StoreError.unavailable(
                "\(path) is a SQLite database of another program. Name another file.")
        }
        guard version <= Self.version else {
            throw StoreError.newerSchema(found: version, supported: Self.version)
        }
    }

    /// GRDB's own way to turn on the write-ahead log also sets `synchronous = NORMAL`, with which
    /// the last commits are lost in a power failure. So it is done here, and read back.
    private static func makeDurable(_ db: Database, path: String) throws {
        let journalMode = try String.fetchOne(db, sql: "PRAGMA journal_mode = WAL")
        try db.execute(sql: "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF")
        // In KiB. Pages that a large batch changes stay in memory until it is committed; without
        // room they would be written to the log, read and written again.
        try db.execute(sql: "PRAGMA cache_size = -65536")
        let synchronous = try Int.fetchOne(db, sql: "PRAGMA synchronous")
        let full = 2
        guard journalMode == "wal", synchronous == full else {
            throw StoreError.unavailable(
                "\(path) cannot be made durable (journal_mode \(journalMode ?? "unknown"), "
                    + "synchronous \(synchronous ?? -1)). Use a local disk.")
        }
    }

    private static let firstGeneration: UInt64 = 1

    // Texts that come from outside are blobs: a zero byte would end a TEXT.
    private static let tables = """
        CREATE TABLE account (
            key BLOB NOT NULL PRIMARY KEY,
            version INTEGER NOT NULL,
            value BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE session (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            edge BLOB NOT NULL,
            opened_at INTEGER NOT NULL,
            seen_at INTEGER NOT NULL,
            closed_at INTEGER
        ) STRICT;
        INSERT INTO sqlite_sequence (name, seq)
        VALUES ('session', \(SessionID.origin(of: firstGeneration).rawValue));
        CREATE TABLE operator_record (
            id INTEGER PRIMARY KEY,
            action INTEGER NOT NULL,
            at INTEGER NOT NULL,
            account BLOB NOT NULL,
            session INTEGER,
            amount INTEGER NOT NULL,
            reason BLOB NOT NULL
        ) STRICT;
        CREATE TABLE secret (
            name TEXT NOT NULL PRIMARY KEY,
            value BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE watermark (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            clock_floor INTEGER NOT NULL,
            generation INTEGER NOT NULL,
            learned INTEGER NOT NULL
        ) STRICT;
        INSERT INTO watermark (id, clock_floor, generation, learned)
        VALUES (1, 0, \(firstGeneration), \(firstGeneration));
        PRAGMA application_id = \(applicationID);
        PRAGMA user_version = \(version);
        """

    /// The structure of the file first: a page that lost a row would otherwise pass. Then every
    /// account against its checksum, which covers its key, and the order of the keys, without which
    /// a search would miss some that are there.
    private static func verify(_ db: Database, path: String) throws {
        let finding = try String.fetchOne(db, sql: "PRAGMA quick_check(1)")
        guard finding == "ok" else {
            throw StoreError.corrupt("\(path): \(finding ?? "no result of the integrity check")")
        }
        let rows = try Row.fetchCursor(db, sql: "SELECT key, version, value FROM account")
        var previous: [UInt8] = []
        while let row = try rows.next() {
            let key = try AccountRow.read(row, path: path).row.key
            guard previous.lexicographicallyPrecedes(key) else {
                throw StoreError.corrupt("\(path): its accounts are out of order")
            }
            previous = key
        }
        try verifySequence(db, path: path)
    }

    /// What keeps a session id from being issued twice is stored three times over: as generation,
    /// in the sequence, and in the sessions themselves.
    private static func verifySequence(_ db: Database, path: String) throws {
        let generation = try GenerationRow.read(db, path: path)
        let sequence = try Int64.fetchOne(
            db, sql: "SELECT seq FROM sqlite_sequence WHERE name = 'session'")
        let newest = try Int64.fetchOne(db, sql: "SELECT max(id) FROM session") ?? 0
        guard let sequence, sequence >= 0, newest <= sequence,
            SessionID(UInt64(sequence)).generation == generation.current
        else {
            throw StoreError.corrupt("\(path): its sessions do not belong to its generation")
        }
    }
}
