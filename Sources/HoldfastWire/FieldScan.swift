import HoldfastCore

/// Steps over the fields of a protobuf message without decoding them.
///
/// An entry of two bytes becomes one of 130: a frame of nothing but empty entries would take 65 times
/// its size before they could be counted. So they are counted here first.
struct FieldScan {
    private var rest: ArraySlice<UInt8>

    private init(_ bytes: ArraySlice<UInt8>) {
        rest = bytes
    }

    /// Entries (field 1) in all fields with these numbers. Repeated fields of one frame are merged
    /// by the decoder, so they count together.
    static func entryCount(in payload: [UInt8], ofFields numbers: [UInt32]) -> Int {
        var count = 0
        var fields = FieldScan(ArraySlice(payload))
        while let field = fields.next() {
            guard numbers.contains(field.number) else { continue }
            var entries = FieldScan(field.body)
            while let entry = entries.next() {
                if entry.number == 1 { count += 1 }
            }
        }
        return count
    }

    /// `nil` at the end, and where the bytes are no protobuf: that is for the decoder to say.
    private mutating func next() -> (number: UInt32, body: ArraySlice<UInt8>)? {
        guard let tag = varint() else { return nil }
        // Of a longer tag the decoder may take the low bits only.
        let number = UInt32(truncatingIfNeeded: tag) >> 3
        let byteCount: UInt64
        switch tag & 7 {
        case 0:
            guard varint() != nil else { return nil }
            byteCount = 0
        case 1: byteCount = 8
        case 2:
            guard let count = varint() else { return nil }
            byteCount = count
        case 5: byteCount = 4
        // The ends of a group: what is in it is stepped over like the rest.
        default: byteCount = 0
        }
        guard byteCount <= UInt64(rest.count) else { return nil }
        let body = rest.prefix(Int(byteCount))
        rest = rest.dropFirst(Int(byteCount))
        return (number, body)
    }

    private mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            guard let byte = rest.popFirst() else { return nil }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        return nil
    }
}
