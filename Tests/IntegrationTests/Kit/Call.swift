import HoldfastEgress

/// One request of a caller, in either dialect.
struct Call: Sendable {
    enum Dialect: String, CaseIterable, Sendable {
        case openAI, anthropic

        var path: String { self == .openAI ? "/v1/chat/completions" : "/v1/messages" }
        /// Prices in whole nanodollars per token, so that a bill and our books can be equal.
        var model: String { self == .openAI ? "gpt-4o" : "claude-haiku-4-5" }
    }

    var dialect = Dialect.openAI
    /// `nil` leaves it out.
    var model: String?
    var maxTokens: Int?
    var isStreamed = false
    /// Marks for the fake provider, such as `[[tokens=7]]`.
    var mark = "[[tokens=5]]"
    /// More members of the body, as JSON.
    var fields: [String] = []
    /// Instead of all of the above.
    var rawBody: String?
    var key: String? = Secrets.app
    var headers: [(String, String)] = []
    var requestID: String?

    init(
        _ dialect: Dialect = .openAI, mark: String = "[[tokens=5]]", maxTokens: Int? = 20,
        isStreamed: Bool = false
    ) {
        self.dialect = dialect
        model = dialect.model
        self.mark = mark
        self.maxTokens = maxTokens
        self.isStreamed = isStreamed
    }

    func with(_ change: (inout Call) -> Void) -> Call {
        var copy = self
        change(&copy)
        return copy
    }

    func named(_ requestID: String) -> Call { with { $0.requestID = requestID } }

    func from(user: String) -> Call { with { $0.headers.append(("x-holdfast-user", user)) } }

    var body: String {
        if let rawBody { return rawBody }
        var members = fields
        if let model { members.append("\"model\":\"\(model)\"") }
        if let maxTokens { members.append("\"max_tokens\":\(maxTokens)") }
        if isStreamed { members.append("\"stream\":true") }
        members.append(
            "\"messages\":[{\"role\":\"user\",\"content\":\"\(mark) \(Secrets.prompt)\"}]")
        return "{\(members.joined(separator: ","))}"
    }

    var allHeaders: [(String, String)] {
        var all = [("content-type", "application/json")] + headers
        switch dialect {
        case .openAI:
            if let key { all.append(("authorization", "Bearer \(key)")) }
        case .anthropic:
            all.append(("anthropic-version", "2023-06-01"))
            if let key { all.append(("x-api-key", key)) }
        }
        if let requestID { all.append(("x-request-id", requestID)) }
        return all
    }

    func request(port: Int) -> EgressRequest {
        EgressRequest(
            method: "POST", url: "http://127.0.0.1:\(port)\(dialect.path)", headers: allHeaders,
            body: Array(body.utf8), idleTimeout: .seconds(60))
    }

    /// As it goes over the wire, for tests of the wire itself.
    func raw(version: String = "1.1", headers extra: [String] = []) -> String {
        let lines = allHeaders.map { "\($0.0): \($0.1)" } + extra
        return "POST \(dialect.path) HTTP/\(version)\r\nhost: edge\r\n"
            + lines.map { $0 + "\r\n" }.joined()
            + "content-length: \(body.utf8.count)\r\n\r\n\(body)"
    }
}

/// What must never be in a log.
enum Secrets {
    static let app = "hf_app_2vJw8LxRq0"
    static let other = "hf_other_7TbN4mYz1"
    static let openAI = "sk-upstream-5GcPd9"
    static let anthropic = "sk-ant-upstream-3Xk"
    /// Part of every prompt.
    static let prompt = "Tell nobody about the walrus."

    static let all = [app, other, openAI, anthropic, "walrus"]
}
