import Foundation
import GRDB
import HoldfastCore
import HoldfastLedger
import Testing

@testable import HoldfastStore

/// Whatever happens to the file: a wrong amount is never read, and an account that was there never
/// counts as absent.
@Suite struct `Damaged SQLite store` {
    private let temporary: TemporaryStore
    private let keys = (0..<40).map { key("cap", ["tenant\($0)"]) }

    init() throws {
        temporary = try TemporaryStore()
        let store = try SQLiteStore(path: temporary.path)
        let puts = keys.enumerated().map { put($1, spent: UInt64($0) + 1_000_000_007) }
        _ = try store.commit(StoreBatch(puts: puts))
        store.close()
    }

    @Test func `a flipped byte anywhere in the file is found or harmless`() throws {
        let sound = try Data(contentsOf: URL(fileURLWithPath: temporary.path))
        var refusedCount = 0
        for index in stride(from: 0, to: sound.count, by: 29) {
            var damaged = sound
            damaged[index] ^= 0x15
            try write(damaged)
            do throws(StoreError) {
                let store = try SQLiteStore(path: temporary.path)
                defer { store.close() }
                expectSound(try store.load(keys), "byte \(index)")
            } catch {
                refusedCount += 1
            }
        }
        // Most of the file is empty space, where damage is harmless.
        #expect(refusedCount > 50)
    }

    @Test func `every flipped byte of a stored value, its version or its key is found`() throws {
        let sound = try Data(contentsOf: URL(fileURLWithPath: temporary.path))
        let text = Data(keys[7].text.utf8)
        let start = try #require(sound.firstRange(of: text)?.lowerBound)
        // Key, version (one byte) and value follow one another in a row.
        let byteCount = text.count + 1 + 14 + 48 + 4
        for index in start..<(start + byteCount) {
            var damaged = sound
            damaged[index] ^= 0x01
            try write(damaged)
            let error = storeError { () throws(StoreError) in
                try SQLiteStore(path: temporary.path)
            }
            #expect(error?.kind == "corrupt", "byte \(index - start): \(String(describing: error))")
        }
    }

    @Test func `damage while it is open is found, and load names each damaged account`() throws {
        for (damage, reason) in [
            ("UPDATE account SET value = X'01' WHERE key = :key", "length is wrong"),
            (
                "UPDATE account SET value = CAST(X'02' || value AS BLOB) WHERE key = :key",
                "format 2 is unknown"
            ),
            ("UPDATE account SET version = version + 1 WHERE key = :key", "checksum is wrong"),
            ("UPDATE account SET version = 0 WHERE key = :key", "of the wrong type"),
            (
                """
                UPDATE account SET value = (SELECT value FROM account WHERE key = :other)
                WHERE key = :key
                """, "checksum is wrong"
            ),
        ] {
            let store = try SQLiteStore(path: temporary.path)
            defer { store.close() }
            let damagedKeys = [keys[3], keys[30]]
            for key in damagedKeys {
                try store.write { db in
                    var values: [String: Data] = ["key": Data(key.text.utf8)]
                    if damage.contains(":other") { values["other"] = Data(keys[4].text.utf8) }
                    try db.execute(sql: damage, arguments: StatementArguments(values))
                }
            }
            let loaded = try store.load(keys + [key("absent")])
            #expect(Set(loaded.damaged.keys) == Set(damagedKeys), "\(damage)")
            #expect(loaded.damaged.values.allSatisfy { $0.contains(reason) }, "\(loaded.damaged)")
            #expect(Set(loaded.found.keys) == Set(keys).subtracting(damagedKeys))
            let error = storeError { () throws(StoreError) in
                try store.scan(.all, limit: 99, after: nil)
            }
            #expect(error?.kind == "corrupt")
            #expect(damagedKeys.contains { error?.description.contains($0.text) == true })
            // Never taken for one that does not exist.
            let result = try store.commit(StoreBatch(puts: damagedKeys.map { put($0, spent: 1) }))
            #expect(result == CommitResult(conflicts: damagedKeys))
            store.close()
            expectRefused("\(damage)")
            try restore([3, 30])
        }
    }

    private func restore(_ indices: [Int]) throws {
        let queue = try DatabaseQueue(path: temporary.path)
        try queue.write { db in
            for index in indices {
                let bytes = Array(keys[index].text.utf8)
                let value = AccountRecord.encode(
                    account(spent: UInt64(index) + 1_000_000_007), key: bytes, version: 1)
                try db.execute(
                    sql: "UPDATE account SET version = 1, value = ? WHERE key = ?",
                    arguments: [Data(value), Data(bytes)])
            }
        }
        try queue.close()
    }

    @Test func `a generation that does not fit the sessions is refused`() throws {
        let setup = try SQLiteStore(path: temporary.path)
        _ = try setup.openSession(edge: "edge", at: UnixTime(1))
        setup.close()
        for (damage, repair) in [
            ("UPDATE watermark SET generation = 2", "UPDATE watermark SET generation = 1"),
            ("UPDATE watermark SET learned = 2", "UPDATE watermark SET learned = 1"),
            ("UPDATE watermark SET learned = 0", "UPDATE watermark SET learned = 1"),
            (
                "DELETE FROM watermark",
                """
                INSERT INTO watermark (id, clock_floor, generation, learned) VALUES (1, 0, 1, 1)
                """
            ),
            ("UPDATE sqlite_sequence SET seq = 7", "UPDATE sqlite_sequence SET seq = 4294967297"),
            (
                "UPDATE sqlite_sequence SET seq = 4294967296",
                "UPDATE sqlite_sequence SET seq = 4294967297"
            ),
            ("UPDATE sqlite_sequence SET seq = -1", "UPDATE sqlite_sequence SET seq = 4294967297"),
            (
                "DELETE FROM sqlite_sequence",
                "INSERT INTO sqlite_sequence (name, seq) VALUES ('session', 4294967297)"
            ),
        ] {
            try execute(damage)
            expectRefused("\(damage)")
            try execute(repair)
            try SQLiteStore(path: temporary.path).close()
        }
    }

    @Test func `rows that no store writes are named as damage`() throws {
        let store = try SQLiteStore(path: temporary.path)
        defer { store.close() }
        let id = try store.openSession(edge: "edge", at: UnixTime(1))
        for sql in [
            "UPDATE session SET edge = X'FF'",
            """
            INSERT INTO operator_record (action, at, account, amount, reason)
            VALUES (9, 0, CAST('cap|usd|day|1' AS BLOB), 0, X'')
            """,
            "UPDATE operator_record SET action = 0, account = X'FF'",
            "UPDATE operator_record SET account = CAST('cap' AS BLOB)",
            "UPDATE operator_record SET account = CAST('cap|usd|day|1' AS BLOB), reason = X'FF'",
        ] {
            try store.write { db in try db.execute(sql: sql) }
            let error = storeError { () throws(StoreError) in
                if sql.contains("operator") { return _ = try store.operatorRecords(limit: 9) }
                _ = try store.session(id)
            }
            #expect(error?.kind == "corrupt", "\(sql)")
        }
    }

    private func execute(_ sql: String) throws {
        let queue = try DatabaseQueue(path: temporary.path)
        try queue.write { db in try db.execute(sql: sql) }
        try queue.close()
    }

    private func expectRefused(_ comment: Comment) {
        for isRestored in [false, true] {
            let error = storeError { () throws(StoreError) in
                try SQLiteStore(path: temporary.path, isRestored: isRestored)
            }
            #expect(error?.kind == "corrupt", comment)
        }
    }

    @Test func `a file that is not a store is refused and left as it was`() throws {
        let newer = SQLiteSchema.version + 1
        check(bytes: Data("The quick brown fox jumps over the lazy dog. ".utf8), "corrupt")
        check(bytes: Data(repeating: 0xFF, count: 8_192), "corrupt")
        try check(sql: "CREATE TABLE notes (text TEXT)", "unavailable")
        try check(sql: "PRAGMA application_id = 7", "unavailable")
        try check(sql: "PRAGMA user_version = 1", "unavailable")
        try check(
            sql: """
                PRAGMA application_id = \(SQLiteSchema.applicationID);
                PRAGMA user_version = \(newer)
                """, "newerSchema")
        func check(sql: String, _ kind: String) throws {
            let path = temporary.file("\(UUID().uuidString).db")
            let other = try DatabaseQueue(path: path)
            try other.writeWithoutTransaction { db in try db.execute(sql: sql) }
            try other.close()
            check(path, kind)
        }
        func check(bytes: Data, _ kind: String) {
            let path = temporary.file("\(UUID().uuidString).db")
            #expect(FileManager.default.createFile(atPath: path, contents: bytes))
            check(path, kind)
        }
        func check(_ path: String, _ kind: String) {
            let before = FileManager.default.contents(atPath: path)
            let error = storeError { () throws(StoreError) in try SQLiteStore(path: path) }
            #expect(error?.kind == kind, "\(String(describing: error))")
            #expect(FileManager.default.contents(atPath: path) == before)
            // The refusal gives the lock back.
            let again = storeError { () throws(StoreError) in try SQLiteStore(path: path) }
            #expect(again == error)
        }
    }

    @Test func `a newer schema is named with both versions`() {
        let text = StoreError.newerSchema(found: 9, supported: 1).description
        #expect(text.contains("schema 9") && text.contains("up to 1"))
    }

    @Test func `a truncated file is refused`() throws {
        let sound = try Data(contentsOf: URL(fileURLWithPath: temporary.path))
        for byteCount in [0, 1, 99, 512, 4_096, 4_097, sound.count - 4_096, sound.count - 1] {
            try write(sound.prefix(byteCount))
            let error = storeError { () throws(StoreError) in
                try SQLiteStore(path: temporary.path)
            }
            #expect(error != nil, "\(byteCount) of \(sound.count) bytes")
        }
    }

    @Test func `a log without its file is refused and kept`() throws {
        let store = try SQLiteStore(path: temporary.path)
        _ = try store.commit(StoreBatch(puts: [put(key("late"), spent: 1)]))
        let log = temporary.file("aside.db-wal")
        try FileManager.default.copyItem(atPath: temporary.path + "-wal", toPath: log)
        store.close()
        let error = storeError { () throws(StoreError) in
            try SQLiteStore(path: temporary.file("aside.db"))
        }
        #expect(error?.kind == "corrupt")
        #expect(FileManager.default.fileExists(atPath: log))
        #expect(!FileManager.default.fileExists(atPath: temporary.file("aside.db")))
    }

    @Test func `what a process leaves that was killed while creating is no store yet`() throws {
        let path = temporary.file("fresh.db")
        for suffix in [".new", ".new-journal", ".lock"] {
            #expect(
                FileManager.default.createFile(atPath: path + suffix, contents: Data("x".utf8)))
        }
        let store = try SQLiteStore(path: path)
        defer { store.close() }
        _ = try store.commit(StoreBatch(puts: [put(key(), spent: 1)]))
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: temporary.directory.path)
                .allSatisfy { !$0.contains(".new") })
    }

    private func write(_ bytes: Data) throws {
        for suffix in ["-wal", "-shm"]
        where FileManager.default.fileExists(
            atPath: temporary.path + suffix)
        {
            try FileManager.default.removeItem(atPath: temporary.path + suffix)
        }
        try bytes.write(to: URL(fileURLWithPath: temporary.path))
    }

    private func expectSound(_ loaded: LoadResult, _ comment: Comment) {
        #expect(loaded.damaged.isEmpty, comment)
        for (index, key) in keys.enumerated() {
            let expected = account(spent: UInt64(index) + 1_000_000_007)
            #expect(loaded.found[key] == VersionedAccount(version: 1, account: expected), comment)
        }
    }
}
