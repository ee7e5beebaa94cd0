import Foundation

/// What a provider reads of the prompt of a request, besides `FakeFields.promptExtras`.
struct FakePrompt {
    let parts: [Any]
    let lastUserText: String
}

/// The fields of a body, or of an object in it, with the checks that a provider makes.
struct FakeFields {
    private let object: [String: Any]
    private let dialect: FakeDialect

    init(_ object: [String: Any], dialect: FakeDialect) {
        self.object = object
        self.dialect = dialect
    }

    /// Google takes every name in snake case as well.
    private subscript(_ name: String) -> Any? {
        if let value = object[name] { return value }
        guard dialect == .gemini else { return nil }
        return object[
            name.reduce(into: "") { snake, character in
                snake += (character.isUppercase ? "_" : "") + character.lowercased()
            }]
    }

    /// An object in this one, if it is there and is one.
    private func nested(_ name: String) -> FakeFields? {
        (self[name] as? [String: Any]).map { FakeFields($0, dialect: dialect) }
    }

    /// An object in this one, if it is there.
    private func fields(_ name: String) throws(FakeRefusal) -> FakeFields? {
        guard let value = self[name], !(value is NSNull) else { return nil }
        guard let object = value as? [String: Any] else {
            throw .invalid("Invalid type for '\(name)': expected an object.", parameter: name)
        }
        return FakeFields(object, dialect: dialect)
    }

    // MARK: - Prompt

    func prompt() throws(FakeRefusal) -> FakePrompt {
        switch dialect {
        case .openAI, .anthropic, .cohere, .bedrock:
            let messages = try requiredMessages()
            let last = messages.last { $0["role"] as? String == "user" }
            return FakePrompt(
                parts: messages.map { $0["content"] ?? "" },
                lastUserText: FakeText.joined(last?["content"]))
        case .responses: return try responsesPrompt()
        case .gemini: return try geminiPrompt()
        }
    }

    private func responsesPrompt() throws(FakeRefusal) -> FakePrompt {
        if let text = object["input"] as? String {
            return FakePrompt(parts: [text], lastUserText: text)
        }
        guard let items = object["input"] as? [[String: Any]], !items.isEmpty else {
            throw .invalid("Missing required parameter: 'input'.", parameter: "input")
        }
        let last = items.last { $0["role"] as? String == "user" }
        return FakePrompt(
            // Messages, results of functions, calls of them.
            parts: items.map { $0["content"] ?? $0["output"] ?? $0["arguments"] ?? "" },
            lastUserText: FakeText.joined(last?["content"]))
    }

    /// Where Google wants a list it takes its only element as well.
    private func geminiPrompt() throws(FakeRefusal) -> FakePrompt {
        let list = self["contents"] as? [[String: Any]]
        let contents = list ?? (self["contents"] as? [String: Any]).map { [$0] } ?? []
        guard !contents.isEmpty else { throw .invalid("contents is not specified") }
        let last = contents.last { $0["role"] as? String ?? "user" == "user" }
        return FakePrompt(
            parts: contents.map { $0["parts"] ?? "" },
            lastUserText: FakeText.joined(last?["parts"]))
    }

    /// What is billed as prompt besides the messages.
    var promptExtras: [Any] {
        switch dialect {
        case .openAI, .anthropic: values(["system", "tools", "functions", "response_format"])
        case .responses: values(["instructions", "tools", "text"])
        case .cohere: values(["tools", "documents", "response_format"])
        case .gemini:
            values(["systemInstruction", "tools"])
                + (nested("generationConfig")?.values(["responseSchema", "responseJsonSchema"])
                    ?? [])
        case .bedrock: values(["system", "toolConfig", "outputConfig"])
        }
    }

    private func values(_ names: [String]) -> [Any] {
        names.flatMap { name -> [Any] in self[name].map { [$0] } ?? [] }
    }

    // MARK: - Options

    func requiredString(_ name: String) throws(FakeRefusal) -> String {
        guard let value = self[name] as? String, !value.isEmpty else {
            throw .invalid("Missing required parameter: '\(name)'.", parameter: name)
        }
        return value
    }

    private func requiredMessages() throws(FakeRefusal) -> [[String: Any]] {
        guard let messages = object["messages"] as? [[String: Any]], !messages.isEmpty else {
            throw .invalid("Missing required parameter: 'messages'.", parameter: "messages")
        }
        guard messages.allSatisfy({ $0["role"] is String }) else {
            throw .invalid("Every message needs a role.", parameter: "messages")
        }
        return messages
    }

    func flag(_ name: String) throws(FakeRefusal) -> Bool {
        guard let value = self[name], !(value is NSNull) else { return false }
        guard let flag = value as? Bool else {
            throw .invalid("Invalid type for '\(name)': expected a boolean.", parameter: name)
        }
        return flag
    }

    func includesUsage() throws(FakeRefusal) -> Bool {
        guard let options = object["stream_options"], !(options is NSNull) else { return false }
        guard let options = options as? [String: Any] else {
            throw .invalid("'stream_options' is not an object.", parameter: "stream_options")
        }
        guard try flag("stream") else {
            throw .invalid(
                "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                parameter: "stream_options")
        }
        return try FakeFields(options, dialect: dialect).flag("include_usage")
    }

    private func count(_ name: String, in range: ClosedRange<Int>) throws(FakeRefusal) -> Int? {
        guard let value = self[name], !(value is NSNull) else { return nil }
        guard let count = value as? Int, range.contains(count) else {
            throw .invalid(
                "\(name): expected a whole number from \(range.lowerBound) to "
                    + "\(range.upperBound).",
                parameter: name)
        }
        return count
    }

    func choiceCount() throws(FakeRefusal) -> Int {
        switch dialect {
        case .openAI: try count("n", in: 1...128) ?? 1
        case .gemini: try fields("generationConfig")?.count("candidateCount", in: 1...8) ?? 1
        case .responses, .anthropic, .cohere, .bedrock: 1
        }
    }

    func outputLimit(_ model: FakeModel) throws(FakeRefusal) -> Int? {
        let range = 1...model.outputTokensMax
        return switch dialect {
        case .openAI: try openAIOutputLimit(model)
        // OpenAI takes no less here.
        case .responses: try count("max_output_tokens", in: 16...model.outputTokensMax)
        case .anthropic: try anthropicOutputLimit(model)
        case .cohere: try count("max_tokens", in: range)
        case .gemini: try fields("generationConfig")?.count("maxOutputTokens", in: range)
        case .bedrock: try fields("inferenceConfig")?.count("maxTokens", in: range)
        }
    }

    private func openAIOutputLimit(_ model: FakeModel) throws(FakeRefusal) -> Int? {
        let range = 1...model.outputTokensMax
        let old = try count("max_tokens", in: range)
        let new = try count("max_completion_tokens", in: range)
        if old != nil, new != nil {
            throw .invalid(
                "Setting 'max_tokens' and 'max_completion_tokens' at the same time "
                    + "is not supported.",
                parameter: "max_tokens")
        }
        if old != nil, model.refusesMaxTokens {
            throw .invalid(
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                    + "Use 'max_completion_tokens' instead.",
                parameter: "max_tokens", code: "unsupported_parameter")
        }
        return new ?? old
    }

    private func anthropicOutputLimit(_ model: FakeModel) throws(FakeRefusal) -> Int {
        guard let limit = try count("max_tokens", in: 1...model.outputTokensMax) else {
            throw .invalid("max_tokens: Field required", parameter: "max_tokens")
        }
        return limit
    }
}

// MARK: - Tools

extension FakeFields {
    private enum ToolChoice {
        case automatic
        case none
        case any
        case named(String?)
    }

    func toolToCall(wantsTool: Bool) -> String? {
        guard let first = firstTool else { return nil }
        switch toolChoice {
        case .automatic: return wantsTool ? first["name"] as? String : nil
        case .none: return nil
        case .any: return first["name"] as? String
        case .named(let name): return name
        }
    }

    /// The object that has the name of the first tool; empty where a tool is none that the client
    /// runs.
    private var firstTool: [String: Any]? {
        let tools =
            dialect == .bedrock
            ? nested("toolConfig")?["tools"] as? [[String: Any]]
            : self["tools"] as? [[String: Any]]
        guard let first = tools?.first else { return nil }
        switch dialect {
        case .openAI, .cohere: return first["function"] as? [String: Any] ?? [:]
        case .responses, .anthropic: return first
        case .gemini:
            let declarations = FakeFields(first, dialect: dialect)["functionDeclarations"]
            return (declarations as? [[String: Any]])?.first ?? [:]
        case .bedrock: return first["toolSpec"] as? [String: Any] ?? [:]
        }
    }

    private var toolChoice: ToolChoice {
        switch dialect {
        case .openAI, .responses, .anthropic, .cohere: topLevelToolChoice
        case .gemini: geminiToolChoice
        case .bedrock: bedrockToolChoice
        }
    }

    private var topLevelToolChoice: ToolChoice {
        let choice = object["tool_choice"]
        switch choice as? String {
        case "none", "NONE": return .none
        case "required", "REQUIRED": return .any
        default: break
        }
        guard let choice = choice as? [String: Any] else { return .automatic }
        switch choice["type"] as? String {
        case "function":
            let function = dialect == .responses ? choice : choice["function"] as? [String: Any]
            return .named(function?["name"] as? String)
        case "tool": return .named(choice["name"] as? String)
        case "any": return .any
        case "none": return .none
        default: return .automatic
        }
    }

    private var geminiToolChoice: ToolChoice {
        let config = nested("toolConfig")?.nested("functionCallingConfig")
        switch config?["mode"] as? String {
        case "NONE": return .none
        case "ANY":
            let allowed = config?["allowedFunctionNames"] as? [String]
            return allowed?.first.map { ToolChoice.named($0) } ?? .any
        default: return .automatic
        }
    }

    private var bedrockToolChoice: ToolChoice {
        let choice = nested("toolConfig")?.nested("toolChoice")
        if choice?["any"] != nil { return .any }
        guard let tool = choice?.nested("tool") else { return .automatic }
        return .named(tool["name"] as? String)
    }
}

/// The text inside a JSON value.
enum FakeText {
    static func byteCount(_ value: Any) -> Int {
        switch value {
        case let text as String: text.utf8.count
        case let list as [Any]: list.reduce(0) { $0 + byteCount($1) }
        case let object as [String: Any]: object.values.reduce(0) { $0 + byteCount($1) }
        default: 0
        }
    }

    /// The text of a message's content: a string, or the text parts of a list.
    static func joined(_ content: Any?) -> String {
        if let text = content as? String { return text }
        guard let parts = content as? [[String: Any]] else { return "" }
        return parts.compactMap { $0["text"] as? String }.joined(separator: "\n")
    }
}
