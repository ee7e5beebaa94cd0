/// Embeddings: billed by input alone.
struct Embeddings: Endpoint {
    private enum BodyKey: String, CaseIterable { case model, input, user }

    /// What cannot add to the bill.
    private static let harmless: Set<String> = [
        "dimensions", "encoding_format", "metadata", "output_dimension", "output_dtype",
    ]

    private static let bodyKeys = KeyTable(BodyKey.self)

    let dialect = Dialect.openai
    let route = Route(method: "POST", path: "/v1/embeddings")
    /// Never used: there is no output.
    let outputLimitMember = "max_tokens"

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        try RequestReader.read(body) { (reader) throws(JSONError) in try Self.read(&reader) }
    }

    func meter(for facts: RequestFacts) -> ResponseMeter {
        ResponseMeter(OpenAITracker(hasOutput: false), hidesUsage: false, usesLongCacheWrite: false)
    }

    private static func read(_ reader: inout RequestReader) throws(JSONError) -> RequestFacts? {
        try reader.scanner.enterObject()
        var facts = RequestFacts(model: "")
        facts.firstMemberIndex = reader.scanner.index
        var keys = KnownKeys(bodyKeys)
        var model: String?
        var inputCount: UInt64 = 1
        while let key = try reader.next(&keys, harmless: harmless) {
            switch key {
            case .model: model = try facts.readModel(&reader)
            case .input: inputCount = try countInputs(&reader)
            case .user: facts.metadataUser = try reader.string("user")
            }
        }
        reader.check(keys)
        guard let model, !model.isEmpty else {
            reader.refuse(.missing(param: "model"))
            return nil
        }
        facts.model = model
        facts.outputLimit = 0
        facts.outputLimitMin = 0
        // Each input is a text of its own: the context is the bound of one, not of all.
        facts.promptTokensMax = PromptBound.tokens(
            bodyByteCount: reader.scanner.bytes.count, messages: inputCount, tools: 0, hidden: 0)
        facts.promptsAreSeparate = true
        return facts
    }

    /// A text, several, tokens, or several lists of tokens; nothing that is not in the request.
    private static func countInputs(_ reader: inout RequestReader) throws(JSONError) -> UInt64 {
        guard try reader.scanner.peekKind() == .array else {
            if try reader.scanner.skipValue().kind == .object {
                reader.refuse(
                    .unboundable(param: "input", because: "only texts and tokens are known here"))
            }
            return 1
        }
        try reader.scanner.enterArray()
        var count: UInt64 = 0
        while try reader.scanner.nextElement() {
            count += 1
            if try reader.scanner.skipValue().kind == .object {
                reader.refuse(
                    .unboundable(
                        param: "input[\(count - 1)]",
                        because: "only texts and tokens are known here"))
            }
        }
        return count
    }
}
