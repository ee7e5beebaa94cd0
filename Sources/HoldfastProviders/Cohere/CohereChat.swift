/// Cohere's chat. Its streams report their usage unasked.
struct CohereChat: Endpoint {
    let dialect = Dialect.cohere
    let route = Route(method: "POST", path: "/v2/chat")
    let outputLimitMember = "max_tokens"

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        try RequestReader.read(body) { (reader) throws(JSONError) in
            var request = CohereRequest()
            return try request.read(&reader)
        }
    }

    func meter(for facts: RequestFacts) -> ResponseMeter {
        ResponseMeter(CohereTracker(), hidesUsage: false, usesLongCacheWrite: false)
    }
}
