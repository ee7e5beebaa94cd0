/// What the project asks of its files and no compiler checks.
///
/// Each rule takes a text and returns what it objects to, so that the rules can be tried on
/// snippets that must fail.
enum Tidy {
    struct Offence: CustomStringConvertible {
        let path: String
        /// One-based.
        let line: Int
        let message: String

        var description: String { "\(path):\(line): \(message)" }
    }

    static let lineLengthMax = 100
    /// Comments are wrapped by hand, and the formatter leaves them alone.
    static let commentLengthMax = 105
    static let functionLinesMax = 70
    static let fileLinesWarn = 500
    static let fileLinesMax = 800
    /// Files that may be longer than `fileLinesMax`, each with its reason.
    static let longFiles: [String: String] = [:]

    static func offences(in source: SourceText) -> [Offence] {
        var found = fileLength(source) + lineLengths(source) + functionLengths(source)
        if source.path.hasPrefix("Sources/") {
            found += imports(source) + bannedWords(source) + typeNames(source)
            found += uncheckedSendables(source)
        }
        return found
    }

    /// Long enough to be split, short enough to wait for the next change.
    static func isLong(_ source: SourceText) -> Bool {
        source.lines.count > fileLinesWarn && longFiles[source.path] == nil
    }

    static func titleOffences(path: String, markdown: String) -> [Offence] {
        var titles: [Int] = []
        var isInFence = false
        for (index, line) in markdown.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            if line.hasPrefix("```") { isInFence.toggle() }
            if !isInFence, line.hasPrefix("# ") { titles.append(index) }
        }
        if titles.isEmpty { return [Offence(path: path, line: 1, message: "has no title")] }
        return titles.dropFirst().map { index in
            Offence(path: path, line: index + 1, message: "a second title: use ## below the first")
        }
    }

    // MARK: - Sizes

    private static func fileLength(_ source: SourceText) -> [Offence] {
        let count = source.lines.count
        guard count > fileLinesMax, longFiles[source.path] == nil else { return [] }
        let message = "\(count) lines, \(fileLinesMax) at most: split it"
        return [Offence(path: source.path, line: fileLinesMax + 1, message: message)]
    }

    /// The contents of multi-line strings are data and may be as wide as they are.
    private static func lineLengths(_ source: SourceText) -> [Offence] {
        source.lines.indices.compactMap { index in
            // There are at least as many bytes as characters, and they are quicker to count.
            guard source.lines[index].utf8.count > lineLengthMax,
                !source.linesInText.contains(index)
            else { return nil }
            let count = source.lines[index].count
            let countMax = source.isComment(index) ? commentLengthMax : lineLengthMax
            guard count > countMax else { return nil }
            return Offence(
                path: source.path, line: index + 1,
                message: "\(count) characters, \(countMax) at most")
        }
    }

    private static func functionLengths(_ source: SourceText) -> [Offence] {
        FunctionBodies(source.code).all.compactMap { body in
            let count = body.lastLine - body.firstLine + 1
            guard count > functionLinesMax else { return nil }
            return Offence(
                path: source.path, line: body.firstLine + 1,
                message: "a function of \(count) lines, \(functionLinesMax) at most")
        }
    }

    // MARK: - Imports and words

    private static func target(of path: String) -> String {
        path.split(separator: "/").dropFirst().first.map { String($0) } ?? ""
    }

    private static func imports(_ source: SourceText) -> [Offence] {
        source.code.enumerated().compactMap { index, line in
            guard line.containsWord("import"), let module = Imports.module(in: line.text),
                let message = Imports.objection(to: module, in: target(of: source.path))
            else { return nil }
            return Offence(path: source.path, line: index + 1, message: message)
        }
    }

    private struct Word {
        let text: StaticString
        let reason: String
        /// Looked for in comments and strings, too.
        var isBannedInText = false
        /// `nil`: in every target.
        var targets: Set<String>?
        var exceptTargets: Set<String> = []
    }

    private static let integersOnly: Set<String> = [
        "HoldfastCore", "HoldfastLedger", "HoldfastProviders",
    ]

    private static let words = [
        Word(text: "try?", reason: "a failure that nobody sees"),
        Word(text: "try!", reason: "a crash instead of an error"),
        Word(text: "fatalError(", reason: "use precondition with the invariant as its message"),
        Word(text: "nonisolated(unsafe)", reason: "use a lock, an event loop or a value"),
        Word(text: "TODO", reason: "write an issue", isBannedInText: true),
        Word(text: "FIXME", reason: "write an issue", isBannedInText: true),
        Word(
            text: "print(", reason: "only the command line prints",
            exceptTargets: ["holdfast", "simulate"]),
        Word(text: "Double", reason: "money is an integer", targets: integersOnly),
        Word(text: "Float", reason: "money is an integer", targets: integersOnly),
    ]

    private static func bannedWords(_ source: SourceText) -> [Offence] {
        let target = target(of: source.path)
        let words = words.filter {
            $0.targets?.contains(target) ?? true && !$0.exceptTargets.contains(target)
        }
        return source.code.indices.flatMap { index in
            words.compactMap { word in
                let line =
                    word.isBannedInText ? Code(source.lines[index]) : source.code[index]
                guard line.containsWord(word.text) else { return nil }
                return Offence(
                    path: source.path, line: index + 1, message: "'\(word.text)': \(word.reason)")
            }
        }
    }

    private static func typeNames(_ source: SourceText) -> [Offence] {
        var found: [Offence] = []
        func check(_ name: Substring, line: Int) {
            guard let word = name.firstMatch(of: /Manager|Helper|Util/) else { return }
            found.append(
                Offence(
                    path: source.path, line: line,
                    message: "'\(word.0)' in the name \(name) says nothing"))
        }
        let file = source.path.split(separator: "/").last ?? ""
        check(file.prefix { $0 != "." }, line: 1)
        let declaration = /\b(?:struct|class|enum|actor|protocol|typealias)\s+(\w+)/
        for (index, line) in source.code.enumerated()
        where line.contains("Manager") || line.contains("Helper") || line.contains("Util") {
            for match in line.text.matches(of: declaration) { check(match.1, line: index + 1) }
        }
        return found
    }

    /// The compiler takes our word for it; the next reader needs the reason.
    private static func uncheckedSendables(_ source: SourceText) -> [Offence] {
        source.code.indices.compactMap { index in
            guard source.code[index].contains("@unchecked Sendable") else { return nil }
            let near = source.lines[max(0, index - 5)...min(source.lines.count - 1, index + 5)]
            let hasProof = near.contains { line in
                guard let comment = line.firstRange(of: "//") else { return false }
                return Code(line[comment.upperBound...].lowercased()).containsWord("proof")
            }
            if hasProof { return nil }
            return Offence(
                path: source.path, line: index + 1,
                message: "@unchecked Sendable needs a comment with its proof within five lines")
        }
    }
}
