import Foundation

/// Whose API a route speaks.
enum FakeDialect: Sendable {
    /// OpenAI's chat completions.
    case openAI
    /// OpenAI's responses.
    case responses
    case anthropic
    case cohere
    case gemini
    case bedrock

    /// Whose models the route has: both of OpenAI's routes have the same ones.
    var vendor: FakeDialect { self == .responses ? .openAI : self }
}

/// A path that is billed, and what it says about the request.
struct FakeRoute: Sendable {
    let dialect: FakeDialect
    /// `nil` where the body names the model.
    var modelName: String?
    /// `nil` where the body says it.
    var isStreamed: Bool?
    var framing = FakeFraming.events

    init(dialect: FakeDialect) {
        self.dialect = dialect
    }

    /// - Parameters:
    ///   - path: as it came, percent-encoded.
    ///   - query: without the question mark.
    init?(path: String, query: String) {
        switch path {
        case "/v1/chat/completions": self.init(dialect: .openAI)
        case "/v1/responses": self.init(dialect: .responses)
        case "/v1/messages": self.init(dialect: .anthropic)
        case "/v2/chat": self.init(dialect: .cohere)
        default:
            let segments = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
                .map { $0.removingPercentEncoding ?? String($0) }
            guard segments.count == 3 else { return nil }
            switch (segments[0], segments[1]) {
            // The SDKs of Google do not agree on the version.
            case ("v1beta", "models"), ("v1", "models"):
                self.init(gemini: segments[2], query: query)
            case ("model", let model): self.init(bedrock: model, call: segments[2])
            default: return nil
            }
        }
    }

    /// - Parameter modelAndCall: such as `gemini-2.5-flash:generateContent`.
    private init?(gemini modelAndCall: String, query: String) {
        guard let colon = modelAndCall.lastIndex(of: ":") else { return nil }
        self.init(dialect: .gemini)
        modelName = String(modelAndCall[..<colon])
        switch modelAndCall[colon...] {
        case ":generateContent": isStreamed = false
        case ":streamGenerateContent":
            isStreamed = true
            framing = query.split(separator: "&").contains("alt=sse") ? .events : .array
        default: return nil
        }
    }

    private init?(bedrock model: String, call: String) {
        self.init(dialect: .bedrock)
        modelName = model
        framing = .messages
        switch call {
        case "converse": isStreamed = false
        case "converse-stream": isStreamed = true
        default: return nil
        }
    }
}
