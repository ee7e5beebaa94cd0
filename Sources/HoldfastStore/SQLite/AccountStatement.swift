import GRDB
import GRDBSQLite

/// Writes one account, many times in one transaction. The values are bound where they are: through
/// GRDB's arguments, each account would take ten allocations more.
struct AccountStatement {
    private let statement: Statement
    private let connection: SQLiteConnection?

    /// - Parameter sql: with the account's key as `?1`, its new version as `?2`, its value as `?3`.
    init(_ db: Database, sql: String) throws {
        statement = try db.cachedStatement(sql: sql)
        connection = db.sqliteConnection
    }

    /// - Returns: whether it has changed a row.
    func run(key: [UInt8], version: Int64, value: [UInt8]) throws -> Bool {
        let handle = statement.sqliteStatement
        let code = key.withUnsafeBytes { key in
            value.withUnsafeBytes { value in
                var code = sqlite3_bind_blob(handle, 1, key.baseAddress, CInt(key.count), nil)
                if code == SQLITE_OK { code = sqlite3_bind_int64(handle, 2, version) }
                if code == SQLITE_OK {
                    code = sqlite3_bind_blob(
                        handle, 3, value.baseAddress, CInt(value.count), nil)
                }
                if code == SQLITE_OK { code = sqlite3_step(handle) }
                // Ready for the next one also after a failure; lets go of the values.
                sqlite3_reset(handle)
                sqlite3_clear_bindings(handle)
                return code
            }
        }
        guard code == SQLITE_DONE else {
            let message = connection.flatMap { sqlite3_errmsg($0) }.map { String(cString: $0) }
            throw DatabaseError(resultCode: ResultCode(rawValue: code), message: message)
        }
        return sqlite3_changes(connection) == 1
    }
}
