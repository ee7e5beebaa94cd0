/// Completions of a text: OpenAI's older API, which servers of open models still have, and Mistral's
/// fill-in-the-middle.
struct Completions: Endpoint {
    let dialect = Dialect.openai
    let route: Route
    let outputLimitMember = "max_tokens"
    private let defaultOutputLimit: UInt64?
    private let asksForUsage: Bool

    /// - Parameter defaultOutputLimit: what the provider takes when the caller says nothing; `nil` for
    ///   the model's largest output.
    init(
        path: String = "/v1/completions", defaultOutputLimit: UInt64?, asksForUsage: Bool = true
    ) {
        route = Route(method: "POST", path: path)
        self.defaultOutputLimit = defaultOutputLimit
        self.asksForUsage = asksForUsage
    }

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        var facts = try RequestReader.read(body) { (reader) throws(JSONError) in
            var request = CompletionRequest()
            return try request.read(&reader)
        }
        if facts.outputLimit == nil {
            // Sent, too: another server behind the same address could have another default.
            facts.outputLimit = defaultOutputLimit
            facts.outputLimitIsOurs = true
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

/// The walk over the body of a completion.
struct CompletionRequest {
    private enum BodyKey: String, CaseIterable {
        case model, prompt, stream, n, user
        case streamOptions = "stream_options"
        case maxTokens = "max_tokens"
        case bestOf = "best_of"
        case serviceTier = "service_tier"
    }

    /// What cannot add to the bill. Servers have many members of their own, and some of them do.
    private static let harmless: Set<String> = [
        "echo", "frequency_penalty", "ignore_eos", "logit_bias", "logprobs", "metadata", "min_p",
        "min_tokens", "presence_penalty", "random_seed", "repetition_penalty", "response_format",
        "seed", "stop", "stop_token_ids", "suffix", "temperature", "top_k", "top_p",
    ]

    private static let bodyKeys = KeyTable(BodyKey.self)
    private static let choicesMax: UInt64 = 128
    private static let promptCountMax: UInt64 = 2_048

    private var facts = RequestFacts(model: "")
    private var streamOptions = StreamOptions.absent
    private var choices: UInt64 = 1
    private var bestOf: UInt64 = 1
    private var promptCount: UInt64 = 1

    mutating func read(_ reader: inout RequestReader) throws(JSONError) -> RequestFacts? {
        try reader.scanner.enterObject()
        let start = reader.scanner.index
        facts.outputLimitField = .absent(insertAt: start)
        var keys = KnownKeys(Self.bodyKeys)
        var model: String?
        while let key = try reader.next(&keys, harmless: Self.harmless) {
            switch key {
            case .model: model = try facts.readModel(&reader)
            case .serviceTier:
                facts.serviceTier = try reader.string("service_tier")
                facts.hasServiceTierMember = true
            case .prompt: try readPrompt(&reader)
            case .stream: facts.isStream = try reader.bool("stream") ?? false
            case .streamOptions: streamOptions = try StreamOptions(&reader)
            case .user: facts.metadataUser = try reader.string("user")
            case .n: choices = try reader.count("n", in: 1...Self.choicesMax).value ?? 1
            case .bestOf: bestOf = try reader.count("best_of", in: 1...Self.choicesMax).value ?? 1
            case .maxTokens:
                let limit = try reader.count(
                    "max_tokens", in: 0...RequestReader.outputLimitMax)
                facts.outputLimit = limit.value
                facts.outputLimitField = .value(limit.range)
            }
        }
        reader.check(keys)
        guard let model, !model.isEmpty else {
            reader.refuse(.missing(param: "model"))
            return nil
        }
        facts.model = model
        facts.firstMemberIndex = start
        // Each of several prompts is answered `n` times, and the best of `best_of` is billed like all.
        facts.choices = max(choices, bestOf) * promptCount
        facts.reportUsage(streamOptions, insertAt: start)
        facts.promptsAreSeparate = promptCount > 1
        facts.promptTokensMax = PromptBound.tokens(
            bodyByteCount: reader.scanner.bytes.count, messages: promptCount, tools: 0, hidden: 0)
        return facts
    }

    /// A text, several, tokens, or several lists of tokens. Each token takes a byte at least.
    private mutating func readPrompt(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.scanner.peekKind() == .array else {
            try reader.scanner.skipValue()
            return
        }
        try reader.scanner.enterArray()
        var count: UInt64 = 0
        while try reader.scanner.nextElement() {
            if try reader.scanner.skipValue().kind != .number { count += 1 }
        }
        guard count <= Self.promptCountMax else {
            return reader.refuse(
                .invalid(param: "prompt", expected: "at most \(Self.promptCountMax) prompts"))
        }
        promptCount = max(1, count)
    }
}
