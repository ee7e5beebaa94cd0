import Foundation
import GRDB
import HoldfastCore
import HoldfastLedger

/// One row of the table `account`, not believed yet.
struct AccountRow {
    let key: [UInt8]
    private let version: UInt64
    private let value: [UInt8]

    /// Expects the columns `key`, `version`, `value`, in this order.
    init(_ row: Row) throws(AccountRecord.Damage) {
        guard let key = Data.fromDatabaseValue(row[0]),
            let version = Int64.fromDatabaseValue(row[1]), version > 0,
            let value = Data.fromDatabaseValue(row[2])
        else { throw .wrongColumns }
        self.key = [UInt8](key)
        self.version = UInt64(version)
        self.value = [UInt8](value)
    }

    func decoded() throws(AccountRecord.Damage) -> VersionedAccount {
        VersionedAccount(
            version: version,
            account: try AccountRecord.decode(value, key: key, version: version))
    }
}

extension AccountRow {
    /// The same, where one damaged row spoils the whole answer.
    static func read(
        _ row: Row, path: String
    ) throws(StoreError) -> (row: AccountRow, stored: VersionedAccount) {
        do throws(AccountRecord.Damage) {
            let row = try AccountRow(row)
            return (row, try row.decoded())
        } catch {
            let key = String(decoding: Data.fromDatabaseValue(row[0]) ?? Data(), as: UTF8.self)
            throw .corrupt("\(path): account `\(key)` cannot be read: \(error)")
        }
    }

    func accountKey(path: String) throws(StoreError) -> AccountKey {
        guard let text = String(validating: key, as: UTF8.self),
            let accountKey = AccountKey(text: text)
        else {
            let text = String(decoding: key, as: UTF8.self)
            throw .corrupt("\(path): `\(text)` is not the key of an account")
        }
        return accountKey
    }
}
