import HoldfastCore
import HoldfastLedger
import HoldfastStore
import Testing

/// What every store promises, one case each. To test another store, write one test with
/// `arguments: StoreConformance.allCases` that calls `check` with a way to open it.
enum StoreConformance: String, CaseIterable, CustomTestStringConvertible {
    case `a key that was never written is absent`
    case `an account comes back as it was put`
    case `a put with the wrong version changes nothing`
    case `a conflict leaves the rest of the batch alone`
    case `versions count up by one`
    case `an empty batch is fine`
    case `keys with awkward values stay apart`
    case `sessions increase and are never issued again`
    case `a closed session stays closed`
    case `the clock floor never goes back`
    case `a secret is made once`
    case `a scan is in order and can be continued`
    case `a scan of one period has no other`
    case `what was committed is there after reopening`
    case `a closed store refuses everything`
    case `of two writers one wins`

    var testDescription: String { rawValue }

    /// `open` opens the same, at first empty store each time; the one before has been closed.
    func check(_ open: () throws -> any AccountStore) throws {
        let store = try open()
        defer { store.close() }
        switch self {
        case .`a key that was never written is absent`: try absent(store)
        case .`an account comes back as it was put`: try roundTrip(store)
        case .`a put with the wrong version changes nothing`: try wrongVersion(store)
        case .`a conflict leaves the rest of the batch alone`: try partialConflict(store)
        case .`versions count up by one`: try versions(store)
        case .`an empty batch is fine`: #expect(try store.commit(StoreBatch()) == CommitResult())
        case .`keys with awkward values stay apart`: try awkwardKeys(store)
        case .`sessions increase and are never issued again`: try sessions(store, open)
        case .`a closed session stays closed`: try closedSession(store)
        case .`the clock floor never goes back`: try clockFloor(store, open)
        case .`a secret is made once`: try secret(store, open)
        case .`a scan is in order and can be continued`: try scanAll(store)
        case .`a scan of one period has no other`: try scanPeriod(store)
        case .`what was committed is there after reopening`: try durable(store, open)
        case .`a closed store refuses everything`: closed(store)
        case .`of two writers one wins`: try writers(store)
        }
    }

    // MARK: - Accounts

    private func absent(_ store: any AccountStore) throws {
        #expect(try store.load([key("a"), key("b")]).isEmpty)
        #expect(try store.load([]).isEmpty)
    }

    private func roundTrip(_ store: any AccountStore) throws {
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
                        spent: largest, overrun: largest)
                ]),
        ]
        let puts = accounts.map { StoreBatch.Put(key: $0.key, expected: 0, account: $0.value) }
        let result = try store.commit(StoreBatch(puts: puts))
        #expect(result.conflicts.isEmpty)
        #expect(result.versions == accounts.mapValues { _ in 1 })
        let loaded = try store.load(Array(accounts.keys))
        #expect(loaded == accounts.mapValues { VersionedAccount(version: 1, account: $0) })
    }

    private func wrongVersion(_ store: any AccountStore) throws {
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
        #expect(loaded == [written: VersionedAccount(version: 1, account: account(spent: 5))])
    }

    private func partialConflict(_ store: any AccountStore) throws {
        let keys = (0..<4).map { key("cap\($0)") }
        let session = try store.openSession(edge: "edge", at: UnixTime(1))
        _ = try store.commit(StoreBatch(puts: [put(keys[1], spent: 1), put(keys[3], spent: 1)]))
        let result = try store.commit(
            StoreBatch(
                puts: [
                    put(keys[0], spent: 2), put(keys[1], expected: 7, spent: 2),
                    put(keys[2], expected: 1, spent: 2), put(keys[3], expected: 1, spent: 2),
                ],
                closedSessions: [session], clockFloor: UnixTime(50)))
        #expect(result.conflicts == [keys[1], keys[2]])
        #expect(result.versions == [keys[0]: 1, keys[3]: 2])
        let spent = try store.load(keys).mapValues { $0.account.lines[0].spent.rawValue }
        #expect(spent == [keys[0]: 2, keys[1]: 1, keys[3]: 2])
        #expect(try store.session(session)?.closedAt == UnixTime(50))
        #expect(try store.clockFloor() == UnixTime(50))
    }

    private func versions(_ store: any AccountStore) throws {
        for version in 0..<20 as Range<UInt64> {
            let result = try store.commit(
                StoreBatch(puts: [put(key(), expected: version, spent: version)]))
            #expect(result.versions == [key(): version + 1])
        }
        #expect(try store.load([key()])[key()]?.account == account(spent: 19))
    }

    private func awkwardKeys(_ store: any AccountStore) throws {
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
                try store.load([key])[key]?.account == account(spent: UInt64(index)), "\(key.text)")
        }
        let scanned = try store.scan(.all, limit: 100, after: nil)
        #expect(Set(scanned.map(\.key)) == Set(keys))
    }

    private func writers(_ store: any AccountStore) throws {
        var wins = 0
        for writer in 1...3 as ClosedRange<UInt64> {
            let result = try store.commit(StoreBatch(puts: [put(key(), spent: writer)]))
            wins += result.versions.count
        }
        #expect(wins == 1)
        #expect(try store.load([key()])[key()]?.account == account(spent: 1))
    }

    // MARK: - Sessions, clock, secrets

    private func sessions(
        _ first: any AccountStore, _ open: () throws -> any AccountStore
    ) throws {
        let early = try (0..<3).map { try first.openSession(edge: "e\($0)", at: UnixTime(100)) }
        _ = try first.commit(StoreBatch(closedSessions: early))
        first.close()
        let second = try open()
        defer { second.close() }
        let late = try second.openSession(edge: "e0", at: UnixTime(90))
        let all = early + [late]
        #expect(all == all.sorted() && Set(all).count == 4)
        #expect(all[0] > SessionID(0))
        #expect(
            try second.session(late)
                == SessionRecord(id: late, edge: "e0", openedAt: UnixTime(90), closedAt: nil))
        #expect(try second.session(SessionID(late.rawValue + 1)) == nil)
        #expect(try second.session(SessionID(0)) == nil)
        #expect(try second.session(SessionID(.max)) == nil)
    }

    private func closedSession(_ store: any AccountStore) throws {
        let one = try store.openSession(edge: "one", at: UnixTime(10))
        let two = try store.openSession(edge: "two", at: UnixTime(11))
        _ = try store.commit(
            StoreBatch(closedSessions: [one, SessionID(.max)], clockFloor: UnixTime(20)))
        _ = try store.commit(StoreBatch(closedSessions: [one], clockFloor: UnixTime(30)))
        #expect(try store.session(one)?.closedAt == UnixTime(20))
        #expect(try store.session(two)?.closedAt == nil)
    }

    private func clockFloor(
        _ first: any AccountStore, _ open: () throws -> any AccountStore
    ) throws {
        #expect(try first.clockFloor() == UnixTime(0))
        for (written, floor) in [(1_000, 1_000), (999, 1_000), (nil, 1_000), (1_001, 1_001)]
            as [(Int64?, Int64)]
        {
            _ = try first.commit(StoreBatch(clockFloor: written.map { UnixTime($0) }))
            #expect(try first.clockFloor() == UnixTime(floor))
        }
        first.close()
        let second = try open()
        defer { second.close() }
        _ = try second.commit(StoreBatch(clockFloor: UnixTime(5)))
        #expect(try second.clockFloor() == UnixTime(1_001))
    }

    private func secret(
        _ first: any AccountStore, _ open: () throws -> any AccountStore
    ) throws {
        let bytes: [UInt8] = [0, 255, 10, 39, 0]
        #expect(try first.secret(named: "pepper", generate: { bytes }) == bytes)
        #expect(try first.secret(named: "pepper", generate: { [9] }) == bytes)
        #expect(try first.secret(named: "other", generate: { [9] }) == [9])
        first.close()
        let second = try open()
        defer { second.close() }
        #expect(try second.secret(named: "pepper", generate: { [8] }) == bytes)
    }

    // MARK: - Scans

    private func scanAll(_ store: any AccountStore) throws {
        #expect(try store.scan(.all, limit: 5, after: nil).isEmpty)
        let keys = ["b", "a", "Z", "é", "ab"].flatMap { cap in
            [key(cap), key(cap, ["x"]), key(cap, id: 9)]
        }
        _ = try store.commit(StoreBatch(puts: keys.map { put($0, spent: 3) }))
        let expected = keys.sorted { $0.text.utf8.lexicographicallyPrecedes($1.text.utf8) }
        for limit in [1, 4, 15, 100] {
            var found: [AccountKey] = []
            while true {
                let part = try store.scan(.all, limit: limit, after: found.last)
                #expect(part.count <= limit)
                #expect(part.allSatisfy { $0.stored.account == account(spent: 3) })
                guard !part.isEmpty, found.count < 100 else { break }
                found += part.map(\.key)
            }
            #expect(found == expected, "limit \(limit)")
        }
        // A key need not exist to be continued after.
        let rest = try store.scan(.all, limit: 100, after: key("aa"))
        #expect(rest.map(\.key) == expected.filter { $0.text > key("aa").text })
    }

    private func scanPeriod(_ store: any AccountStore) throws {
        let inside = [key("a", id: 2), key("a", [""], id: 2), key("a", ["x", "y"], id: 2)]
        let outside = [
            key("a", id: 1), key("a", id: 20), key("a", ["x"], id: 20), key("a", id: -2),
            key("a", period: .hour, id: 2), key("b", id: 2), key("a|usd|day|2", id: 2),
            AccountKey(cap: "a", unit: .tokens, period: .day, periodID: 2, values: []),
        ]
        _ = try store.commit(StoreBatch(puts: (outside + inside).map { put($0, spent: 1) }))
        let period = AccountSelection.period(cap: "a", unit: .usd, period: .day, periodID: 2)
        #expect(try store.scan(period, limit: 100, after: nil).map(\.key) == inside)
        #expect(
            try store.scan(period, limit: 1, after: inside[0]).map(\.key) == [inside[1]])
        #expect(try store.scan(period, limit: 100, after: inside[2]).isEmpty)
        let none = AccountSelection.period(cap: "a", unit: .usd, period: .day, periodID: 3)
        #expect(try store.scan(none, limit: 100, after: nil).isEmpty)
    }

    // MARK: - Life

    private func durable(
        _ first: any AccountStore, _ open: () throws -> any AccountStore
    ) throws {
        let keys = (0..<100).map { key("cap", ["t\($0)"]) }
        _ = try first.commit(StoreBatch(puts: keys.map { put($0, spent: 4) }))
        _ = try first.commit(StoreBatch(puts: [put(keys[0], expected: 1, spent: 8)]))
        first.close()
        let second = try open()
        defer { second.close() }
        let loaded = try second.load(keys)
        #expect(loaded.count == 100)
        #expect(loaded[keys[0]] == VersionedAccount(version: 2, account: account(spent: 8)))
        #expect(loaded[keys[99]] == VersionedAccount(version: 1, account: account(spent: 4)))
        #expect(
            try second.commit(StoreBatch(puts: [put(keys[0], spent: 0)])).conflicts == [keys[0]])
    }

    private func closed(_ store: any AccountStore) {
        store.close()
        store.close()
        let errors = [
            storeError { () throws(StoreError) in try store.load([key()]) },
            storeError { () throws(StoreError) in try store.commit(StoreBatch()) },
            storeError { () throws(StoreError) in try store.openSession(edge: "e", at: UnixTime(1))
            },
            storeError { () throws(StoreError) in try store.session(SessionID(1)) },
            storeError { () throws(StoreError) in try store.secret(named: "s", generate: { [1] }) },
            storeError { () throws(StoreError) in try store.clockFloor() },
            storeError { () throws(StoreError) in try store.scan(.all, limit: 1, after: nil) },
        ]
        #expect(errors.map { $0?.kind } == Array(repeating: "unavailable", count: errors.count))
    }
}
