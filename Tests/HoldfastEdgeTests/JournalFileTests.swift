import HoldfastCore
import Testing

@testable import HoldfastEdge

@Suite struct JournalFileTests {
    private static let header = JournalFile.Header(
        session: SessionID(4_294_967_298), device: 7, inode: 99, madeAt: 1_000_000,
        mark: Array(0..<32))

    private static func key(_ user: String) -> AccountKey {
        AccountKey(cap: "each|user", unit: .usd, period: .day, periodID: 20_778, values: [user])
    }

    private static func entry(_ user: String, _ unlocked: UInt64) -> JournalFile.Entry {
        JournalFile.Entry(key: key(user), unlocked: Amount(unlocked))
    }

    private static let batches = [
        JournalFile.Batch(
            sequence: 1, wall: 1_000_100, boot: 50, entries: [entry("ann", 10), entry("bob", 20)]),
        JournalFile.Batch(sequence: 2, wall: 1_000_200, boot: 150),
        JournalFile.Batch(
            sequence: 3, wall: 1_000_300, boot: 250, entries: [entry("ann", 30), entry("zoë", 5)]),
        JournalFile.Batch(
            sequence: 4, wall: 1_009_000, boot: 8_950,
            entries: [entry("bob", 15), entry("ann", Limits.amountMax)]),
    ]

    private static func file(_ batches: [JournalFile.Batch] = batches) -> [UInt8] {
        JournalFile.encode(header) + batches.flatMap { JournalFile.encode($0) }
    }

    /// The largest of each account by `count` whole batches.
    private static func unlocked(_ count: Int) -> [AccountKey: UInt64] {
        var all: [AccountKey: UInt64] = [:]
        for entry in batches.prefix(count).flatMap(\.entries) {
            all[entry.key] = max(all[entry.key] ?? 0, entry.unlocked.rawValue)
        }
        return all
    }

    private static func found(_ reading: JournalFile.Reading) -> [AccountKey: UInt64] {
        Dictionary(uniqueKeysWithValues: reading.entries.map { ($0.key, $0.unlocked.rawValue) })
    }

    @Test func `what was written is read, the newest account first`() throws {
        let bytes = Self.file()
        let reading = try JournalFile.decode(bytes)
        #expect(reading.header == Self.header)
        #expect(
            reading.entries == [
                Self.entry("ann", Limits.amountMax), Self.entry("bob", 20), Self.entry("zoë", 5),
            ])
        #expect(reading.wall == 1_009_000)
        #expect(reading.batchCount == 4)
        #expect(reading.soundByteCount == bytes.count)
        #expect(!reading.isTorn)
    }

    @Test func `a checksum is the known one`() {
        // RFC 3720, B.4.
        #expect(CRC32C.of(Array("123456789".utf8)[...]) == 0xE306_9283)
        #expect(CRC32C.of([UInt8](repeating: 0, count: 32)[...]) == 0x8A91_36AA)
    }

    @Test func `a file cut at any byte says what its whole batches say`() throws {
        let bytes = Self.file()
        var ends = [JournalFile.headerByteCount]
        for batch in Self.batches {
            ends.append((ends.last ?? 0) + JournalFile.encode(batch).count)
        }
        for count in 0..<bytes.count {
            let cut = Array(bytes[..<count])
            guard count >= JournalFile.headerByteCount else {
                #expect(throws: JournalFile.Doubt.self) { try JournalFile.decode(cut) }
                continue
            }
            let reading = try JournalFile.decode(cut)
            let whole = ends.count { $0 <= count } - 1
            #expect(Self.found(reading) == Self.unlocked(whole), "cut at \(count)")
            #expect(reading.isTorn == !ends.contains(count), "cut at \(count)")
            #expect(reading.soundByteCount == ends[whole], "cut at \(count)")
            // A batch that was cut says when, if so much of it is there.
            let isDated = count >= ends[whole] + JournalFile.batchHeaderByteCount
            let newest = Self.batches.prefix(isDated ? whole + 1 : whole).last
            #expect(reading.wall == newest?.wall ?? Self.header.madeAt, "cut at \(count)")
        }
    }

    /// A flipped bit is noticed everywhere; in the last batch it looks like a write that was cut,
    /// and the batches before it count.
    @Test func `no flipped bit is taken for the truth`() throws {
        let bytes = Self.file()
        let last = bytes.count - JournalFile.encode(Self.batches[3]).count
        var tornCount = 0
        for index in bytes.indices {
            for bit in 0..<8 {
                var flipped = bytes
                flipped[index] ^= 1 << bit
                do throws(JournalFile.Doubt) {
                    let reading = try JournalFile.decode(flipped)
                    #expect(index >= last && reading.isTorn, "bit \(bit) of byte \(index)")
                    #expect(Self.found(reading) == Self.unlocked(3), "bit \(bit) of byte \(index)")
                    tornCount += 1
                } catch {
                    #expect(index < last, "bit \(bit) of byte \(index): \(error)")
                }
            }
        }
        #expect(tornCount == (bytes.count - last) * 8)
    }

    @Test func `zeros after the end are an end that was cut`() throws {
        let reading = try JournalFile.decode(Self.file() + [UInt8](repeating: 0, count: 4_096))
        #expect(reading.isTorn)
        #expect(Self.found(reading) == Self.unlocked(4))
    }

    @Test func `a batch that is missing, repeated or of another process is damage`() {
        let sound = Self.batches
        var earlier = sound[3]
        earlier.boot = 0
        let rows: [(name: String, batches: [JournalFile.Batch])] = [
            ("the first is missing", Array(sound[1...])),
            ("one is missing", [sound[0], sound[2], sound[3]]),
            ("one is repeated", [sound[0], sound[1], sound[1]]),
            ("two are swapped", [sound[1], sound[0]]),
            ("its machine had just started", [sound[0], sound[1], sound[2], earlier]),
        ]
        for row in rows {
            #expect(throws: JournalFile.Doubt.self, "\(row.name)") {
                try JournalFile.decode(Self.file(row.batches))
            }
        }
    }

    @Test func `another version is named`() {
        for version in [0, 2, 255] as [UInt8] {
            var bytes = Self.file()
            bytes[8] = version
            #expect(throws: JournalFile.Doubt.unknownVersion(UInt32(version))) {
                try JournalFile.decode(bytes)
            }
        }
    }

    @Test func `only the file itself as it was left is believed`() {
        func check(
            _ expected: JournalFile.Doubt?, device: UInt64 = 7, inode: UInt64 = 99,
            changedAt: Int64,
            at location: SourceLocation = #_sourceLocation
        ) {
            var doubt: JournalFile.Doubt?
            do throws(JournalFile.Doubt) {
                _ = try JournalFile.inspect(
                    Self.file(), device: device, inode: inode, changedAt: changedAt)
            } catch {
                doubt = error
            }
            #expect(doubt == expected, sourceLocation: location)
        }
        check(nil, changedAt: 1_009_000)
        check(nil, changedAt: 1_011_000)
        check(nil, changedAt: 1_007_000)
        check(.changedLater(milliseconds: 2_001), changedAt: 1_011_001)
        check(.changedEarlier(milliseconds: 2_001), changedAt: 1_006_999)
        check(.copied, device: 8, changedAt: 1_009_000)
        check(.copied, inode: 100, changedAt: 1_009_000)
        check(.changedLater(milliseconds: .max - 1_009_000), changedAt: .max)
    }
}
