/// The walk over the body of a chat completion.
struct OpenAIRequest {
    private enum BodyKey: String, CaseIterable {
        case model, messages, stream, n, prediction, tools, functions, user, metadata, modalities
        case audio, background, conversation, prompt, container, fallbacks, thread, reasoning
        case streamOptions = "stream_options"
        case maxTokens = "max_tokens"
        case maxCompletionTokens = "max_completion_tokens"
        case serviceTier = "service_tier"
        case promptCacheOptions = "prompt_cache_options"
        case promptCacheRetention = "prompt_cache_retention"
        case webSearchOptions = "web_search_options"
        case previousResponseID = "previous_response_id"
        case contextManagement = "context_management"
        case multiAgent = "multi_agent"
        case mcpServers = "mcp_servers"
    }

    private enum StreamOptionsKey: String, CaseIterable {
        case includeUsage = "include_usage"
    }

    private enum MessageKey: String, CaseIterable { case content, audio }
    private enum TypeKey: String, CaseIterable { case type }
    private enum CacheKey: String, CaseIterable { case ttl }
    private enum ReasoningKey: String, CaseIterable { case mode }

    private static let bodyKeys = KeyTable(BodyKey.self)
    private static let streamOptionsKeys = KeyTable(StreamOptionsKey.self)
    private static let messageKeys = KeyTable(MessageKey.self)
    private static let typeKeys = KeyTable(TypeKey.self)
    private static let cacheKeys = KeyTable(CacheKey.self)
    private static let reasoningKeys = KeyTable(ReasoningKey.self)

    /// `gpt-5-search-api`, `gpt-4o-search-preview`, `o3-deep-research`.
    private static let searchingModelPart = "search"
    /// OpenAI's own bound.
    private static let choicesMax: UInt64 = 128
    private static let metadataCountMax = 16
    /// For what the provider adds to a prompt with tools.
    private static let hiddenToolTokens: UInt64 = 64

    private enum StreamOptions {
        case absent
        case null(Range<Int>)
        /// With the range of the value of `include_usage`, or where it can be inserted.
        case usage(Bool, Range<Int>)
        case noUsage(insertAt: Int, isEmpty: Bool)
    }

    private var facts = RequestFacts(model: "")
    private var maxTokens: (value: UInt64?, range: Range<Int>)?
    private var maxCompletionTokens: (value: UInt64?, range: Range<Int>)?
    private var streamOptions = StreamOptions.absent
    private var predictionByteCount: UInt64 = 0
    private var messageCount: UInt64 = 0
    private var toolCount: UInt64 = 0

    mutating func read(_ reader: inout RequestReader) throws(JSONError) -> RequestFacts? {
        try reader.scanner.enterObject()
        let start = reader.scanner.index
        var keys = KnownKeys(Self.bodyKeys)
        var model: String?
        while let key = try keys.next(&reader.scanner) {
            if key == .model {
                model = try reader.string("model")
            } else {
                try readMember(key, &reader)
            }
        }
        reader.check(keys)
        guard let model, !model.isEmpty else {
            reader.refuse(.missing(param: "model"))
            return nil
        }
        // Such a model searches whether or not it is asked to. Each search is billed per call, and no
        // usage record says so.
        if model.contains(Self.searchingModelPart) {
            reader.refuse(
                .unboundable(
                    param: "model", because: "it searches the web, which is billed per search"))
        }
        facts.model = model
        facts.firstMemberIndex = start
        resolveOutputLimit(&reader, insertAt: start)
        resolveUsage(insertAt: start)
        facts.extraOutputTokens = predictionByteCount * facts.choices
        facts.promptTokensMax = PromptBound.tokens(
            bodyByteCount: reader.scanner.bytes.count, messages: messageCount, tools: toolCount,
            hidden: toolCount > 0 ? Self.hiddenToolTokens : 0)
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
        case .streamOptions: try readStreamOptions(&reader)
        case .maxTokens: maxTokens = try reader.count(name, in: 1...RequestReader.outputLimitMax)
        case .maxCompletionTokens:
            maxCompletionTokens = try reader.count(name, in: 1...RequestReader.outputLimitMax)
        case .n: facts.choices = try reader.count(name, in: 1...Self.choicesMax).value ?? 1
        case .prediction:
            let value = try reader.scanner.skipValue()
            predictionByteCount = value.kind == .null ? 0 : UInt64(value.range.count)
        case .tools: try readTools(&reader)
        case .functions:
            guard try reader.enterArray(name) else { return }
            while try reader.scanner.nextElement() {
                toolCount += 1
                try reader.scanner.skipValue()
            }
        case .user: facts.metadataUser = try reader.string(name)
        case .metadata: try readMetadata(&reader)
        case .serviceTier:
            facts.serviceTier = try reader.string(name)
            facts.hasServiceTierMember = true
        case .promptCacheOptions: try readCacheOptions(&reader)
        case .promptCacheRetention:
            // Free where it exists, as far as is known; held at the dearer price all the same.
            if let value = try reader.string(name), value != "in_memory", value != "in-memory" {
                facts.usesLongCacheWrite = true
            }
        case .modalities: try readModalities(&reader)
        case .audio:
            try reader.refuseUse(name, because: "audio tokens have prices of their own")
        case .reasoning: try readReasoning(&reader)
        case .webSearchOptions:
            try reader.refuseUse(name, because: "searches add calls and prompt tokens")
        case .previousResponseID, .conversation, .prompt, .thread:
            try reader.refuseUse(name, because: "it adds input that is not in the request")
        case .background, .contextManagement, .multiAgent, .mcpServers, .container, .fallbacks:
            try reader.refuseUse(name, because: "it runs or bills more than this one answer")
        }
    }

    // MARK: - Prompt

    private mutating func readMessages(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterArray("messages") else { return }
        var index = 0
        while try reader.scanner.nextElement() {
            if try reader.enterObject("messages[\(index)]") {
                var keys = KnownKeys(Self.messageKeys)
                while let key = try keys.next(&reader.scanner) {
                    switch key {
                    case .content: try readContent(&reader, message: index)
                    case .audio:
                        try reader.refuseUse(
                            "messages[\(index)].audio",
                            because: "it refers to earlier audio, which is not in the request")
                    }
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
            let type = try readType(&reader, at: path())
            switch type {
            case "text", "refusal": break
            case "image_url", "file": facts.promptIsUnboundedByBytes = true
            case nil:
                reader.refuse(.invalid(param: path() + ".type", expected: "a string"))
            default:
                reader.refuse(
                    .unboundable(
                        param: path() + ".type",
                        because: type == "input_audio"
                            ? "audio tokens have prices of their own"
                            : "content of this type is not known to this version"))
            }
            index += 1
        }
    }

    private mutating func readTools(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterArray("tools") else { return }
        var index = 0
        while try reader.scanner.nextElement() {
            let type = try readType(&reader, at: "tools[\(index)]")
            if type != "function", type != "custom" {
                reader.refuse(
                    .unboundable(
                        param: "tools[\(index)].type",
                        because: "only tools of type function and custom run on the caller's side"))
            }
            toolCount += 1
            index += 1
        }
    }

    /// The value of the member `type` of the object that comes next.
    private func readType(
        _ reader: inout RequestReader, at path: @autoclosure () -> String
    ) throws(JSONError) -> String? {
        guard try reader.enterObject(path()) else { return nil }
        var type: String?
        var keys = KnownKeys(Self.typeKeys)
        while try keys.next(&reader.scanner) != nil { type = try reader.string(path() + ".type") }
        reader.check(keys, at: path())
        return type
    }

    // MARK: - Options

    private mutating func readStreamOptions(_ reader: inout RequestReader) throws(JSONError) {
        if try reader.scanner.peekKind() == .null {
            streamOptions = .null(try reader.scanner.skipValue().range)
            return
        }
        guard try reader.enterObject("stream_options") else { return }
        let start = reader.scanner.index
        var isEmpty = true
        var found: (Bool, Range<Int>)?
        var keys = KnownKeys(Self.streamOptionsKeys)
        while let key = try reader.scanner.nextKey() {
            isEmpty = false
            guard keys.match(key) != nil else {
                try reader.scanner.skipValue()
                continue
            }
            reader.scanner.skipSpace()
            let valueStart = reader.scanner.index
            let value = try reader.bool("stream_options.include_usage") ?? false
            found = (value, valueStart..<reader.scanner.index)
        }
        reader.check(keys, at: "stream_options")
        if let (value, range) = found {
            streamOptions = .usage(value, range)
        } else {
            streamOptions = .noUsage(insertAt: start, isEmpty: isEmpty)
        }
    }

    private mutating func readModalities(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterArray("modalities") else { return }
        while try reader.scanner.nextElement() {
            if try reader.string("modalities") != "text" {
                reader.refuse(
                    .unboundable(
                        param: "modalities",
                        because: "output other than text has prices of its own"))
            }
        }
    }

    private mutating func readCacheOptions(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterObject("prompt_cache_options") else { return }
        var keys = KnownKeys(Self.cacheKeys)
        while try keys.next(&reader.scanner) != nil {
            switch try reader.string("prompt_cache_options.ttl") {
            case nil, "30m": break
            case "12h": facts.usesLongCacheWrite = true
            default:
                reader.refuse(
                    .unboundable(
                        param: "prompt_cache_options.ttl",
                        because: "the price of this lifetime is not known (30m and 12h are)"))
            }
        }
        reader.check(keys, at: "prompt_cache_options")
    }

    private func readReasoning(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterObject("reasoning") else { return }
        var keys = KnownKeys(Self.reasoningKeys)
        while try keys.next(&reader.scanner) != nil {
            guard let mode = try reader.string("reasoning.mode"), mode != "standard" else {
                continue
            }
            reader.refuse(
                .unboundable(
                    param: "reasoning.mode", because: "it multiplies the work behind one answer"))
        }
        reader.check(keys, at: "reasoning")
    }

    private mutating func readMetadata(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterObject("metadata") else { return }
        var count = 0
        while let key = try reader.scanner.nextKey() {
            count += 1
            let value = try reader.scanner.skipValue()
            guard count <= Self.metadataCountMax else {
                reader.refuse(
                    .invalid(
                        param: "metadata", expected: "at most \(Self.metadataCountMax) members"))
                continue
            }
            guard value.kind == .string else { continue }
            guard max(key.range.count, value.range.count) <= RequestReader.stringByteCountMax else {
                reader.refuse(
                    .invalid(
                        param: "metadata",
                        expected: "made of names and values of at most "
                            + "\(RequestReader.stringByteCountMax) bytes"))
                continue
            }
            guard let name = key.text, let text = JSON.string(value.range, in: reader.scanner.bytes)
            else { continue }
            if facts.metadata.updateValue(text, forKey: name) != nil {
                reader.refuse(.duplicate(param: "metadata.\(name)"))
            }
        }
    }

    // MARK: - What follows from the fields together

    private mutating func resolveOutputLimit(_ reader: inout RequestReader, insertAt start: Int) {
        if maxTokens?.value != nil, maxCompletionTokens?.value != nil {
            reader.refuse(.conflict(param: "max_tokens", other: "max_completion_tokens"))
        }
        if let maxTokens, maxTokens.value != nil {
            facts.outputLimit = maxTokens.value
            facts.outputLimitField = .value(maxTokens.range)
        } else if let maxCompletionTokens {
            facts.outputLimit = maxCompletionTokens.value
            facts.outputLimitField = .value(maxCompletionTokens.range)
        } else {
            facts.outputLimitField = .absent(insertAt: start)
        }
    }

    private mutating func resolveUsage(insertAt start: Int) {
        guard facts.isStream else { return }
        switch streamOptions {
        case .usage(true, _):
            facts.callerAskedForUsage = true
        case .usage(false, let range):
            facts.usageSplice = Splice(range, "true")
        case .noUsage(let index, let isEmpty):
            facts.usageSplice = Splice(
                index..<index, isEmpty ? "\"include_usage\":true" : "\"include_usage\":true,")
        case .null(let range):
            facts.usageSplice = Splice(range, "{\"include_usage\":true}")
        case .absent:
            facts.usageSplice = Splice(
                start..<start, "\"stream_options\":{\"include_usage\":true},")
        }
    }
}
