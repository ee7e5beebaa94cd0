import GRDB
import HoldfastCore
import HoldfastLedger

/// The columns `generation` and `learned` of the one row of `watermark`.
enum GenerationRow {
    static func read(_ db: Database, path: String) throws -> StoreGeneration {
        let row = try Row.fetchOne(db, sql: "SELECT generation, learned FROM watermark")
        guard let row, let current = Int64.fromDatabaseValue(row[0]),
            let learned = Int64.fromDatabaseValue(row[1]),
            1 <= learned, learned <= current, current <= SessionID.generationMax
        else { throw StoreError.corrupt("\(path): its generation cannot be believed") }
        return StoreGeneration(current: UInt64(current), learned: UInt64(learned))
    }

    /// Begins a generation that no copy of this store has had.
    static func begin(_ db: Database, at time: UnixTime, path: String) throws {
        let generation = try read(db, path: path)
        guard let next = StoreGeneration.next(after: generation.current, at: time) else {
            throw StoreError.unavailable(
                "\(path) cannot begin another generation. Check the system's clock.")
        }
        try db.execute(sql: "UPDATE watermark SET generation = ?", arguments: [Int64(next)])
        try db.execute(
            sql: "UPDATE sqlite_sequence SET seq = ? WHERE name = 'session'",
            arguments: [Int64(SessionID.origin(of: next).rawValue)])
    }
}
