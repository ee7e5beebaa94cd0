/// OpenAI's responses.
struct Responses: Endpoint {
    let dialect = Dialect.openai
    let route = Route(method: "POST", path: "/v1/responses")
    let outputLimitMember = "max_output_tokens"
    let takesServiceTier = true

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        try RequestReader.read(body) { (reader) throws(JSONError) in
            var request = ResponsesRequest()
            return try request.read(&reader)
        }
    }

    func meter(for facts: RequestFacts) -> ResponseMeter {
        ResponseMeter(
            ResponsesTracker(), hidesUsage: false, usesLongCacheWrite: facts.usesLongCacheWrite)
    }
}

/// How many tokens the input of a response has, which costs nothing.
struct ResponsesInputTokens: Endpoint {
    let dialect = Dialect.openai
    let route = Route(method: "POST", path: "/v1/responses/input_tokens")
    let isFree = true
    /// Never used: there is no output.
    let outputLimitMember = "max_output_tokens"

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        try RequestFacts.ofFree(body)
    }

    func meter(for facts: RequestFacts) -> ResponseMeter { .passing }
}
