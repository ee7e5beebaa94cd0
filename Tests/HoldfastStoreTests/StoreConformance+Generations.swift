import HoldfastCore
import HoldfastLedger
import HoldfastStore
import Testing

extension StoreConformance {
    func newStore(_ first: any AccountStore, _ open: Opening) throws {
        let generation = try first.generation()
        #expect(generation.current == generation.learned && generation.current > 0)
        let early = try first.openSession(edge: "edge", at: UnixTime(1))
        #expect(early.rawValue >> 32 == generation.current)
        first.close()
        // Opening again is no reason to learn.
        let second = try open(false)
        defer { second.close() }
        #expect(try second.generation() == generation)
        let late = try second.openSession(edge: "edge", at: UnixTime(1))
        #expect(late.rawValue == early.rawValue + 1)
    }

    func restored(_ first: any AccountStore, _ open: Opening) throws {
        var issued = [try first.openSession(edge: "edge", at: UnixTime(1))]
        _ = try first.commit(StoreBatch(puts: [put(key(), spent: 5)], clockFloor: UnixTime(30)))
        var before = try first.generation()
        first.close()
        for round in 0..<3 {
            let store = try open(true)
            let after = try store.generation()
            #expect(after.current > before.current && after.learned == before.learned)
            issued.append(try store.openSession(edge: "edge", at: UnixTime(1)))
            #expect(issued[issued.count - 1].rawValue >> 32 == after.current)
            store.close()
            // It stays to be learned, whoever opens it next.
            let again = try open(false)
            #expect(try again.generation() == after, "round \(round)")
            issued.append(try again.openSession(edge: "edge", at: UnixTime(1)))
            #expect(try again.load([key()]).found[key()]?.account == account(spent: 5))
            #expect(try again.clockFloor() == UnixTime(30))
            #expect(try again.sessions(.all, limit: 99, after: nil).map(\.id) == issued)
            again.close()
            before = after
        }
        #expect(issued == issued.sorted() && Set(issued).count == issued.count)
    }

    func learned(_ first: any AccountStore, _ open: Opening) throws {
        first.close()
        var before = try life(open, isRestored: false) { try $0.generation() }
        for _ in 0..<2 {
            let after = try life(open, isRestored: true) { store in
                let current = try store.generation().current
                for tooNew in [current + 1, UInt64(Int64.max), .max] {
                    _ = try store.commit(StoreBatch(learnedGeneration: tooNew))
                    #expect(try store.generation().learned == before.learned, "\(tooNew)")
                }
                for (learned, expected) in [
                    (before.learned, before.learned), (current, current), (before.learned, current),
                    (0, current), (nil, current), (current, current),
                ] as [(UInt64?, UInt64)] {
                    _ = try store.commit(StoreBatch(learnedGeneration: learned))
                    let generation = try store.generation()
                    #expect(generation == StoreGeneration(current: current, learned: expected))
                }
                return try store.generation()
            }
            #expect(try life(open, isRestored: false) { try $0.generation() } == after)
            before = after
        }
    }

    /// One life of the store after the first.
    private func life<Value>(
        _ open: Opening, isRestored: Bool, _ body: (any AccountStore) throws -> Value
    ) throws -> Value {
        let store = try open(isRestored)
        defer { store.close() }
        return try body(store)
    }

    func adoption(_ first: any AccountStore, _ open: Opening) throws {
        let known = try first.openSession(edge: "known", at: UnixTime(10))
        let past = try first.generation().current
        let lost = SessionID(known.rawValue + 6)
        refuse(lost, first)
        first.close()
        let store = try open(true)
        defer { store.close() }
        let current = try store.generation().current
        let opened = try store.openSession(edge: "opened", at: UnixTime(11))
        for id in [
            opened.rawValue + 1, current << 32, (current + 1) << 32 + 1, .max,
            // No store issues these.
            0, 1, .max >> 32, past << 32,
        ] {
            refuse(SessionID(id), store)
        }
        let adopted = SessionRecord(
            id: lost, edge: "lost", openedAt: UnixTime(12), seenAt: UnixTime(12), closedAt: nil)
        for (edge, seconds) in [("lost", 12), ("other", 13)] as [(String, Int64)] {
            try store.adoptSession(lost, edge: edge, at: UnixTime(seconds))
            #expect(try store.session(lost) == adopted)
        }
        // One that exists is left alone, also when it is of this generation or closed.
        _ = try store.commit(StoreBatch(closedSessions: [known], clockFloor: UnixTime(14)))
        let before = try store.sessions(.all, limit: 9, after: nil)
        #expect(before.map(\.id) == [known, lost, opened])
        for id in [known, lost, opened] {
            try store.adoptSession(id, edge: "again", at: UnixTime(15))
        }
        #expect(try store.sessions(.all, limit: 9, after: nil) == before)
        // It is a session like any other, and has not moved the ids of new ones.
        let batch = StoreBatch(
            puts: [put(key(), spent: 1)], reporting: [lost], closedSessions: [lost])
        #expect(try store.commit(batch).versions == [key(): 1])
        #expect(try store.session(lost)?.closedAt == UnixTime(14))
        let next = try store.openSession(edge: "next", at: UnixTime(16))
        #expect(next.rawValue == opened.rawValue + 1)
    }

    private func refuse(_ id: SessionID, _ store: any AccountStore) {
        let error = storeError { () throws(StoreError) in
            try store.adoptSession(id, edge: "lost", at: UnixTime(12))
        }
        #expect(error?.kind == "unavailable", "\(id.rawValue)")
        #expect(error?.description.contains("session \(id.rawValue)") == true)
        #expect(storeError { () throws(StoreError) in try store.session(id) } == nil)
    }
}
