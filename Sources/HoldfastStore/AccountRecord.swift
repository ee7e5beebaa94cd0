import HoldfastCore
import HoldfastLedger

/// The stored form of one account. Integers are little endian.
///
///     OFFSET     SIZE  MEANING
///     0          1     format, 1
///     1          1     bit 0: frozen; the other bits are 0
///     2          8     base
///     10         4     n, the number of lines
///     14 + 48i   8     session of line i; ascending, each once
///     22 + 48i   8     granted
///     30 + 48i   8     released
///     38 + 48i   8     spent
///     46 + 48i   8     overrun
///     54 + 48i   8     unlocked
///     14 + 48n   4     CRC-32C of the key's text, the version (8 bytes) and all bytes before
///
/// The checksum covers key and version too, so that a sound value under the wrong key, or an old
/// one under a new version, is found as well.
enum AccountRecord {
    static let format: UInt8 = 1

    private static let headByteCount = 14
    private static let lineByteCount = 48
    private static let checksumByteCount = 4

    /// Why a row is not the account that was stored under its key.
    enum Damage: Error, Equatable, CustomStringConvertible {
        case unknownFormat(UInt8)
        case wrongLength
        case wrongChecksum
        case unknownFlags
        case linesOutOfOrder
        case amountOutOfBounds
        case wrongColumns

        var description: String {
            switch self {
            case .unknownFormat(let format): "its format \(format) is unknown"
            case .wrongLength: "its length is wrong"
            case .wrongChecksum: "its checksum is wrong"
            case .unknownFlags: "it has unknown flags"
            case .linesOutOfOrder: "its sessions are out of order"
            case .amountOutOfBounds: "it has an amount above the largest allowed"
            case .wrongColumns: "its row has values of the wrong type"
            }
        }
    }

    static func encode(_ account: StoredAccount, key: [UInt8], version: UInt64) -> [UInt8] {
        precondition(areAscending(account.lines), "lines of an account are not in order")
        let checksumOffset = headByteCount + account.lines.count * lineByteCount
        var bytes = [UInt8](repeating: 0, count: checksumOffset + checksumByteCount)
        bytes[0] = format
        bytes[1] = account.isFrozen ? 1 : 0
        bytes.withUnsafeMutableBytes { bytes in
            store(account.base.rawValue, in: bytes, at: 2)
            store(UInt32(account.lines.count), in: bytes, at: 10)
            for (index, line) in account.lines.enumerated() {
                // The ledger takes and grants no larger ones, so this would be our own mistake.
                precondition(isInBounds(line), "an amount out of bounds")
                store(line, in: bytes, at: headByteCount + index * lineByteCount)
            }
        }
        let checksum = checksum(bytes[..<checksumOffset], key: key, version: version)
        bytes.withUnsafeMutableBytes { store(checksum, in: $0, at: checksumOffset) }
        return bytes
    }

    private static func store(
        _ line: StoredAccount.Line, in bytes: UnsafeMutableRawBufferPointer, at offset: Int
    ) {
        store(line.session.rawValue, in: bytes, at: offset)
        store(line.granted.rawValue, in: bytes, at: offset + 8)
        store(line.released.rawValue, in: bytes, at: offset + 16)
        store(line.spent.rawValue, in: bytes, at: offset + 24)
        store(line.overrun.rawValue, in: bytes, at: offset + 32)
        store(line.unlocked.rawValue, in: bytes, at: offset + 40)
    }

    static func decode(
        _ bytes: [UInt8], key: [UInt8], version: UInt64
    ) throws(Damage) -> StoredAccount {
        guard let found = bytes.first else { throw .wrongLength }
        guard found == format else { throw .unknownFormat(found) }
        guard bytes.count >= headByteCount + checksumByteCount else { throw .wrongLength }
        let lineCount = Int(integer(UInt32.self, in: bytes, at: 10))
        let checksumOffset = headByteCount + lineCount * lineByteCount
        guard bytes.count == checksumOffset + checksumByteCount else { throw .wrongLength }
        guard
            integer(UInt32.self, in: bytes, at: checksumOffset)
                == checksum(bytes[..<checksumOffset], key: key, version: version)
        else { throw .wrongChecksum }
        guard bytes[1] <= 1 else { throw .unknownFlags }
        var lines: [StoredAccount.Line] = []
        lines.reserveCapacity(lineCount)
        for index in 0..<lineCount {
            lines.append(try line(in: bytes, at: headByteCount + index * lineByteCount))
        }
        guard areAscending(lines) else { throw .linesOutOfOrder }
        // The base is a sum of amounts that are each in bounds, and may itself be above the bound:
        // the ledger saturates there, and refuses everything from then on.
        return StoredAccount(
            base: Amount(integer(UInt64.self, in: bytes, at: 2)), isFrozen: bytes[1] == 1,
            lines: lines)
    }

    private static func line(
        in bytes: [UInt8], at offset: Int
    ) throws(Damage) -> StoredAccount.Line {
        let line = StoredAccount.Line(
            session: SessionID(integer(UInt64.self, in: bytes, at: offset)),
            granted: Amount(integer(UInt64.self, in: bytes, at: offset + 8)),
            released: Amount(integer(UInt64.self, in: bytes, at: offset + 16)),
            spent: Amount(integer(UInt64.self, in: bytes, at: offset + 24)),
            overrun: Amount(integer(UInt64.self, in: bytes, at: offset + 32)),
            unlocked: Amount(integer(UInt64.self, in: bytes, at: offset + 40)))
        guard isInBounds(line) else { throw .amountOutOfBounds }
        return line
    }

    private static func isInBounds(_ line: StoredAccount.Line) -> Bool {
        let bound = Amount(Limits.amountMax)
        return line.granted <= bound && line.released <= bound && line.spent <= bound
            && line.overrun <= bound && line.unlocked <= bound
    }

    private static func areAscending(_ lines: [StoredAccount.Line]) -> Bool {
        zip(lines, lines.dropFirst()).allSatisfy { $0.session < $1.session }
    }

    // MARK: - Bytes

    private static func checksum(
        _ bytes: ArraySlice<UInt8>, key: [UInt8], version: UInt64
    ) -> UInt32 {
        var crc = CRC32C()
        crc.update(key)
        withUnsafeBytes(of: version.littleEndian) { crc.update($0) }
        crc.update(bytes)
        return crc.value
    }

    private static func store<Value: FixedWidthInteger>(
        _ value: Value, in bytes: UnsafeMutableRawBufferPointer, at offset: Int
    ) {
        bytes.storeBytes(of: value.littleEndian, toByteOffset: offset, as: Value.self)
    }

    /// The caller has checked that the bytes are there.
    private static func integer<Value: FixedWidthInteger>(
        _: Value.Type, in bytes: [UInt8], at offset: Int
    ) -> Value {
        bytes.withUnsafeBytes { bytes in
            Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Value.self))
        }
    }
}
