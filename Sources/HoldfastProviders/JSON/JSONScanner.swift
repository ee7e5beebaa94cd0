import HoldfastCore

/// Why a text is not JSON that we accept, and where.
public struct JSONError: Error, Hashable, Sendable {
    public enum Reason: Hashable, Sendable {
        /// The byte at the offset cannot stand there.
        case unexpectedByte
        case unexpectedEnd
        /// A string contains bytes that are not UTF-8.
        case invalidUTF8
        /// Nested deeper than `Limits.jsonDepthMax`.
        case tooDeep
        /// Something follows the value.
        case trailingBytes
        /// A value has another type than its reader asked for.
        case unexpectedType
    }

    public var reason: Reason
    /// From the start of the bytes, not of the value.
    public var byteOffset: Int

    public init(_ reason: Reason, byteOffset: Int) {
        self.reason = reason
        self.byteOffset = byteOffset
    }
}

extension JSONError: CustomStringConvertible {
    public var description: String {
        switch reason {
        case .unexpectedByte: "unexpected byte at offset \(byteOffset)"
        case .unexpectedEnd: "the text ends early, at offset \(byteOffset)"
        case .invalidUTF8: "a string is not valid UTF-8 at offset \(byteOffset)"
        case .tooDeep: "nested deeper than \(Limits.jsonDepthMax) levels at offset \(byteOffset)"
        case .trailingBytes: "bytes after the end of the value, at offset \(byteOffset)"
        case .unexpectedType: "a value of another type than expected at offset \(byteOffset)"
        }
    }
}

public enum JSONKind: Hashable, Sendable {
    case object, array, string, number, `true`, `false`, null
}

/// A value as it stands in the text: strings with their quotes, numbers as written.
public struct JSONValue: Hashable, Sendable {
    public var kind: JSONKind
    public var range: Range<Int>

    public init(kind: JSONKind, range: Range<Int>) {
        self.kind = kind
        self.range = range
    }
}

/// Reads JSON (RFC 8259, strictly) from front to back, each byte once, building nothing.
///
/// The caller walks along: `enterObject`, then `nextKey` until `nil`, and for each key either
/// enters its value or skips it; `enterArray` and `nextElement` likewise. Every value that is
/// skipped is validated in full, so a walk that ends in `finish()` without an error has proved that
/// the text is JSON as every other parser understands it, but for duplicate keys: `KnownKeys` finds
/// those.
///
/// An escaped lone surrogate is accepted, because the grammar allows it, but such a string has no
/// decoded value (`JSON.string` is `nil`).
public struct JSONScanner: Sendable {
    public let bytes: [UInt8]
    /// The next byte to read.
    public private(set) var index: Int
    /// Offset of the comma before the member that `nextKey` returned last; `nil` for the first one.
    public private(set) var separator: Int?
    /// Offset of the opening quote of the key that `nextKey` returned last.
    public private(set) var keyStart = 0
    private let end: Int
    private var depth = 0
    private var isFresh = false

    public init(_ bytes: [UInt8], in range: Range<Int>? = nil) {
        self.bytes = bytes
        index = range?.lowerBound ?? 0
        end = range?.upperBound ?? bytes.count
        precondition(end <= bytes.count && index >= 0, "a range outside of the bytes")
    }

    // MARK: - Walking

    /// What the next value is, without reading it.
    public mutating func peekKind() throws(JSONError) -> JSONKind {
        skipSpace()
        guard index < end else { throw JSONError(.unexpectedEnd, byteOffset: index) }
        switch bytes[index] {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "t"): return .true
        case UInt8(ascii: "f"): return .false
        case UInt8(ascii: "n"): return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        default: throw JSONError(.unexpectedByte, byteOffset: index)
        }
    }

    public mutating func enterObject() throws(JSONError) {
        try enter(.object)
    }

    public mutating func enterArray() throws(JSONError) {
        try enter(.array)
    }

    /// The next key of the object that was entered last, up to its value; `nil` at its end.
    public mutating func nextKey() throws(JSONError) -> JSONKey? {
        guard try advance(closing: UInt8(ascii: "}")) else { return nil }
        skipSpace()
        let string = try scanString()
        keyStart = string.range.lowerBound
        skipSpace()
        try expect(UInt8(ascii: ":"))
        return JSONKey(
            bytes: bytes, range: string.range.lowerBound + 1..<string.range.upperBound - 1,
            isEscaped: string.isEscaped)
    }

    /// Whether the array that was entered last has another element, which is then read next.
    public mutating func nextElement() throws(JSONError) -> Bool {
        try advance(closing: UInt8(ascii: "]"))
    }

    /// Reads the next value whole, and validates it.
    @discardableResult
    public mutating func skipValue() throws(JSONError) -> JSONValue {
        let kind = try peekKind()
        let start = index
        switch kind {
        case .object:
            try enterObject()
            while try nextKey() != nil { try skipValue() }
        case .array:
            try enterArray()
            while try nextElement() { try skipValue() }
        case .string: _ = try scanString()
        case .number: try scanNumber()
        case .true: try scanWord("true")
        case .false: try scanWord("false")
        case .null: try scanWord("null")
        }
        return JSONValue(kind: kind, range: start..<index)
    }

    /// Throws when anything but white space is left.
    public mutating func finish() throws(JSONError) {
        skipSpace()
        guard index == end else { throw JSONError(.trailingBytes, byteOffset: index) }
    }

    /// Steps over white space.
    public mutating func skipSpace() {
        while index < end {
            switch bytes[index] {
            case 0x20, 0x0A, 0x0D, 0x09: index += 1
            default: return
            }
        }
    }

    // MARK: - Structure

    private mutating func enter(_ kind: JSONKind) throws(JSONError) {
        guard try peekKind() == kind else {
            throw JSONError(.unexpectedType, byteOffset: index)
        }
        guard depth < Limits.jsonDepthMax else { throw JSONError(.tooDeep, byteOffset: index) }
        depth += 1
        index += 1
        isFresh = true
    }

    private mutating func advance(closing: UInt8) throws(JSONError) -> Bool {
        skipSpace()
        guard index < end else { throw JSONError(.unexpectedEnd, byteOffset: index) }
        let wasFresh = isFresh
        isFresh = false
        if bytes[index] == closing {
            index += 1
            depth -= 1
            return false
        }
        separator = nil
        if !wasFresh {
            separator = index
            try expect(UInt8(ascii: ","))
        }
        return true
    }

    private mutating func expect(_ byte: UInt8) throws(JSONError) {
        guard index < end else { throw JSONError(.unexpectedEnd, byteOffset: index) }
        guard bytes[index] == byte else { throw JSONError(.unexpectedByte, byteOffset: index) }
        index += 1
    }

    // MARK: - Scalars

    private mutating func scanWord(_ word: StaticString) throws(JSONError) {
        for offset in 0..<word.utf8CodeUnitCount {
            try expect(word.utf8Start[offset])
        }
    }

    private mutating func scanNumber() throws(JSONError) {
        if bytes[index] == UInt8(ascii: "-") { index += 1 }
        if index < end, bytes[index] == UInt8(ascii: "0") {
            index += 1
        } else {
            try scanDigits()
        }
        if index < end, bytes[index] == UInt8(ascii: ".") {
            index += 1
            try scanDigits()
        }
        if index < end, bytes[index] | 0x20 == UInt8(ascii: "e") {
            index += 1
            if index < end, bytes[index] == UInt8(ascii: "+") || bytes[index] == UInt8(ascii: "-") {
                index += 1
            }
            try scanDigits()
        }
    }

    /// At least one digit.
    private mutating func scanDigits() throws(JSONError) {
        let start = index
        while index < end, UInt8(ascii: "0")...UInt8(ascii: "9") ~= bytes[index] { index += 1 }
        guard index > start else {
            throw JSONError(index < end ? .unexpectedByte : .unexpectedEnd, byteOffset: index)
        }
    }

    /// The range includes the quotes.
    private mutating func scanString() throws(JSONError) -> (range: Range<Int>, isEscaped: Bool) {
        let start = index
        var isEscaped = false
        try expect(UInt8(ascii: "\""))
        while true {
            index = JSON.plainTextEnd(of: bytes, from: index, to: end)
            guard index < end else { throw JSONError(.unexpectedEnd, byteOffset: index) }
            switch bytes[index] {
            case UInt8(ascii: "\""):
                index += 1
                return (start..<index, isEscaped)
            case UInt8(ascii: "\\"):
                isEscaped = true
                try scanEscape()
            case 0x00...0x1F:
                throw JSONError(.unexpectedByte, byteOffset: index)
            default:
                let length = JSON.scalarByteCount(of: bytes, at: index, end: end)
                guard length > 0 else { throw JSONError(.invalidUTF8, byteOffset: index) }
                index += length
            }
        }
    }

    private mutating func scanEscape() throws(JSONError) {
        guard index + 1 < end else { throw JSONError(.unexpectedEnd, byteOffset: end) }
        switch bytes[index + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
            UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            index += 2
        case UInt8(ascii: "u"):
            for offset in index + 2..<index + 6 {
                guard offset < end else { throw JSONError(.unexpectedEnd, byteOffset: end) }
                guard bytes[offset].hexDigit != nil else {
                    throw JSONError(.unexpectedByte, byteOffset: offset)
                }
            }
            index += 6
        default:
            throw JSONError(.unexpectedByte, byteOffset: index + 1)
        }
    }
}

extension UInt8 {
    /// The value of an ASCII hexadecimal digit.
    var hexDigit: UInt32? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(self - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(self - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(self - UInt8(ascii: "A") + 10)
        default: nil
        }
    }
}
