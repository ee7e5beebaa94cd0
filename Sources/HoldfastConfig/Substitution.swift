/// Puts values from the environment and from files into the file's texts: `${VAR}`,
/// `${VAR:-default}`, `${file:PATH}`. `$$` stands for `$`; any other `$` stands for itself, so that
/// `$500` needs no quoting.
struct Substitution {
    let environment: [String: String]
    let readFile: (String) throws -> String

    static func occurs(in text: String) -> Bool { text.contains("${") }

    func expand(_ text: String) throws(ValueError) -> String {
        var expanded = ""
        var rest = Substring(text)
        while let dollar = rest.firstIndex(of: "$") {
            expanded += rest[..<dollar]
            rest = rest[rest.index(after: dollar)...]
            switch rest.first {
            case "$":
                expanded += "$"
                rest = rest.dropFirst()
            case "{":
                guard let close = rest.firstIndex(of: "}") else {
                    throw ValueError(
                        "has a '${' without '}'", suggestion: "write '$${' for the text")
                }
                expanded += try value(of: rest[..<close].dropFirst())
                rest = rest[close...].dropFirst()
            default:
                expanded += "$"
            }
        }
        return expanded + rest
    }

    private func value(of expression: Substring) throws(ValueError) -> String {
        if expression.hasPrefix("file:") {
            return try contents(ofFile: String(expression.dropFirst("file:".count)))
        }
        let name = String(
            expression.prefix { $0 == "_" || $0.isASCII && ($0.isLetter || $0.isNumber) })
        let fallback = expression.dropFirst(name.count)
        guard let first = name.utf8.first, !first.isDigit,
            fallback.isEmpty || fallback.hasPrefix(":-")
        else {
            throw ValueError(
                "has a substitution that cannot be read",
                suggestion: "write ${VAR}, ${VAR:-default} or ${file:PATH}")
        }
        if let value = environment[name], !value.isEmpty { return value }
        guard fallback.isEmpty else { return String(fallback.dropFirst(2)) }
        // An empty text would pass for a value; whoever set nothing did not mean that.
        guard environment[name] == nil else {
            throw ValueError("needs the environment variable '\(name)', which is empty")
        }
        throw ValueError(
            "needs the environment variable '\(name)', which is not set",
            suggestion: didYouMean(name, among: environment.keys.sorted()))
    }

    private func contents(ofFile path: String) throws(ValueError) -> String {
        guard !path.isEmpty else { throw ValueError("has a '${file:}' without a path") }
        do {
            var contents = Substring(try readFile(path))
            while contents.last?.isNewline == true { contents = contents.dropLast() }
            return String(contents)
        } catch {
            throw ValueError("needs the file '\(path)', which cannot be read: \(error)")
        }
    }
}
