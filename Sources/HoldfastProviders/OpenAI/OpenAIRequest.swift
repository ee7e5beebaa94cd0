/// The walk over the body of a chat completion.
struct OpenAIRequest {
    private enum BodyKey: String, CaseIterable {
        case model, messages, stream, n, prediction, tools, functions, user, metadata, modalities
        case audio, background, conversation, prompt, container, fallbacks, thread, reasoning
        case documents, models, route, preset, plugins, deferred
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
        case searchSettings = "search_settings"
        case dataSources = "data_sources"
        case predictCount = "n_predict"
        case cacheControl = "cache_control"
        case provider
        case searchParameters = "search_parameters"
        case compoundCustom = "compound_custom"
    }

    private enum MessageKey: String, CaseIterable { case content, audio }

    private static let bodyKeys = KeyTable(BodyKey.self)
    private static let messageKeys = KeyTable(MessageKey.self)

    /// OpenAI's own bound.
    private static let choicesMax: UInt64 = 128
    /// For what the provider adds to a prompt with tools.
    private static let hiddenToolTokens: UInt64 = 64

    /// The member that the provider goes by.
    let outputLimitMember: String

    private var facts = RequestFacts(model: "")
    private var maxTokens: (value: UInt64?, range: Range<Int>)?
    private var maxCompletionTokens: (value: UInt64?, range: Range<Int>)?
    private var streamOptions = StreamOptions.absent
    private var predictionByteCount: UInt64 = 0
    private var messageCount: UInt64 = 0
    private var toolCount: UInt64 = 0

    init(outputLimitMember: String) {
        self.outputLimitMember = outputLimitMember
    }

    mutating func read(_ reader: inout RequestReader) throws(JSONError) -> RequestFacts? {
        try reader.scanner.enterObject()
        let start = reader.scanner.index
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
        facts.firstMemberIndex = start
        resolveOutputLimit(&reader, insertAt: start)
        facts.reportUsage(streamOptions, insertAt: start)
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
        case .streamOptions: streamOptions = try StreamOptions(&reader)
        case .maxTokens: maxTokens = try reader.count(name, in: 1...RequestReader.outputLimitMax)
        case .maxCompletionTokens:
            maxCompletionTokens = try reader.count(name, in: 1...RequestReader.outputLimitMax)
        case .n: facts.choices = try reader.count(name, in: 1...Self.choicesMax).value ?? 1
        case .prediction:
            let value = try reader.scanner.skipValue()
            predictionByteCount = value.kind == .null ? 0 : UInt64(value.range.count)
        case .tools: toolCount += try OpenAITools.read(&reader, into: &facts)
        case .functions:
            guard try reader.enterArray(name) else { return }
            while try reader.scanner.nextElement() {
                toolCount += 1
                try reader.scanner.skipValue()
            }
        case .user: facts.metadataUser = try reader.string(name)
        case .metadata: try facts.readMetadata(&reader)
        case .serviceTier:
            facts.serviceTier = try reader.string(name)
            facts.hasServiceTierMember = true
        case .promptCacheOptions: try facts.readCacheOptions(&reader)
        case .promptCacheRetention: try facts.readCacheRetention(&reader)
        case .modalities: try readModalities(&reader)
        case .audio:
            try reader.refuseUse(name, because: "audio tokens have prices of their own")
        case .reasoning: try OpenAIReasoning.check(&reader)
        case .webSearchOptions, .searchSettings, .searchParameters, .documents, .dataSources:
            try reader.refuseUse(name, because: "searches add calls and prompt tokens")
        case .previousResponseID, .conversation, .prompt, .thread:
            try reader.refuseUse(name, because: "it adds input that is not in the request")
        case .cacheControl:
            try OpenAITools.readCacheControl(&reader, at: "", into: &facts)
        case .predictCount:
            try reader.refuseUse(name, because: "some servers take it for the output limit")
        case .provider:
            facts.hasProviderMember = true
            try reader.refuseUse(name, because: "it selects hosts, which have prices of their own")
        case .models, .route, .preset:
            try reader.refuseUse(
                name, because: "another model than the one that is priced may answer")
        case .background, .contextManagement, .multiAgent, .mcpServers, .container, .fallbacks,
            .plugins, .compoundCustom, .deferred:
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
            let type = try OpenAITools.type(&reader, at: path(), into: &facts)
            switch type {
            case "text", "refusal", "thinking", "reference": break
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

    // MARK: - Options

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

    // MARK: - What follows from the fields together

    private mutating func resolveOutputLimit(_ reader: inout RequestReader, insertAt start: Int) {
        if maxTokens?.value != nil, maxCompletionTokens?.value != nil {
            reader.refuse(.conflict(param: "max_tokens", other: "max_completion_tokens"))
        }
        if maxCompletionTokens?.value != nil, outputLimitMember == "max_tokens" {
            reader.refuse(
                .unboundable(
                    param: "max_completion_tokens",
                    because: "this provider goes by `max_tokens` and may ignore it"))
        }
        if let maxTokens, maxTokens.value != nil {
            facts.outputLimit = maxTokens.value
            facts.outputLimitField = .value(maxTokens.range)
        } else if let maxTokens, outputLimitMember == "max_tokens" {
            // Replaced: of two members of one name the second would count.
            facts.outputLimitField = .value(maxTokens.range)
        } else if let maxCompletionTokens, outputLimitMember != "max_tokens" {
            facts.outputLimit = maxCompletionTokens.value
            facts.outputLimitField = .value(maxCompletionTokens.range)
        } else {
            facts.outputLimitField = .absent(insertAt: start)
        }
    }
}
