/// Google's Gemini, by its own API.
enum Gemini {
    static let api = ProviderAPI(
        id: "gemini", defaultBaseURL: "https://generativelanguage.googleapis.com",
        credential: .header("x-goog-api-key"),
        endpoints: ["v1beta", "v1"].flatMap(endpoints), queryParameters: ["alt"])

    private static func endpoints(_ version: String) -> [any Endpoint] {
        [
            GeminiGenerate(isStreamed: false, version: version),
            GeminiGenerate(isStreamed: true, version: version),
            GeminiCountTokens(version: version),
        ]
    }
}

/// How many tokens a prompt has, which costs nothing.
struct GeminiCountTokens: Endpoint {
    let dialect = Dialect.gemini
    let route: Route
    let isFree = true
    /// Never used: there is no output.
    let outputLimitMember = "maxOutputTokens"

    init(version: String) {
        route = Route(method: "POST", path: "/\(version)/models/{model}:countTokens")
    }

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        try RequestFacts.ofFree(body)
    }

    func meter(for facts: RequestFacts) -> ResponseMeter { .passing }
}
