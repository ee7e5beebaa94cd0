import Foundation
import GRDB
public import HoldfastCore
public import HoldfastLedger

extension SQLiteStore {
    public func openSession(edge: String, at time: UnixTime) throws(StoreError) -> SessionID {
        try write { db in
            let generation = try GenerationRow.read(db, path: file.path)
            try db.execute(
                sql: "INSERT INTO session (edge, opened_at, seen_at) VALUES (?1, ?2, ?2)",
                arguments: [Data(edge.utf8), time.seconds])
            let id = SessionID(UInt64(db.lastInsertedRowID))
            // Thrown, so that the row goes again: its id is the next generation's.
            guard id.generation == generation.current else {
                throw StoreError.unavailable(
                    "\(file.path) has issued every session of its generation. Open it once as "
                        + "restored, which begins another.")
            }
            return id
        }
    }

    public func adoptSession(
        _ id: SessionID, edge: String, at time: UnixTime
    ) throws(StoreError) {
        try write { db in
            if let rowID = Int64(exactly: id.rawValue), try fetch(rowID, db) != nil { return }
            let generation = try GenerationRow.read(db, path: file.path)
            guard id.isIssuable, id.generation < generation.current else {
                throw StoreError.unavailable(
                    "\(file.path) cannot adopt session \(id.rawValue): no store of a generation "
                        + "before \(generation.current) has issued it. Open a new session.")
            }
            try db.execute(
                sql: "INSERT INTO session (id, edge, opened_at, seen_at) VALUES (?1, ?2, ?3, ?3)",
                arguments: [Int64(id.rawValue), Data(edge.utf8), time.seconds])
        }
    }

    public func session(_ id: SessionID) throws(StoreError) -> SessionRecord? {
        guard let rowID = Int64(exactly: id.rawValue) else { return nil }
        return try read { db in try fetch(rowID, db) }
    }

    private func fetch(_ rowID: Int64, _ db: Database) throws -> SessionRecord? {
        let row = try Row.fetchOne(
            db, sql: "SELECT \(SessionRow.columns) FROM session WHERE id = ?", arguments: [rowID])
        return try row.map { try SessionRow.read($0, path: file.path) }
    }

    public func sessions(
        _ selection: SessionSelection, limit: Int, after: SessionID?
    ) throws(StoreError) -> [SessionRecord] {
        precondition(limit > 0, "a list of no sessions")
        // Nothing comes after what cannot be an id.
        guard let after = Int64(exactly: after?.rawValue ?? 0) else { return [] }
        var conditions = ["id > ?"]
        var arguments: [any DatabaseValueConvertible] = [after]
        switch selection {
        case .all: break
        case .open: conditions.append("closed_at IS NULL")
        case .openUnseen(let since):
            conditions.append("closed_at IS NULL AND seen_at < ?")
            arguments.append(since.seconds)
        }
        arguments.append(limit)
        let sql = """
            SELECT \(SessionRow.columns) FROM session
            WHERE \(conditions.joined(separator: " AND ")) ORDER BY id LIMIT ?
            """
        return try read { db in
            let rows = try Row.fetchAll(db, sql: sql, arguments: StatementArguments(arguments))
            return try rows.map { try SessionRow.read($0, path: file.path) }
        }
    }
}

/// One row of the table `session`.
private enum SessionRow {
    static let columns = "id, edge, opened_at, seen_at, closed_at"

    static func read(_ row: Row, path: String) throws(StoreError) -> SessionRecord {
        guard let id = Int64.fromDatabaseValue(row[0]), id > 0,
            let edge = Data.fromDatabaseValue(row[1]),
            let edge = String(validating: edge, as: UTF8.self),
            let openedAt = Int64.fromDatabaseValue(row[2]),
            let seenAt = Int64.fromDatabaseValue(row[3])
        else { throw .corrupt("\(path): a session cannot be read") }
        let closedAt = Int64.fromDatabaseValue(row[4])
        return SessionRecord(
            id: SessionID(UInt64(id)), edge: edge, openedAt: UnixTime(openedAt),
            seenAt: UnixTime(seenAt), closedAt: closedAt.map { UnixTime($0) })
    }
}
