import GRDB
import HoldfastLedger

extension StoreError {
    /// What a failure inside SQLite means.
    ///
    /// For a write, only codes that prove that nothing was committed become something else than
    /// `outcomeUnknown`: an unknown code is not taken for harmless. `SQLITE_FULL` is such a proof:
    /// it comes from writing the log, before the commit mark is there; a disk that turns out to be
    /// full only when flushing gives `SQLITE_IOERR_FSYNC`.
    init(_ error: any Error, path: String, isWrite: Bool) {
        if let error = error as? StoreError {
            self = error
            return
        }
        guard let error = error as? DatabaseError else {
            let reason = "\(path): unexpected error of kind \(type(of: error))"
            self = isWrite ? .outcomeUnknown(reason) : .unavailable("\(reason).")
            return
        }
        // Not `description`, which would also have the statement.
        let code = error.extendedResultCode
        let reason = "\(path): \(error.message ?? "no details") (SQLite \(code.rawValue))"
        switch code {
        case .SQLITE_READONLY_DBMOVED:
            self = .unavailable(
                "\(reason). Its file was moved or deleted while in use: put it back and restart.")
            return
        case .SQLITE_IOERR_CORRUPTFS:
            self = .corrupt(reason)
            return
        default:
            break
        }
        switch error.resultCode {
        case .SQLITE_FULL:
            self = .full(reason)
        case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_FORMAT:
            self = .corrupt(reason)
        case .SQLITE_READONLY, .SQLITE_PERM:
            self = .readOnly(reason)
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            self = .unavailable(
                "\(reason). Another program, such as `sqlite3` or a backup, holds a lock on it: "
                    + "end that program.")
        case .SQLITE_CANTOPEN:
            self = .unavailable("\(reason). Check the permissions of the file and its directory.")
        default:
            self = isWrite ? .outcomeUnknown(reason) : .unavailable("\(reason). Check the disk.")
        }
    }
}
