private import CPostgres

/// The rows that one statement returned, in binary format. Owns libpq's result.
final class PostgresRows {
    private let result: OpaquePointer
    let count: Int

    init(owning result: OpaquePointer) {
        self.result = result
        count = Int(PQntuples(result))
    }

    deinit { PQclear(result) }

    /// `COMMIT`, `ROLLBACK`, `UPDATE 3`, …
    var tag: String { String(cString: PQcmdStatus(result)) }

    func isNull(_ row: Int, _ column: Int) -> Bool {
        PQgetisnull(result, CInt(row), CInt(column)) == 1
    }

    /// `nil` when the value is no 64-bit integer: the table is not ours, or is damaged.
    func integer(_ row: Int, _ column: Int) -> Int64? {
        guard !isNull(row, column), PQgetlength(result, CInt(row), CInt(column)) == 8,
            let value = PQgetvalue(result, CInt(row), CInt(column))
        else { return nil }
        return Int64(
            bigEndian: UnsafeRawPointer(value).loadUnaligned(as: Int64.self))
    }

    func bytes(_ row: Int, _ column: Int) -> [UInt8]? {
        guard !isNull(row, column), let value = PQgetvalue(result, CInt(row), CInt(column)) else {
            return nil
        }
        let count = Int(PQgetlength(result, CInt(row), CInt(column)))
        return [UInt8](UnsafeRawBufferPointer(start: value, count: count))
    }

    /// `nil` also when the bytes are not UTF-8.
    func text(_ row: Int, _ column: Int) -> String? {
        bytes(row, column).flatMap { String(validating: $0, as: UTF8.self) }
    }
}
