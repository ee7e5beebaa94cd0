/// OpenAI's chat completions.
public struct OpenAIAdapter: ProviderAdapter {
    public let id = ProviderID.openAI
    public let dialect = Dialect.openai
    public let route = Route(method: "POST", path: "/v1/chat/completions")
    public let defaultBaseURL = "https://api.openai.com"

    public init() {}

    public func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        try RequestReader.read(body) { (reader) throws(JSONError) in
            var request = OpenAIRequest()
            return try request.read(&reader)
        }
    }

    /// Hosts of one region, `eu.api.openai.com`, cost a tenth more. Only for models since March 2026,
    /// which the price table does not tell apart: the dearer side.
    public func multiplierTenths(baseURL: String) -> UInt64 {
        let host = baseURL.lowercased().drop { $0 != "/" }.drop { $0 == "/" }
            .prefix { $0 != "/" && $0 != ":" }
        return host.hasSuffix(".api.openai.com") ? 11 : 10
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
                // The older `max_tokens` is refused by reasoning models; this one is taken by all.
                splices.append(Splice(index..<index, "\"max_completion_tokens\":\(outputLimit),"))
            }
        }
        if let usageSplice = facts.usageSplice { splices.append(usageSplice) }
        if let tierSplice = facts.tierSplice { splices.append(tierSplice) }
        return Splice.apply(splices, to: body)
    }

    public func authorization(apiKey: String) -> [(name: String, value: String)] {
        [("authorization", "Bearer \(apiKey)")]
    }

    public func meter(for facts: RequestFacts) -> ResponseMeter {
        ResponseMeter(
            dialect: dialect, hidesUsage: facts.isStream && !facts.callerAskedForUsage,
            usesLongCacheWrite: facts.usesLongCacheWrite)
    }
}
