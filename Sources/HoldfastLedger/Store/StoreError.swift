/// Why a store could not do what it was asked.
///
/// Closed on purpose: the counter decides for each case whether to answer "try again", to stop
/// granting, or to stop the process. Texts name files, never secrets.
public enum StoreError: Error, Hashable, Sendable {
    /// Not reachable or not usable now. Nothing was written.
    case unavailable(String)
    /// No room to write. Nothing was written; works again once there is room.
    case full(String)
    /// What is stored cannot be believed. Never read as "nothing was spent".
    case corrupt(String)
    /// Another process has this store open.
    case lockedByOther(path: String)
    /// Written by a newer Holdfast, whose data this one would misread.
    case newerSchema(found: Int, supported: Int)
    /// This process may not write to it. Nothing was written.
    case readOnly(String)
    /// The connection broke during a write, which may or may not have happened. The store can be
    /// asked again: reading tells.
    case interrupted(String)
    /// The write may or may not survive a crash, and this process can no longer find out: after a
    /// failed flush the kernel may drop what it could not write and report success the next time.
    /// Stop the process; the next one reads what is really there.
    case outcomeUnknown(String)
}

extension StoreError: CustomStringConvertible {
    /// One sentence that says what is wrong and one that says what to do.
    public var description: String {
        switch self {
        case .unavailable(let reason):
            return "the store is unavailable: \(reason)"
        case .full(let reason):
            return "the store is full: \(reason). Free space on its disk or enlarge it; "
                + "writing goes on by itself as soon as there is room."
        case .corrupt(let reason):
            return "the store is damaged: \(reason). Stop every process that uses it, keep a copy "
                + "of its files, and restore a backup. Do not start with an empty store: that "
                + "would forget what has been spent."
        case .lockedByOther(let path):
            return "the store \(path) is in use by another process. Stop that one first (`fuser "
                + "\(path).lock` shows which it is), or give this one a store of its own."
        case .newerSchema(let found, let supported):
            return "the store was written by a newer version of Holdfast (schema \(found), this "
                + "version knows up to \(supported)). Start that version or a newer one."
        case .readOnly(let reason):
            return "the store cannot be written: \(reason). Let the user that runs Holdfast read "
                + "and write the file and its directory, on a file system mounted read-write."
        case .interrupted(let reason):
            return "the store went away during a write: \(reason). It is asked again, and what it "
                + "really kept is read back."
        case .outcomeUnknown(let reason):
            return "it is not known whether the store kept the last write: \(reason). Check the "
                + "disk and start the process again; it then reads what was really kept."
        }
    }
}
