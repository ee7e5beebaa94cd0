import HoldfastCore
import HoldfastLedger
import Testing

@testable import HoldfastStore

@Suite struct `Account record` {
    private let keyBytes = Array(key("cap", ["acme"]).text.utf8)

    @Test func `the checksum has the published values`() {
        // RFC 3720, B.4, and the usual check string.
        check([], 0)
        check(Array("123456789".utf8), 0xE306_9283)
        check(Array(repeating: 0, count: 32), 0x8A91_36AA)
        check(Array(repeating: 255, count: 32), 0x62A8_AB43)
        check(Array(0..<32), 0x46DD_794E)
        check(Array((0..<32).reversed()), 0x113F_DB5C)
        func check(_ bytes: [UInt8], _ expected: UInt32) {
            var crc = CRC32C()
            crc.update(bytes.prefix(5))
            crc.update(bytes.dropFirst(5))
            #expect(crc.value == expected)
        }
    }

    @Test func `the layout is the documented one`() {
        let line = StoredAccount.Line(
            session: SessionID(0x0102), granted: Amount(5), released: Amount(4), spent: Amount(3),
            overrun: Amount(2), unlocked: Amount(0x0A09))
        let bytes = AccountRecord.encode(
            StoredAccount(base: Amount(0x0708), isFrozen: true, lines: [line]), key: keyBytes,
            version: 1)
        let expected: [UInt8] =
            [1, 1] + [8, 7, 0, 0, 0, 0, 0, 0] + [1, 0, 0, 0] + [2, 1, 0, 0, 0, 0, 0, 0]
            + [5, 0, 0, 0, 0, 0, 0, 0] + [4, 0, 0, 0, 0, 0, 0, 0] + [3, 0, 0, 0, 0, 0, 0, 0]
            + [2, 0, 0, 0, 0, 0, 0, 0] + [9, 10, 0, 0, 0, 0, 0, 0]
        #expect(Array(bytes.dropLast(4)) == expected)
    }

    @Test func `every combination of boundary amounts comes back`() throws {
        let amounts = [0, 1, Limits.amountMax - 1, Limits.amountMax].map { Amount($0) }
        var count = 0
        for granted in amounts {
            for released in amounts {
                for spent in amounts {
                    for overrun in amounts {
                        // The unlocked amount takes turns, so that each value meets each other.
                        count += 1
                        let line = StoredAccount.Line(
                            session: SessionID(.max), granted: granted, released: released,
                            spent: spent, overrun: overrun, unlocked: amounts[count / 3 % 4])
                        try expectRoundTrip([line], base: amounts[count % 4])
                    }
                }
            }
        }
        #expect(count == 256)
        for base in [0, 1, Limits.amountMax, .max - 1, .max] as [UInt64] {
            for lineCount in [0, 1, 2, 3, 17, 1_000] as [UInt64] {
                let lines = account(spent: 9, sessions: lineCount).lines
                try expectRoundTrip(lines, base: Amount(base))
            }
        }
    }

    private func expectRoundTrip(_ lines: [StoredAccount.Line], base: Amount) throws {
        for isFrozen in [false, true] {
            let account = StoredAccount(base: base, isFrozen: isFrozen, lines: lines)
            for version in [1, .max] as [UInt64] {
                let bytes = AccountRecord.encode(account, key: keyBytes, version: version)
                #expect(bytes.count == 18 + 48 * lines.count)
                #expect(
                    try AccountRecord.decode(bytes, key: keyBytes, version: version) == account)
            }
        }
    }

    /// Frozen or not, without lines, with one and with several.
    private var samples: [StoredAccount] {
        [0, 1, 3].flatMap { sessions in
            [false, true].map { account(spent: 9, sessions: sessions, isFrozen: $0) }
        }
    }

    @Test func `every flipped bit is found`() throws {
        for sample in samples {
            let bytes = AccountRecord.encode(sample, key: keyBytes, version: 7)
            for bit in 0..<bytes.count * 8 {
                let found = damage(flipped(bytes, bit), key: keyBytes, version: 7)
                #expect(found != nil, "bit \(bit) of \(bytes.count) bytes")
            }
            for bit in 0..<keyBytes.count * 8 {
                let found = damage(bytes, key: flipped(keyBytes, bit), version: 7)
                #expect(found == .wrongChecksum, "bit \(bit) of the key")
            }
            for bit in 0..<64 {
                let found = damage(bytes, key: keyBytes, version: 7 ^ 1 << UInt64(bit))
                #expect(found == .wrongChecksum, "bit \(bit) of the version")
            }
            #expect(try AccountRecord.decode(bytes, key: keyBytes, version: 7) == sample)
        }
    }

    @Test func `every two flipped bits are found`() {
        let bytes = AccountRecord.encode(
            account(spent: 9, sessions: 1), key: keyBytes, version: 7)
        var undetected: [(Int, Int)] = []
        for first in 0..<bytes.count * 8 {
            let once = flipped(bytes, first)
            for second in 0..<first
            where damage(flipped(once, second), key: keyBytes, version: 7) == nil {
                undetected.append((first, second))
            }
        }
        #expect(undetected.isEmpty)
    }

    @Test func `what passes for an account is what would be written for it`() throws {
        // With the checksum made right again, a flipped bit is refused for what it means, or is
        // another account that a ledger could have written.
        var refusedCount = 0
        for sample in samples {
            let bytes = AccountRecord.encode(sample, key: keyBytes, version: 7)
            for bit in 0..<(bytes.count - 4) * 8 {
                let changed = sealed(flipped(bytes, bit)) { _ in }
                guard damage(changed, key: keyBytes, version: 7) == nil else {
                    refusedCount += 1
                    continue
                }
                let decoded = try AccountRecord.decode(changed, key: keyBytes, version: 7)
                #expect(decoded != sample)
                #expect(AccountRecord.encode(decoded, key: keyBytes, version: 7) == changed)
            }
        }
        // At least: 8 bits of the format, 7 of the flags, 32 of the count, each time; 4 of each of
        // the 5 amounts of each of the 8 lines, where the highest bits are.
        #expect(refusedCount >= samples.count * 47 + 8 * 5 * 3)
    }

    @Test func `every other length is found`() {
        for sample in samples {
            let bytes = AccountRecord.encode(sample, key: keyBytes, version: 7)
            for count in 0..<bytes.count {
                let found = damage(Array(bytes.prefix(count)), key: keyBytes, version: 7)
                #expect(found == .wrongLength, "\(count) of \(bytes.count) bytes")
                // Cut off in front.
                let rest = Array(bytes.suffix(count))
                #expect(damage(rest, key: keyBytes, version: 7) != nil, "last \(count)")
            }
            for count in 1...100 {
                check(bytes + Array(repeating: 0, count: count), .wrongLength)
            }
        }
    }

    @Test func `a count of lines that cannot be is found`() {
        for lineCount in [1, 3, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, .max] as [UInt32] {
            let bytes = AccountRecord.encode(
                account(spent: 9, sessions: 2), key: keyBytes, version: 7)
            let changed = sealed(bytes) { body in
                for index in 0..<4 {
                    body[10 + index] = UInt8(truncatingIfNeeded: lineCount >> (index * 8))
                }
            }
            check(changed, .wrongLength)
        }
    }

    @Test func `bytes that are no record at all are refused`() {
        // A linear congruential generator: any noise will do, the same each time.
        var state: UInt64 = 2_026
        for round in 0..<20_000 {
            var bytes: [UInt8] = []
            for _ in 0..<round % 130 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                bytes.append(UInt8(truncatingIfNeeded: state >> 56))
            }
            if round.isMultiple(of: 2), !bytes.isEmpty { bytes[0] = AccountRecord.format }
            #expect(damage(bytes, key: keyBytes, version: 7) != nil, "round \(round)")
        }
    }

    @Test func `a record under another key or version is found`() {
        let bytes = AccountRecord.encode(account(spent: 9), key: keyBytes, version: 7)
        check(bytes, version: 8, .wrongChecksum)
        check(bytes, version: 6, .wrongChecksum)
        check(bytes, key: keyBytes.dropLast(), .wrongChecksum)
        check(bytes, key: [], .wrongChecksum)
        check(bytes, key: keyBytes + [0], .wrongChecksum)
    }

    @Test func `a record that no ledger writes is refused although its checksum is right`() {
        let bytes = AccountRecord.encode(
            account(spent: 9, sessions: 2), key: keyBytes, version: 7)
        for format in 0...UInt8.max where format != AccountRecord.format {
            check(sealed(bytes) { $0[0] = format }, .unknownFormat(format))
            check([format] + bytes.dropFirst(), .unknownFormat(format))
        }
        for flags in 2...UInt8.max { check(sealed(bytes) { $0[1] = flags }, .unknownFlags) }
        for line in 0..<2 {
            for amount in 0..<5 {
                let offset = 14 + 48 * line + 8 * (amount + 1)
                for (value, expected) in [
                    (Limits.amountMax, nil), (Limits.amountMax + 1, .amountOutOfBounds),
                    (1 << 61, .amountOutOfBounds), (1 << 63, .amountOutOfBounds),
                    (.max, .amountOutOfBounds),
                ] as [(UInt64, AccountRecord.Damage?)] {
                    check(sealed(bytes) { write(value, to: &$0, at: offset) }, expected)
                }
            }
        }
        // The second session: below, equal to and above the first.
        for (session, expected) in [(0, .linesOutOfOrder), (1, .linesOutOfOrder), (2, nil)]
            as [(UInt64, AccountRecord.Damage?)]
        {
            check(sealed(bytes) { write(session, to: &$0, at: 62) }, expected)
        }
        check(sealed(bytes) { _ in }, nil)
    }

    @Test func `what must not be stored stops the process instead`() async {
        await #expect(processExitsWith: .failure) {
            var broken = account(spent: 9)
            broken.lines[0].spent = Amount(Limits.amountMax + 1)
            _ = AccountRecord.encode(broken, key: [], version: 1)
        }
        await #expect(processExitsWith: .failure) {
            var broken = account(spent: 9)
            broken.lines[0].unlocked = Amount(.max)
            _ = AccountRecord.encode(broken, key: [], version: 1)
        }
        await #expect(processExitsWith: .failure) {
            var broken = account(spent: 9, sessions: 2)
            broken.lines.swapAt(0, 1)
            _ = AccountRecord.encode(broken, key: [], version: 1)
        }
    }

    private func write(_ value: UInt64, to bytes: inout [UInt8], at offset: Int) {
        for index in 0..<8 {
            bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (index * 8))
        }
    }

    private func flipped(_ bytes: [UInt8], _ bit: Int) -> [UInt8] {
        var bytes = bytes
        bytes[bit / 8] ^= 1 << (bit % 8)
        return bytes
    }

    private func sealed(_ bytes: [UInt8], _ change: (inout [UInt8]) -> Void) -> [UInt8] {
        var body = Array(bytes.dropLast(4))
        change(&body)
        var crc = CRC32C()
        crc.update(keyBytes)
        crc.update([7, 0, 0, 0, 0, 0, 0, 0])
        crc.update(body)
        return body + (0..<4).map { UInt8(truncatingIfNeeded: crc.value >> ($0 * 8)) }
    }

    private func check(
        _ bytes: [UInt8], key: [UInt8]? = nil, version: UInt64 = 7,
        _ expected: AccountRecord.Damage?,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let damage = damage(bytes, key: key ?? keyBytes, version: version)
        #expect(damage == expected, sourceLocation: sourceLocation)
    }

    /// `nil` when the bytes are taken for an account.
    private func damage(
        _ bytes: [UInt8], key: [UInt8], version: UInt64
    ) -> AccountRecord.Damage? {
        do throws(AccountRecord.Damage) {
            _ = try AccountRecord.decode(bytes, key: key, version: version)
            return nil
        } catch {
            return error
        }
    }
}
