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
            overrun: Amount(2))
        let bytes = AccountRecord.encode(
            StoredAccount(base: Amount(0x0708), isFrozen: true, lines: [line]), key: keyBytes,
            version: 1)
        let expected: [UInt8] =
            [1, 1] + [8, 7, 0, 0, 0, 0, 0, 0] + [1, 0, 0, 0] + [2, 1, 0, 0, 0, 0, 0, 0]
            + [5, 0, 0, 0, 0, 0, 0, 0] + [4, 0, 0, 0, 0, 0, 0, 0] + [3, 0, 0, 0, 0, 0, 0, 0]
            + [2, 0, 0, 0, 0, 0, 0, 0]
        #expect(Array(bytes.dropLast(4)) == expected)
    }

    @Test func `every flipped bit is found`() throws {
        let bytes = AccountRecord.encode(account(spent: 9, sessions: 3), key: keyBytes, version: 7)
        for index in bytes.indices {
            for bit in 0..<8 {
                var damaged = bytes
                damaged[index] ^= 1 << bit
                #expect(throws: AccountRecord.Damage.self, "byte \(index), bit \(bit)") {
                    try AccountRecord.decode(damaged, key: keyBytes, version: 7)
                }
            }
        }
        #expect(
            try AccountRecord.decode(bytes, key: keyBytes, version: 7)
                == account(spent: 9, sessions: 3))
    }

    @Test func `every other length is found`() {
        let bytes = AccountRecord.encode(account(spent: 9, sessions: 2), key: keyBytes, version: 7)
        for count in 0..<bytes.count {
            #expect(throws: AccountRecord.Damage.self, "\(count) bytes") {
                try AccountRecord.decode(Array(bytes.prefix(count)), key: keyBytes, version: 7)
            }
        }
        check(bytes + [0], .wrongLength)
    }

    @Test func `a record under another key or version is found`() {
        let bytes = AccountRecord.encode(account(spent: 9), key: keyBytes, version: 7)
        check(bytes, version: 8, .wrongChecksum)
        check(bytes, version: 6, .wrongChecksum)
        check(bytes, key: keyBytes.dropLast(), .wrongChecksum)
    }

    @Test func `a record that no ledger writes is refused although its checksum is right`() {
        let bytes = AccountRecord.encode(
            account(spent: 9, sessions: 2), key: keyBytes, version: 7)
        check(sealed(bytes) { $0[0] = 2 }, .unknownFormat(2))
        check(sealed(bytes) { $0[1] = 2 }, .unknownFlags)
        // One above 2^60, in each of the amounts of the second line.
        for offset in stride(from: 62, through: 86, by: 8) {
            check(
                sealed(bytes) {
                    $0[offset + 7] = 0x10
                    $0[offset] = 1
                }, .amountOutOfBounds)
        }
        check(sealed(bytes) { $0[54] = 1 }, .linesOutOfOrder)
        check(sealed(bytes) { $0[54] = 0 }, .linesOutOfOrder)
        check(sealed(bytes) { _ in }, nil)
    }

    @Test func `an amount above the bound stops the process instead of being stored`() async {
        await #expect(processExitsWith: .failure) {
            var broken = account(spent: 9)
            broken.lines[0].spent = Amount(Limits.amountMax + 1)
            _ = AccountRecord.encode(broken, key: [], version: 1)
        }
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
        var damage: AccountRecord.Damage?
        do throws(AccountRecord.Damage) {
            _ = try AccountRecord.decode(bytes, key: key ?? keyBytes, version: version)
        } catch {
            damage = error
        }
        #expect(damage == expected, sourceLocation: sourceLocation)
    }
}
