import Foundation
import GRDB
import HoldfastCore
public import HoldfastLedger

extension SQLiteStore {
    public func commit(_ batch: StoreBatch) throws(StoreError) -> CommitResult {
        return try write { db in
            var result = try write(batch, db)
            result.clockFloor = try readClockFloor(db)
            return result
        }
    }

    private func write(_ batch: StoreBatch, _ db: Database) throws -> CommitResult {
        let gone = try batch.reporting.filter { try !isOpen($0, db) }
        guard gone.isEmpty else { return CommitResult(closedSessions: gone) }
        guard batch.isAllOrNothing else {
            let result = try put(batch.puts, db)
            try writeRest(of: batch, db)
            return result
        }
        var result = CommitResult()
        // All or nothing, see `StoreBatch`.
        try db.inSavepoint {
            result = try put(batch.puts, db)
            guard result.conflicts.isEmpty else {
                result.written = []
                return .rollback
            }
            try writeRest(of: batch, db)
            return .commit
        }
        return result
    }

    private func isOpen(_ session: SessionID, _ db: Database) throws -> Bool {
        guard let id = Int64(exactly: session.rawValue) else { return false }
        let select = try db.cachedStatement(
            sql: "SELECT EXISTS (SELECT 1 FROM session WHERE id = ? AND closed_at IS NULL)")
        return try Bool.fetchOne(select, arguments: [id]) ?? false
    }

    private func put(_ puts: [StoreBatch.Put], _ db: Database) throws -> CommitResult {
        let insert = try AccountStatement(
            db,
            sql: """
                INSERT INTO account (key, version, value) VALUES (?1, ?2, ?3)
                ON CONFLICT (key) DO NOTHING
                """)
        let update = try AccountStatement(
            db,
            sql: "UPDATE account SET version = ?2, value = ?3 WHERE key = ?1 AND version = ?2 - 1")
        var isWritten = [Bool](repeating: false, count: puts.count)
        // Page by page: otherwise one page would be read and written many times.
        for (index, key) in KeyOrder.sorted(puts) {
            let put = puts[index]
            // What cannot be a version cannot be the current one either.
            guard let expected = Int64(exactly: put.expected), expected < .max else { continue }
            let version = put.expected + 1
            let value = AccountRecord.encode(put.account, key: key, version: version)
            let statement = expected == 0 ? insert : update
            isWritten[index] = try statement.run(key: key, version: expected + 1, value: value)
        }
        return CommitResult(puts, isWritten: isWritten)
    }

    // MARK: - Everything but accounts

    private func writeRest(of batch: StoreBatch, _ db: Database) throws {
        // First the floor, which the sessions are marked with.
        if let floor = batch.clockFloor {
            try db.cachedStatement(sql: "UPDATE watermark SET clock_floor = max(clock_floor, ?)")
                .execute(arguments: [floor.seconds])
        }
        try mark(
            batch.seenSessions, db,
            sql: """
                UPDATE session SET seen_at = max(seen_at, (SELECT clock_floor FROM watermark))
                WHERE id = ?
                """)
        try mark(
            batch.closedSessions, db,
            sql: """
                UPDATE session SET closed_at = (SELECT clock_floor FROM watermark)
                WHERE id = ? AND closed_at IS NULL
                """)
        // What cannot be a generation is above the current one.
        if let learned = batch.learnedGeneration.flatMap(Int64.init(exactly:)) {
            try db.cachedStatement(
                sql: "UPDATE watermark SET learned = max(learned, ?1) WHERE generation >= ?1"
            ).execute(arguments: [learned])
        }
        for record in batch.records { try OperatorRecordRow.append(record, db) }
    }

    private func mark(_ sessions: [SessionID], _ db: Database, sql: String) throws {
        guard !sessions.isEmpty else { return }
        let update = try db.cachedStatement(sql: sql)
        for session in sessions {
            guard let id = Int64(exactly: session.rawValue) else { continue }
            try update.execute(arguments: [id])
        }
    }
}
