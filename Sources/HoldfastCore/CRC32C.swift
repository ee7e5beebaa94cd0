/// CRC-32C (Castagnoli: reflected polynomial 0x82F63B78), which finds every error burst of up to 32
/// bits, and with it every damaged byte.
///
/// Guards against faults of disks and memory, not against an attacker.
public struct CRC32C: Sendable {
    private var state: UInt32 = .max

    public init() {}

    public static func of(_ bytes: some Sequence<UInt8>) -> UInt32 {
        var crc = CRC32C()
        crc.update(bytes)
        return crc.value
    }

    public var value: UInt32 { ~state }

    public mutating func update(_ bytes: some Sequence<UInt8>) {
        // Not byte by byte through a protocol: a counter sums up every account that it writes.
        if let state = bytes.withContiguousStorageIfAvailable({ folding($0) }) {
            self.state = state
        } else {
            for byte in bytes { state = Self.step(state, byte) }
        }
    }

    // MARK: - Tables

    /// Eight bytes at a time, each in a table of what it becomes when those behind it have passed.
    private func folding(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt32 {
        Self.tables.withUnsafeBufferPointer { tables in
            let bytes = UnsafeRawBufferPointer(bytes)
            var state = state
            var offset = 0
            while bytes.count - offset >= Self.width {
                let next = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                let word = UInt64(littleEndian: next) ^ UInt64(state)
                var folded: UInt32 = 0
                for position in 0..<Self.width {
                    let byte = Int(truncatingIfNeeded: word >> UInt64(8 * position) & 0xFF)
                    folded ^= tables[(Self.width - 1 - position) << 8 | byte]
                }
                state = folded
                offset += Self.width
            }
            return bytes[offset...].reduce(state) { Self.step($0, $1) }
        }
    }

    private static func step(_ state: UInt32, _ byte: UInt8) -> UInt32 {
        tables[Int(UInt8(truncatingIfNeeded: state) ^ byte)] ^ (state >> 8)
    }

    private static let width = 8

    /// `width` tables of 256: the first for a byte, the others for one that so many bytes follow.
    private static let tables: [UInt32] = {
        var tables = (0..<256).map { index in
            (0..<8).reduce(UInt32(index)) { remainder, _ in
                (remainder >> 1) ^ (remainder & 1 == 1 ? 0x82F6_3B78 : 0)
            }
        }
        for index in 256..<256 * width {
            let shorter = tables[index - 256]
            tables.append(tables[Int(UInt8(truncatingIfNeeded: shorter))] ^ (shorter >> 8))
        }
        return tables
    }()
}
