/// AWS Bedrock by Converse, which is the same for every model. The model is in the path.
enum Bedrock {
    static let api = ProviderAPI(
        id: "bedrock", defaultBaseURL: nil, credential: .signatureV4(service: "bedrock"),
        endpoints: [
            Converse(isStreamed: false),
            Converse(isStreamed: true),
            BedrockCountTokens(),
        ])
}

/// How many tokens a request has, which costs nothing.
struct BedrockCountTokens: Endpoint {
    let dialect = Dialect.bedrock
    let route = Route(method: "POST", path: "/model/{model}/count-tokens")
    let isFree = true
    /// Never used: there is no output.
    let outputLimitMember = "maxTokens"

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        try RequestFacts.ofFree(body)
    }

    func meter(for facts: RequestFacts) -> ResponseMeter { .passing }
}
