import Glibc
import HoldfastLedger
import Synchronization

/// The database file on disk: found or created, and locked for as long as this value lives or until
/// `release`.
///
/// The lock is `flock` on a file of its own, `PATH.lock`, that is never deleted. Not on the
/// database file: SQLite's locks are POSIX locks, which a process loses on a file when it closes
/// *any* descriptor of it, so that a second, refused attempt to open the store would have unlocked
/// the first. Not SQLite's exclusive mode either: that would keep `sqlite3` from reading a live
/// store.
final class StoreFile: Sendable {
    /// Absolute, without symbolic links: two names of one file get one lock.
    let path: String

    private let identity: Identity
    /// `nil` once released.
    private let lock: Mutex<CInt?>

    private struct Identity: Equatable {
        var device: dev_t
        var inode: ino_t
    }

    /// `create` makes the first contents, in an empty file of another name that gets its own name
    /// only afterwards. So a file that exists and is empty was truncated, and is never taken for a
    /// new one. A file that was restored must exist.
    init(
        path: String, isRestored: Bool, create: (String) throws(StoreError) -> Void
    ) throws(StoreError) {
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw .unavailable("its path is empty or contains a zero byte. Name a file.")
        }
        let path = try Self.resolve(path)
        // Also before the lock is made, which is not wanted beside a directory or a device.
        guard try Self.isFile(path) || !isRestored else {
            throw .unavailable(
                "\(path) does not exist, but is said to have been restored. Restore it first.")
        }
        let lock = try Self.lock(path)
        do throws(StoreError) {
            if !isRestored, try !Self.isFile(path) { try Self.create(path, create) }
            identity = try Self.identify(path)
        } catch {
            Self.unlock(lock)
            throw error
        }
        self.path = path
        self.lock = Mutex(lock)
    }

    deinit {
        release()
    }

    func release() {
        lock.withLock { lock in
            if let descriptor = lock { Self.unlock(descriptor) }
            lock = nil
        }
    }

    /// A deleted or replaced file can still be written to, but the next process would not find what
    /// was written, and would take it for unspent.
    func checkInPlace() throws(StoreError) {
        var status = stat()
        let isFound = stat(path, &status) == 0
        guard isFound, identity == Identity(device: status.st_dev, inode: status.st_ino) else {
            throw .unavailable(
                "\(path) was moved, deleted or replaced while in use. Stop Holdfast, put the file "
                    + "back together with its -wal file, and start again.")
        }
    }

    // MARK: - Opening

    private static func resolve(_ path: String) throws(StoreError) -> String {
        if let resolved = realPath(path) { return resolved }
        guard errno == ENOENT else { throw StoreError(opening: path, errno: errno) }
        var status = stat()
        guard lstat(path, &status) != 0 else {
            throw .unavailable("\(path) is a symbolic link to a file that does not exist.")
        }
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        guard !name.isEmpty, let parent = realPath(directory) else {
            guard errno == ENOENT else { throw StoreError(opening: path, errno: errno) }
            throw .unavailable(
                "there is no directory \(directory). Create it (it is not created here, because "
                    + "it may be a volume that is not mounted yet).")
        }
        return parent == "/" ? "/\(name)" : "\(parent)/\(name)"
    }

    private static func realPath(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// `false`: there is nothing of that name.
    private static func isFile(_ path: String) throws(StoreError) -> Bool {
        var status = stat()
        guard stat(path, &status) == 0 else {
            if errno == ENOENT { return false }
            throw StoreError(opening: path, errno: errno)
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return true
        case S_IFDIR: throw StoreError(opening: path, errno: EISDIR)
        default: throw .unavailable("\(path) is not a regular file. Name a file, not a device.")
        }
    }

    private static func lock(_ path: String) throws(StoreError) -> CInt {
        let lockPath = "\(path).lock"
        let descriptor = open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw StoreError(opening: lockPath, errno: errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let reason = errno
            Glibc.close(descriptor)
            if reason == EWOULDBLOCK { throw .lockedByOther(path: path) }
            throw StoreError(opening: lockPath, errno: reason)
        }
        return descriptor
    }

    private static func unlock(_ descriptor: CInt) {
        // Closing alone would not: a process that is being started right now by another thread has
        // a copy of the descriptor until it executes its own program.
        flock(descriptor, LOCK_UN)
        Glibc.close(descriptor)
    }

    /// Called with the lock held, so no other Holdfast creates it at the same time.
    private static func create(
        _ path: String, _ create: (String) throws(StoreError) -> Void
    ) throws(StoreError) {
        // SQLite would play such a log into the new file.
        guard access("\(path)-wal", F_OK) != 0 else {
            throw .corrupt("\(path) is missing, but its log \(path)-wal is there")
        }
        let draft = "\(path).new"
        // Left by a process that was killed before it could rename it: holds nothing yet.
        for suffix in ["", "-journal", "-wal", "-shm"] { unlink(draft + suffix) }
        // SQLite itself would create it with permission for everybody.
        let descriptor = open(draft, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw StoreError(opening: draft, errno: errno) }
        Glibc.close(descriptor)
        try create(draft)
        guard rename(draft, path) == 0 else { throw StoreError(opening: path, errno: errno) }
        try flushDirectory(of: path)
    }

    private static func identify(_ path: String) throws(StoreError) -> Identity {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw StoreError(opening: path, errno: errno) }
        defer { Glibc.close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw StoreError(opening: path, errno: errno) }
        return Identity(device: status.st_dev, inode: status.st_ino)
    }

    /// Without it a power failure could take the name of a new file away from its contents.
    private static func flushDirectory(of path: String) throws(StoreError) {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return }
        let directory = slash == path.startIndex ? "/" : String(path[..<slash])
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw StoreError(opening: directory, errno: errno) }
        defer { Glibc.close(descriptor) }
        guard fsync(descriptor) == 0 else { throw StoreError(opening: directory, errno: errno) }
    }
}

extension StoreError {
    init(opening path: String, errno code: CInt) {
        let reason = "\(path): \(String(cString: strerror(code)))"
        self =
            switch code {
            case EACCES, EPERM, EROFS: .readOnly(reason)
            case ENOSPC, EDQUOT: .full(reason)
            case EISDIR: .unavailable("\(path) is a directory. Name a file in it.")
            case ENOLCK, EOPNOTSUPP, ENOSYS:
                .unavailable(
                    "\(reason). The store needs a local disk: this file system has no locks.")
            case EMFILE, ENFILE:
                .unavailable("\(reason). Raise the limit of open files (`ulimit -n`).")
            default: .unavailable("\(reason). Check the path.")
            }
    }
}
