/// The parameters of one statement, in PostgreSQL's binary format: all bytes in one buffer, so that
/// their pointers live as long as one closure.
struct PostgresParameters {
    private enum TypeID {
        static let bytes: UInt32 = 17
        static let integer: UInt32 = 20
    }

    private var buffer: [UInt8] = []
    private var ranges: [Range<Int>?] = []

    var count: Int { ranges.count }

    mutating func add(_ value: Int64) { add { Self.append(value, to: &$0) } }

    mutating func add(_ value: Int64?) {
        if let value { add(value) } else { ranges.append(nil) }
    }

    mutating func add(_ bytes: [UInt8]) { add { $0 += bytes } }

    mutating func add(_ text: String) { add { $0 += Array(text.utf8) } }

    mutating func add(_ values: [Int64]) {
        add { buffer in
            Self.appendHead(of: values.count, TypeID.integer, to: &buffer)
            for value in values {
                Self.append(UInt32(8), to: &buffer)
                Self.append(value, to: &buffer)
            }
        }
    }

    mutating func add(_ values: [[UInt8]]) {
        add { buffer in
            buffer.reserveCapacity(
                buffer.count + 20 + values.reduce(0) { $0 + $1.count + 4 })
            Self.appendHead(of: values.count, TypeID.bytes, to: &buffer)
            for value in values {
                Self.append(UInt32(value.count), to: &buffer)
                buffer += value
            }
        }
    }

    /// Pointers, lengths and formats as libpq takes them. Valid inside `body` only.
    func withPointers<Result>(
        _ body: (
            _ values: [UnsafePointer<CChar>?], _ lengths: [CInt], _ formats: [CInt]
        ) -> Result
    ) -> Result {
        // Never empty: the address of an empty value must not be taken for NULL.
        (buffer + [0]).withUnsafeBytes { bytes in
            let base = bytes.assumingMemoryBound(to: CChar.self).baseAddress
            return body(
                ranges.map { range in range.flatMap { base?.advanced(by: $0.lowerBound) } },
                ranges.map { CInt($0?.count ?? 0) }, ranges.map { _ in 1 })
        }
    }

    private mutating func add(_ write: (inout [UInt8]) -> Void) {
        let start = buffer.count
        write(&buffer)
        ranges.append(start..<buffer.count)
    }

    /// An array of one dimension without NULLs. An empty one has no dimension.
    private static func appendHead(of count: Int, _ type: UInt32, to buffer: inout [UInt8]) {
        append(UInt32(count == 0 ? 0 : 1), to: &buffer)
        append(UInt32(0), to: &buffer)
        append(type, to: &buffer)
        guard count > 0 else { return }
        append(UInt32(count), to: &buffer)
        append(UInt32(1), to: &buffer)
    }

    private static func append<Value: FixedWidthInteger>(_ value: Value, to buffer: inout [UInt8]) {
        withUnsafeBytes(of: value.bigEndian) { buffer += $0 }
    }
}
