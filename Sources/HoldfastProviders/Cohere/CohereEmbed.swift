/// Cohere's embeddings: billed by input alone.
///
/// `max_tokens` is here the length that each text is cut to, which can only lower the bill.
struct CohereEmbed: Endpoint {
    private enum BodyKey: String, CaseIterable { case model, texts, inputs, images }
    private enum InputKey: String, CaseIterable { case content }

    private static let bodyKeys = KeyTable(BodyKey.self)
    private static let inputKeys = KeyTable(InputKey.self)

    let dialect = Dialect.cohere
    let route = Route(method: "POST", path: "/v2/embed")
    /// Never used: there is no output.
    let outputLimitMember = "max_tokens"

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        try RequestReader.read(body) { (reader) throws(JSONError) in try Self.read(&reader) }
    }

    func meter(for facts: RequestFacts) -> ResponseMeter {
        ResponseMeter(CohereTracker(hasOutput: false), hidesUsage: false, usesLongCacheWrite: false)
    }

    private static func read(_ reader: inout RequestReader) throws(JSONError) -> RequestFacts? {
        try reader.scanner.enterObject()
        var facts = RequestFacts(model: "")
        facts.firstMemberIndex = reader.scanner.index
        var keys = KnownKeys(bodyKeys)
        var model: String?
        var inputCount: UInt64 = 0
        while let key = try keys.next(&reader.scanner) {
            switch key {
            case .model: model = try facts.readModel(&reader)
            case .texts: inputCount += try countTexts(&reader)
            case .inputs: inputCount += try countInputs(&reader)
            case .images:
                try reader.refuseUse("images", because: "image tokens have prices of their own")
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
        let body = reader.scanner.bytes
        facts.promptTokensMax = PromptBound.tokens(
            bodyByteCount: body.count, messages: inputCount, tools: 0,
            hidden: CohereText.compatible.growth(of: body))
        facts.promptsAreSeparate = true
        return facts
    }

    private static func countTexts(_ reader: inout RequestReader) throws(JSONError) -> UInt64 {
        guard try reader.enterArray("texts") else { return 0 }
        var count: UInt64 = 0
        while try reader.scanner.nextElement() {
            if try reader.scanner.skipValue().kind != .string {
                reader.refuse(.invalid(param: "texts[\(count)]", expected: "a string"))
            }
            count += 1
        }
        return count
    }

    private static func countInputs(_ reader: inout RequestReader) throws(JSONError) -> UInt64 {
        guard try reader.enterArray("inputs") else { return 0 }
        var count: UInt64 = 0
        while try reader.scanner.nextElement() {
            let path = { "inputs[\(count)]" }
            if try reader.enterObject(path()) {
                var keys = KnownKeys(inputKeys)
                while try keys.next(&reader.scanner) != nil {
                    try readContent(&reader, at: path() + ".content")
                }
                reader.check(keys, at: path())
            }
            count += 1
        }
        return count
    }

    private static func readContent(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) {
        guard try reader.enterArray(path()) else { return }
        var index = 0
        while try reader.scanner.nextElement() {
            let type = try CohereRequest.readType(&reader, at: "\(path())[\(index)]")
            switch type {
            case "text": break
            case nil:
                reader.refuse(.invalid(param: "\(path())[\(index)].type", expected: "a string"))
            default:
                reader.refuse(
                    .unboundable(
                        param: "\(path())[\(index)].type",
                        because: type == "image_url"
                            ? "image tokens have prices of their own"
                            : "content of this type is not known to this version"))
            }
            index += 1
        }
    }
}
