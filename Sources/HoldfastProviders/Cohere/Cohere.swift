/// Cohere, by version 2 of its API. Reranking is billed by searches, for which there is no meter:
/// it has no endpoint here and is refused for that.
enum Cohere {
    static let api = ProviderAPI(
        id: "cohere", defaultBaseURL: "https://api.cohere.com",
        endpoints: [CohereChat(), CohereEmbed(), CohereTokenize()])
}

/// The tokens of a text, which cost nothing.
struct CohereTokenize: Endpoint {
    let dialect = Dialect.cohere
    let route = Route(method: "POST", path: "/v1/tokenize")
    let isFree = true
    /// Never used: there is no output.
    let outputLimitMember = "max_tokens"

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        try RequestFacts.ofFree(body)
    }

    func meter(for facts: RequestFacts) -> ResponseMeter { .passing }
}
