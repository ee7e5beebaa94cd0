import HoldfastCore
import Yams

/// The settings of one YAML map, by name.
struct Fields {
    /// For messages: `a cap`, `'limits'`.
    let what: String
    let node: Node
    let byName: [String: Node]
}

/// One scalar, after substitution. `value` may be a secret; messages quote `shown`, which is what
/// the file itself says.
struct Text {
    let value: String
    let shown: String
    let node: Node
}

// MARK: - Reporting

extension ConfigDecoder {
    mutating func fail(_ message: String, at node: Node, suggestion: String? = nil) {
        problems.append(problem(message, at: node, suggestion: suggestion))
    }

    mutating func warn(_ message: String, at node: Node, suggestion: String? = nil) {
        warnings.append(problem(message, at: node, suggestion: suggestion))
    }

    private func problem(_ message: String, at node: Node, suggestion: String?) -> ConfigProblem {
        ConfigProblem(
            file: file, line: node.mark?.line ?? 0, column: node.mark?.column ?? 0,
            message: message, suggestion: suggestion)
    }
}

// MARK: - Maps and lists

extension ConfigDecoder {
    /// The settings in a map that may have only these keys. `nil` when it is not a map.
    mutating func fields(of node: Node, what: String, keys: [String]) -> Fields? {
        guard let fields = anyFields(of: node, what: what) else { return nil }
        guard case .mapping(let mapping) = node else { return fields }
        for (key, _) in mapping {
            guard let name = key.scalar?.string, !keys.contains(name) else { continue }
            var hint = didYouMean(name, among: keys)
            if name == "<<" { hint = "merge keys are not supported" }
            if name.looksLikeThousands { hint = Self.commaHint }
            fail("unknown key '\(name.shortened)' in \(what)", at: key, suggestion: hint)
        }
        return fields
    }

    /// The settings in a map whose keys are names that the operator chose.
    mutating func anyFields(of node: Node, what: String) -> Fields? {
        if node.isNull { return Fields(what: what, node: node, byName: [:]) }
        guard case .mapping(let mapping) = node else {
            fail("\(what) must be a map of settings, not \(node.kind)", at: node)
            return nil
        }
        var byName: [String: Node] = [:]
        for (key, value) in mapping {
            guard let name = key.scalar?.string else {
                fail("a key in \(what) must be a text, not \(key.kind)", at: key)
                continue
            }
            // Yams finds these itself, unless the two are written in different styles.
            if byName[name] != nil {
                fail("duplicate key '\(name.shortened)' in \(what)", at: key)
            }
            byName[name] = value
        }
        return Fields(what: what, node: node, byName: byName)
    }

    mutating func section(_ parent: Fields, _ key: String, keys: [String]) -> Fields? {
        parent.byName[key].flatMap { fields(of: $0, what: "'\(key)'", keys: keys) }
    }

    /// `nil` when there is no such key or it is not a list.
    mutating func list(_ parent: Fields, _ key: String) -> [Node]? {
        guard let node = parent.byName[key], !node.isNull else { return nil }
        guard case .sequence(let sequence) = node else {
            fail("'\(key)' in \(parent.what) must be a list, not \(node.kind)", at: node)
            return nil
        }
        return Array(sequence)
    }
}

// MARK: - Scalars

extension ConfigDecoder {
    mutating func text(_ parent: Fields, _ key: String, isRequired: Bool = false) -> Text? {
        guard let node = parent.byName[key] else {
            if isRequired { fail("\(parent.what) needs '\(key)'", at: parent.node) }
            return nil
        }
        return text(node, named: key)
    }

    mutating func text(_ node: Node, named name: String) -> Text? {
        guard case .scalar(let scalar) = node else {
            fail("'\(name)' must be a single value, not \(node.kind)", at: node)
            return nil
        }
        guard !node.isNull else {
            fail("'\(name)' has no value", at: node)
            return nil
        }
        do {
            let value = try substitution.expand(scalar.string)
            guard !value.isEmpty else {
                fail("'\(name)' is empty", at: node)
                return nil
            }
            return Text(value: value, shown: scalar.string.shortened, node: node)
        } catch {
            fail("'\(name)' \(error.message)", at: node, suggestion: error.suggestion)
            return nil
        }
    }

    mutating func parsed<Value>(
        _ parent: Fields, _ key: String, isRequired: Bool = false,
        _ parse: (String) throws(ValueError) -> Value
    ) -> Value? {
        guard let text = text(parent, key, isRequired: isRequired) else { return nil }
        return parsed(text, named: key, parse)
    }

    mutating func parsed<Value>(
        _ node: Node, named name: String, _ parse: (String) throws(ValueError) -> Value
    ) -> Value? {
        guard let text = text(node, named: name) else { return nil }
        return parsed(text, named: name, parse)
    }

    private mutating func parsed<Value>(
        _ text: Text, named name: String, _ parse: (String) throws(ValueError) -> Value
    ) -> Value? {
        do {
            return try parse(text.value)
        } catch {
            fail(
                "'\(name)': '\(text.shown)' \(error.message)", at: text.node,
                suggestion: error.suggestion)
            return nil
        }
    }

    /// A value within `range`, which `describe` writes as the file does.
    mutating func parsed<Value: Comparable>(
        _ parent: Fields, _ key: String, in range: ClosedRange<Value>,
        _ parse: (String) throws(ValueError) -> Value, describe: (Value) -> String
    ) -> Value? {
        parsed(parent, key) { (text) throws(ValueError) -> Value in
            let value = try parse(text)
            guard range.contains(value) else {
                throw ValueError(
                    "is not between \(describe(range.lowerBound)) and \(describe(range.upperBound))"
                )
            }
            return value
        }
    }
}

// MARK: - Words

/// A name in the alphabet that is safe in metrics, file names and URLs.
func parseName(_ text: String) throws(ValueError) -> String {
    guard text.utf8.allSatisfy(\.isNameByte) else {
        throw ValueError("is not a name", suggestion: "use letters, digits, '.', '_' and '-'")
    }
    guard text.utf8.count <= Limits.capNameByteCountMax else {
        throw ValueError("is longer than \(Limits.capNameByteCountMax) characters")
    }
    return text
}

/// The name of a file to write.
func parsePath(_ text: String) throws(ValueError) -> String {
    guard !text.isEmpty, !text.utf8.contains(0), !text.hasSuffix("/") else {
        throw ValueError("is not the path of a file", suggestion: "write it as edge.journal")
    }
    return text
}

/// A scope value: a tenant, a user, …
func parseScopeValue(_ text: String) throws(ValueError) -> String {
    guard text.utf8.count <= Limits.scopeValueByteCountMax else {
        throw ValueError("is longer than \(Limits.scopeValueByteCountMax) bytes")
    }
    guard text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
        throw ValueError("has a control character")
    }
    return text
}

func parseDimension(_ text: String) throws(ValueError) -> ScopeDimension {
    guard let dimension = ScopeDimension(name: text) else {
        let names = ScopeDimension.allCases.map(\.name)
        throw ValueError(
            "is not a dimension",
            suggestion: didYouMean(text, among: names)
                ?? "there are \(names.joined(separator: ", "))")
    }
    return dimension
}

func parseBool(_ text: String) throws(ValueError) -> Bool {
    switch text {
    case "true": return true
    case "false": return false
    default: throw ValueError("is not true or false")
    }
}

extension String {
    /// Short enough for one line of a message.
    var shortened: String {
        let line = map { $0.isNewline ? " " : $0 }
        return line.count <= 60 ? String(line) : String(line.prefix(59)) + "…"
    }

    /// `000` or `000 tokens`: the rest of a number that YAML has cut at its comma.
    var looksLikeThousands: Bool {
        utf8.prefix { $0.isDigit }.count == 3 && (utf8.count == 3 || contains("token"))
    }
}

extension Node {
    /// A key without a value, or one of YAML's words for that.
    var isNull: Bool {
        guard case .scalar(let scalar) = self, scalar.style == .plain else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }

    var kind: String {
        switch self {
        case .scalar: "a single value"
        case .mapping: "a map"
        case .sequence: "a list"
        case .alias: "an alias"
        }
    }
}
