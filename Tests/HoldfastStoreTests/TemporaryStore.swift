import Foundation
import HoldfastCore
import HoldfastLedger
import HoldfastStore

/// A directory of its own for one test, removed with the value.
final class TemporaryStore: Sendable {
    let directory: URL
    var path: String { file("store.db") }

    init() throws {
        directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("holdfast-store-\(UUID().uuidString)")
        try FileManager.default.createDirectory(
            at: directory, withIntermediateDirectories: true)
    }

    deinit {
        do {
            try FileManager.default.removeItem(at: directory)
        } catch {
            print("left behind \(directory.path): \(error)")
        }
    }

    func file(_ name: String) -> String { directory.appendingPathComponent(name).path }

    func open(isRestored: Bool) throws -> any AccountStore {
        try SQLiteStore(path: path, isRestored: isRestored)
    }
}

func key(
    _ cap: String = "monthly", _ values: [String] = [], period: PeriodKind = .day,
    id: Int64 = 20_778
) -> AccountKey {
    AccountKey(cap: cap, unit: .usd, period: period, periodID: id, values: values)
}

/// An account with one line per session from 1 on; amounts that differ in every field.
func account(spent: UInt64, sessions: UInt64 = 1, isFrozen: Bool = false) -> StoredAccount {
    let lines = (0..<sessions).map { index in
        StoredAccount.Line(
            session: SessionID(index + 1), granted: Amount(spent + 30 + index),
            released: Amount(20), spent: Amount(spent), overrun: Amount(index),
            unlocked: Amount(spent + 10))
    }
    return StoredAccount(base: Amount(spent / 2), isFrozen: isFrozen, lines: lines)
}

func put(_ key: AccountKey, expected: UInt64 = 0, spent: UInt64) -> StoreBatch.Put {
    StoreBatch.Put(key: key, expected: expected, account: account(spent: spent))
}

/// The `StoreError` that `body` throws; `nil` when it does not throw.
func storeError<Value>(of body: () throws(StoreError) -> Value) -> StoreError? {
    do {
        _ = try body()
        return nil
    } catch {
        return error
    }
}

extension StoreError {
    /// The case without its text, for tables.
    var kind: String {
        switch self {
        case .unavailable: "unavailable"
        case .full: "full"
        case .corrupt: "corrupt"
        case .lockedByOther: "lockedByOther"
        case .newerSchema: "newerSchema"
        case .readOnly: "readOnly"
        case .interrupted: "interrupted"
        case .outcomeUnknown: "outcomeUnknown"
        }
    }
}

extension CommitResult {
    /// Of what was written.
    var versions: [AccountKey: UInt64] {
        Dictionary(uniqueKeysWithValues: written.map { ($0.key, $0.version) })
    }
}
