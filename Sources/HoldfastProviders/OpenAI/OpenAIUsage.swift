import HoldfastCore

/// The `usage` object of a chat completion or of a response, which has other names for the same.
struct OpenAIUsage: Hashable, Sendable {
    private enum Key: String, CaseIterable {
        case promptTokens = "prompt_tokens"
        case completionTokens = "completion_tokens"
        case totalTokens = "total_tokens"
        case promptDetails = "prompt_tokens_details"
        case completionDetails = "completion_tokens_details"
        case inputTokens = "input_tokens"
        case outputTokens = "output_tokens"
        case inputDetails = "input_tokens_details"
        case outputDetails = "output_tokens_details"
    }

    private enum PromptKey: String, CaseIterable {
        case cachedTokens = "cached_tokens"
        case cacheWriteTokens = "cache_write_tokens"
        case cacheWriteDetails = "cache_write_tokens_details"
        case audioTokens = "audio_tokens"
    }

    private enum CacheWriteKey: String, CaseIterable {
        case short = "ttl_30m_tokens"
        case long = "ttl_12h_tokens"
    }

    private enum CompletionKey: String, CaseIterable {
        case reasoningTokens = "reasoning_tokens"
        case audioTokens = "audio_tokens"
    }

    private static let keys = KeyTable(Key.self)
    private static let promptKeys = KeyTable(PromptKey.self)
    private static let cacheWriteKeys = KeyTable(CacheWriteKey.self)
    private static let completionKeys = KeyTable(CompletionKey.self)

    private var counts = TokenCountReader()
    private var prompt: UInt64?
    private var completion: UInt64?
    private var total: UInt64?
    private var cached: UInt64?
    private var cacheWrite: UInt64?
    private var cacheWriteShort: UInt64?
    private var cacheWriteLong: UInt64?
    private var reasoning: UInt64?
    private var hasPromptDetails = false

    /// Whether any of the numbers that are billed is below that of `earlier`.
    func isLess(than earlier: OpenAIUsage) -> Bool {
        (prompt ?? 0) < (earlier.prompt ?? 0) || (completion ?? 0) < (earlier.completion ?? 0)
    }

    /// Reads the object that comes next.
    init(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try counts.enterObject(&scanner) else { return }
        var keys = KnownKeys(Self.keys)
        while let key = try keys.next(&scanner) {
            switch key {
            case .promptTokens, .inputTokens: prompt = try read(&scanner, before: prompt)
            case .completionTokens, .outputTokens:
                completion = try read(&scanner, before: completion)
            case .totalTokens: total = try counts.read(&scanner)
            case .promptDetails, .inputDetails: try readPromptDetails(&scanner)
            case .completionDetails, .outputDetails: try readCompletionDetails(&scanner)
            }
        }
        counts.check(keys)
    }

    /// In buckets that do not overlap; `nil` when it cannot be trusted.
    ///
    /// `prompt_tokens` includes cached tokens, read and written; `completion_tokens` includes
    /// reasoning and rejected predictions. Where that does not add up:
    /// * more cached than prompt tokens: no discount for reads, and writes as reported,
    /// * more reasoning than completion tokens: reasoning was not included,
    /// * a total above the sum: the rest was output, the dearest bucket.
    ///
    /// - Parameter hasOutput: without it there need not be `completion_tokens`.
    func tokens(usesLongCacheWrite: Bool, hasOutput: Bool) -> TokenUsage? {
        guard counts.isTrusted, let prompt, let completion = completion ?? (hasOutput ? nil : 0)
        else { return nil }
        let writes = CacheWrites(
            total: cacheWrite, short: cacheWriteShort, long: cacheWriteLong,
            usesLongCacheWrite: usesLongCacheWrite)
        var read = cached ?? 0
        if read + writes.total > prompt { read = 0 }
        let cachedPrompt = read + writes.total
        let uncached = prompt > cachedPrompt ? prompt - cachedPrompt : 0
        var output = completion
        if let reasoning, reasoning > completion { output += reasoning }
        if let total, total > prompt + completion {
            output = max(output, total - prompt)
        }
        return TokenUsage(
            uncachedInput: uncached, cacheRead: read, cacheWrite: writes.short,
            cacheWriteLong: writes.long, output: output)
    }

    /// A number that comes under both of its names must be the same.
    private mutating func read(
        _ scanner: inout JSONScanner, before: UInt64?
    ) throws(JSONError) -> UInt64? {
        guard let found = try counts.read(&scanner) else { return before }
        if let before, before != found { counts.distrust() }
        return found
    }

    private mutating func readPromptDetails(_ scanner: inout JSONScanner) throws(JSONError) {
        if hasPromptDetails { counts.distrust() }
        hasPromptDetails = true
        guard try counts.enterObject(&scanner) else { return }
        var keys = KnownKeys(Self.promptKeys)
        while let key = try keys.next(&scanner) {
            switch key {
            case .cachedTokens: cached = try counts.read(&scanner)
            case .cacheWriteTokens: cacheWrite = try counts.read(&scanner)
            case .cacheWriteDetails: try readCacheWriteDetails(&scanner)
            case .audioTokens: try readAudio(&scanner)
            }
        }
        counts.check(keys)
    }

    private mutating func readCacheWriteDetails(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try counts.enterObject(&scanner) else { return }
        var keys = KnownKeys(Self.cacheWriteKeys)
        while let key = try keys.next(&scanner) {
            switch key {
            case .short: cacheWriteShort = try counts.read(&scanner)
            case .long: cacheWriteLong = try counts.read(&scanner)
            }
        }
        counts.check(keys)
    }

    private mutating func readCompletionDetails(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try counts.enterObject(&scanner) else { return }
        var keys = KnownKeys(Self.completionKeys)
        while let key = try keys.next(&scanner) {
            switch key {
            case .reasoningTokens: reasoning = try counts.read(&scanner)
            case .audioTokens: try readAudio(&scanner)
            }
        }
        counts.check(keys)
    }

    /// Audio has prices of its own, which no bucket can carry.
    private mutating func readAudio(_ scanner: inout JSONScanner) throws(JSONError) {
        if let count = try counts.read(&scanner), count > 0 { counts.distrust() }
    }
}
