import Foundation
import HTTPTypes

/// A request for generation, read strictly: what a real provider would refuse is refused here.
struct FakeRequest: Sendable {
    let dialect: FakeDialect
    let model: FakeModel
    /// As the client wrote it, alias or not: replies echo it.
    let modelName: String
    /// As sent, without `Bearer`.
    let key: String
    let isStreamed: Bool
    /// The client asked for usage in the stream. Anthropic always sends it.
    let includesUsage: Bool
    let choiceCount: Int
    /// `nil`: the client set none.
    let outputLimit: Int?
    /// The tool to call, when the answer is a tool call.
    let toolName: String?
    let inputTokens: Int
    let steering: FakeSteering

    init(dialect: FakeDialect, headers: HTTPFields, body: Data) throws(FakeRefusal) {
        key = try Self.key(headers, dialect: dialect)
        if dialect == .anthropic, headers[.anthropicVersion] == nil {
            throw .invalid("anthropic-version: header is required")
        }
        let fields = FakeFields(try Self.object(body))
        let modelName = try fields.requiredString("model")
        guard let model = FakeModel.named(modelName, dialect: dialect) else {
            throw .unknownModel(modelName)
        }
        let messages = try fields.requiredMessages()
        let lastUserText = messages.last { $0["role"] as? String == "user" }
            .map { FakeText.joined($0["content"]) }
        let steering = try FakeSteering(headers: headers, lastUserText: lastUserText ?? "")
        self.dialect = dialect
        self.model = model
        self.modelName = modelName
        self.steering = steering
        isStreamed = try fields.flag("stream")
        switch dialect {
        case .openAI:
            includesUsage = try fields.includesUsage()
            choiceCount = try fields.count("n", in: 1...128) ?? 1
            outputLimit = try fields.openAIOutputLimit(model)
        case .anthropic:
            includesUsage = true
            choiceCount = 1
            outputLimit = try fields.anthropicOutputLimit(model)
        }
        toolName = fields.toolToCall(dialect, wantsTool: steering.wantsTool)
        inputTokens = Self.tokens(
            prompt: messages.map { $0["content"] ?? "" } + fields.promptExtras,
            steering: steering)
    }

    private static func key(
        _ headers: HTTPFields, dialect: FakeDialect
    ) throws(FakeRefusal) -> String {
        if dialect == .anthropic, let key = headers[.xAPIKey], !key.isEmpty { return key }
        let words = (headers[.authorization] ?? "").split(separator: " ")
        guard words.count == 2, words[0].lowercased() == "bearer" else { throw .missingKey }
        return String(words[1])
    }

    private static func object(_ body: Data) throws(FakeRefusal) -> [String: Any] {
        let value: Any
        do {
            value = try JSONSerialization.jsonObject(with: body)
        } catch {
            throw .invalid("We could not parse the JSON body of your request.")
        }
        guard let object = value as? [String: Any] else {
            throw .invalid("The JSON body of your request is not an object.")
        }
        return object
    }

    /// A quarter of the text's bytes, rounded up, at least one for each part of the prompt.
    private static func tokens(prompt: [Any], steering: FakeSteering) -> Int {
        var bytes = 0
        var tokens = 0
        for part in prompt {
            let count = FakeText.byteCount(part)
            bytes += count
            tokens += max(1, (count + 3) / 4)
        }
        guard let wanted = steering.inputTokens else { return tokens }
        return min(max(wanted, 1), max(bytes, 1))
    }
}

extension HTTPField.Name {
    fileprivate static let anthropicVersion = named("anthropic-version")
    fileprivate static let xAPIKey = named("x-api-key")

    static func named(_ text: String) -> HTTPField.Name {
        guard let name = HTTPField.Name(text) else {
            preconditionFailure("\(text) is not a header name")
        }
        return name
    }
}

/// The top-level fields of a body, with the checks that a provider makes.
private struct FakeFields {
    private let object: [String: Any]

    init(_ object: [String: Any]) {
        self.object = object
    }

    /// What is billed as prompt besides the messages.
    var promptExtras: [Any] {
        ["system", "tools", "functions", "response_format"].flatMap { name -> [Any] in
            object[name].map { [$0] } ?? []
        }
    }

    func requiredString(_ name: String) throws(FakeRefusal) -> String {
        guard let value = object[name] as? String, !value.isEmpty else {
            throw .invalid("Missing required parameter: '\(name)'.", parameter: name)
        }
        return value
    }

    func requiredMessages() throws(FakeRefusal) -> [[String: Any]] {
        guard let messages = object["messages"] as? [[String: Any]], !messages.isEmpty else {
            throw .invalid("Missing required parameter: 'messages'.", parameter: "messages")
        }
        guard messages.allSatisfy({ $0["role"] is String }) else {
            throw .invalid("Every message needs a role.", parameter: "messages")
        }
        return messages
    }

    func flag(_ name: String) throws(FakeRefusal) -> Bool {
        guard let value = object[name], !(value is NSNull) else { return false }
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
        return try FakeFields(options).flag("include_usage")
    }

    func count(_ name: String, in range: ClosedRange<Int>) throws(FakeRefusal) -> Int? {
        guard let value = object[name], !(value is NSNull) else { return nil }
        guard let count = value as? Int, range.contains(count) else {
            throw .invalid(
                "\(name): expected a whole number from \(range.lowerBound) to "
                    + "\(range.upperBound).",
                parameter: name)
        }
        return count
    }

    func openAIOutputLimit(_ model: FakeModel) throws(FakeRefusal) -> Int? {
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

    func anthropicOutputLimit(_ model: FakeModel) throws(FakeRefusal) -> Int {
        guard let limit = try count("max_tokens", in: 1...model.outputTokensMax) else {
            throw .invalid("max_tokens: Field required", parameter: "max_tokens")
        }
        return limit
    }

    func toolToCall(_ dialect: FakeDialect, wantsTool: Bool) -> String? {
        guard let tools = object["tools"] as? [[String: Any]], let first = tools.first else {
            return nil
        }
        let declared =
            switch dialect {
            case .openAI: (first["function"] as? [String: Any])?["name"] as? String
            case .anthropic: first["name"] as? String
            }
        let choice = object["tool_choice"]
        if choice as? String == "none" { return nil }
        if choice as? String == "required" { return declared }
        if let choice = choice as? [String: Any] {
            switch choice["type"] as? String {
            case "function": return (choice["function"] as? [String: Any])?["name"] as? String
            case "tool": return choice["name"] as? String
            case "any": return declared
            case "none": return nil
            default: break
            }
        }
        return wantsTool ? declared : nil
    }
}

/// The text inside a JSON value.
private enum FakeText {
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
