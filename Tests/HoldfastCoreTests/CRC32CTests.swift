import HoldfastCore
import Testing

@Suite struct `CRC-32C` {
    private static let published: [(bytes: [UInt8], value: UInt32)] = [
        (Array("123456789".utf8), 0xE306_9283),
        ([UInt8](repeating: 0, count: 32), 0x8A91_36AA),
        ([UInt8](repeating: 0xFF, count: 32), 0x62A8_AB43),
        ([], 0),
    ]

    /// The check value of the catalogue of CRCs, and RFC 3720, B.4.
    @Test(arguments: published)
    func `has the published values`(bytes: [UInt8], expected: UInt32) {
        #expect(CRC32C.of(bytes) == expected)
        var crc = CRC32C()
        crc.update(bytes.prefix(5))
        crc.update(bytes.dropFirst(5))
        #expect(crc.value == expected)
    }

    @Test func `bytes that are not in one piece have the same value`() {
        let bytes = (0..<40).map { UInt8($0 * 37 & 0xFF) }
        for start in 0..<8 {
            for end in start...bytes.count {
                let part = bytes[start..<end]
                #expect(CRC32C.of(part) == CRC32C.of(part.lazy.map { $0 }))
            }
        }
    }
}
