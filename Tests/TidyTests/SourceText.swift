/// A Swift file as the rules see it: the lines as written, and the same lines with the contents of
/// comments, string literals and raw identifiers blanked, so that rules about code find only code.
///
/// Not a parser. It knows nested comments, raw and multi-line strings and interpolation; regex
/// literals are read as code.
struct SourceText {
    /// Relative to the root of the repository.
    let path: String
    let lines: [String]
    /// As many lines, each as long as the one it was made from.
    let code: [String]
    /// Zero-based numbers of the lines that begin inside a multi-line string.
    let linesInText: Set<Int>

    init(path: String, _ text: String) {
        var blanker = Blanker(text)
        blanker.run()
        self.path = path
        lines = Self.lines(Array(text.unicodeScalars))
        code = Self.lines(blanker.out)
        linesInText = blanker.linesInText
    }

    private static func lines(_ scalars: [Unicode.Scalar]) -> [String] {
        scalars.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            var text = String.UnicodeScalarView()
            text.append(contentsOf: line)
            return String(text)
        }
    }
}

/// Walks over the text once and copies what is code.
private struct Blanker {
    private(set) var out: [Unicode.Scalar] = []
    private(set) var linesInText: Set<Int> = []
    private let text: [Unicode.Scalar]
    private var index = 0
    private var line = 0

    init(_ text: String) {
        self.text = Array(text.unicodeScalars)
        out.reserveCapacity(self.text.count)
    }

    mutating func run() {
        while index < text.count { step() }
    }

    private mutating func step() {
        if starts("//") {
            while index < text.count, text[index] != "\n" { take(as: " ") }
        } else if starts("/*") {
            comment()
        } else if text[index] == "`" {
            identifier()
        } else if let poundCount = poundsBeforeQuote() {
            string(poundCount: poundCount)
        } else {
            take()
        }
    }

    private mutating func comment() {
        var depth = 0
        repeat {
            if starts("/*") {
                depth += 1
                take(2)
            } else if starts("*/") {
                depth -= 1
                take(2)
            } else {
                take(as: " ")
            }
        } while depth > 0 && index < text.count
    }

    private mutating func identifier() {
        take(as: "_")
        while index < text.count, text[index] != "`", text[index] != "\n" { take(as: "_") }
        if index < text.count { take(as: "_") }
    }

    private mutating func string(poundCount: Int) {
        take(poundCount)
        let isMultiline = starts("\"\"\"")
        let quotes = isMultiline ? "\"\"\"" : "\""
        take(quotes.unicodeScalars.count)
        let pounds = String(repeating: "#", count: poundCount)
        while index < text.count {
            if starts(quotes + pounds) { return take(quotes.unicodeScalars.count + poundCount) }
            if starts("\\" + pounds + "(") {
                take(poundCount + 2)
                interpolation()
            } else if poundCount == 0, text[index] == "\\" {
                take(2)
            } else if text[index] == "\n" {
                // An unclosed one-line string does not compile; go on as if it had been closed.
                if !isMultiline { return }
                take()
                linesInText.insert(line)
            } else {
                take(as: " ")
            }
        }
    }

    /// Up to the parenthesis that closes it. What is inside is blanked with the rest of the string.
    private mutating func interpolation() {
        let start = out.count
        var depth = 1
        while index < text.count, depth > 0 {
            if text[index] == "(" { depth += 1 }
            if text[index] == ")" { depth -= 1 }
            step()
        }
        for position in start..<out.count where out[position] != "\n" { out[position] = " " }
    }

    /// How many `#` are before the quote that starts here; `nil` when no string starts here.
    private func poundsBeforeQuote() -> Int? {
        var end = index
        while end < text.count, text[end] == "#" { end += 1 }
        return end < text.count && text[end] == "\"" ? end - index : nil
    }

    private func starts(_ word: String) -> Bool {
        let scalars = word.unicodeScalars
        guard index + scalars.count <= text.count else { return false }
        return zip(scalars, text[index...]).allSatisfy(==)
    }

    private mutating func take(_ count: Int) {
        for _ in 0..<count where index < text.count { take(as: " ") }
    }

    private mutating func take(as blank: Unicode.Scalar? = nil) {
        let scalar = text[index]
        if scalar == "\n" { line += 1 }
        out.append(scalar == "\n" ? scalar : blank ?? scalar)
        index += 1
    }
}
