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
    init(_ row: Row) throws(StoreError) {
        guard let key = Data.fromDatabaseValue(row[0]),
            let version = Int64.fromDatabaseValue(row[1]), version > 0,
            let value = Data.fromDatabaseValue(row[2])
        else { throw .corrupt("a row of its accounts has values of the wrong type") }
        self.key = [UInt8](key)
        self.version = UInt64(version)
        self.value = [UInt8](value)
    }

    func decoded(path: String) throws(StoreError) -> VersionedAccount {
        do throws(AccountRecord.Damage) {
            return VersionedAccount(
                version: version,
                account: try AccountRecord.decode(value, key: key, version: version))
        } catch {
            throw .corrupt("\(path): account `\(keyText)` cannot be read: \(error)")
        }
    }

    func accountKey(path: String) throws(StoreError) -> AccountKey {
        guard let text = String(validating: key, as: UTF8.self),
            let accountKey = AccountKey(text: text)
        else { throw .corrupt("\(path): `\(keyText)` is not the key of an account") }
        return accountKey
    }

    private var keyText: String { String(decoding: key, as: UTF8.self) }
}
