/// CRC-32 (IEEE: reflected polynomial 0xEDB88320), which the frames of AWS event streams carry.
///
/// The sibling of `CRC32C`: same method, another polynomial, and only whole byte strings.
enum CRC32 {
    /// Eight bytes at a time, each in a table of what it becomes when those behind it have passed.
    static func of(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        tables.withUnsafeBufferPointer { tables in
            var state = UInt32.max
            var offset = 0
            while bytes.count - offset >= width {
                let next = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                let word = UInt64(littleEndian: next) ^ UInt64(state)
                var folded: UInt32 = 0
                for position in 0..<width {
                    let byte = Int(truncatingIfNeeded: word >> UInt64(8 * position) & 0xFF)
                    folded ^= tables[(width - 1 - position) << 8 | byte]
                }
                state = folded
                offset += width
            }
            while offset < bytes.count {
                let index = UInt8(truncatingIfNeeded: state) ^ bytes[offset]
                state = tables[Int(index)] ^ (state >> 8)
                offset += 1
            }
            return ~state
        }
    }

    private static let width = 8

    /// `width` tables of 256: the first for a byte, the others for one that so many bytes follow.
    private static let tables: [UInt32] = {
        var tables = (0..<256).map { index in
            (0..<8).reduce(UInt32(index)) { remainder, _ in
                (remainder >> 1) ^ (remainder & 1 == 1 ? 0xEDB8_8320 : 0)
            }
        }
        for index in 256..<256 * width {
            let shorter = tables[index - 256]
            tables.append(tables[Int(UInt8(truncatingIfNeeded: shorter))] ^ (shorter >> 8))
        }
        return tables
    }()
}
