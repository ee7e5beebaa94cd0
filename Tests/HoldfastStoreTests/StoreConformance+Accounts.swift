import Dispatch
import HoldfastCore
import HoldfastLedger
import HoldfastStore
import Synchronization
import Testing

extension StoreConformance {
    func absent(_ store: any AccountStore) throws {
        #expect(try store.load([key("a"), key("b")]) == LoadResult())
        #expect(try store.load([]) == LoadResult())
    }

    func roundTrip(_ store: any AccountStore) throws {
        let largest = Amount(Limits.amountMax)
        let accounts = [
            key("empty"): StoredAccount(base: .zero, isFrozen: false, lines: []),
            key("frozen"): account(spent: 7, isFrozen: true),
            key("many"): account(spent: 12_345_678_901, sessions: 300),
            key("largest"): StoredAccount(
                base: Amount(.max), isFrozen: false,
                lines: [
                    StoredAccount.Line(
                        session: SessionID(.max), granted: largest, released: largest,
                        spent: largest, overrun: largest, unlocked: largest)
                ]),
        ]
        let puts = accounts.map { StoreBatch.Put(key: $0.key, expected: 0, account: $0.value) }
        let result = try store.commit(StoreBatch(puts: puts))
        #expect(result.conflicts.isEmpty)
        #expect(result.versions == accounts.mapValues { _ in 1 })
        let loaded = try store.load(Array(accounts.keys))
        #expect(loaded.damaged.isEmpty)
        #expect(loaded.found == accounts.mapValues { VersionedAccount(version: 1, account: $0) })
    }

    func wrongVersion(_ store: any AccountStore) throws {
        let written = key("written")
        _ = try store.commit(StoreBatch(puts: [put(written, spent: 5)]))
        for (target, expected) in [
            (written, 0), (written, 2), (written, UInt64.max), (written, UInt64(Int64.max)),
            (key("absent"), 1),
        ] {
            let result = try store.commit(
                StoreBatch(puts: [put(target, expected: expected, spent: 99)]))
            #expect(result == CommitResult(conflicts: [target]), "expected \(expected)")
        }
        let loaded = try store.load([written, key("absent")])
        #expect(
            loaded.found == [written: VersionedAccount(version: 1, account: account(spent: 5))])
    }

    func partialConflict(_ store: any AccountStore) throws {
        let keys = (0..<4).map { key("cap\($0)") }
        _ = try store.commit(StoreBatch(puts: [put(keys[1], spent: 1), put(keys[3], spent: 1)]))
        let result = try store.commit(
            StoreBatch(
                puts: [
                    put(keys[0], spent: 2), put(keys[1], expected: 7, spent: 2),
                    put(keys[2], expected: 1, spent: 2), put(keys[3], expected: 1, spent: 2),
                ],
                clockFloor: UnixTime(50)))
        #expect(result.conflicts == [keys[1], keys[2]])
        #expect(result.versions == [keys[0]: 1, keys[3]: 2])
        let spent = try store.load(keys).found.mapValues { $0.account.lines[0].spent.rawValue }
        #expect(spent == [keys[0]: 2, keys[1]: 1, keys[3]: 2])
        #expect(try store.clockFloor() == UnixTime(50))
    }

    func versions(_ store: any AccountStore) throws {
        for version in 0..<20 as Range<UInt64> {
            let result = try store.commit(
                StoreBatch(puts: [put(key(), expected: version, spent: version)]))
            #expect(result.versions == [key(): version + 1])
        }
        #expect(try store.load([key()]).found[key()]?.account == account(spent: 19))
    }

    func awkwardKeys(_ store: any AccountStore) throws {
        let long = String(repeating: "v", count: Limits.scopeValueByteCountMax)
        let keys = [
            key("a"), key("a", [""]), key("a", ["", ""]), key("a|usd"), key("a", ["x|y"]),
            key("a", ["x", "y"]), key("a", ["x%7Cy"]), key("a", ["Straße 東京"]),
            key("a", ["\u{301}x"]), key("a", ["caf\u{E9}"]), key("a", ["cafe\u{301}"]),
            key("a", ["' OR 1=1 --"]), key("a", ["\u{0}"]), key("a", [long]), key("A"),
            key("a", period: .hour), key("a", id: -1),
        ]
        let puts = keys.enumerated().map { put($1, spent: UInt64($0)) }
        #expect(try store.commit(StoreBatch(puts: puts)).conflicts.isEmpty)
        for (index, key) in keys.enumerated() {
            #expect(
                try store.load([key]).found[key]?.account == account(spent: UInt64(index)),
                "\(key.text)")
        }
        let scanned = try store.scan(.all, limit: 100, after: nil)
        #expect(Set(scanned.map(\.key)) == Set(keys))
    }

    func writers(_ store: any AccountStore) throws {
        var wins = 0
        for writer in 1...3 as ClosedRange<UInt64> {
            let result = try store.commit(StoreBatch(puts: [put(key(), spent: writer)]))
            wins += result.versions.count
        }
        #expect(wins == 1)
        #expect(try store.load([key()]).found[key()]?.account == account(spent: 1))
    }

    /// Compare-and-put from several threads: every success has seen the one before.
    func manyWriters(_ store: any AccountStore) throws {
        let threadCount = 4
        let winsPerThread: UInt64 = 25
        let failures = Mutex<[StoreError]>([])
        DispatchQueue.concurrentPerform(iterations: threadCount) { _ in
            do throws(StoreError) {
                var wins: UInt64 = 0
                while wins < winsPerThread {
                    let version = try store.load([key()]).found[key()]?.version ?? 0
                    let result = try store.commit(
                        StoreBatch(puts: [put(key(), expected: version, spent: version + 1)]))
                    if !result.versions.isEmpty { wins += 1 }
                }
            } catch {
                failures.withLock { $0.append(error) }
            }
        }
        #expect(failures.withLock { $0 }.isEmpty)
        let count = UInt64(threadCount) * winsPerThread
        #expect(
            try store.load([key()]).found
                == [key(): VersionedAccount(version: count, account: account(spent: count))])
    }
}
