enum Anthropic {
    static let api = ProviderAPI(
        id: "anthropic", defaultBaseURL: "https://api.anthropic.com",
        credential: .header("x-api-key"), endpoints: [Messages(), CountTokens()],
        queryParameters: ["beta"])
}

/// How many tokens a message has, which costs nothing.
struct CountTokens: Endpoint {
    let dialect = Dialect.anthropic
    let route = Route(method: "POST", path: "/v1/messages/count_tokens")
    let isFree = true
    /// Never used: there is no output.
    let outputLimitMember = "max_tokens"

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        try RequestFacts.ofFree(body)
    }

    func meter(for facts: RequestFacts) -> ResponseMeter { .passing }
}
