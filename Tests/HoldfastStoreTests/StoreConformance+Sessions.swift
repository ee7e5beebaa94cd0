import HoldfastCore
import HoldfastLedger
import HoldfastStore
import Testing

extension StoreConformance {
    func sessions(
        _ first: any AccountStore, _ open: Opening
    ) throws {
        let early = try (0..<3).map { try first.openSession(edge: "e\($0)", at: UnixTime(100)) }
        _ = try first.commit(StoreBatch(closedSessions: early))
        first.close()
        let second = try open(false)
        defer { second.close() }
        let late = try second.openSession(edge: "e0", at: UnixTime(90))
        let all = early + [late]
        #expect(all == all.sorted() && Set(all).count == 4)
        #expect(all[0] > SessionID(0))
        #expect(
            try second.session(late)
                == SessionRecord(
                    id: late, edge: "e0", openedAt: UnixTime(90), seenAt: UnixTime(90),
                    closedAt: nil))
        for unknown in [late.rawValue + 1, 0, 1, 1 << 32, .max] {
            #expect(try second.session(SessionID(unknown)) == nil, "\(unknown)")
        }
    }

    func closedSession(_ store: any AccountStore) throws {
        let one = try store.openSession(edge: "one", at: UnixTime(10))
        let two = try store.openSession(edge: "two", at: UnixTime(11))
        _ = try store.commit(
            StoreBatch(closedSessions: [one, SessionID(.max)], clockFloor: UnixTime(20)))
        _ = try store.commit(StoreBatch(closedSessions: [one], clockFloor: UnixTime(30)))
        #expect(try store.session(one)?.closedAt == UnixTime(20))
        #expect(try store.session(two)?.closedAt == nil)
    }

    func goneReporter(_ store: any AccountStore) throws {
        let ids = try (0..<3).map { try store.openSession(edge: "e\($0)", at: UnixTime(1)) }
        _ = try store.commit(StoreBatch(closedSessions: [ids[1]], clockFloor: UnixTime(5)))
        let unknown = SessionID(ids[2].rawValue + 1)
        for (reporting, gone) in [
            ([ids[1]], [ids[1]]), ([unknown], [unknown]), ([SessionID(0)], [SessionID(0)]),
            ([SessionID(.max)], [SessionID(.max)]),
            // In the order of the batch, without those that are open.
            ([unknown, ids[0], ids[1], ids[2]], [unknown, ids[1]]),
        ] {
            let batch = StoreBatch(
                puts: [put(key(), spent: 3)], reporting: reporting, closedSessions: [ids[2]],
                clockFloor: UnixTime(9))
            #expect(
                try store.commit(batch)
                    == CommitResult(closedSessions: gone, clockFloor: UnixTime(5)))
            #expect(try store.load([key()]) == LoadResult())
            #expect(try store.clockFloor() == UnixTime(5))
            #expect(try store.session(ids[2])?.closedAt == nil)
        }
        // Its last report comes with its end.
        let last = StoreBatch(
            puts: [put(key(), spent: 3)], reporting: [ids[0], ids[2]], closedSessions: [ids[2]])
        #expect(
            try store.commit(last)
                == CommitResult(written: [.init(key(), 1)], clockFloor: UnixTime(5)))
        #expect(try store.session(ids[2])?.closedAt == UnixTime(5))
        #expect(try store.session(ids[0])?.closedAt == nil)
    }

    func closingConflict(_ store: any AccountStore) throws {
        let session = try store.openSession(edge: "edge", at: UnixTime(1))
        let keys = (0..<3).map { key("cap\($0)") }
        _ = try store.commit(StoreBatch(puts: [put(keys[1], spent: 1)]))
        var batch = StoreBatch(puts: keys.map { put($0, spent: 2) }, closedSessions: [session])
        #expect(try store.commit(batch) == CommitResult(conflicts: [keys[1]]))
        #expect(try store.load(keys).found.mapValues(\.version) == [keys[1]: 1])
        #expect(try store.session(session)?.closedAt == nil)
        batch.puts[1].expected = 1
        #expect(
            try store.commit(batch)
                == CommitResult(
                    written: [.init(keys[0], 1), .init(keys[1], 2), .init(keys[2], 1)]))
        #expect(try store.session(session)?.closedAt == UnixTime(0))
        // Also when it was closed before.
        batch.clockFloor = UnixTime(7)
        #expect(try store.commit(batch) == CommitResult(conflicts: keys))
        #expect(try store.clockFloor() == UnixTime(0))
    }

    func seenSession(_ first: any AccountStore, _ open: Opening) throws {
        let ids = try (0..<3).map { try first.openSession(edge: "e\($0)", at: UnixTime(100)) }
        for (floor, seen, expected) in [
            // Opened by a clock that was ahead of the floor.
            (90, [0], [100, 100, 100]), (150, [0, 1], [150, 150, 100]),
            (140, [2], [150, 150, 150]), (200, [], [150, 150, 150]),
            (nil, [1], [150, 200, 150]), (nil, [1, 1], [150, 200, 150]),
        ] as [(Int64?, [Int], [Int64])] {
            _ = try first.commit(
                StoreBatch(
                    seenSessions: seen.map { ids[$0] } + [SessionID(7), SessionID(.max)],
                    clockFloor: floor.map { UnixTime($0) }))
            let seenAt = try first.sessions(.all, limit: 9, after: nil).map(\.seenAt.seconds)
            #expect(seenAt == expected, "floor \(floor.map(String.init) ?? "as it was")")
        }
        let before = try first.sessions(.all, limit: 9, after: nil)
        #expect(before.map(\.openedAt) == Array(repeating: UnixTime(100), count: 3))
        first.close()
        let second = try open(false)
        defer { second.close() }
        #expect(try second.sessions(.all, limit: 9, after: nil) == before)
    }

    func sessionPages(_ store: any AccountStore) throws {
        #expect(try store.sessions(.all, limit: 5, after: nil).isEmpty)
        let ids = try (0..<7).map { try store.openSession(edge: "e\($0)", at: UnixTime(9 - $0)) }
        for limit in [1, 3, 7, 100] {
            var found: [SessionRecord] = []
            while found.count < 100 {
                let part = try store.sessions(.all, limit: limit, after: found.last?.id)
                #expect(part.count <= limit)
                if part.isEmpty { break }
                found += part
            }
            #expect(found.map(\.id) == ids, "limit \(limit)")
            #expect(found.map(\.edge) == (0..<7).map { "e\($0)" })
        }
        // An id need not exist to be continued after.
        #expect(try store.sessions(.all, limit: 9, after: SessionID(0)).map(\.id) == ids)
        #expect(try store.sessions(.all, limit: 9, after: SessionID(.max)).isEmpty)
    }

    func sessionSelection(_ store: any AccountStore) throws {
        let ids = try (0..<6).map { try store.openSession(edge: "e\($0)", at: UnixTime(10)) }
        _ = try store.commit(
            StoreBatch(
                closedSessions: [ids[0], ids[4]], seenSessions: [ids[1], ids[4]],
                clockFloor: UnixTime(20)))
        try check(.all, [0, 1, 2, 3, 4, 5])
        try check(.open, [1, 2, 3, 5])
        try check(.openUnseen(since: UnixTime(10)), [])
        try check(.openUnseen(since: UnixTime(11)), [2, 3, 5])
        try check(.openUnseen(since: UnixTime(20)), [2, 3, 5])
        try check(.openUnseen(since: UnixTime(21)), [1, 2, 3, 5])
        #expect(
            try store.sessions(.openUnseen(since: UnixTime(11)), limit: 1, after: ids[2])
                .map(\.id) == [ids[3]])
        #expect(try store.sessions(.open, limit: 2, after: ids[1]).map(\.id) == [ids[2], ids[3]])
        func check(_ selection: SessionSelection, _ expected: [Int]) throws {
            let found = try store.sessions(selection, limit: 9, after: nil)
            #expect(found.map(\.id) == expected.map { ids[$0] }, "\(selection)")
        }
    }
}
