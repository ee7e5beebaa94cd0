/// The walk over the body of a Converse request.
struct ConverseRequest {
    private enum BodyKey: String, CaseIterable {
        case messages, system, inferenceConfig, toolConfig, guardrailConfig, promptVariables
        case additionalModelRequestFields, requestMetadata, performanceConfig, serviceTier
        case outputConfig
    }

    private enum BlockKey: String, CaseIterable {
        case text, json, image, document, video, audio, toolUse, toolResult, guardContent
        case cachePoint, reasoningContent, citationsContent, searchResult
    }

    private enum PartKey: String, CaseIterable {
        case s3Location, enabled, signature, redactedContent
    }

    private enum ContentKey: String, CaseIterable { case content }
    private enum InferenceKey: String, CaseIterable { case maxTokens }
    private enum ToolConfigKey: String, CaseIterable { case tools }
    private enum ToolKey: String, CaseIterable { case toolSpec, cachePoint, systemTool }
    private enum LifetimeKey: String, CaseIterable { case ttl }
    private enum LatencyKey: String, CaseIterable { case latency }
    private enum TypeKey: String, CaseIterable { case type }

    private static let bodyKeys = KeyTable(BodyKey.self)
    private static let blockKeys = KeyTable(BlockKey.self)
    private static let partKeys = KeyTable(PartKey.self)
    private static let contentKeys = KeyTable(ContentKey.self)
    private static let inferenceKeys = KeyTable(InferenceKey.self)
    private static let toolConfigKeys = KeyTable(ToolConfigKey.self)
    private static let toolKeys = KeyTable(ToolKey.self)
    private static let lifetimeKeys = KeyTable(LifetimeKey.self)
    private static let latencyKeys = KeyTable(LatencyKey.self)
    private static let typeKeys = KeyTable(TypeKey.self)

    /// The hidden system prompt for tools, and for structured output, each: as for Anthropic's own
    /// API, whose models are most of those behind this one.
    private static let hiddenTokens: UInt64 = 1_024
    /// The signature of a reasoning text is that text encrypted, at full length: see
    /// `AnthropicRequest`.
    private static let opaqueByteFactor = 4

    private var facts = RequestFacts(model: "")
    private var hasMessages = false
    private var messageCount: UInt64 = 0
    private var toolCount: UInt64 = 0
    private var hiddenCount: UInt64 = 0
    private var opaqueByteCount = 0

    mutating func read(_ reader: inout RequestReader) throws(JSONError) -> RequestFacts? {
        try reader.scanner.enterObject()
        let start = reader.scanner.index
        facts.firstMemberIndex = start
        // Where it is absent it is the standard one, whatever the account is set to. Nothing has to
        // be added, and a member of another API's name would be an error.
        facts.hasServiceTierMember = true
        // In front of another member: there are at least the messages.
        facts.outputLimitField = .nested(
            insertAt: start, prefix: #""inferenceConfig":{"maxTokens":"#, suffix: "},")
        var keys = KnownKeys(Self.bodyKeys)
        while let key = try keys.next(&reader.scanner) { try readMember(key, &reader) }
        reader.check(keys)
        guard hasMessages else {
            reader.refuse(.missing(param: BodyKey.messages.rawValue))
            return nil
        }
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
        case .messages: try readMessages(&reader)
        case .system: try readBlocks(&reader, at: name)
        case .inferenceConfig: try readInferenceConfig(&reader)
        case .toolConfig: try readToolConfig(&reader)
        case .guardrailConfig: try refuseGuardrail(&reader, at: name)
        case .promptVariables:
            try reader.refuseUse(
                name, because: "they belong to a prompt that is not in the request")
        case .additionalModelRequestFields:
            facts.outputLimitMin = try ConverseAdditionalFields.read(&reader, at: name)
        case .requestMetadata: try facts.readMetadata(&reader)
        case .performanceConfig:
            let latency = try readString(Self.latencyKeys, &reader, at: name)
            guard let latency, latency != "standard" else { return }
            reader.refuse(
                .unboundable(
                    param: "\(name).latency", because: "the price of this value is not known"))
        case .serviceTier: facts.serviceTier = try readString(Self.typeKeys, &reader, at: name)
        case .outputConfig:
            if try reader.scanner.skipValue().kind != .null { hiddenCount += 1 }
        }
    }

    // MARK: - Prompt

    private mutating func readMessages(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterArray("messages") else { return }
        hasMessages = true
        var index = 0
        while try reader.scanner.nextElement() {
            if try reader.enterObject("messages[\(index)]") {
                var keys = KnownKeys(Self.contentKeys)
                while try keys.next(&reader.scanner) != nil {
                    try readBlocks(&reader, at: "messages[\(index)].content")
                }
                reader.check(keys, at: "messages[\(index)]")
            }
            messageCount += 1
            index += 1
        }
    }

    /// One function for messages, `system` and results: which block may stand where is the
    /// provider's to say, and what a block costs does not depend on it.
    private mutating func readBlocks(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) {
        guard try reader.enterArray(path()) else { return }
        var index = 0
        while try reader.scanner.nextElement() {
            try readBlock(&reader, at: "\(path())[\(index)]")
            index += 1
        }
    }

    private mutating func readBlock(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) {
        guard try reader.enterObject(path()) else { return }
        var keys = KnownKeys(Self.blockKeys)
        while let member = try reader.scanner.nextKey() {
            guard let key = keys.match(member) else {
                try reader.scanner.skipValue()
                // One that comes twice is known, and has a message of its own.
                guard keys.duplicate == nil else { continue }
                reader.refuse(
                    .unboundable(
                        param: path(),
                        because: "content of this type is not known to this version"))
                continue
            }
            if try reader.scanner.peekKind() == .null {
                try reader.scanner.skipValue()
            } else {
                try readBlockMember(key, &reader, at: "\(path()).\(key.rawValue)")
            }
        }
        reader.check(keys, at: path())
    }

    private mutating func readBlockMember(
        _ key: BlockKey, _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) {
        switch key {
        // The caller's own text and JSON: whatever its keys are, they mean nothing to the provider.
        case .text, .json, .toolUse: try reader.scanner.skipValue()
        case .image, .document:
            facts.promptIsUnboundedByBytes = true
            try walk(&reader, at: "\(path()).source")
        case .reasoningContent, .citationsContent, .searchResult:
            try walk(&reader, at: path())
        case .toolResult:
            guard try reader.enterObject(path()) else { return }
            var keys = KnownKeys(Self.contentKeys)
            while try keys.next(&reader.scanner) != nil {
                try readBlocks(&reader, at: "\(path()).content")
            }
            reader.check(keys, at: path())
        case .cachePoint: try readCachePoint(&reader, at: path())
        case .video, .audio:
            try reader.refuseUse(
                path(), because: "how many tokens it has, and at which price, is not known")
        case .guardContent: try refuseGuardrail(&reader, at: path())
        }
    }

    /// Reads a part of a block with everything in it, wherever the provider puts its members.
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
        var keys = KnownKeys(Self.partKeys)
        while let key = try reader.scanner.nextKey() {
            switch keys.match(key) {
            case .s3Location:
                try reader.refuseUse(
                    "\(path()).s3Location", because: "what it refers to is not in the request")
            // Citations make the provider split texts and number the pieces.
            case .enabled:
                switch try reader.scanner.skipValue().kind {
                case .false, .null: break
                case .object, .array, .string, .number, .true:
                    facts.promptIsUnboundedByBytes = true
                }
            case .signature: opaqueByteCount += try reader.scanner.skipValue().range.count
            case .redactedContent:
                if try reader.scanner.skipValue().kind != .null {
                    facts.promptIsUnboundedByBytes = true
                }
            case nil: try walk(&reader, at: path())
            }
        }
        reader.check(keys, at: path())
    }

    private mutating func readCachePoint(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) {
        switch try readString(Self.lifetimeKeys, &reader, at: path()) {
        case nil, "5m": break
        case "1h": facts.usesLongCacheWrite = true
        default:
            reader.refuse(
                .unboundable(
                    param: "\(path()).ttl",
                    because: "the price of this lifetime is not known (5m and 1h are)"))
        }
    }

    private func refuseGuardrail(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) {
        try reader.refuseUse(
            path(), because: "guardrails are billed by themselves, by the length of the texts")
    }

    // MARK: - Options

    private mutating func readInferenceConfig(_ reader: inout RequestReader) throws(JSONError) {
        let name = BodyKey.inferenceConfig.rawValue
        // With `null` there is no object that a limit could go in, and none can be added beside it.
        guard try reader.scanner.peekKind() != .null else {
            try reader.scanner.skipValue()
            reader.refuse(.invalid(param: name, expected: "an object"))
            return
        }
        guard try reader.enterObject(name) else { return }
        let start = reader.scanner.index
        var isEmpty = true
        var limit: (value: UInt64?, range: Range<Int>)?
        var keys = KnownKeys(Self.inferenceKeys)
        while let key = try reader.scanner.nextKey() {
            isEmpty = false
            if keys.match(key) != nil {
                limit = try reader.count(
                    "\(name).maxTokens", in: 1...RequestReader.outputLimitMax)
            } else {
                try reader.scanner.skipValue()
            }
        }
        reader.check(keys, at: name)
        if let limit {
            facts.outputLimit = limit.value
            facts.outputLimitField = .value(limit.range)
        } else if isEmpty {
            facts.outputLimitField = .nested(
                insertAt: start, prefix: #""maxTokens":"#, suffix: "")
        } else {
            facts.outputLimitField = .absent(insertAt: start)
        }
    }

    private mutating func readToolConfig(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterObject("toolConfig") else { return }
        var keys = KnownKeys(Self.toolConfigKeys)
        while try keys.next(&reader.scanner) != nil {
            guard try reader.enterArray("toolConfig.tools") else { continue }
            var index = 0
            while try reader.scanner.nextElement() {
                try readTool(&reader, at: "toolConfig.tools[\(index)]")
                toolCount += 1
                index += 1
            }
        }
        reader.check(keys, at: "toolConfig")
    }

    private mutating func readTool(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) {
        guard try reader.enterObject(path()) else { return }
        var keys = KnownKeys(Self.toolKeys)
        while let key = try reader.scanner.nextKey() {
            switch keys.match(key) {
            case .toolSpec: try reader.scanner.skipValue()
            case .cachePoint: try readCachePoint(&reader, at: "\(path()).cachePoint")
            case .systemTool:
                try reader.refuseUse(
                    "\(path()).systemTool",
                    because: "the provider runs this tool itself and samples again")
            case nil:
                try reader.scanner.skipValue()
                guard keys.duplicate == nil else { continue }
                reader.refuse(
                    .unboundable(
                        param: path(),
                        because: "only tools of type toolSpec run on the caller's side"))
            }
        }
        reader.check(keys, at: path())
    }

    /// The one member that matters of the object that comes next.
    private func readString<Key>(
        _ table: KeyTable<Key>, _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) -> String? {
        guard try reader.enterObject(path()) else { return nil }
        var value: String?
        var keys = KnownKeys(table)
        while let key = try keys.next(&reader.scanner) {
            value = try reader.string("\(path()).\(key.rawValue)")
        }
        reader.check(keys, at: path())
        return value
    }
}

/// `additionalModelRequestFields` goes to the model as it is, and so can carry all that the
/// vendor's own API can, by names that differ by vendor: only what is known to cost nothing passes.
enum ConverseAdditionalFields {
    private enum Key: String, CaseIterable {
        case thinking, n, tools, container, fallbacks, speed
        case topK = "top_k"
        case reasoningConfig = "reasoning_config"
        case anthropicBeta = "anthropic_beta"
        case maxTokens = "max_tokens"
        case numGenerations = "num_generations"
        case mcpServers = "mcp_servers"
        case contextManagement = "context_management"
        case inferenceGeo = "inference_geo"
        case serviceTier = "service_tier"
    }

    private enum ThinkingKey: String, CaseIterable {
        case budgetTokens = "budget_tokens"
    }

    private static let keys = KeyTable(Key.self)
    private static let thinkingKeys = KeyTable(ThinkingKey.self)
    /// Betas mostly need a field too, and are judged by it. These by their name alone go beyond
    /// what the price and the bounds of a model are known for.
    private static let refusedBetaPrefixes = ["context-", "output-"]

    /// - Returns: the smallest output limit that goes with them.
    static func read(
        _ reader: inout RequestReader, at path: String
    ) throws(JSONError) -> UInt64 {
        guard try reader.enterObject(path) else { return 1 }
        var outputLimitMin: UInt64 = 1
        var keys = KnownKeys(keys)
        while let member = try reader.scanner.nextKey() {
            guard let key = keys.match(member) else {
                try reader.scanner.skipValue()
                // One that comes twice is known, and has a message of its own.
                guard keys.duplicate == nil else { continue }
                reader.refuse(
                    .unboundable(
                        param: path,
                        because: "it has a member that is not known to this version"))
                continue
            }
            let name = "\(path).\(key.rawValue)"
            switch key {
            case .topK: try reader.scanner.skipValue()
            case .thinking, .reasoningConfig:
                outputLimitMin = max(outputLimitMin, try readThinking(&reader, at: name))
            case .anthropicBeta: try readBetas(&reader, at: name)
            case .maxTokens:
                try reader.refuseUse(
                    name, because: "it may count in place of inferenceConfig.maxTokens")
            case .n, .numGenerations:
                try reader.refuseUse(name, because: "it multiplies the answers")
            case .tools, .container, .mcpServers, .contextManagement:
                try reader.refuseUse(
                    name, because: "the provider may run tools and sample more than once")
            case .fallbacks:
                try reader.refuseUse(
                    name, because: "another model may answer, at another price")
            case .speed, .inferenceGeo, .serviceTier:
                try reader.refuseUse(name, because: "it changes the price")
            }
        }
        reader.check(keys, at: path)
        return outputLimitMin
    }

    /// Thinking is within the output limit. The provider refuses one that leaves no room for an
    /// answer after it.
    private static func readThinking(
        _ reader: inout RequestReader, at path: String
    ) throws(JSONError) -> UInt64 {
        guard try reader.enterObject(path) else { return 1 }
        var budget: UInt64 = 0
        var keys = KnownKeys(thinkingKeys)
        while try keys.next(&reader.scanner) != nil {
            let count = try reader.count(
                "\(path).budget_tokens", in: 0...RequestReader.outputLimitMax)
            budget = count.value ?? 0
        }
        reader.check(keys, at: path)
        return budget + 1
    }

    private static func readBetas(
        _ reader: inout RequestReader, at path: String
    ) throws(JSONError) {
        guard try reader.scanner.peekKind() == .array else {
            if let beta = try reader.string(path) { check(beta, &reader, at: path) }
            return
        }
        try reader.scanner.enterArray()
        while try reader.scanner.nextElement() {
            if let beta = try reader.string(path) { check(beta, &reader, at: path) }
        }
    }

    /// As in the header of Anthropic's that it becomes, one value may be several with commas.
    private static func check(_ betas: String, _ reader: inout RequestReader, at path: String) {
        for beta in betas.utf8.split(separator: UInt8(ascii: ",")) {
            let name = beta.drop { $0 <= UInt8(ascii: " ") }.map { $0 | 0x20 }
            guard refusedBetaPrefixes.contains(where: { name.starts(with: $0.utf8) }) else {
                continue
            }
            reader.refuse(
                .unboundable(
                    param: path,
                    because: "it asks for more than the model's price is known for"))
        }
    }
}
