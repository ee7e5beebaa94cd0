/// Anthropic's messages.
public struct AnthropicAdapter: ProviderAdapter {
    public let id = ProviderID.anthropic
    public let dialect = Dialect.anthropic
    public let route = Route(method: "POST", path: "/v1/messages")
    public let defaultBaseURL = "https://api.anthropic.com"

    public init() {}

    public func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        try RequestReader.read(body) { (reader) throws(JSONError) in
            var request = AnthropicRequest()
            return try request.read(&reader)
        }
    }

    public func upstreamBody(
        _ body: [UInt8], facts: RequestFacts, outputLimit: UInt64?
    ) -> [UInt8] {
        var splices: [Splice] = []
        if let outputLimit {
            switch facts.outputLimitField {
            case .value(let range):
                splices.append(Splice(range, String(outputLimit)))
            case .absent(let index):
                splices.append(Splice(index..<index, "\"max_tokens\":\(outputLimit),"))
            }
        }
        if let tierSplice = facts.tierSplice { splices.append(tierSplice) }
        return Splice.apply(splices, to: body)
    }

    public func authorization(apiKey: String) -> [(name: String, value: String)] {
        [("x-api-key", apiKey)]
    }

    public func meter(for facts: RequestFacts) -> ResponseMeter {
        ResponseMeter(
            dialect: dialect, hidesUsage: false, usesLongCacheWrite: facts.usesLongCacheWrite)
    }
}
