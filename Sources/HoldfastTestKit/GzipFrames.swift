/// Gzip (RFC 1952) in stored blocks: valid for every reader, and needs no compressor.
struct GzipFrames {
    private var checksum = CyclicChecksum()
    private var byteCount: UInt32 = 0
    private var isOpen = false

    init() {}

    /// The next part of the compressed stream.
    mutating func encode(_ bytes: [UInt8]) -> [UInt8] {
        var out = header()
        for start in stride(from: 0, to: bytes.count, by: 0xFFFF) {
            let block = bytes[start..<min(start + 0xFFFF, bytes.count)]
            out.append(0)  // Stored, more follows.
            Self.append(UInt32(block.count), bytes: 2, to: &out)
            Self.append(~UInt32(block.count), bytes: 2, to: &out)
            out += block
        }
        checksum.add(bytes)
        byteCount &+= UInt32(truncatingIfNeeded: bytes.count)
        return out
    }

    /// The last part.
    mutating func finish() -> [UInt8] {
        var out = header()
        out += [1, 0, 0, 0xFF, 0xFF]  // Stored, last, empty.
        Self.append(checksum.value, bytes: 4, to: &out)
        Self.append(byteCount, bytes: 4, to: &out)
        return out
    }

    private mutating func header() -> [UInt8] {
        if isOpen { return [] }
        isOpen = true
        return [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF]
    }

    /// Least significant byte first.
    private static func append(_ value: UInt32, bytes: Int, to out: inout [UInt8]) {
        for shift in 0..<bytes { out.append(UInt8(truncatingIfNeeded: value >> (8 * shift))) }
    }
}
