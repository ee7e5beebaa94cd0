public enum PercentEncoding {
    /// - Returns: `nil` when a `%` is not followed by two hexadecimal digits, or what comes out is no
    ///   text.
    public static func decode(_ text: Substring) -> String? {
        var out: [UInt8] = []
        var bytes = ArraySlice(text.utf8)
        while let byte = bytes.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                out.append(byte)
                continue
            }
            // `UInt8` would take a sign too.
            guard bytes.count >= 2, bytes.prefix(2).allSatisfy(isHexDigit),
                let value = UInt8(String(decoding: bytes.prefix(2), as: UTF8.self), radix: 16)
            else { return nil }
            out.append(value)
            bytes = bytes.dropFirst(2)
        }
        return String(validating: out, as: UTF8.self)
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }
}
