import HoldfastCore

/// The `usage` objects of a response, merged field by field: numbers in `message_delta` are
/// cumulative and replace those of `message_start`; absent ones keep them.
struct AnthropicUsage: Hashable, Sendable {
    private enum Key: String, CaseIterable {
        case speed, iterations
        case inputTokens = "input_tokens"
        case outputTokens = "output_tokens"
        case cacheCreationInputTokens = "cache_creation_input_tokens"
        case cacheReadInputTokens = "cache_read_input_tokens"
        case cacheCreation = "cache_creation"
        case serviceTier = "service_tier"
        case inferenceGeo = "inference_geo"
        case serverToolUse = "server_tool_use"
    }

    private enum CacheCreationKey: String, CaseIterable {
        case short = "ephemeral_5m_input_tokens"
        case long = "ephemeral_1h_input_tokens"
    }

    private enum ServerToolKey: String, CaseIterable {
        case webSearchRequests = "web_search_requests"
    }

    private enum IterationKey: String, CaseIterable { case type }

    private static let keys = KeyTable(Key.self)
    private static let cacheCreationKeys = KeyTable(CacheCreationKey.self)
    private static let serverToolKeys = KeyTable(ServerToolKey.self)
    private static let iterationKeys = KeyTable(IterationKey.self)

    private var counts = TokenCountReader()
    private var input: UInt64?
    private(set) var output: UInt64?
    private var cacheWrite: UInt64?
    private var cacheWriteShort: UInt64?
    private var cacheWriteLong: UInt64?
    private var cacheRead: UInt64?
    private var webSearchRequests: UInt64?
    private var serviceTier: String?
    private var isFast: Bool?
    private var inferenceGeoUS = false

    mutating func distrust() {
        counts.distrust()
    }

    /// The output so far is only a placeholder until a later object replaces it.
    mutating func forgetOutput() {
        output = nil
    }

    /// Reads the object that comes next.
    mutating func merge(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try counts.enterObject(&scanner) else { return }
        var keys = KnownKeys(Self.keys)
        while let key = try keys.next(&scanner) {
            switch key {
            case .inputTokens: input = try counts.read(&scanner) ?? input
            case .outputTokens: output = try counts.read(&scanner) ?? output
            case .cacheCreationInputTokens: cacheWrite = try counts.read(&scanner) ?? cacheWrite
            case .cacheReadInputTokens: cacheRead = try counts.read(&scanner) ?? cacheRead
            case .cacheCreation: try readCacheCreation(&scanner)
            case .serverToolUse: try readServerToolUse(&scanner)
            case .iterations: try readIterations(&scanner)
            case .serviceTier: serviceTier = try counts.string(&scanner) ?? serviceTier
            case .speed: try readSpeed(&scanner)
            case .inferenceGeo:
                // Only "us" has a known surcharge; of a place that is not known, the dearer is
                // taken.
                if let geo = try counts.string(&scanner) {
                    inferenceGeoUS = geo != "global" && geo != "not_available"
                }
            }
        }
        counts.check(keys)
    }

    /// `nil` when it cannot be trusted.
    func metered(model: String?, usesLongCacheWrite: Bool) -> MeteredUsage? {
        guard counts.isTrusted, let input, let output else { return nil }
        let writes = CacheWrites(
            total: cacheWrite, short: cacheWriteShort, long: cacheWriteLong,
            usesLongCacheWrite: usesLongCacheWrite)
        return MeteredUsage(
            usage: TokenUsage(
                uncachedInput: input, cacheRead: cacheRead ?? 0, cacheWrite: writes.short,
                cacheWriteLong: writes.long, output: output),
            serviceTier: serviceTier, isFast: isFast, inferenceGeoUS: inferenceGeoUS,
            model: model, webSearchRequests: webSearchRequests ?? 0)
    }

    private mutating func readCacheCreation(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try counts.enterObject(&scanner) else { return }
        var keys = KnownKeys(Self.cacheCreationKeys)
        while let key = try keys.next(&scanner) {
            switch key {
            case .short: cacheWriteShort = try counts.read(&scanner) ?? cacheWriteShort
            case .long: cacheWriteLong = try counts.read(&scanner) ?? cacheWriteLong
            }
        }
        counts.check(keys)
    }

    private mutating func readServerToolUse(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try counts.enterObject(&scanner) else { return }
        var keys = KnownKeys(Self.serverToolKeys)
        while try keys.next(&scanner) != nil {
            webSearchRequests = try counts.read(&scanner) ?? webSearchRequests
        }
        counts.check(keys)
    }

    private mutating func readSpeed(_ scanner: inout JSONScanner) throws(JSONError) {
        let value = try scanner.skipValue()
        guard value.kind != .null else { return }
        switch value.kind == .string ? JSON.string(value.range, in: scanner.bytes) : nil {
        case "standard": isFast = false
        case "fast": isFast = true
        default: counts.distrust()
        }
    }

    /// Compaction, advisors and fallbacks are billed beside the top-level numbers, partly at the
    /// prices of other models. We refuse requests that lead to them; if one comes all the same, or
    /// several rounds of which the numbers may be only one, the numbers are not the bill.
    private mutating func readIterations(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try scanner.peekKind() == .array else {
            if try scanner.skipValue().kind != .null { counts.distrust() }
            return
        }
        try scanner.enterArray()
        var count = 0
        while try scanner.nextElement() {
            count += 1
            var type: String?
            if try counts.enterObject(&scanner) {
                var keys = KnownKeys(Self.iterationKeys)
                while try keys.next(&scanner) != nil { type = try counts.string(&scanner) }
                counts.check(keys)
            }
            if type != "message" || count > 1 { counts.distrust() }
        }
    }
}
