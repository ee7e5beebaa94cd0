/// The walk over the body of a response's request.
struct ResponsesRequest {
    private enum BodyKey: String, CaseIterable {
        case model, input, stream, tools, user, metadata, background, conversation, prompt
        case reasoning, plugins, models
        case maxOutputTokens = "max_output_tokens"
        case serviceTier = "service_tier"
        case previousResponseID = "previous_response_id"
        case promptCacheOptions = "prompt_cache_options"
        case promptCacheRetention = "prompt_cache_retention"
        case contextManagement = "context_management"
        case multiAgent = "multi_agent"
        case mcpServers = "mcp_servers"
    }

    private enum ItemKey: String, CaseIterable { case type, content, output, role, summary }

    private static let bodyKeys = KeyTable(BodyKey.self)
    private static let itemKeys = KeyTable(ItemKey.self)
    /// OpenAI refuses less.
    private static let outputLimitMin: UInt64 = 16
    private static let hiddenToolTokens: UInt64 = 64

    private var facts = RequestFacts(model: "")
    private var itemCount: UInt64 = 0
    private var toolCount: UInt64 = 0

    mutating func read(_ reader: inout RequestReader) throws(JSONError) -> RequestFacts? {
        try reader.scanner.enterObject()
        let start = reader.scanner.index
        facts.firstMemberIndex = start
        facts.outputLimitMin = Self.outputLimitMin
        facts.outputLimitField = .absent(insertAt: start)
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
        facts.promptTokensMax = PromptBound.tokens(
            bodyByteCount: reader.scanner.bytes.count, messages: itemCount, tools: toolCount,
            hidden: toolCount > 0 ? Self.hiddenToolTokens : 0)
        return facts
    }

    private mutating func readMember(
        _ key: BodyKey, _ reader: inout RequestReader
    ) throws(JSONError) {
        let name = key.rawValue
        switch key {
        case .model: preconditionFailure("read by the caller")
        case .input: try readInput(&reader)
        case .stream: facts.isStream = try reader.bool(name) ?? false
        case .maxOutputTokens:
            let limit = try reader.count(name, in: 1...RequestReader.outputLimitMax)
            facts.outputLimit = limit.value
            facts.outputLimitField = .value(limit.range)
        case .tools: toolCount = try OpenAITools.read(&reader, into: &facts)
        case .user: facts.metadataUser = try reader.string(name)
        case .metadata: try facts.readMetadata(&reader)
        case .serviceTier:
            facts.serviceTier = try reader.string(name)
            facts.hasServiceTierMember = true
        case .promptCacheOptions: try facts.readCacheOptions(&reader)
        case .promptCacheRetention: try facts.readCacheRetention(&reader)
        case .reasoning: try OpenAIReasoning.check(&reader)
        case .previousResponseID, .conversation, .prompt:
            try reader.refuseUse(name, because: "it adds input that is not in the request")
        case .models:
            try reader.refuseUse(
                name, because: "another model than the one that is priced may answer")
        case .background:
            try reader.refuseUse(
                name, because: "the answer and its usage come after the request is over")
        case .contextManagement, .multiAgent, .mcpServers, .plugins:
            try reader.refuseUse(name, because: "it runs or bills more than this one answer")
        }
    }

    // MARK: - Input

    private mutating func readInput(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.scanner.peekKind() != .string else {
            itemCount = 1
            try reader.scanner.skipValue()
            return
        }
        guard try reader.enterArray("input") else { return }
        var index = 0
        while try reader.scanner.nextElement() {
            try readItem(&reader, index)
            itemCount += 1
            index += 1
        }
    }

    private mutating func readItem(
        _ reader: inout RequestReader, _ index: Int
    ) throws(JSONError) {
        let path = { "input[\(index)]" }
        guard try reader.enterObject(path()) else { return }
        var type: String?
        var hasRole = false
        var keys = KnownKeys(Self.itemKeys)
        while let key = try keys.next(&reader.scanner) {
            switch key {
            case .type: type = try reader.string(path() + ".type")
            case .role:
                hasRole = true
                try reader.scanner.skipValue()
            case .content, .output, .summary:
                try readParts(&reader, path() + ".\(key.rawValue)")
            }
        }
        reader.check(keys, at: path())
        switch type {
        case "message", "function_call", "function_call_output", "custom_tool_call",
            "custom_tool_call_output":
            break
        case nil where hasRole: break
        case "reasoning":
            // What is behind the encrypted text may be longer than it.
            facts.promptIsUnboundedByBytes = true
        case "item_reference":
            reader.refuse(
                .unboundable(
                    param: path() + ".type", because: "it adds input that is not in the request"))
        default:
            reader.refuse(
                .unboundable(
                    param: path() + ".type",
                    because: "items of this type are not known to this version"))
        }
    }

    /// A text or a list of parts.
    private mutating func readParts(
        _ reader: inout RequestReader, _ path: String
    ) throws(JSONError) {
        guard try reader.scanner.peekKind() == .array else {
            try reader.scanner.skipValue()
            return
        }
        try reader.scanner.enterArray()
        var index = 0
        while try reader.scanner.nextElement() {
            let part = "\(path)[\(index)]"
            switch try OpenAITools.type(&reader, at: part, into: &facts) {
            case "input_text", "output_text", "text", "refusal", "summary_text", "reasoning_text":
                break
            case "input_image", "input_file": facts.promptIsUnboundedByBytes = true
            case nil: reader.refuse(.invalid(param: part + ".type", expected: "a string"))
            default:
                reader.refuse(
                    .unboundable(
                        param: part + ".type",
                        because: "content of this type is not known to this version"))
            }
            index += 1
        }
    }
}
