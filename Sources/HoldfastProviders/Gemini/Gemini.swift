/// Google's Gemini, by its own API. Only `v1beta`, which is what its SDKs call.
enum Gemini {
    static let api = ProviderAPI(
        id: "gemini", defaultBaseURL: "https://generativelanguage.googleapis.com",
        credential: .header("x-goog-api-key"),
        endpoints: [
            GeminiGenerate(isStreamed: false), GeminiGenerate(isStreamed: true),
            GeminiCountTokens(),
        ])
}

/// How many tokens a prompt has, which costs nothing.
struct GeminiCountTokens: Endpoint {
    let dialect = Dialect.gemini
    let route = Route(method: "POST", path: "/v1beta/models/{model}:countTokens")
    let isFree = true
    /// Never used: there is no output.
    let outputLimitMember = "maxOutputTokens"

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        try RequestFacts.ofFree(body)
    }

    func meter(for facts: RequestFacts) -> ResponseMeter { .passing }
}
