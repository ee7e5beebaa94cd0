/// Everything about one answer that is decided before its first token.
struct FakeAnswer: Sendable {
    let request: FakeRequest
    /// Of the completion, response or message.
    let id: String
    let createdUnixSeconds: Int
    let rates: FakeRates
    let prompt: BilledTokens
    /// What each choice would take without a limit.
    private let wantedLengths: [Int]
    /// Tokens that each choice generates.
    let lengths: [Int]

    init(
        request: FakeRequest, serial: UInt64, createdUnixSeconds: Int, behaviour: FakeBehaviour,
        numbers: SeededNumbers
    ) {
        let limit = request.outputLimit ?? request.model.outputTokensMax
        let randomMax = min(limit, behaviour.outputTokensMax)
        let wanted = (0..<request.choiceCount).map { _ in
            request.steering.outputTokens ?? numbers.next(in: 1...randomMax)
        }
        let prefix =
            switch request.dialect {
            case .openAI: "chatcmpl-"
            case .responses: "resp_"
            case .anthropic: "msg_"
            case .cohere, .gemini, .bedrock: ""
            }
        let rates = request.model.rates(promptTokens: UInt64(request.inputTokens))
        self.request = request
        self.createdUnixSeconds = createdUnixSeconds
        self.rates = rates
        id = prefix + "fake\(serial)"
        prompt = Self.prompt(request, rates: rates)
        wantedLengths = wanted
        lengths = wanted.map { min($0, limit) }
    }

    /// All choices advance together, a token per step.
    var stepCount: Int { lengths.reduce(1, max) }

    var halfStepCount: Int { max(1, stepCount / 2) }

    /// Output tokens of all choices in these steps.
    func tokenCount(_ steps: Range<Int>) -> Int {
        lengths.reduce(0) { $0 + max(0, min($1, steps.upperBound) - steps.lowerBound) }
    }

    func isCut(choice: Int) -> Bool { lengths[choice] < wantedLengths[choice] }

    /// The text of one token as a JSON string literal.
    func piece(choice: Int, index: Int) -> String {
        guard request.toolName != nil else { return Self.quotedWords[index % Self.words.count] }
        // The arguments are `{"note":"…"}`, or `{}` where there is room for no more.
        if wantedLengths[choice] == 1 { return "\"{}\"" }
        if index == 0 { return #""{\"note\":\"""# }
        if index == wantedLengths[choice] - 1 { return #""\"}""# }
        return Self.quotedWords[index % Self.words.count]
    }

    /// The whole text of a choice as a JSON string literal: its pieces without the quotes between.
    func text(choice: Int) -> String {
        var out = "\""
        for index in 0..<lengths[choice] {
            out += piece(choice: choice, index: index).dropFirst().dropLast()
        }
        return out + "\""
    }

    /// The tool's arguments as a JSON object, empty when they were cut.
    func toolInput(choice: Int) -> String {
        guard lengths[choice] >= 2, !isCut(choice: choice) else { return "{}" }
        let note = (1..<lengths[choice] - 1).map { Self.words[$0 % Self.words.count] }
        return "{\"note\":\(FakeJSON.quoted(note.joined()))}"
    }

    private static let words = [
        "the ", "river ", "runs ", "slowly ", "past ", "a ", "quiet ", "mill ", "and ", "under ",
        "old ", "stone ", "bridges ", "until ", "it ", "meets ",
    ]
    private static let quotedWords = words.map(FakeJSON.quoted)

    /// Splits the prompt into what is read from the cache, written to it, and neither.
    private static func prompt(_ request: FakeRequest, rates: FakeRates) -> BilledTokens {
        var rest = UInt64(request.inputTokens)
        func take(_ wanted: Int) -> UInt64 {
            let taken = min(rest, UInt64(wanted))
            rest -= taken
            return taken
        }
        var tokens = BilledTokens()
        tokens.cacheRead = take(request.steering.cachedTokens)
        if rates.cacheWrite != nil { tokens.cacheWrite = take(request.steering.cacheWriteTokens) }
        if rates.cacheWriteLong != nil {
            tokens.cacheWriteLong = take(request.steering.cacheWriteLongTokens)
        }
        tokens.uncachedInput = rest
        return tokens
    }
}

/// An answer in the format of one provider, in events as `FakeEventWriter` takes them.
protocol FakeReply: Sendable {
    /// Events before the first token.
    func opening() -> String
    func appendToken(choice: Int, index: Int, to events: inout String)
    /// Events after the last token.
    func closing() -> String
    /// An event that tells of a failure after the status was sent.
    func errorEvent() -> String
    /// A harmless event with a field of this size.
    func hugeEvent(byteCount: Int) -> String
    /// The answer to a request without `stream`.
    func body(hugeFieldByteCount: Int) -> String
}

extension FakeAnswer {
    var reply: any FakeReply {
        switch request.dialect {
        case .openAI: OpenAIReply(answer: self)
        case .responses: ResponsesReply(answer: self)
        case .anthropic: AnthropicReply(answer: self)
        case .cohere: CohereReply(answer: self)
        case .gemini: GeminiReply(answer: self)
        case .bedrock: BedrockReply(answer: self)
        }
    }
}
