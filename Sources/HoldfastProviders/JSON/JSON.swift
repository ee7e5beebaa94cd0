/// Reading single values, and the byte scanning that `JSONScanner` is made of.
public enum JSON {
    /// Throws unless the bytes are exactly one JSON value.
    public static func validate(_ bytes: [UInt8]) throws(JSONError) {
        var scanner = JSONScanner(bytes)
        try scanner.skipValue()
        try scanner.finish()
    }

    /// The decoded text of a string value that was scanned before, its quotes included in the
    /// range; `nil` when an escape in it is a lone surrogate.
    public static func string(_ range: Range<Int>, in bytes: [UInt8]) -> String? {
        precondition(range.count >= 2, "not the range of a string")
        return decode(range.lowerBound + 1..<range.upperBound - 1, in: bytes)
    }

    /// The value of a plain non-negative integer. `nil` for a sign, a fraction, an exponent, a
    /// leading zero, and anything above `UInt64.max`: two parsers could differ on those.
    public static func unsigned(_ range: Range<Int>, in bytes: [UInt8]) -> UInt64? {
        guard !range.isEmpty, range.count == 1 || bytes[range.lowerBound] != UInt8(ascii: "0")
        else { return nil }
        var value: UInt64 = 0
        for byte in bytes[range] {
            guard UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte else { return nil }
            let (scaled, scaledOverflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflow) = scaled.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
            guard !scaledOverflow, !overflow else { return nil }
            value = sum
        }
        return value
    }

    /// The decoded text of a string's inside, without quotes.
    static func decode(_ range: Range<Int>, in bytes: [UInt8]) -> String? {
        guard bytes[range].contains(UInt8(ascii: "\\")) else {
            return String(validating: bytes[range], as: UTF8.self)
        }
        var out: [UInt8] = []
        out.reserveCapacity(range.count)
        var index = range.lowerBound
        while index < range.upperBound {
            guard bytes[index] == UInt8(ascii: "\\") else {
                out.append(bytes[index])
                index += 1
                continue
            }
            guard let (scalar, length) = escapedScalar(in: bytes, at: index, end: range.upperBound)
            else { return nil }
            out.append(contentsOf: Array(String(Character(scalar)).utf8))
            index += length
        }
        return String(validating: out, as: UTF8.self)
    }

    private static func escapedScalar(
        in bytes: [UInt8], at index: Int, end: Int
    ) -> (Unicode.Scalar, length: Int)? {
        switch bytes[index + 1] {
        case UInt8(ascii: "b"): return ("\u{8}", 2)
        case UInt8(ascii: "f"): return ("\u{C}", 2)
        case UInt8(ascii: "n"): return ("\n", 2)
        case UInt8(ascii: "r"): return ("\r", 2)
        case UInt8(ascii: "t"): return ("\t", 2)
        case UInt8(ascii: "u"): break
        case let plain: return (Unicode.Scalar(plain), 2)
        }
        guard let unit = codeUnit(in: bytes, at: index, end: end) else { return nil }
        if let scalar = Unicode.Scalar(unit) { return (scalar, 6) }
        guard (0xD800...0xDBFF).contains(unit),
            let low = codeUnit(in: bytes, at: index + 6, end: end),
            (0xDC00...0xDFFF).contains(low),
            let scalar = Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00))
        else { return nil }
        return (scalar, 12)
    }

    /// The value of `\uXXXX` at the index.
    private static func codeUnit(in bytes: [UInt8], at index: Int, end: Int) -> UInt32? {
        guard index + 6 <= end, bytes[index] == UInt8(ascii: "\\"),
            bytes[index + 1] == UInt8(ascii: "u")
        else { return nil }
        var value: UInt32 = 0
        for offset in index + 2..<index + 6 {
            guard let digit = bytes[offset].hexDigit else { return nil }
            value = value << 4 | digit
        }
        return value
    }

    /// The first byte in a string that is not plain ASCII text: a quote, a backslash, a control
    /// character or the start of a longer character.
    ///
    /// Eight bytes at a time, because most of a request is the inside of strings. For a word x,
    /// `(x - 0x01…) & ~x & 0x80…` marks the bytes that are zero, and possibly bytes above the
    /// lowest one of them, so the lowest mark is always right; x ^ pattern turns equality into
    /// zero.
    static func plainTextEnd(of bytes: [UInt8], from start: Int, to end: Int) -> Int {
        bytes.withUnsafeBytes { raw in
            let ones: UInt64 = 0x0101_0101_0101_0101
            let highs: UInt64 = 0x8080_8080_8080_8080
            var index = start
            while index + 8 <= end {
                let word = UInt64(
                    littleEndian: raw.loadUnaligned(fromByteOffset: index, as: UInt64.self))
                let quote = word ^ (ones &* 0x22)
                let backslash = word ^ (ones &* 0x5C)
                let quotes = (quote &- ones) & ~quote
                let backslashes = (backslash &- ones) & ~backslash
                let controls = (word &- (ones &* 0x20)) & ~word
                let marks = (quotes | backslashes | controls | word) & highs
                if marks != 0 { return index + marks.trailingZeroBitCount / 8 }
                index += 8
            }
            while index < end {
                let byte = raw[index]
                if byte < 0x20 || byte >= 0x80 || byte == 0x22 || byte == 0x5C { return index }
                index += 1
            }
            return end
        }
    }

    /// Length of the character that starts here, 2 to 4 bytes; 0 when it is not valid UTF-8: cut
    /// off, overlong, a surrogate, or above U+10FFFF (RFC 3629, section 4).
    static func scalarByteCount(of bytes: [UInt8], at index: Int, end: Int) -> Int {
        func isContinuation(_ offset: Int) -> Bool {
            index + offset < end && bytes[index + offset] & 0xC0 == 0x80
        }
        func isSecond(_ allowed: ClosedRange<UInt8>) -> Bool {
            index + 1 < end && allowed.contains(bytes[index + 1])
        }
        switch bytes[index] {
        case 0xC2...0xDF:
            return isContinuation(1) ? 2 : 0
        case 0xE0: return isSecond(0xA0...0xBF) && isContinuation(2) ? 3 : 0
        case 0xE1...0xEC, 0xEE, 0xEF:
            return isContinuation(1) && isContinuation(2) ? 3 : 0
        case 0xED: return isSecond(0x80...0x9F) && isContinuation(2) ? 3 : 0
        case 0xF0:
            return isSecond(0x90...0xBF) && isContinuation(2) && isContinuation(3) ? 4 : 0
        case 0xF1...0xF3:
            return isContinuation(1) && isContinuation(2) && isContinuation(3) ? 4 : 0
        case 0xF4:
            return isSecond(0x80...0x8F) && isContinuation(2) && isContinuation(3) ? 4 : 0
        default: return 0
        }
    }
}
