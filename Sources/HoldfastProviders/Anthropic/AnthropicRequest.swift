/// The walk over the body of a message request.
struct AnthropicRequest {
    private enum BodyKey: String, CaseIterable {
        case model, messages, system, stream, tools, metadata, speed, thinking, fallbacks, container
        case thread
        case maxTokens = "max_tokens"
        case cacheControl = "cache_control"
        case serviceTier = "service_tier"
        case inferenceGeo = "inference_geo"
        case outputConfig = "output_config"
        case outputFormat = "output_format"
        case mcpServers = "mcp_servers"
        case contextManagement = "context_management"
        case fallbackCreditToken = "fallback_credit_token"
        case billingPolicy = "billing_policy"
    }

    private enum BlockKey: String, CaseIterable {
        case type, input, signature, data, enabled
        case cacheControl = "cache_control"
    }

    private enum ToolKey: String, CaseIterable {
        case type
        case cacheControl = "cache_control"
    }

    private enum CacheKey: String, CaseIterable { case ttl }
    private enum MetadataKey: String, CaseIterable { case userID = "user_id" }
    private enum EditsKey: String, CaseIterable { case edits }
    private enum TypeKey: String, CaseIterable { case type }

    private enum ThinkingKey: String, CaseIterable {
        case budgetTokens = "budget_tokens"
    }

    private static let bodyKeys = KeyTable(BodyKey.self)
    private static let blockKeys = KeyTable(BlockKey.self)
    private static let toolKeys = KeyTable(ToolKey.self)
    private static let cacheKeys = KeyTable(CacheKey.self)
    private static let metadataKeys = KeyTable(MetadataKey.self)
    private static let editsKeys = KeyTable(EditsKey.self)
    private static let typeKeys = KeyTable(TypeKey.self)
    private static let thinkingKeys = KeyTable(ThinkingKey.self)

    /// Types of objects inside messages and `system` whose tokens follow from their bytes. Images
    /// and documents are judged by their `source`, which is such an object too. Any other type may
    /// stand for more than its bytes say.
    private static let boundedTypes: Set<String> = [
        "text", "tool_use", "tool_result", "thinking", "redacted_thinking", "search_result",
        "image", "document", "content", "direct", "char_location", "page_location",
        "content_block_location", "search_result_location",
    ]

    /// Anthropic's own tools that run on the caller's side. Their definitions are not in the body,
    /// so each is allowed for below.
    private static let clientToolPrefixes = ["bash_", "text_editor_", "computer_", "memory_"]
    /// Edits that only take tokens out of the prompt.
    private static let shrinkingEditPrefixes = ["clear_thinking_", "clear_tool_uses_"]

    /// The hidden system prompt for tools, for structured output, and the definition of one of
    /// Anthropic's own tools, each: about twice the largest that is documented.
    private static let hiddenTokens: UInt64 = 1_024

    /// Encrypted thinking is billed as the thinking inside. Ciphertext is as long as what was
    /// encrypted, and a token is about four bytes of that, but nothing says that it was not
    /// compressed before, so it counts four times.
    private static let opaqueByteFactor = 4

    private var facts = RequestFacts(model: "")
    private var messageCount: UInt64 = 0
    private var toolCount: UInt64 = 0
    private var hiddenCount: UInt64 = 0
    private var opaqueByteCount = 0

    mutating func read(_ reader: inout RequestReader) throws(JSONError) -> RequestFacts? {
        try reader.scanner.enterObject()
        facts.firstMemberIndex = reader.scanner.index
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
        if facts.outputLimit == nil { reader.refuse(.missing(param: "max_tokens")) }
        facts.model = model
        if toolCount > 0 { hiddenCount += 1 }
        let hidden =
            Self.hiddenTokens * hiddenCount
            + UInt64((Self.opaqueByteFactor - 1) * opaqueByteCount)
        facts.promptTokensMax = PromptBound.tokens(
            bodyByteCount: reader.scanner.bytes.count, messages: messageCount, tools: toolCount,
            hidden: hidden)
        return facts
    }

    private mutating func readMember(
        _ key: BodyKey, _ reader: inout RequestReader
    ) throws(JSONError) {
        let name = key.rawValue
        switch key {
        case .model: preconditionFailure("read by the caller")
        case .maxTokens:
            // Zero only warms the cache.
            let limit = try reader.count(name, in: 0...RequestReader.outputLimitMax)
            facts.outputLimit = limit.value
            facts.outputLimitField = .value(limit.range)
        case .stream: facts.isStream = try reader.bool(name) ?? false
        case .messages: try readMessages(&reader)
        case .system: try walk(&reader, at: name)
        case .tools: try readTools(&reader)
        case .cacheControl: try readCacheControl(&reader, at: name)
        case .metadata:
            guard try reader.enterObject(name) else { return }
            var keys = KnownKeys(Self.metadataKeys)
            while try keys.next(&reader.scanner) != nil {
                facts.metadataUser = try reader.string("metadata.user_id")
            }
            reader.check(keys, at: name)
        case .serviceTier:
            facts.serviceTier = try reader.string(name)
            facts.hasServiceTierMember = true
        case .speed, .inferenceGeo: try readMultiplier(key, &reader)
        case .thinking: try readThinking(&reader)
        case .outputConfig, .outputFormat:
            if try reader.scanner.skipValue().kind != .null { hiddenCount += 1 }
        case .contextManagement: try readContextManagement(&reader)
        case .mcpServers, .container:
            try reader.refuseUse(name, because: "the provider runs tools and samples again")
        case .fallbacks, .fallbackCreditToken, .billingPolicy:
            try reader.refuseUse(name, because: "another model may answer, at another price")
        case .thread:
            try reader.refuseUse(name, because: "it adds input that is not in the request")
        }
    }

    // MARK: - Prompt

    private mutating func readMessages(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterArray("messages") else { return }
        var index = 0
        while try reader.scanner.nextElement() {
            try walk(&reader, at: "messages[\(index)]")
            messageCount += 1
            index += 1
        }
    }

    /// Reads a value somewhere in `messages` or `system`, with everything in it. One walk for all
    /// of them, because blocks nest in many ways (results in messages, images in results, …) and a
    /// block of an unknown type must not hide what is in it.
    private mutating func walk(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) {
        switch try reader.scanner.peekKind() {
        case .object: try walkObject(&reader, at: path())
        case .array:
            try reader.scanner.enterArray()
            while try reader.scanner.nextElement() { try walk(&reader, at: path()) }
        case .string, .number, .true, .false, .null: try reader.scanner.skipValue()
        }
    }

    private mutating func walkObject(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) {
        try reader.scanner.enterObject()
        var keys = KnownKeys(Self.blockKeys)
        var type: String?
        var opaque = 0
        while let key = try reader.scanner.nextKey() {
            switch keys.match(key) {
            case .type: type = try reader.string("\(path()).type")
            // The caller's own JSON: whatever its keys are, they mean nothing to the provider.
            case .input: try reader.scanner.skipValue()
            case .signature, .data: opaque += try reader.scanner.skipValue().range.count
            case .cacheControl: try readCacheControl(&reader, at: "\(path()).cache_control")
            // Citations make the provider split documents and number the pieces.
            case .enabled:
                if try reader.scanner.skipValue().kind == .true {
                    facts.promptIsUnboundedByBytes = true
                }
            case nil: try walk(&reader, at: path())
            }
        }
        reader.check(keys, at: path())
        if type == "thinking" || type == "redacted_thinking" { opaqueByteCount += opaque }
        if let type, !Self.boundedTypes.contains(type) { facts.promptIsUnboundedByBytes = true }
    }

    private mutating func readTools(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterArray("tools") else { return }
        var index = 0
        while try reader.scanner.nextElement() {
            var type: String?
            if try reader.enterObject("tools[\(index)]") {
                var keys = KnownKeys(Self.toolKeys)
                while let key = try keys.next(&reader.scanner) {
                    switch key {
                    case .type: type = try reader.string("tools[\(index)].type")
                    case .cacheControl:
                        try readCacheControl(&reader, at: "tools[\(index)].cache_control")
                    }
                }
                reader.check(keys, at: "tools[\(index)]")
            }
            if let type, type != "custom" {
                if Self.clientToolPrefixes.contains(where: { type.hasPrefix($0) }) {
                    hiddenCount += 1
                } else {
                    reader.refuse(
                        .unboundable(
                            param: "tools[\(index)].type",
                            because: "the provider runs this tool itself and samples again"))
                }
            }
            toolCount += 1
            index += 1
        }
    }

    private mutating func readCacheControl(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) {
        guard try reader.enterObject(path()) else { return }
        var keys = KnownKeys(Self.cacheKeys)
        while try keys.next(&reader.scanner) != nil {
            switch try reader.string("\(path()).ttl") {
            case nil, "5m": break
            case "1h": facts.usesLongCacheWrite = true
            default:
                reader.refuse(
                    .unboundable(
                        param: "\(path()).ttl",
                        because: "the price of this lifetime is not known (5m and 1h are)"))
            }
        }
        reader.check(keys, at: path())
    }

    // MARK: - Options

    private mutating func readMultiplier(
        _ key: BodyKey, _ reader: inout RequestReader
    ) throws(JSONError) {
        let name = key.rawValue
        switch (key, try reader.string(name)) {
        case (_, nil), (.speed, "standard"), (.inferenceGeo, "global"): break
        case (.speed, "fast"): facts.isFast = true
        case (.inferenceGeo, "us"): facts.rateMultiplierTenths = 11
        default:
            reader.refuse(
                .unboundable(param: name, because: "the price of this value is not known"))
        }
    }

    /// The provider refuses an output limit that leaves no room for an answer after the thinking.
    private mutating func readThinking(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterObject("thinking") else { return }
        var keys = KnownKeys(Self.thinkingKeys)
        while try keys.next(&reader.scanner) != nil {
            let budget = try reader.count(
                "thinking.budget_tokens", in: 0...RequestReader.outputLimitMax)
            facts.outputLimitMin = (budget.value ?? 0) + 1
        }
        reader.check(keys, at: "thinking")
    }

    private mutating func readContextManagement(
        _ reader: inout RequestReader
    ) throws(JSONError) {
        guard try reader.enterObject("context_management") else { return }
        var keys = KnownKeys(Self.editsKeys)
        while let key = try reader.scanner.nextKey() {
            if keys.match(key) != nil {
                try readEdits(&reader)
            } else {
                try reader.refuseUse(
                    "context_management", because: "the provider may sample more than once")
            }
        }
        reader.check(keys, at: "context_management")
    }

    private mutating func readEdits(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterArray("context_management.edits") else { return }
        while try reader.scanner.nextElement() {
            var type: String?
            if try reader.enterObject("context_management.edits") {
                var keys = KnownKeys(Self.typeKeys)
                while try keys.next(&reader.scanner) != nil {
                    type = try reader.string("context_management.edits.type")
                }
                reader.check(keys, at: "context_management.edits")
            }
            let isShrinking = Self.shrinkingEditPrefixes.contains {
                type?.hasPrefix($0) ?? false
            }
            if !isShrinking {
                reader.refuse(
                    .unboundable(
                        param: "context_management.edits",
                        because: "the provider may sample more than once"))
            }
        }
    }
}
