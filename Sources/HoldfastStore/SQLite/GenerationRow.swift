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
    ///
    /// The next number would not do: the same backup may be restored twice, and what the first
    /// restored store issued was lost with it, so nothing stored can tell. So the time of the
    /// restore is the number, which only a clock that has gone back by more than lies between the
    /// two could repeat.
    static func begin(_ db: Database, at time: UnixTime, path: String) throws {
        let generation = try read(db, path: path)
        let year2026 = UnixTime(1_767_225_600)
        let elapsed = UInt64(max(time, year2026).seconds - year2026.seconds)
        let next = max(generation.current + 1, elapsed)
        guard next <= SessionID.generationMax else {
            throw StoreError.unavailable(
                "\(path) cannot begin generation \(next). Check the system's clock.")
        }
        try db.execute(sql: "UPDATE watermark SET generation = ?", arguments: [Int64(next)])
        try db.execute(
            sql: "UPDATE sqlite_sequence SET seq = ? WHERE name = 'session'",
            arguments: [Int64(SessionID.origin(of: next).rawValue)])
    }
}
