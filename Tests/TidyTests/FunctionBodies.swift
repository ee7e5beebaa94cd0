/// The functions and initialisers of a file, found by counting braces in its blanked code.
struct FunctionBodies {
    struct Body: Equatable {
        /// Zero-based: the line with the keyword, and the line with the closing brace.
        let firstLine: Int
        let lastLine: Int
    }

    private(set) var all: [Body] = []

    init(_ code: [String]) {
        let text = Array(code.joined(separator: "\n"))
        let lineOf = Self.lineNumbers(text)
        for index in text.indices where Self.isKeyword(at: index, in: text) {
            guard let open = Self.openingBrace(after: index, in: text) else { continue }
            let close = Self.closingBrace(of: open, in: text)
            all.append(Body(firstLine: lineOf[index], lastLine: lineOf[close]))
        }
    }

    private static func lineNumbers(_ text: [Character]) -> [Int] {
        var line = 0
        return text.map { character in
            defer { if character == "\n" { line += 1 } }
            return line
        }
    }

    private static func isKeyword(at index: Int, in text: [Character]) -> Bool {
        if index > 0 {
            let before = text[index - 1]
            // `.init(…)` calls one.
            if before.isLetter || before.isNumber || before == "_" || before == "." { return false }
        }
        if follows("func ", at: index, in: text) || follows("deinit ", at: index, in: text) {
            return true
        }
        return ["init(", "init?(", "init<", "init?<"].contains { follows($0, at: index, in: text) }
    }

    private static func follows(_ word: String, at index: Int, in text: [Character]) -> Bool {
        index + word.count <= text.count && zip(word, text[index...]).allSatisfy(==)
    }

    /// `nil`: a requirement of a protocol, which has no body.
    private static func openingBrace(after start: Int, in text: [Character]) -> Int? {
        var depth = 0
        var index = start
        while index < text.count {
            switch text[index] {
            case "(", "[": depth += 1
            case ")", "]": depth -= 1
            case "{" where depth == 0: return index
            case "}" where depth == 0: return nil
            case "\n" where depth == 0 && !continues(after: index, in: text): return nil
            default: break
            }
            index += 1
        }
        return nil
    }

    /// Whether a declaration goes on in the next line that is not empty.
    private static func continues(after newline: Int, in text: [Character]) -> Bool {
        guard let next = text[newline...].firstIndex(where: { !$0.isWhitespace }) else {
            return false
        }
        return ["{", "->", "where ", "throws", "rethrows", "async"]
            .contains { follows($0, at: next, in: text) }
    }

    private static func closingBrace(of open: Int, in text: [Character]) -> Int {
        var depth = 0
        for index in open..<text.count {
            if text[index] == "{" { depth += 1 }
            if text[index] == "}" { depth -= 1 }
            if depth == 0 { return index }
        }
        return text.count - 1
    }
}
