/// OpenAI's chat completions, and those of everybody who has the same API.
struct ChatCompletions: Endpoint {
    let dialect = Dialect.openai
    let route = Route(method: "POST", path: "/v1/chat/completions")
    let outputLimitMember: String
    private let asksForUsage: Bool

    /// - Parameters:
    ///   - outputLimitMember: OpenAI's reasoning models refuse the older `max_tokens`; most others
    ///     know nothing else.
    ///   - asksForUsage: whether streams report usage only when they are asked to.
    init(outputLimitMember: String = "max_completion_tokens", asksForUsage: Bool = true) {
        self.outputLimitMember = outputLimitMember
        self.asksForUsage = asksForUsage
    }

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        var facts = try RequestReader.read(body) { (reader) throws(JSONError) in
            var request = OpenAIRequest()
            return try request.read(&reader)
        }
        if !asksForUsage { facts.leaveUsage() }
        return facts
    }

    func meter(for facts: RequestFacts) -> ResponseMeter {
        ResponseMeter(
            OpenAITracker(), hidesUsage: facts.isStream && !facts.callerAskedForUsage,
            usesLongCacheWrite: facts.usesLongCacheWrite)
    }
}
