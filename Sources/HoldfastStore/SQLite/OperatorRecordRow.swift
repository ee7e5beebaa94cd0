import Foundation
import GRDB
import HoldfastCore
import HoldfastLedger

/// One row of the table `operator_record`. Unsigned numbers are stored as the signed ones of the
/// same bits.
enum OperatorRecordRow {
    static let columns = "action, at, account, session, amount, reason"

    static func append(_ record: OperatorRecord, _ db: Database) throws {
        let insert = try db.cachedStatement(
            sql: "INSERT INTO operator_record (\(columns)) VALUES (?, ?, ?, ?, ?, ?)")
        try insert.execute(arguments: [
            record.action.rawValue, record.at.seconds, Data(record.account.text.utf8),
            record.session.map { Int64(bitPattern: $0.rawValue) },
            Int64(bitPattern: record.amount.rawValue), Data(record.reason.utf8),
        ])
    }

    /// Expects `columns`.
    static func read(_ row: Row, path: String) throws(StoreError) -> OperatorRecord {
        guard let action = UInt8.fromDatabaseValue(row[0]),
            let action = OperatorRecord.Action(rawValue: action),
            let at = Int64.fromDatabaseValue(row[1]),
            let account = Data.fromDatabaseValue(row[2]),
            let text = String(validating: account, as: UTF8.self),
            let account = AccountKey(text: text),
            let amount = Int64.fromDatabaseValue(row[4]),
            let reason = Data.fromDatabaseValue(row[5]),
            let reason = String(validating: reason, as: UTF8.self)
        else { throw .corrupt("\(path): a record of what operators did cannot be read") }
        let session = Int64.fromDatabaseValue(row[3])
        return OperatorRecord(
            action: action, at: UnixTime(at), account: account,
            session: session.map { SessionID(UInt64(bitPattern: $0)) },
            amount: Amount(UInt64(bitPattern: amount)), reason: reason)
    }
}
