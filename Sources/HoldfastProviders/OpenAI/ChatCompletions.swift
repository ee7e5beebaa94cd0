/// OpenAI's chat completions, and those of everybody who has the same API.
struct ChatCompletions: Endpoint {
    let dialect = Dialect.openai
    let route = Route(method: "POST", path: "/v1/chat/completions")
    let outputLimitMember: String
    let takesServiceTier: Bool
    private let asksForUsage: Bool
    private let alwaysLimits: Bool

    /// - Parameters:
    ///   - outputLimitMember: OpenAI's reasoning models refuse the older `max_tokens`; most others
    ///     know nothing else.
    ///   - asksForUsage: whether streams report usage only when they are asked to.
    ///   - alwaysLimits: whether requests without an output limit get one: what the server would do
    ///     without is not known.
    init(
        outputLimitMember: String = "max_completion_tokens", takesServiceTier: Bool = true,
        asksForUsage: Bool = true, alwaysLimits: Bool = false
    ) {
        self.outputLimitMember = outputLimitMember
        self.takesServiceTier = takesServiceTier
        self.asksForUsage = asksForUsage
        self.alwaysLimits = alwaysLimits
    }

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        let member = outputLimitMember
        var facts = try RequestReader.read(body) { (reader) throws(JSONError) in
            var request = OpenAIRequest(outputLimitMember: member)
            return try request.read(&reader)
        }
        if !asksForUsage { facts.leaveUsage() }
        facts.outputLimitIsOurs = alwaysLimits && facts.outputLimit == nil
        return facts
    }

    func meter(for facts: RequestFacts) -> ResponseMeter {
        ResponseMeter(
            OpenAITracker(), hidesUsage: facts.isStream && !facts.callerAskedForUsage,
            usesLongCacheWrite: facts.usesLongCacheWrite)
    }
}
