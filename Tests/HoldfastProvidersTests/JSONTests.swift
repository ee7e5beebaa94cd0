import HoldfastCore
import HoldfastProviders
import Testing

@Suite struct `JSON scanner` {
    @Test(arguments: [
        "{}", "[]", "\"\"", "0", "-0", "-1.5e+10", "1E9", "true", "false", "null",
        " \t\r\n{ \"a\" : [ 1 , {\"b\":null} , \"\\u00e9\\n\\\"\" ] } \n",
        "\"Grüße \u{10FFFF} 👋\"", "\"\\ud83d\\udc4b\"", "\"\\ud800\"", "\"\u{7F}\"",
        "\"seven77\"", "\"eight888\"", "\"nine99999\\\"\"",
    ])
    func `valid texts pass`(text: String) {
        check(text, fails: nil)
    }

    @Test(
        arguments: [
            ("", .unexpectedEnd, 0), ("  ", .unexpectedEnd, 2), ("{", .unexpectedEnd, 1),
            ("{\"a\":1,}", .unexpectedByte, 7), ("[1,]", .unexpectedByte, 3),
            ("[1 2]", .unexpectedByte, 3), ("[,1]", .unexpectedByte, 1),
            ("{,}", .unexpectedByte, 1),
            ("{a:1}", .unexpectedByte, 1), ("{\"a\" 1}", .unexpectedByte, 5),
            ("{\"a\":}", .unexpectedByte, 5), ("{'a':1}", .unexpectedByte, 1),
            ("01", .trailingBytes, 1), ("1.", .unexpectedEnd, 2), (".5", .unexpectedByte, 0),
            ("+1", .unexpectedByte, 0), ("-", .unexpectedEnd, 1), ("1e", .unexpectedEnd, 2),
            ("-a", .unexpectedByte, 1), ("NaN", .unexpectedByte, 0), ("tru", .unexpectedEnd, 3),
            ("True", .unexpectedByte, 0), ("nul1", .unexpectedByte, 3),
            ("{} {}", .trailingBytes, 3),
            ("\"abc", .unexpectedEnd, 4), ("\"a\nb\"", .unexpectedByte, 2),
            ("\"long enough for words\u{1}\"", .unexpectedByte, 22),
            ("\"\\x\"", .unexpectedByte, 2),
            ("\"\\u12g4\"", .unexpectedByte, 5), ("\"\\u12", .unexpectedEnd, 5),
            ("\"\\", .unexpectedEnd, 2), ("[1}", .unexpectedByte, 2),
            ("{\"a\":1]", .unexpectedByte, 6),
            ("// a\n1", .unexpectedByte, 0), ("\u{FEFF}{}", .unexpectedByte, 0),
        ] as [(String, JSONError.Reason, Int)])
    func `anything else fails at its byte`(text: String, reason: JSONError.Reason, offset: Int) {
        check(text, fails: JSONError(reason, byteOffset: offset))
    }

    @Test(
        arguments: [
            [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xC3], [0xE0, 0x80, 0x80], [0xE0, 0x9F, 0xBF],
            [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF], [0xF0, 0x80, 0x80, 0x80],
            [0xF0, 0x9F, 0x98], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFF],
        ] as [[UInt8]])
    func `bytes that are not UTF-8 fail`(bytes: [UInt8]) {
        // The same verdict in the first word of a string, after it, and in a key.
        for padding in 0..<10 {
            let prefix = Array("\"".utf8) + Array(repeating: UInt8(ascii: "x"), count: padding)
            check(
                prefix + bytes + Array("\"".utf8),
                fails: JSONError(.invalidUTF8, byteOffset: prefix.count))
        }
        check(
            Array("{\"".utf8) + bytes + Array("\":1}".utf8),
            fails: JSONError(.invalidUTF8, byteOffset: 2))
    }

    @Test(arguments: ["[", "{\"a\":"])
    func `nesting is limited, not the stack`(opening: String) {
        let closing = opening == "[" ? "]" : "}"
        let deepest = String(repeating: opening, count: Limits.jsonDepthMax)
        let closed = String(repeating: closing, count: Limits.jsonDepthMax)
        check(deepest + "1" + closed, fails: nil)
        check(
            deepest + opening + "1" + closed + closing,
            fails: JSONError(.tooDeep, byteOffset: deepest.utf8.count))
        let bomb = String(repeating: opening, count: 1_000_000)
        check(bomb, fails: JSONError(.tooDeep, byteOffset: deepest.utf8.count))
    }

    @Test func `every plain byte position is found by the word scan`() {
        // One special byte at each place of a string that spans several words.
        for special in ["\"", "\\n", "é", "\u{1}"] {
            for position in 0..<24 {
                let text = String(repeating: "x", count: position) + special
                let value = Array("\"\(text)\"".utf8)
                switch special {
                case "\u{1}":
                    check(value, fails: JSONError(.unexpectedByte, byteOffset: position + 1))
                case "\"":
                    check(value, fails: JSONError(.trailingBytes, byteOffset: position + 2))
                default:
                    check(value, fails: nil)
                }
            }
        }
    }

    @Test(
        arguments: [
            ("0", 0), ("7", 7), ("18446744073709551615", UInt64.max), ("18446744073709551616", nil),
            ("99999999999999999999999", nil), ("-0", nil), ("-1", nil), ("1.0", nil), ("1e3", nil),
        ] as [(String, UInt64?)])
    func `only plain integers are numbers to us`(text: String, value: UInt64?) {
        let bytes = Array(text.utf8)
        #expect(JSON.unsigned(0..<bytes.count, in: bytes) == value)
    }

    @Test(
        arguments: [
            ("\"plain\"", "plain"), ("\"\"", ""), ("\"\\u0041\\u00e9\\u20ac\"", "Aé€"),
            ("\"\\ud83d\\udc4b!\"", "👋!"),
            ("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\u{8}\u{C}\n\r\t"),
            ("\"\\ud83d\"", nil), ("\"\\ud83dx\"", nil), ("\"\\udc4b\\ud83d\"", nil),
            ("\"\\ud83d\\u0041\"", nil), ("\"a\\u0000b\"", "a\u{0}b"),
            ("\"Grüße \\u00df\"", "Grüße ß"),
        ] as [(String, String?)])
    func `strings are decoded`(text: String, value: String?) {
        let bytes = Array(text.utf8)
        check(text, fails: nil)
        #expect(JSON.string(0..<bytes.count, in: bytes) == value)
    }

    @Test func `a walk sees keys, values and separators where they are`() throws {
        let bytes = Array("{ \"a\":1 , \"\\u0062\" :[true,\"x\"]}".utf8)
        var scanner = JSONScanner(bytes)
        try scanner.enterObject()
        #expect(try scanner.nextKey()?.text == "a")
        #expect(scanner.separator == nil)
        #expect(scanner.keyStart == 2)
        #expect(try scanner.skipValue() == JSONValue(kind: .number, range: 6..<7))
        #expect(try scanner.nextKey()?.text == "b")
        #expect(scanner.separator == 8)
        try scanner.enterArray()
        #expect(try scanner.nextElement())
        #expect(try scanner.skipValue().kind == .true)
        #expect(try scanner.nextElement())
        #expect(try scanner.peekKind() == .string)
        try scanner.skipValue()
        #expect(try !scanner.nextElement())
        #expect(try scanner.nextKey() == nil)
        try scanner.finish()
    }

    @Test func `entering a value of another type says so`() {
        var scanner = JSONScanner(Array("[1]".utf8))
        #expect(throws: JSONError(.unexpectedType, byteOffset: 0)) { try scanner.enterObject() }
    }

    private func check(_ text: String, fails expected: JSONError?) {
        check(Array(text.utf8), fails: expected)
    }

    private func check(_ bytes: [UInt8], fails expected: JSONError?) {
        var found: JSONError?
        do throws(JSONError) {
            try JSON.validate(bytes)
        } catch {
            found = error
        }
        #expect(found == expected, "\(String(decoding: bytes.prefix(80), as: UTF8.self))")
    }
}

@Suite struct `JSON writer` {
    @Test func `objects, arrays and values come out with their commas`() {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("a", "x")
            writer.member("none", nil as String?)
            writer.object("b") { _ in }
            writer.array("c") { writer in
                writer.number(UInt64.max)
                writer.number(Int64.min)
                writer.bool(true)
                writer.null()
                writer.object { $0.member("d", false) }
                writer.array { _ in }
                writer.decimal("0.0375")
            }
            writer.member("e", UInt64(1))
            writer.member("f", Int64(-1))
        }
        let expected =
            #"{"a":"x","none":null,"b":{},"c":[18446744073709551615,-9223372036854775808,"#
            + #"true,null,{"d":false},[],0.0375],"e":1,"f":-1}"#
        #expect(String(decoding: writer.bytes, as: UTF8.self) == expected)
    }

    @Test func `every string survives writing and reading`() throws {
        let control = (0...0x1F).map { String(Unicode.Scalar(UInt8($0))) }.joined()
        for text in ["", "\"\\/", control, "\u{7F}", "Grüße 👋", "\u{2028}"] {
            var writer = JSONWriter()
            writer.string(text)
            try JSON.validate(writer.bytes)
            #expect(JSON.string(0..<writer.bytes.count, in: writer.bytes) == text)
        }
    }

    @Test func `a decimal that is not a number stops the process`() async {
        await #expect(processExitsWith: .failure) {
            var writer = JSONWriter()
            writer.decimal("1,5")
        }
    }
}
