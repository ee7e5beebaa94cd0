import Glibc

/// What the journal does to the file system.
///
/// The lock is `flock` on a file of its own, `PATH.lock`, that is never deleted: the journal itself
/// is replaced by renaming.
struct EdgeJournalDisk: Sendable {
    struct Failure: Error, Equatable, CustomStringConvertible {
        let path: String
        let code: CInt

        var description: String { "\(path): \(String(cString: strerror(code)))" }
    }

    /// A file as it was read.
    struct Contents {
        var bytes: [UInt8]
        var device: UInt64
        var inode: UInt64
        /// `st_ctim`, milliseconds since 1970.
        var changedAt: Int64
    }

    /// Nothing that we wrote is larger.
    static let byteCountMax = 1 << 30

    /// Absolute, so that a change of the working directory changes nothing.
    let path: String
    private let directory: String
    /// `fdatasync`, but in tests.
    private let flush: @Sendable (CInt) -> CInt

    init(
        path: String, flush: @escaping @Sendable (CInt) -> CInt = { fdatasync($0) }
    ) throws(Failure) {
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        let parent = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        guard !name.isEmpty, !path.utf8.contains(0) else {
            throw Failure(path: path, code: EINVAL)
        }
        guard let resolved = realpath(parent, nil) else {
            throw Failure(path: parent, code: errno)
        }
        defer { free(resolved) }
        directory = String(cString: resolved)
        self.path = directory == "/" ? "/\(name)" : "\(directory)/\(name)"
        self.flush = flush
        // Before a lock is made, which is not wanted beside a directory or a device.
        var status = stat()
        guard lstat(self.path, &status) == 0 else { return }
        switch status.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR: throw Failure(path: self.path, code: EISDIR)
        case S_IFLNK: throw Failure(path: self.path, code: ELOOP)
        default: throw Failure(path: self.path, code: EINVAL)
        }
    }

    // MARK: - Lock

    /// - Returns: `nil` when another process has it.
    func lock() throws(Failure) -> CInt? {
        let lockPath = "\(path).lock"
        let descriptor = try Self.open(lockPath, O_RDWR | O_CREAT)
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            Glibc.close(descriptor)
            guard code == EWOULDBLOCK else { throw Failure(path: lockPath, code: code) }
            return nil
        }
        return descriptor
    }

    static func unlock(_ descriptor: CInt) {
        // Closing alone would not: a process that is being started right now has a copy.
        flock(descriptor, LOCK_UN)
        Glibc.close(descriptor)
    }

    // MARK: - Read

    /// `nil`: there is no such file.
    static func read(_ path: String) throws(Failure) -> Contents? {
        let descriptor: CInt
        do {
            descriptor = try open(path, O_RDONLY)
        } catch {
            guard error.code == ENOENT else { throw error }
            return nil
        }
        defer { Glibc.close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Failure(path: path, code: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw Failure(path: path, code: EINVAL) }
        guard status.st_size <= byteCountMax else { throw Failure(path: path, code: EFBIG) }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var count = 0
        while count < bytes.count {
            let wanted = bytes.count - count
            let done = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(descriptor, buffer.baseAddress.map { $0 + count }, wanted)
            }
            if done < 0, errno == EINTR { continue }
            guard done >= 0 else { throw Failure(path: path, code: errno) }
            guard done > 0 else { break }
            count += done
        }
        return Contents(
            bytes: Array(bytes[..<count]), device: UInt64(status.st_dev),
            inode: UInt64(status.st_ino),
            changedAt: Int64(status.st_ctim.tv_sec) * 1_000
                + Int64(status.st_ctim.tv_nsec) / 1_000_000)
    }

    /// Full paths of files whose name is the journal's with this ending before the rest, sorted.
    func siblings(_ ending: String) throws(Failure) -> [String] {
        guard let stream = opendir(directory) else { throw Failure(path: directory, code: errno) }
        defer { closedir(stream) }
        let prefix = "\(path)\(ending)"
        var found: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            let full = directory == "/" ? "/\(name)" : "\(directory)/\(name)"
            if full.hasPrefix(prefix) { found.append(full) }
        }
        return found.sorted()
    }

    // MARK: - Write

    /// A new file of that name; `header` is told its device and inode. Not yet flushed.
    func create(
        _ path: String, header: (_ device: UInt64, _ inode: UInt64) -> [UInt8]
    ) throws(Failure) -> CInt {
        try Self.remove(path)
        let descriptor = try Self.open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND)
        do throws(Failure) {
            var status = stat()
            guard fstat(descriptor, &status) == 0 else { throw Failure(path: path, code: errno) }
            try write(header(UInt64(status.st_dev), UInt64(status.st_ino)), to: descriptor)
            return descriptor
        } catch {
            Glibc.close(descriptor)
            throw error
        }
    }

    /// Opens a file to append after its first `byteCount` bytes; what follows them is cut off.
    static func reopen(_ path: String, cutAt byteCount: Int) throws(Failure) -> CInt {
        let descriptor = try open(path, O_RDWR | O_APPEND)
        guard ftruncate(descriptor, off_t(byteCount)) == 0 else {
            let code = errno
            Glibc.close(descriptor)
            throw Failure(path: path, code: code)
        }
        return descriptor
    }

    func write(_ bytes: [UInt8], to descriptor: CInt) throws(Failure) {
        var count = 0
        while count < bytes.count {
            let done = bytes.withUnsafeBytes { buffer in
                Glibc.write(
                    descriptor, buffer.baseAddress.map { $0 + count }, bytes.count - count)
            }
            if done < 0, errno == EINTR { continue }
            guard done > 0 else { throw Failure(path: path, code: done < 0 ? errno : EIO) }
            count += done
        }
    }

    /// What was written is on disk.
    func flush(_ descriptor: CInt) throws(Failure) {
        guard flush(descriptor) == 0 else { throw Failure(path: path, code: errno) }
    }

    /// Durable, as names are.
    func rename(_ from: String, to: String) throws(Failure) {
        try Self.move(from, to: to)
        try flushDirectory()
    }

    static func move(_ from: String, to: String) throws(Failure) {
        guard Glibc.rename(from, to) == 0 else { throw Failure(path: from, code: errno) }
    }

    static func remove(_ path: String) throws(Failure) {
        guard unlink(path) == 0 || errno == ENOENT else { throw Failure(path: path, code: errno) }
    }

    /// Without it a power failure could bring the old name back.
    func flushDirectory() throws(Failure) {
        let descriptor = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure(path: directory, code: errno) }
        defer { Glibc.close(descriptor) }
        guard fsync(descriptor) == 0 else { throw Failure(path: directory, code: errno) }
    }

    private static func open(_ path: String, _ flags: CInt) throws(Failure) -> CInt {
        let descriptor = Glibc.open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600)
        guard descriptor >= 0 else { throw Failure(path: path, code: errno) }
        return descriptor
    }

    static func close(_ descriptor: CInt) { Glibc.close(descriptor) }

    // MARK: - Clocks

    /// Milliseconds since 1970.
    static var wall: Int64 { milliseconds(CLOCK_REALTIME) }
    /// Milliseconds since the machine started, also while it was suspended.
    static var boot: Int64 { milliseconds(CLOCK_BOOTTIME) }

    private static func milliseconds(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }
}
