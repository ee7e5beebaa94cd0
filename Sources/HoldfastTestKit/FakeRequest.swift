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
    let framing: FakeFraming
    /// Whether a stream has usage: OpenAI's chat on request, all others always.
    let includesUsage: Bool
    let choiceCount: Int
    /// `nil`: the client set none.
    let outputLimit: Int?
    /// The tool to call, when the answer is a tool call.
    let toolName: String?
    let inputTokens: Int
    let steering: FakeSteering

    init(route: FakeRoute, headers: HTTPFields, body: Data) throws(FakeRefusal) {
        let dialect = route.dialect
        key = try Self.key(headers, dialect: dialect)
        if dialect == .anthropic, headers[.anthropicVersion] == nil {
            throw .invalid("anthropic-version: header is required")
        }
        let fields = FakeFields(try Self.object(body), dialect: dialect)
        let modelName =
            if let name = route.modelName { name } else { try fields.requiredString("model") }
        guard let model = FakeModel.named(modelName, dialect: dialect) else {
            throw .unknownModel(modelName)
        }
        let prompt = try fields.prompt()
        let steering = try FakeSteering(headers: headers, lastUserText: prompt.lastUserText)
        self.dialect = dialect
        self.model = model
        self.modelName = modelName
        self.steering = steering
        isStreamed =
            if let isStreamed = route.isStreamed { isStreamed } else { try fields.flag("stream") }
        framing = route.framing
        includesUsage = try dialect == .openAI ? fields.includesUsage() : true
        choiceCount = try fields.choiceCount()
        outputLimit = try fields.outputLimit(model)
        toolName = fields.toolToCall(wantsTool: steering.wantsTool)
        inputTokens = Self.tokens(prompt: prompt.parts + fields.promptExtras, steering: steering)
    }

    private static func key(
        _ headers: HTTPFields, dialect: FakeDialect
    ) throws(FakeRefusal) -> String {
        if dialect == .anthropic, let key = headers[.xAPIKey], !key.isEmpty { return key }
        if dialect == .gemini {
            guard let key = headers[.xGoogAPIKey], !key.isEmpty else { throw .missingKey }
            return key
        }
        let authorization = headers[.authorization] ?? ""
        if dialect == .bedrock, headers[.xAMZDate] != nil,
            let key = signingKey(authorization)
        {
            return key
        }
        let words = authorization.split(separator: " ")
        guard words.count == 2, words[0].lowercased() == "bearer" else { throw .missingKey }
        return String(words[1])
    }

    /// The access key of a signature, which nobody checks here: the bill only needs to know whose
    /// request it is.
    private static func signingKey(_ authorization: String) -> String? {
        let start = "AWS4-HMAC-SHA256 "
        guard authorization.hasPrefix(start) else { return nil }
        let field = "Credential="
        let credential = authorization.dropFirst(start.count).split(separator: ",")
            .map { $0.drop { $0 == " " } }
            .first { $0.hasPrefix(field) }
        return credential?.dropFirst(field.count).split(separator: "/").first.map(String.init)
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
    fileprivate static let xAMZDate = named("x-amz-date")
    fileprivate static let xGoogAPIKey = named("x-goog-api-key")

    static func named(_ text: String) -> HTTPField.Name {
        guard let name = HTTPField.Name(text) else {
            preconditionFailure("\(text) is not a header name")
        }
        return name
    }
}
