/// A Swift file as the rules see it: the lines as written, and the same lines with the contents of
/// comments, string literals and raw identifiers blanked, so that rules about code find only code.
///
/// Not a parser. It knows nested comments, raw and multi-line strings and interpolation; regex
/// literals are read as code. Code is bytes, because the whole repository is walked over in a debug
/// build.
struct SourceText {
    /// Relative to the root of the repository.
    let path: String
    let lines: [Substring]
    /// As many lines as `lines`.
    let code: [Code]
    /// Zero-based numbers of the lines that begin inside a multi-line string.
    let linesInText: Set<Int>

    init(path: String, _ text: String) {
        var blanker = Blanker(text)
        blanker.run()
        self.path = path
        lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        code = blanker.out.split(separator: .newline, omittingEmptySubsequences: false)
            .map { Code(bytes: Array($0)) }
        linesInText = blanker.linesInText
    }

    func isComment(_ line: Int) -> Bool { lines[line].drop { $0 == " " }.hasPrefix("//") }
}

/// One line of code.
struct Code {
    let bytes: [UInt8]

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    init(_ text: some StringProtocol) {
        bytes = Array(text.utf8)
    }

    var text: String { String(decoding: bytes, as: UTF8.self) }

    func contains(_ word: StaticString) -> Bool { offset(of: word, from: 0) != nil }

    /// `Double` is not in `DoubleEntry`, `print(` not in `fingerprint(`. A word that ends in a sign
    /// ends there, whatever follows.
    func containsWord(_ word: StaticString) -> Bool {
        let length = word.utf8CodeUnitCount
        var start = 0
        while let found = offset(of: word, from: start) {
            let isBegun = found == 0 || !bytes[found - 1].isWordPart
            let end = found + length
            let isEnded =
                end == bytes.count || !bytes[end - 1].isWordPart || !bytes[end].isWordPart
            if isBegun, isEnded { return true }
            start = found + 1
        }
        return false
    }

    private func offset(of word: StaticString, from start: Int) -> Int? {
        let length = word.utf8CodeUnitCount
        var offset = start
        while offset + length <= bytes.count {
            if bytes.hasBytes(of: word, at: offset) { return offset }
            offset += 1
        }
        return nil
    }
}

extension [UInt8] {
    func hasBytes(of word: StaticString, at offset: Int) -> Bool {
        let length = word.utf8CodeUnitCount
        guard offset + length <= count, self[offset] == word.utf8Start[0] else { return false }
        var index = 1
        while index < length {
            if self[offset + index] != word.utf8Start[index] { return false }
            index += 1
        }
        return true
    }
}

extension UInt8 {
    static let newline = UInt8(ascii: "\n")
    static let space = UInt8(ascii: " ")

    /// Letters beyond ASCII included.
    var isWordPart: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), 0x80...:
            true
        default: false
        }
    }
}

/// Walks over the text once and copies what is code.
private struct Blanker {
    private(set) var out: [UInt8] = []
    private(set) var linesInText: Set<Int> = []
    private let text: [UInt8]
    private var index = 0
    private var line = 0

    init(_ text: String) {
        self.text = Array(text.utf8)
        out.reserveCapacity(self.text.count)
    }

    mutating func run() {
        while index < text.count { step() }
    }

    private mutating func step() {
        switch text[index] {
        case UInt8(ascii: "/") where starts("//"):
            while index < text.count, text[index] != .newline { take(as: .space) }
        case UInt8(ascii: "/") where starts("/*"): comment()
        case UInt8(ascii: "`"): identifier()
        case UInt8(ascii: "\""): string(poundCount: 0)
        case UInt8(ascii: "#"):
            guard let poundCount = poundsBeforeQuote() else { return take() }
            string(poundCount: poundCount)
        default: take()
        }
    }

    private mutating func comment() {
        var depth = 0
        repeat {
            if starts("/*") {
                depth += 1
                skip(2)
            } else if starts("*/") {
                depth -= 1
                skip(2)
            } else {
                skip(1)
            }
        } while depth > 0 && index < text.count
    }

    private mutating func identifier() {
        let blank = UInt8(ascii: "_")
        take(as: blank)
        while index < text.count, text[index] != UInt8(ascii: "`"), text[index] != .newline {
            take(as: blank)
        }
        if index < text.count { take(as: blank) }
    }

    private mutating func string(poundCount: Int) {
        skip(poundCount)
        let isMultiline = starts("\"\"\"")
        let quoteCount = isMultiline ? 3 : 1
        skip(quoteCount)
        while index < text.count {
            if starts(isMultiline ? "\"\"\"" : "\""), hasPounds(poundCount, after: quoteCount) {
                return skip(quoteCount + poundCount)
            }
            if starts("\\"), hasPounds(poundCount, after: 1) {
                let isInterpolation =
                    index + poundCount + 1 < text.count
                    && text[index + poundCount + 1] == UInt8(ascii: "(")
                skip(poundCount + 2)
                if isInterpolation { interpolation() }
            } else if text[index] == .newline {
                // An unclosed one-line string does not compile; go on as if it had been closed.
                if !isMultiline { return }
                take()
                linesInText.insert(line)
            } else {
                skip(1)
            }
        }
    }

    /// Up to the parenthesis that closes it. What is inside is blanked with the rest of the string.
    private mutating func interpolation() {
        let start = out.count
        var depth = 1
        while index < text.count, depth > 0 {
            if text[index] == UInt8(ascii: "(") { depth += 1 }
            if text[index] == UInt8(ascii: ")") { depth -= 1 }
            step()
        }
        for position in start..<out.count where out[position] != .newline {
            out[position] = .space
        }
    }

    /// How many `#` are before the quote that starts here; `nil` when no string starts here.
    private func poundsBeforeQuote() -> Int? {
        var end = index
        while end < text.count, text[end] == UInt8(ascii: "#") { end += 1 }
        return end < text.count && text[end] == UInt8(ascii: "\"") ? end - index : nil
    }

    private func hasPounds(_ count: Int, after offset: Int) -> Bool {
        let start = index + offset
        guard start + count <= text.count else { return false }
        return text[start..<start + count].allSatisfy { $0 == UInt8(ascii: "#") }
    }

    private func starts(_ word: StaticString) -> Bool { text.hasBytes(of: word, at: index) }

    private mutating func skip(_ count: Int) {
        for _ in 0..<count where index < text.count { take(as: .space) }
    }

    private mutating func take(as blank: UInt8? = nil) {
        let byte = text[index]
        if byte == .newline { line += 1 }
        out.append(byte == .newline ? byte : blank ?? byte)
        index += 1
    }
}
