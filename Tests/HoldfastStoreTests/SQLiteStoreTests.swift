import Foundation
import GRDB
import Glibc
import HoldfastCore
import HoldfastLedger
import Testing

@testable import HoldfastStore

@Suite struct `SQLite store` {
    private let temporary: TemporaryStore

    init() throws {
        temporary = try TemporaryStore()
    }

    @Test(arguments: StoreConformance.allCases)
    func `it keeps the promises of every store`(promise: StoreConformance) throws {
        try promise.check(temporary.open(isRestored:))
    }

    // MARK: - Files

    @Test func `its files are for the current user only`() throws {
        let store = try SQLiteStore(path: temporary.path)
        defer { store.close() }
        _ = try store.commit(StoreBatch(puts: [put(key(), spent: 1)]))
        for suffix in ["", "-wal", "-shm", ".lock"] {
            var status = stat()
            #expect(stat(temporary.path + suffix, &status) == 0)
            #expect(status.st_mode & 0o777 == 0o600, "\(suffix)")
        }
    }

    @Test func `a second opening is refused at once, whatever name it uses`() throws {
        let link = temporary.file("link.db")
        let store = try SQLiteStore(path: temporary.path)
        try FileManager.default.createSymbolicLink(
            atPath: link, withDestinationPath: temporary.path)
        let indirect = temporary.directory.path + "/./" + "store.db"
        for path in [temporary.path, link, indirect] {
            let error = storeError { () throws(StoreError) in try SQLiteStore(path: path) }
            #expect(error == .lockedByOther(path: temporary.path))
            #expect(error?.description.contains("store.db.lock") == true)
        }
        // The refused ones must not have taken the lock away.
        _ = try store.commit(StoreBatch(puts: [put(key(), spent: 1)]))
        #expect(storeError { () throws(StoreError) in try temporary.reopen() } != nil)
        store.close()
        let next = try SQLiteStore(path: link)
        #expect(try next.load([key()]).found.count == 1)
        next.close()
    }

    @Test(.enabled(if: access("/usr/bin/flock", X_OK) == 0, "needs util-linux"))
    func `another process is refused too`() throws {
        let store = try SQLiteStore(path: temporary.path)
        #expect(try flockExitCode() == 1)
        store.close()
        #expect(try flockExitCode() == 0)
    }

    private func flockExitCode() throws -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/flock")
        process.arguments = ["--nonblock", temporary.path + ".lock", "true"]
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus
    }

    @Test func `a path that cannot be a store says why`() throws {
        let plain = temporary.file("plain")
        try Data("not a directory".utf8).write(to: URL(fileURLWithPath: plain))
        let dangling = temporary.file("dangling")
        try FileManager.default.createSymbolicLink(
            atPath: dangling, withDestinationPath: temporary.file("nowhere"))
        check("", "Name a file")
        check("a\u{0}b", "zero byte")
        check(temporary.directory.path, "is a directory")
        check(temporary.directory.path + "/", "is a directory")
        check(temporary.file("missing/store.db"), "there is no directory")
        check(temporary.file("plain/store.db"), "Not a directory")
        check(dangling, "symbolic link")
        check("/dev/null", "not a regular file")
        for path in [temporary.directory.path, "/dev/null", dangling] {
            #expect(!FileManager.default.fileExists(atPath: path + ".lock"))
        }
        func check(
            _ path: String, _ text: String,
            sourceLocation: SourceLocation = #_sourceLocation
        ) {
            let error = storeError { () throws(StoreError) in try SQLiteStore(path: path) }
            #expect(error?.kind == "unavailable", sourceLocation: sourceLocation)
            #expect(error?.description.contains(text) == true, "\(String(describing: error))")
        }
    }

    @Test(.enabled(if: geteuid() != 0, "root may write everywhere"))
    func `a file or directory without permission is read-only`() throws {
        try SQLiteStore(path: temporary.path).close()
        #expect(chmod(temporary.path, 0o400) == 0)
        #expect(storeError { () throws(StoreError) in try temporary.reopen() }?.kind == "readOnly")
        let directory = temporary.file("closed")
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: false)
        #expect(chmod(directory, 0o500) == 0)
        let error = storeError { () throws(StoreError) in
            try SQLiteStore(path: directory + "/store.db")
        }
        #expect(error?.kind == "readOnly")
    }

    @Test func `errors of the system become the right store errors`() {
        for (code, kind) in [
            (EACCES, "readOnly"), (EPERM, "readOnly"), (EROFS, "readOnly"), (ENOSPC, "full"),
            (EDQUOT, "full"), (EISDIR, "unavailable"), (ENOLCK, "unavailable"),
            (EMFILE, "unavailable"), (EIO, "unavailable"), (ENAMETOOLONG, "unavailable"),
        ] {
            let error = StoreError(opening: "/data/store.db", errno: code)
            #expect(error.kind == kind)
            #expect(error.description.contains("/data/store.db"))
        }
    }

    @Test func `a store that is deleted or replaced under way takes no more writes`() throws {
        let store = try SQLiteStore(path: temporary.path)
        defer { store.close() }
        let aside = temporary.file("aside.db")
        _ = try store.commit(StoreBatch(puts: [put(key(), spent: 1)]))
        #expect(rename(temporary.path, aside) == 0)
        check()
        try Data().write(to: URL(fileURLWithPath: temporary.path))
        check()
        #expect(rename(aside, temporary.path) == 0)
        _ = try store.commit(StoreBatch(puts: [put(key(), expected: 1, spent: 2)]))
        func check() {
            let error = storeError { () throws(StoreError) in
                try store.commit(StoreBatch(puts: [put(key(), expected: 1, spent: 2)]))
            }
            #expect(error?.kind == "unavailable")
            #expect(error?.description.contains("moved, deleted or replaced") == true)
        }
    }

    // MARK: - Durability

    @Test func `it writes ahead and flushes every commit, also after reopening`() throws {
        for _ in 0..<2 {
            let store = try SQLiteStore(path: temporary.path)
            let settings = try store.read { db in
                (
                    try String.fetchOne(db, sql: "PRAGMA journal_mode"),
                    try Int.fetchOne(db, sql: "PRAGMA synchronous")
                )
            }
            #expect(settings == ("wal", 2))
            store.close()
        }
    }

    @Test func `a killed process loses nothing that was committed`() throws {
        let store = try SQLiteStore(path: temporary.path)
        defer { store.close() }
        var version: UInt64 = 0
        for spent in 1...50 as ClosedRange<UInt64> {
            _ = try store.commit(StoreBatch(puts: [put(key(), expected: version, spent: spent)]))
            version += 1
        }
        // What a kill leaves behind: the files as they are, without anything that closing does.
        let copy = temporary.file("copy.db")
        for suffix in ["", "-wal"] {
            try FileManager.default.copyItem(atPath: temporary.path + suffix, toPath: copy + suffix)
        }
        let survivor = try SQLiteStore(path: copy)
        defer { survivor.close() }
        let loaded = try survivor.load([key()])
        #expect(
            loaded.found == [key(): VersionedAccount(version: 50, account: account(spent: 50))])
    }

    @Test func `a torn log gives an earlier state, and each batch whole`() throws {
        let store = try SQLiteStore(path: temporary.path)
        defer { store.close() }
        let pair = [key("a"), key("b")]
        let logPath = temporary.path + "-wal"
        var committedByteCounts: [Int] = []
        for version in 0..<12 as Range<UInt64> {
            _ = try store.commit(
                StoreBatch(puts: pair.map { put($0, expected: version, spent: version + 1) }))
            committedByteCounts.append(try Data(contentsOf: URL(fileURLWithPath: logPath)).count)
        }
        let log = try Data(contentsOf: URL(fileURLWithPath: logPath))
        let copy = temporary.file("copy.db")
        for byteCount in stride(from: committedByteCounts[0], through: log.count, by: 1_531) {
            for suffix in ["", "-shm", "-wal"] { Glibc.unlink(copy + suffix) }
            try FileManager.default.copyItem(atPath: temporary.path, toPath: copy)
            try log.prefix(byteCount).write(to: URL(fileURLWithPath: copy + "-wal"))
            let survivor = try SQLiteStore(path: copy)
            let loaded = try survivor.load(pair)
            let complete = UInt64(committedByteCounts.count { $0 <= byteCount })
            let expected = VersionedAccount(version: complete, account: account(spent: complete))
            #expect(loaded.found == [pair[0]: expected, pair[1]: expected], "\(byteCount) bytes")
            survivor.close()
        }
    }

    @Test func `a full disk refuses whole batches and is forgiven`() throws {
        let store = try SQLiteStore(path: temporary.path)
        defer { store.close() }
        _ = try store.commit(StoreBatch(puts: [put(key("kept"), spent: 1)]))
        try limitPages(store, to: 12)
        let many = (0..<1_000).map { put(key("cap\($0)"), spent: 2) }
        for _ in 0..<2 {
            let error = storeError { () throws(StoreError) in
                try store.commit(StoreBatch(puts: many, clockFloor: UnixTime(77)))
            }
            #expect(error?.kind == "full")
        }
        #expect(try store.load(many.map(\.key)) == LoadResult())
        #expect(try store.clockFloor() == UnixTime(0))
        #expect(try store.load([key("kept")]).found.count == 1)
        try limitPages(store, to: 1_000_000)
        #expect(try store.commit(StoreBatch(puts: many)).versions.count == many.count)
    }

    private func limitPages(_ store: SQLiteStore, to count: Int) throws {
        let limit = try store.write { db in
            try Int.fetchOne(db, sql: "PRAGMA max_page_count = \(count)")
        }
        #expect(limit == count)
    }

    @Test func `a write that fails in an unknown way ends the use of the store`() throws {
        for code in [
            ResultCode.SQLITE_IOERR_FSYNC, .SQLITE_IOERR_WRITE, .SQLITE_IOERR, .SQLITE_NOMEM,
            .SQLITE_ERROR,
        ] {
            let path = temporary.file("store\(code.rawValue).db")
            let store = try SQLiteStore(path: path)
            let failure = storeError { () throws(StoreError) in
                try store.write { _ in throw DatabaseError(resultCode: code) }
            }
            #expect(failure?.kind == "outcomeUnknown")
            let later = [
                storeError { () throws(StoreError) in try store.load([key()]) },
                storeError { () throws(StoreError) in try store.commit(StoreBatch()) },
            ]
            #expect(later == [failure, failure])
            store.close()
            try SQLiteStore(path: path).close()
        }
    }

    @Test func `failures inside SQLite become the right store errors`() {
        for (code, reading, writing) in [
            (.SQLITE_FULL, "full", "full"),
            (.SQLITE_CORRUPT_INDEX, "corrupt", "corrupt"),
            (.SQLITE_NOTADB, "corrupt", "corrupt"),
            (.SQLITE_IOERR_CORRUPTFS, "corrupt", "corrupt"),
            (.SQLITE_READONLY, "readOnly", "readOnly"),
            (.SQLITE_READONLY_DBMOVED, "unavailable", "unavailable"),
            (.SQLITE_BUSY, "unavailable", "unavailable"),
            (.SQLITE_CANTOPEN, "unavailable", "unavailable"),
            (.SQLITE_IOERR_READ, "unavailable", "outcomeUnknown"),
            (.SQLITE_IOERR_FSYNC, "unavailable", "outcomeUnknown"),
            (.SQLITE_NOMEM, "unavailable", "outcomeUnknown"),
            (.SQLITE_CONSTRAINT, "unavailable", "outcomeUnknown"),
        ] as [(ResultCode, String, String)] {
            let error = DatabaseError(
                resultCode: code, sql: "SELECT 'sk-secret'", arguments: ["sk-secret"])
            for (isWrite, kind) in [(false, reading), (true, writing)] {
                let mapped = StoreError(error, path: "/data/store.db", isWrite: isWrite)
                #expect(mapped.kind == kind, "\(code)")
                #expect(mapped.description.contains("/data/store.db"))
                #expect(!mapped.description.contains("sk-secret"))
            }
        }
    }

    @Test func `a session id is not issued again even when its row is gone`() throws {
        let store = try SQLiteStore(path: temporary.path)
        defer { store.close() }
        let first = try store.openSession(edge: "edge", at: UnixTime(1))
        try store.write { db in try db.execute(sql: "DELETE FROM session") }
        #expect(try store.openSession(edge: "edge", at: UnixTime(2)) > first)
    }

    // MARK: - Generations

    @Test func `restoring the same backup twice issues no session id twice`() throws {
        let backup = temporary.file("backup.db")
        try SQLiteStore(path: temporary.path).close()
        try FileManager.default.copyItem(atPath: temporary.path, toPath: backup)
        var issued: [SessionID] = []
        for (index, seconds) in [1_800_000_000, 1_800_000_001, 1_900_000_000].enumerated() {
            let copy = temporary.file("copy\(index).db")
            try FileManager.default.copyItem(atPath: backup, toPath: copy)
            let store = try SQLiteStore(path: copy, restoredAt: UnixTime(Int64(seconds)))
            issued.append(try store.openSession(edge: "edge", at: UnixTime(1)))
            // What the restore before has issued is of an earlier generation here.
            if index > 0 {
                try store.adoptSession(issued[index - 1], edge: "edge", at: UnixTime(1))
            }
            store.close()
        }
        #expect(issued == issued.sorted() && Set(issued).count == issued.count)
    }

    @Test func `a clock that shows nonsense begins the next generation, or says so`() throws {
        for (seconds, expected) in [
            (0, 2), (-1, 3), (.min, 4), (1_767_225_600, 5), (1_767_225_610, 10),
            (1_767_225_610, 11), (1_767_225_600 + Int64(SessionID.generationMax) + 1, nil),
            (.max, nil), (1_767_225_600 + Int64(SessionID.generationMax), SessionID.generationMax),
            (1_767_225_610, nil),
        ] as [(Int64, UInt64?)] {
            let isRefused =
                storeError { () throws(StoreError) in
                    try SQLiteStore(path: temporary.path).close()
                    try SQLiteStore(path: temporary.path, restoredAt: UnixTime(seconds)).close()
                }.map { $0.kind == "unavailable" && $0.description.contains("clock") } ?? false
            #expect(isRefused == (expected == nil), "\(seconds)")
            let store = try SQLiteStore(path: temporary.path)
            defer { store.close() }
            guard let expected else { continue }
            #expect(try store.generation() == StoreGeneration(current: expected, learned: 1))
            let id = try store.openSession(edge: "edge", at: UnixTime(1))
            #expect(id.rawValue == expected << 32 + 1)
        }
    }

    @Test func `a store that is said to be restored must be there`() throws {
        for _ in 0..<2 {
            let error = storeError { () throws(StoreError) in
                try SQLiteStore(path: temporary.path, isRestored: true)
            }
            #expect(error?.kind == "unavailable")
            #expect(error?.description.contains("does not exist") == true)
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: temporary.directory.path) == [])
        }
    }

    @Test func `a generation without session ids left issues none of the next`() throws {
        let store = try SQLiteStore(path: temporary.path)
        defer { store.close() }
        try store.write { db in
            try db.execute(sql: "UPDATE sqlite_sequence SET seq = \(UInt64(2) << 32 - 2)")
        }
        let last = try store.openSession(edge: "edge", at: UnixTime(1))
        #expect(last.rawValue == UInt64(2) << 32 - 1)
        for _ in 0..<2 {
            let error = storeError { () throws(StoreError) in
                try store.openSession(edge: "edge", at: UnixTime(1))
            }
            #expect(error?.kind == "unavailable")
        }
        #expect(try store.sessions(.all, limit: 9, after: nil).map(\.id) == [last])
        store.close()
        let restored = try SQLiteStore(path: temporary.path, isRestored: true)
        defer { restored.close() }
        #expect(try restored.openSession(edge: "edge", at: UnixTime(1)) > last)
    }

    // MARK: - Speed

    @Test func `the time of a commit is printed`() throws {
        let store = try SQLiteStore(path: temporary.path)
        defer { store.close() }
        for size in [1, 64] {
            let keys = (0..<size).map { key("size\(size)", ["t\($0)"]) }
            var times: [Duration] = []
            for version in 0..<100 as Range<UInt64> {
                let puts = keys.map { put($0, expected: version, spent: version) }
                let start = ContinuousClock.now
                let result = try store.commit(StoreBatch(puts: puts))
                times.append(ContinuousClock.now - start)
                #expect(result.versions.count == size)
            }
            times.sort()
            print("commit of \(size): median \(times[50]), 99th percentile \(times[98])")
        }
    }
}

extension TemporaryStore {
    fileprivate func reopen() throws(StoreError) -> SQLiteStore { try SQLiteStore(path: path) }
}
