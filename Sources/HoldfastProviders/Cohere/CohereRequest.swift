/// The walk over the body of a chat request.
///
/// Members that are not named here cannot raise the bill: `priority` is about the order under load,
/// `strict_tools`, `response_format` and `tool_choice` constrain the one answer, `citation_options`
/// says how sources are marked in it, and `safety_mode` chooses a text of the provider's that is
/// not billed.
struct CohereRequest {
    private enum BodyKey: String, CaseIterable {
        case model, messages, stream, tools, documents, thinking, connectors, n
        case maxTokens = "max_tokens"
        case serviceTier = "service_tier"
        case searchQueriesOnly = "search_queries_only"
        case searchOptions = "search_options"
        case promptTruncation = "prompt_truncation"
        case conversationID = "conversation_id"
        case numGenerations = "num_generations"
    }

    private enum ContentKey: String, CaseIterable { case content }
    private enum TypeKey: String, CaseIterable { case type }
    private enum ThinkingKey: String, CaseIterable {
        case tokenBudget = "token_budget"
    }

    private static let bodyKeys = KeyTable(BodyKey.self)
    private static let contentKeys = KeyTable(ContentKey.self)
    private static let typeKeys = KeyTable(TypeKey.self)
    private static let thinkingKeys = KeyTable(ThinkingKey.self)

    /// For what the provider adds to a prompt with tools or documents.
    private static let hiddenTokens: UInt64 = 64

    private var facts = RequestFacts(model: "")
    private var messageCount: UInt64 = 0
    private var documentCount: UInt64 = 0
    private var toolCount: UInt64 = 0

    mutating func read(_ reader: inout RequestReader) throws(JSONError) -> RequestFacts? {
        try reader.scanner.enterObject()
        facts.firstMemberIndex = reader.scanner.index
        facts.outputLimitField = .absent(insertAt: reader.scanner.index)
        var keys = KnownKeys(Self.bodyKeys)
        var model: String?
        while let key = try keys.next(&reader.scanner) {
            if key == .model {
                model = try facts.readModel(&reader)
            } else {
                try readMember(key, &reader)
            }
        }
        reader.check(keys)
        guard let model, !model.isEmpty else {
            reader.refuse(.missing(param: "model"))
            return nil
        }
        facts.model = model
        let body = reader.scanner.bytes
        let hidden = toolCount > 0 || documentCount > 0 ? Self.hiddenTokens : 0
        facts.promptTokensMax = PromptBound.tokens(
            bodyByteCount: body.count, messages: messageCount + documentCount, tools: toolCount,
            hidden: hidden + CohereText.canonical.growth(of: body))
        return facts
    }

    private mutating func readMember(
        _ key: BodyKey, _ reader: inout RequestReader
    ) throws(JSONError) {
        let name = key.rawValue
        switch key {
        case .model: preconditionFailure("read by the caller")
        case .messages: try readMessages(&reader)
        case .stream: facts.isStream = try reader.bool(name) ?? false
        case .tools: try readTools(&reader)
        case .documents: try readDocuments(&reader)
        case .thinking: try readThinking(&reader)
        case .maxTokens:
            let limit = try reader.count(name, in: 1...RequestReader.outputLimitMax)
            facts.outputLimit = limit.value
            facts.outputLimitField = .value(limit.range)
        case .serviceTier:
            facts.serviceTier = try reader.string(name)
            facts.hasServiceTierMember = true
        // Members of version 1. Version 2 has none of them, but nothing says that it never acts on
        // them.
        case .connectors, .searchQueriesOnly, .searchOptions:
            try reader.refuseUse(name, because: "searches add calls and prompt tokens")
        case .conversationID:
            try reader.refuseUse(name, because: "it adds input that is not in the request")
        case .promptTruncation:
            try reader.refuseUse(name, because: "the provider may do more than read the prompt")
        case .n, .numGenerations:
            try reader.refuseUse(name, because: "only one answer per request is known here")
        }
    }

    // MARK: - Prompt

    /// What else a message can have is text that stands in the body: calls of tools, the plan
    /// behind them, citations.
    private mutating func readMessages(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterArray("messages") else { return }
        var index = 0
        while try reader.scanner.nextElement() {
            if try reader.enterObject("messages[\(index)]") {
                var keys = KnownKeys(Self.contentKeys)
                while try keys.next(&reader.scanner) != nil {
                    try readContent(&reader, message: index)
                }
                reader.check(keys, at: "messages[\(index)]")
            }
            messageCount += 1
            index += 1
        }
    }

    private mutating func readContent(
        _ reader: inout RequestReader, message: Int
    ) throws(JSONError) {
        guard try reader.scanner.peekKind() != .string else {
            try reader.scanner.skipValue()
            return
        }
        guard try reader.enterArray("messages[\(message)].content") else { return }
        var index = 0
        while try reader.scanner.nextElement() {
            let path = { "messages[\(message)].content[\(index)]" }
            switch try Self.readType(&reader, at: path()) {
            case "text", "thinking": break
            // A result of a tool: what the model reads of it stands in the body.
            case "document": documentCount += 1
            case "image_url": facts.promptIsUnboundedByBytes = true
            case nil:
                reader.refuse(.invalid(param: path() + ".type", expected: "a string"))
            default:
                reader.refuse(
                    .unboundable(
                        param: path() + ".type",
                        because: "content of this type is not known to this version"))
            }
            index += 1
        }
    }

    /// Texts, or objects of texts: the provider takes them from the body and from nowhere else.
    private mutating func readDocuments(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterArray("documents") else { return }
        var index = 0
        while try reader.scanner.nextElement() {
            switch try reader.scanner.skipValue().kind {
            case .string, .object: break
            case .array, .number, .true, .false, .null:
                reader.refuse(
                    .invalid(param: "documents[\(index)]", expected: "a string or an object"))
            }
            documentCount += 1
            index += 1
        }
    }

    private mutating func readTools(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterArray("tools") else { return }
        var index = 0
        while try reader.scanner.nextElement() {
            if try Self.readType(&reader, at: "tools[\(index)]") != "function" {
                reader.refuse(
                    .unboundable(
                        param: "tools[\(index)].type",
                        because: "only tools of type function run on the caller's side"))
            }
            toolCount += 1
            index += 1
        }
    }

    /// The value of the member `type` of the object that comes next.
    static func readType(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) -> String? {
        guard try reader.enterObject(path()) else { return nil }
        var type: String?
        var keys = KnownKeys(typeKeys)
        while try keys.next(&reader.scanner) != nil { type = try reader.string(path() + ".type") }
        reader.check(keys, at: path())
        return type
    }

    // MARK: - Options

    /// Thinking is billed as output. Cohere's guide has it leave room for the answer below the
    /// model's largest output, so without a budget it ends at the output limit. Whether a budget
    /// ends there too, or comes on top of it, is not said: it is held on top. That is so without an
    /// output limit of the caller's as well, because a clamp gives the request one.
    private mutating func readThinking(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterObject("thinking") else { return }
        var keys = KnownKeys(Self.thinkingKeys)
        while try keys.next(&reader.scanner) != nil {
            let budget = try reader.count(
                "thinking.token_budget", in: 0...RequestReader.outputLimitMax)
            facts.extraOutputTokens = budget.value ?? 0
        }
        reader.check(keys, at: "thinking")
    }
}

/// How much longer a text can become before it is split into tokens.
///
/// `PromptBound` rests on a tokenizer that does not rewrite its text. Cohere's bring it into a
/// normal form of Unicode first, in which some characters take more bytes: U+1D160 three times as
/// many. ASCII stays as it is.
///
/// What is counted here is, for every character that stands in the body as itself or as `\uXXXX`,
/// the most that its full decomposition takes beyond its own bytes; the composed form of a text is
/// never longer than the decomposed one. Characters are told apart by their first byte, or first
/// digit, alone: the ideographs of U+4000 to U+9FFF never change.
enum CohereText {
    /// Canonical equivalence (NFC): the tokenizers of the chat models.
    case canonical
    /// Compatibility as well (NFKC), in which U+FDFA becomes 33 bytes: those of embeddings.
    case compatible

    func growth(of body: [UInt8]) -> UInt64 {
        body.withUnsafeBufferPointer { bytes in
            var sum: UInt64 = 0
            var index = 0
            while index < bytes.count {
                let byte = bytes[index]
                if byte >= 0xC2 {
                    sum += growth(ofCharacterFrom: byte)
                } else if byte == UInt8(ascii: "\\"), index + 2 < bytes.count,
                    bytes[index + 1] == UInt8(ascii: "u")
                {
                    sum += growth(ofEscapeFrom: bytes[index + 2])
                }
                index += 1
            }
            return sum
        }
    }

    private func growth(ofCharacterFrom byte: UInt8) -> UInt64 {
        switch byte {
        case 0xC2...0xCF: 4
        case 0xD0...0xDF: 2
        case 0xE0...0xE2: self == .canonical ? 6 : 9
        case 0xE3: self == .canonical ? 3 : 15
        case 0xE4...0xE9: 0
        case 0xEA...0xEE: 6
        case 0xEF: self == .canonical ? 6 : 30
        default: 8
        }
    }

    /// The escape itself is six bytes already.
    private func growth(ofEscapeFrom digit: UInt8) -> UInt64 {
        guard self == .compatible else { return 3 }
        switch digit {
        case UInt8(ascii: "2"): return 6
        case UInt8(ascii: "3"): return 12
        case UInt8(ascii: "F"), UInt8(ascii: "f"): return 27
        default: return 3
        }
    }
}
