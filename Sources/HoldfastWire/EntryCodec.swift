import HoldfastCore

/// Reports and grants without SwiftProtobuf: nearly all that is sent, up to thousands of entries a
/// frame (ADR 14). The bytes are the same, and what is read is what SwiftProtobuf would read. Whatever
/// has a field that we do not know, or a length that does not fit, is left to SwiftProtobuf, which
/// alone says what is malformed.
protocol Entry {
    init()
    /// Fields that are numbers, ascending, all below 16: tags of one byte.
    func forEachNumber(_ body: (_ field: UInt8, _ value: UInt64) -> Void)
    /// - Returns: whether the entry has such a field, and the value fits.
    mutating func set(field: UInt8, to value: UInt64) -> Bool
    /// Empty: left out.
    var key: String { get }
    /// - Returns: whether the entry has one.
    mutating func set(key: String) -> Bool
    /// Whether the frame has `counter_time_ms`.
    static var isTimed: Bool { get }
}

enum EntryCodec {
    /// Of both `EdgeFrame.report` and `CounterFrame.grants`.
    private static let frameTag: UInt8 = 2 << 3 | 2
    private static let entryTag: UInt8 = 1 << 3 | 2
    private static let timeTag: UInt8 = 2 << 3
    private static let keyTag: UInt8 = 15 << 3 | 2

    /// A whole frame with its length.
    ///
    /// - Parameter time: `Grants.counter_time_ms`; a report has none.
    static func encode(_ entries: [some Entry], time: Int64 = 0) -> [UInt8] {
        let sizes = entries.map { size(of: $0) }
        let time = UInt64(bitPattern: time)
        var bodySize = time == 0 ? 0 : 1 + varintSize(time)
        for size in sizes { bodySize += 1 + varintSize(UInt64(size)) + size }
        let length = 1 + varintSize(UInt64(bodySize)) + bodySize
        var bytes: [UInt8] = []
        bytes.reserveCapacity(FrameCodec.headerByteCount + length)
        withUnsafeBytes(of: UInt32(length).bigEndian) { bytes += $0 }
        bytes.append(frameTag)
        append(UInt64(bodySize), to: &bytes)
        for (entry, size) in zip(entries, sizes) {
            bytes.append(entryTag)
            append(UInt64(size), to: &bytes)
            append(entry, to: &bytes)
        }
        if time != 0 {
            bytes.append(timeTag)
            append(time, to: &bytes)
        }
        return bytes
    }

    private static func size(of entry: some Entry) -> Int {
        var size = 0
        entry.forEachNumber { _, value in if value != 0 { size += 1 + varintSize(value) } }
        let keySize = entry.key.utf8.count
        return keySize == 0 ? size : size + 1 + varintSize(UInt64(keySize)) + keySize
    }

    private static func append(_ entry: some Entry, to bytes: inout [UInt8]) {
        entry.forEachNumber { field, value in
            guard value != 0 else { return }
            bytes.append(field << 3)
            append(value, to: &bytes)
        }
        guard !entry.key.isEmpty else { return }
        bytes.append(keyTag)
        append(UInt64(entry.key.utf8.count), to: &bytes)
        bytes += entry.key.utf8
    }

    private static func append(_ value: UInt64, to bytes: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    private static func varintSize(_ value: UInt64) -> Int {
        (64 - (value | 1).leadingZeroBitCount + 6) / 7
    }

    // MARK: - Decoding

    /// `nil`: for SwiftProtobuf.
    static func decode<Kind: Entry>(
        _: Kind.Type, _ payload: [UInt8]
    ) -> (entries: [Kind], time: Int64)? {
        payload.withUnsafeBytes { bytes in
            var reader = Reader(bytes: bytes)
            guard reader.byte() == frameTag, let length = reader.varint(),
                length == UInt64(bytes.count - reader.offset)
            else { return nil }
            var entries: [Kind] = []
            var time: UInt64 = 0
            while let tag = reader.byte() {
                switch tag {
                case entryTag:
                    guard entries.count < Limits.reportEntryCountMax,
                        let entry: Kind = entry(&reader)
                    else { return nil }
                    entries.append(entry)
                case timeTag where Kind.isTimed:
                    guard let value = reader.varint() else { return nil }
                    time = value
                default: return nil
                }
            }
            return (entries, Int64(bitPattern: time))
        }
    }

    private static func entry<Kind: Entry>(_ reader: inout Reader) -> Kind? {
        guard let size = reader.varint(), size <= UInt64(reader.bytes.count - reader.offset)
        else { return nil }
        var entry = Kind()
        let end = reader.offset + Int(size)
        while reader.offset < end {
            guard let tag = reader.byte(), let value = reader.varint() else { return nil }
            if tag & 7 == 0 {
                guard entry.set(field: tag >> 3, to: value) else { return nil }
            } else {
                guard tag == keyTag, let key = reader.text(value), entry.set(key: key)
                else { return nil }
            }
        }
        return reader.offset == end ? entry : nil
    }

    private struct Reader {
        let bytes: UnsafeRawBufferPointer
        var offset = 0

        mutating func byte() -> UInt8? {
            guard offset < bytes.count else { return nil }
            defer { offset += 1 }
            return bytes[offset]
        }

        /// None of more than 63 bits.
        mutating func varint() -> UInt64? {
            var value: UInt64 = 0
            for shift in stride(from: UInt64(0), to: 63, by: 7) {
                guard let byte = byte() else { return nil }
                value |= UInt64(byte & 0x7F) << shift
                if byte < 0x80 { return value }
            }
            return nil
        }

        mutating func text(_ byteCount: UInt64) -> String? {
            guard byteCount <= UInt64(bytes.count - offset) else { return nil }
            defer { offset += Int(byteCount) }
            return String(
                validating: bytes[offset..<offset + Int(byteCount)], as: UTF8.self)
        }
    }
}

extension Holdfast_Lease_V1_ReportEntry: Entry {
    static let isTimed = false

    mutating func set(key: String) -> Bool {
        self.key = key
        return true
    }

    func forEachNumber(_ body: (_ field: UInt8, _ value: UInt64) -> Void) {
        body(1, UInt64(reference))
        body(2, granted)
        body(3, released)
        body(4, spent)
        body(5, held)
        body(6, overrun)
        body(7, wishNumber)
        body(8, need)
        body(9, ceiling)
        body(10, recallEpoch)
        body(11, unlocked)
    }

    mutating func set(field: UInt8, to value: UInt64) -> Bool {
        switch field {
        case 1:
            guard let number = UInt32(exactly: value) else { return false }
            reference = number
        case 2: granted = value
        case 3: released = value
        case 4: spent = value
        case 5: held = value
        case 6: overrun = value
        case 7: wishNumber = value
        case 8: need = value
        case 9: ceiling = value
        case 10: recallEpoch = value
        case 11: unlocked = value
        default: return false
        }
        return true
    }
}

extension Holdfast_Lease_V1_GrantEntry: Entry {
    static let isTimed = true

    var key: String { "" }

    mutating func set(key: String) -> Bool { false }

    func forEachNumber(_ body: (_ field: UInt8, _ value: UInt64) -> Void) {
        body(1, UInt64(reference))
        body(2, granted)
        body(3, released)
        body(4, spent)
        body(5, totalSpent)
        body(6, totalHeld)
        body(7, exposure)
        body(8, limit)
        body(9, unmetWish)
        body(10, UInt64(flags))
    }

    mutating func set(field: UInt8, to value: UInt64) -> Bool {
        switch field {
        case 1:
            guard let number = UInt32(exactly: value) else { return false }
            reference = number
        case 2: granted = value
        case 3: released = value
        case 4: spent = value
        case 5: totalSpent = value
        case 6: totalHeld = value
        case 7: exposure = value
        case 8: limit = value
        case 9: unmetWish = value
        case 10:
            guard let number = UInt32(exactly: value) else { return false }
            flags = number
        default: return false
        }
        return true
    }
}
