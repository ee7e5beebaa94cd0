import HoldfastCore
import HoldfastLedger
import HoldfastStore
import Testing

extension StoreConformance {
    func clockFloor(
        _ first: any AccountStore, _ open: Opening
    ) throws {
        #expect(try first.clockFloor() == UnixTime(0))
        for (written, floor) in [(1_000, 1_000), (999, 1_000), (nil, 1_000), (1_001, 1_001)]
            as [(Int64?, Int64)]
        {
            let result = try first.commit(StoreBatch(clockFloor: written.map { UnixTime($0) }))
            #expect(result == CommitResult(clockFloor: UnixTime(floor)))
            #expect(try first.clockFloor() == UnixTime(floor))
        }
        first.close()
        let second = try open(false)
        defer { second.close() }
        _ = try second.commit(StoreBatch(clockFloor: UnixTime(5)))
        #expect(try second.clockFloor() == UnixTime(1_001))
    }

    func secret(
        _ first: any AccountStore, _ open: Opening
    ) throws {
        let bytes: [UInt8] = [0, 255, 10, 39, 0]
        #expect(try first.secret(named: "pepper", generate: { bytes }) == bytes)
        #expect(try first.secret(named: "pepper", generate: { [9] }) == bytes)
        #expect(try first.secret(named: "other", generate: { [9] }) == [9])
        first.close()
        let second = try open(false)
        defer { second.close() }
        #expect(try second.secret(named: "pepper", generate: { [8] }) == bytes)
    }

    func operatorRecords(_ first: any AccountStore, _ open: Opening) throws {
        #expect(try first.operatorRecords(limit: 5).isEmpty)
        // Not in the order of their times, which a clock that was set back would spoil.
        let records = [
            record(50, .release, session: nil, 0), record(49, .refund, session: 1 << 32, 7),
            record(48, .release, session: nil, 2), record(47, .refund, session: .max, .max),
            record(46, .refund, session: 0, 4),
        ]
        _ = try first.commit(StoreBatch(records: [records[0]]))
        _ = try first.commit(StoreBatch(records: Array(records[1...3])))
        first.close()
        let second = try open(false)
        defer { second.close() }
        _ = try second.commit(StoreBatch(records: [records[4]]))
        let newestFirst = Array(records.reversed())
        for limit in [1, 4, 5, 100] {
            #expect(try second.operatorRecords(limit: limit) == Array(newestFirst.prefix(limit)))
        }
        // What was done twice is recorded twice.
        _ = try second.commit(StoreBatch(records: [records[4], records[4]]))
        #expect(
            try second.operatorRecords(limit: 4)
                == [records[4], records[4], records[4], records[3]])
    }

    private func record(
        _ at: Int64, _ action: OperatorRecord.Action, session: UInt64?, _ amount: UInt64
    ) -> OperatorRecord {
        OperatorRecord(
            action: action, at: UnixTime(at), account: key("cap", ["x|y", "\(at)"]),
            session: session.map { SessionID($0) }, amount: Amount(amount), reason: "at \(at)")
    }

    func texts(_ store: any AccountStore) throws {
        for text in [
            "", "edge", "\u{0}", "a\u{0}b", "caf\u{E9}", "cafe\u{301}", "\u{301}x", "東京 🦊",
            "'; DROP TABLE session; --", "line\nbreak", String(repeating: "v", count: 10_000),
        ] {
            let id = try store.openSession(edge: text, at: UnixTime(1))
            _ = try store.commit(
                StoreBatch(records: [
                    OperatorRecord(
                        action: .refund, at: UnixTime(1), account: key("cap", [text]), session: id,
                        amount: .zero, reason: text)
                ]))
            let record = try store.operatorRecords(limit: 1).first
            let comment = Comment("\(text.prefix(30))")
            #expect(record?.reason.utf8.elementsEqual(text.utf8) == true, comment)
            #expect(record?.account == key("cap", [text]), comment)
            let edge = try store.session(id)?.edge
            #expect(edge?.utf8.elementsEqual(text.utf8) == true, comment)
        }
    }

    func durable(
        _ first: any AccountStore, _ open: Opening
    ) throws {
        let keys = (0..<100).map { key("cap", ["t\($0)"]) }
        _ = try first.commit(StoreBatch(puts: keys.map { put($0, spent: 4) }))
        _ = try first.commit(StoreBatch(puts: [put(keys[0], expected: 1, spent: 8)]))
        first.close()
        let second = try open(false)
        defer { second.close() }
        let loaded = try second.load(keys)
        #expect(loaded.damaged.isEmpty)
        #expect(loaded.found.count == 100)
        #expect(loaded.found[keys[0]] == VersionedAccount(version: 2, account: account(spent: 8)))
        #expect(loaded.found[keys[99]] == VersionedAccount(version: 1, account: account(spent: 4)))
        #expect(
            try second.commit(StoreBatch(puts: [put(keys[0], spent: 0)])).conflicts == [keys[0]])
    }

    func closed(_ store: any AccountStore) {
        store.close()
        store.close()
        let errors = [
            storeError { () throws(StoreError) in try store.load([key()]) },
            storeError { () throws(StoreError) in try store.commit(StoreBatch()) },
            storeError { () throws(StoreError) in try store.openSession(edge: "e", at: UnixTime(1))
            },
            storeError { () throws(StoreError) in
                try store.adoptSession(SessionID(1), edge: "e", at: UnixTime(1))
            },
            storeError { () throws(StoreError) in try store.session(SessionID(1)) },
            storeError { () throws(StoreError) in
                try store.sessions(.all, limit: 1, after: SessionID(0))
            },
            storeError { () throws(StoreError) in try store.generation() },
            storeError { () throws(StoreError) in try store.operatorRecords(limit: 1) },
            storeError { () throws(StoreError) in try store.secret(named: "s", generate: { [1] }) },
            storeError { () throws(StoreError) in try store.clockFloor() },
            storeError { () throws(StoreError) in try store.scan(.all, limit: 1, after: nil) },
        ]
        #expect(errors.map { $0?.kind } == Array(repeating: "unavailable", count: errors.count))
    }
}
