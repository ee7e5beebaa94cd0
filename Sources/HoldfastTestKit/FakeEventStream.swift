/// Messages of `application/vnd.amazon.eventstream`, apart from the product's code for them, so
/// that a mistake in one of them shows.
enum FakeEventStream {
    /// - Parameters:
    ///   - name: an event's; by AWS's naming it is an exception's if it ends in `Exception`.
    ///   - payload: JSON.
    static func message(_ name: String, payload: [UInt8]) -> [UInt8] {
        let kind = name.hasSuffix("Exception") ? "exception" : "event"
        var headers: [UInt8] = []
        for (header, value) in [
            (":\(kind)-type", name), (":content-type", "application/json"),
            (":message-type", kind),
        ] {
            headers.append(UInt8(header.utf8.count))
            headers += header.utf8
            headers.append(7)  // A string.
            append(UInt16(value.utf8.count), to: &headers)
            headers += value.utf8
        }
        // Two lengths and two checksums of four bytes each, besides.
        var message: [UInt8] = []
        append(UInt32(16 + headers.count + payload.count), to: &message)
        append(UInt32(headers.count), to: &message)
        append(checksum(message), to: &message)
        message += headers
        message += payload
        append(checksum(message), to: &message)
        return message
    }

    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        var checksum = CyclicChecksum()
        checksum.add(bytes)
        return checksum.value
    }

    /// Most significant byte first.
    private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.bigEndian) { bytes += $0 }
    }
}

/// CRC-32 of IEEE, reflected polynomial 0xEDB88320: that of gzip and of event streams.
struct CyclicChecksum {
    private var state: UInt32 = 0xFFFF_FFFF

    var value: UInt32 { ~state }

    mutating func add(_ bytes: [UInt8]) {
        for byte in bytes {
            state = (state >> 8) ^ Self.table[Int(UInt8(truncatingIfNeeded: state) ^ byte)]
        }
    }

    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in
            value & 1 == 1 ? (value >> 1) ^ 0xEDB8_8320 : value >> 1
        }
    }
}
