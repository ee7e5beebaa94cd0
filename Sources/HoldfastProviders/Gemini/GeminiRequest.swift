/// The walk over the body of a `generateContent`.
///
/// **Thinking** is billed as output. That `maxOutputTokens` caps thoughts and text together is what
/// everybody observes and Google does not promise; it is taken for a cap here, because without one
/// every request of a thinking model would have to be held at the model's largest output. What is
/// added is a budget that the request names for thinking, in case that is granted on top. A
/// provider that goes beyond is charged as it reports, and shows up as an overrun.
struct GeminiRequest {
    private enum BodyKey: String, CaseIterable {
        case model, contents, systemInstruction, tools, generationConfig, serviceTier
        case cachedContent, continuationToken
    }

    private enum ContentKey: String, CaseIterable { case parts }

    private enum PartKey: String, CaseIterable {
        case text, inlineData, functionCall, functionResponse, thought, thoughtSignature
        case partMetadata, mediaResolution, mediaProcessing, videoMetadata
        case fileData, executableCode, codeExecutionResult, toolCall, toolResponse
    }

    private enum BlobKey: String, CaseIterable { case mimeType }

    private enum ToolKey: String, CaseIterable {
        case functionDeclarations, googleSearch, googleSearchRetrieval, urlContext, codeExecution
        case googleMaps, fileSearch, computerUse, mcpServers, retrieval, enterpriseWebSearch
    }

    private enum ConfigKey: String, CaseIterable {
        case maxOutputTokens, candidateCount, responseModalities, thinkingConfig
        case responseSchema, responseJsonSchema, responseFormat, speechConfig, imageConfig
        case audioTranscriptionConfig, translationConfig, routingConfig, modelSelectionConfig
    }

    private enum ThinkingKey: String, CaseIterable { case thinkingBudget }

    private static let bodyKeys = GeminiKeys<BodyKey>.Table()
    private static let contentKeys = GeminiKeys<ContentKey>.Table()
    private static let partKeys = GeminiKeys<PartKey>.Table()
    private static let blobKeys = GeminiKeys<BlobKey>.Table()
    private static let toolKeys = GeminiKeys<ToolKey>.Table()
    private static let configKeys = GeminiKeys<ConfigKey>.Table()
    private static let thinkingKeys = GeminiKeys<ThinkingKey>.Table()

    static let outputLimitMember = ConfigKey.maxOutputTokens.rawValue

    /// Google's own bound.
    private static let choicesMax: UInt64 = 8
    /// For what the provider may add to a prompt with tools, and to one with a schema for the answer.
    /// Nothing is documented.
    private static let hiddenTokens: UInt64 = 256
    /// Nothing with prices of its own: those are audio, and video for the audio in it.
    private static let mimeTypePrefixes = ["image/", "text/", "application/pdf"]

    private var facts = RequestFacts(model: "")
    private var contentCount: UInt64 = 0
    private var toolCount: UInt64 = 0
    private var hasSchema = false
    private var hasConfig = false
    private var thinkingBudget: UInt64 = 0

    mutating func read(_ reader: inout RequestReader) throws(JSONError) -> RequestFacts? {
        try reader.scanner.enterObject()
        facts.firstMemberIndex = reader.scanner.index
        var keys = GeminiKeys(Self.bodyKeys)
        while let key = try keys.next(&reader.scanner) { try readMember(key, &reader) }
        reader.check(keys)
        if contentCount == 0 { reader.refuse(.missing(param: "contents")) }
        if !hasConfig {
            facts.outputLimitField = .nested(
                insertAt: facts.firstMemberIndex,
                prefix: "\"generationConfig\":{\"\(Self.outputLimitMember)\":", suffix: "},")
        }
        if thinkingBudget > 0 {
            facts.extraOutputTokens = thinkingBudget * facts.choices
            // An answer that is all thoughts costs as much, and is none.
            facts.outputLimitMin = thinkingBudget + 1
        }
        var hidden: UInt64 = 0
        if toolCount > 0 { hidden += Self.hiddenTokens }
        if hasSchema { hidden += Self.hiddenTokens }
        // Gemini's tokenizer is no byte-level BPE, but falls back to bytes, so a text has at most one
        // token more than bytes. The JSON around each text is longer than that one.
        facts.promptTokensMax = PromptBound.tokens(
            bodyByteCount: reader.scanner.bytes.count, messages: contentCount + 1,
            tools: toolCount, hidden: hidden)
        return facts
    }

    private mutating func readMember(
        _ key: BodyKey, _ reader: inout RequestReader
    ) throws(JSONError) {
        let name = key.rawValue
        switch key {
        case .model:
            if try reader.scanner.skipValue().kind != .null {
                reader.refuse(
                    .invalid(param: name, expected: "left out: the path names the model"))
            }
        case .contents:
            let list = try reader.enterList(name)
            var index = 0
            while try reader.hasElement(index, of: list) {
                try readContent(&reader, at: "\(name)[\(index)]")
                contentCount += 1
                index += 1
            }
        case .systemInstruction: try readContent(&reader, at: name)
        case .tools: try readTools(&reader)
        case .generationConfig: try readConfig(&reader)
        case .serviceTier:
            facts.hasServiceTierMember = true
            // The name of the default, which is standard.
            if let tier = try reader.string(name), tier != "unspecified" {
                facts.serviceTier = tier
            }
        case .cachedContent, .continuationToken:
            try reader.refuseUse(name, because: "it adds input that is not in the request")
        }
    }

    // MARK: - Prompt

    private mutating func readContent(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) {
        guard try reader.enterObject(path()) else { return }
        var keys = GeminiKeys(Self.contentKeys)
        while try keys.next(&reader.scanner) != nil {
            try readParts(&reader, at: "\(path()).parts")
        }
        reader.check(keys, at: path())
    }

    private mutating func readParts(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) {
        let list = try reader.enterList(path())
        var index = 0
        while try reader.hasElement(index, of: list) {
            try readPart(&reader, at: "\(path())[\(index)]")
            index += 1
        }
    }

    private mutating func readPart(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) {
        guard try reader.enterObject(path()) else { return }
        var keys = GeminiKeys(Self.partKeys)
        while let key = try reader.scanner.nextKey() {
            switch keys.match(key) {
            // A signature is what the model thought, encrypted. Base64 has more characters than
            // that had bytes, and several bytes make a token.
            case .text, .functionCall, .thought, .thoughtSignature: try reader.scanner.skipValue()
            // How to read what is beside them, and that is bounded by itself.
            case .partMetadata, .mediaResolution, .mediaProcessing, .videoMetadata:
                try reader.scanner.skipValue()
            case .inlineData: try readBlob(&reader, at: "\(path()).inlineData")
            case .functionResponse:
                // Its `response` is the caller's own JSON; its `parts` can be images.
                try readContent(&reader, at: "\(path()).functionResponse")
            case .fileData:
                try reader.refuseUse(
                    "\(path()).fileData", because: "it adds input that is not in the request")
            case .executableCode, .codeExecutionResult, .toolCall, .toolResponse:
                try reader.refuseUse(
                    path(), because: "it belongs to a tool that the provider runs itself")
            case nil:
                // It may be a known one that comes again.
                reader.check(keys, at: path())
                try reader.refuseUse(
                    path(), because: "it has a member that is not known to this version")
            }
        }
        reader.check(keys, at: path())
    }

    private mutating func readBlob(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) {
        guard try reader.enterObject(path()) else { return }
        var keys = GeminiKeys(Self.blobKeys)
        var type: String?
        while try keys.next(&reader.scanner) != nil {
            type = try reader.string("\(path()).mimeType")
        }
        reader.check(keys, at: path())
        facts.promptIsUnboundedByBytes = true
        guard let type else { return reader.refuse(.missing(param: "\(path()).mimeType")) }
        let name = type.lowercased()
        if !Self.mimeTypePrefixes.contains(where: { name.hasPrefix($0) }) {
            reader.refuse(
                .unboundable(
                    param: "\(path()).mimeType",
                    because: "only images, PDF and text are known to cost what text does"))
        }
    }

    // MARK: - Options

    private mutating func readTools(_ reader: inout RequestReader) throws(JSONError) {
        let list = try reader.enterList("tools")
        var index = 0
        while try reader.hasElement(index, of: list) {
            if try reader.enterObject("tools[\(index)]") {
                try readTool(&reader, at: "tools[\(index)]")
            }
            index += 1
        }
    }

    private mutating func readTool(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) {
        var keys = GeminiKeys(Self.toolKeys)
        while let key = try reader.scanner.nextKey() {
            switch keys.match(key) {
            case .functionDeclarations:
                let list = try reader.enterList("\(path()).functionDeclarations")
                var index = 0
                while try reader.hasElement(index, of: list) {
                    try reader.scanner.skipValue()
                    toolCount += 1
                    index += 1
                }
            case let tool?:
                try reader.refuseUse(
                    "\(path()).\(tool.rawValue)",
                    because: "the provider runs this tool itself, or adds to the prompt for it")
            case nil:
                // It may be a known one that comes again.
                reader.check(keys, at: path())
                try reader.refuseUse(
                    path(), because: "only functionDeclarations run on the caller's side")
            }
        }
        reader.check(keys, at: path())
    }

    private mutating func readConfig(_ reader: inout RequestReader) throws(JSONError) {
        let name = BodyKey.generationConfig.rawValue
        hasConfig = true
        guard try reader.scanner.peekKind() != .null else {
            // There is no place in it for a limit, and a second member of that name is none either.
            try reader.scanner.skipValue()
            return reader.refuse(.invalid(param: name, expected: "an object, or left out"))
        }
        guard try reader.enterObject(name) else { return }
        let start = reader.scanner.index
        var rest = reader.scanner
        let isEmpty = try rest.nextKey() == nil
        facts.outputLimitField =
            isEmpty
            ? .nested(insertAt: start, prefix: "\"\(Self.outputLimitMember)\":", suffix: "")
            : .absent(insertAt: start)
        var keys = GeminiKeys(Self.configKeys)
        while let key = try keys.next(&reader.scanner) { try readOption(key, &reader) }
        reader.check(keys, at: name)
    }

    private mutating func readOption(
        _ key: ConfigKey, _ reader: inout RequestReader
    ) throws(JSONError) {
        let path = "generationConfig.\(key.rawValue)"
        switch key {
        case .maxOutputTokens:
            let limit = try reader.count(path, in: 1...RequestReader.outputLimitMax)
            facts.outputLimit = limit.value
            facts.outputLimitField = .value(limit.range)
        case .candidateCount:
            facts.choices = try reader.count(path, in: 1...Self.choicesMax).value ?? 1
        case .responseModalities: try readModalities(&reader, at: path)
        case .thinkingConfig: try readThinking(&reader, at: path)
        case .responseSchema, .responseJsonSchema:
            if try reader.scanner.skipValue().kind != .null { hasSchema = true }
        case .responseFormat, .speechConfig, .imageConfig, .audioTranscriptionConfig,
            .translationConfig:
            try reader.refuseUse(path, because: "output other than text has prices of its own")
        case .routingConfig, .modelSelectionConfig:
            try reader.refuseUse(
                path, because: "another model than the one that is priced may answer")
        }
    }

    private func readModalities(
        _ reader: inout RequestReader, at path: String
    ) throws(JSONError) {
        guard try reader.scanner.peekKind() == .array else {
            return try readModality(&reader, at: path)
        }
        try reader.scanner.enterArray()
        while try reader.scanner.nextElement() { try readModality(&reader, at: path) }
    }

    private func readModality(_ reader: inout RequestReader, at path: String) throws(JSONError) {
        guard let modality = try reader.string(path), modality.lowercased() != "text" else {
            return
        }
        reader.refuse(
            .unboundable(param: path, because: "output other than text has prices of its own"))
    }

    /// No budget, and a budget of -1, leave it to the model: then only the output limit is there.
    private mutating func readThinking(
        _ reader: inout RequestReader, at path: String
    ) throws(JSONError) {
        guard try reader.enterObject(path) else { return }
        var keys = GeminiKeys(Self.thinkingKeys)
        while try keys.next(&reader.scanner) != nil {
            let value = try reader.scanner.skipValue()
            if value.kind == .null { continue }
            let text = reader.scanner.bytes[value.range]
            if value.kind == .number, text.elementsEqual("-1".utf8) { continue }
            if value.kind == .number,
                let budget = JSON.unsigned(value.range, in: reader.scanner.bytes),
                budget <= RequestReader.outputLimitMax
            {
                thinkingBudget = budget
                continue
            }
            reader.refuse(
                .invalid(
                    param: "\(path).thinkingBudget",
                    expected: "-1, or a whole number up to \(RequestReader.outputLimitMax), "
                        + "written without fraction or exponent"))
        }
        reader.check(keys, at: path)
    }
}

extension RequestReader {
    /// How a list of objects is written: Google takes its only element in place of it, and its own
    /// examples do so.
    fileprivate enum List {
        case none, element, array
    }

    /// Comes before an element, or before the end of the array; `.none` for `null`, and when refused.
    fileprivate mutating func enterList(
        _ param: @autoclosure () -> String
    ) throws(JSONError) -> List {
        switch try scanner.peekKind() {
        case .array:
            try scanner.enterArray()
            return .array
        case .object: return .element
        case .null: break
        case .string, .number, .true, .false:
            refuse(.invalid(param: param(), expected: "an object or an array of objects"))
        }
        try scanner.skipValue()
        return .none
    }

    /// Whether the element with this number comes next. To ask for one after the other.
    fileprivate mutating func hasElement(_ index: Int, of list: List) throws(JSONError) -> Bool {
        switch list {
        case .none: false
        case .element: index == 0
        case .array: try scanner.nextElement()
        }
    }

    /// To call at the end of every object that was walked with `GeminiKeys`.
    fileprivate mutating func check<Key>(
        _ keys: GeminiKeys<Key>, at path: @autoclosure () -> String = ""
    ) {
        if let refusal = keys.refusal(at: path()) { refuse(refusal) }
    }
}
