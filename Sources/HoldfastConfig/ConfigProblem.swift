/// One mistake in a configuration file, and where it is.
///
/// Never holds a value that came out of a substitution or out of a secret: problems are printed and
/// logged.
public struct ConfigProblem: Hashable, Sendable, CustomStringConvertible {
    public var file: String
    /// From 1; 0 when the problem is not at one place of the file.
    public var line: Int
    /// From 1, in Unicode scalars; 0 when the problem is not at one place of the file.
    public var column: Int
    public var message: String
    /// What to do instead, for example `did you mean 'limit'?`.
    public var suggestion: String?

    public init(
        file: String, line: Int = 0, column: Int = 0, message: String, suggestion: String? = nil
    ) {
        self.file = file
        self.line = line
        self.column = column
        self.message = message
        self.suggestion = suggestion
    }

    /// `holdfast.yaml:12:7: unknown key 'limt' in a cap; did you mean 'limit'?`
    public var description: String {
        let place = line > 0 ? "\(file):\(line):\(column)" : file
        return "\(place): \(message)" + (suggestion.map { "; \($0)" } ?? "")
    }
}

/// Everything that is wrong with a configuration file, in the order of its lines.
public struct ConfigError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Never empty.
    public let problems: [ConfigProblem]

    init(problems: [ConfigProblem]) {
        precondition(!problems.isEmpty, "a configuration error without a problem")
        self.problems = problems
    }

    /// One line for each problem.
    public var description: String {
        problems.map(\.description).joined(separator: "\n")
    }
}

/// Why a text is not a value of the kind that was asked for. Does not repeat the text, which may be
/// a secret.
public struct ValueError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Reads as the end of a sentence: `is not an amount`.
    public let message: String
    public let suggestion: String?

    init(_ message: String, suggestion: String? = nil) {
        self.message = message
        self.suggestion = suggestion
    }

    public var description: String {
        message + (suggestion.map { "; \($0)" } ?? "")
    }
}
