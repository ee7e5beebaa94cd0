/// The functions and initialisers of a file, found by counting braces in its blanked code.
struct FunctionBodies {
    struct Body: Equatable {
        /// Zero-based: the line with the keyword, and the line with the closing brace.
        let firstLine: Int
        let lastLine: Int
    }

    private(set) var all: [Body] = []
    private let text: [UInt8]

    init(_ code: [Code]) {
        text = Array(code.map(\.bytes).joined(separator: [.newline]))
        var line = 0
        for index in text.indices {
            if text[index] == .newline {
                line += 1
            } else if isKeyword(at: index), let open = openingBrace(after: index) {
                let close = closingBrace(of: open)
                let lineCount = text[index..<close].count { $0 == .newline }
                all.append(Body(firstLine: line, lastLine: line + lineCount))
            }
        }
    }

    private func isKeyword(at index: Int) -> Bool {
        // `.init(…)` calls one.
        if index > 0, text[index - 1].isWordPart || text[index - 1] == UInt8(ascii: ".") {
            return false
        }
        switch text[index] {
        case UInt8(ascii: "f"): return starts("func ", at: index)
        case UInt8(ascii: "d"): return starts("deinit ", at: index)
        case UInt8(ascii: "i"):
            return starts("init(", at: index) || starts("init?(", at: index)
                || starts("init<", at: index) || starts("init?<", at: index)
        default: return false
        }
    }

    private func starts(_ word: StaticString, at index: Int) -> Bool {
        text.hasBytes(of: word, at: index)
    }

    /// `nil`: a requirement of a protocol, which has no body.
    private func openingBrace(after start: Int) -> Int? {
        var depth = 0
        for index in start..<text.count {
            switch text[index] {
            case UInt8(ascii: "("), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: ")"), UInt8(ascii: "]"): depth -= 1
            case UInt8(ascii: "{") where depth == 0: return index
            case UInt8(ascii: "}") where depth == 0: return nil
            case .newline where depth == 0 && !continues(after: index): return nil
            default: break
            }
        }
        return nil
    }

    /// Whether a declaration goes on in the next line that is not empty.
    private func continues(after newline: Int) -> Bool {
        let isBlank = { (byte: UInt8) in byte == .newline || byte == .space }
        guard let next = text[newline...].firstIndex(where: { !isBlank($0) }) else { return false }
        return starts("{", at: next) || starts("->", at: next) || starts("where ", at: next)
            || starts("throws", at: next) || starts("rethrows", at: next)
            || starts("async", at: next)
    }

    private func closingBrace(of open: Int) -> Int {
        var depth = 0
        for index in open..<text.count {
            if text[index] == UInt8(ascii: "{") { depth += 1 }
            if text[index] == UInt8(ascii: "}") { depth -= 1 }
            if depth == 0 { return index }
        }
        return text.count - 1
    }
}
