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
        var state = state
        for byte in bytes {
            state = Self.table[Int(UInt8(truncatingIfNeeded: state) ^ byte)] ^ (state >> 8)
        }
        self.state = state
    }

    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { remainder, _ in
            (remainder >> 1) ^ (remainder & 1 == 1 ? 0x82F6_3B78 : 0)
        }
    }
}
