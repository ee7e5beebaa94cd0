import HoldfastCore

/// Follows the usage through a response of Converse or ConverseStream.
///
/// The last event of a stream has the members of a whole response that matter; nothing before it
/// has any numbers.
struct ConverseTracker: UsageTracker {
    private enum Key: String, CaseIterable { case output, usage, serviceTier, performanceConfig }
    private enum TypeKey: String, CaseIterable { case type }
    private enum LatencyKey: String, CaseIterable { case latency }

    private static let keys = KeyTable(Key.self)
    private static let typeKeys = KeyTable(TypeKey.self)
    private static let latencyKeys = KeyTable(LatencyKey.self)

    private(set) var sawOutput = false
    private(set) var sawEnd = false
    private var usage: ConverseUsage?
    private var serviceTier: String?
    private var counts = TokenCountReader()

    mutating func distrust() {
        counts.distrust()
    }

    /// This provider's streams have another framing.
    mutating func observe(_ event: SSEEvent) -> Passage {
        distrust()
        return .whole
    }

    mutating func observe(message: EventStreamMessage) {
        // Exceptions and errors end a stream wherever it is. What a message without a type says
        // cannot be told.
        guard message.messageType == "event" else { return distrust() }
        switch message.eventType {
        case "contentBlockStart", "contentBlockDelta":
            sawOutput = true
            // Generated after the numbers, which then are not all.
            if sawEnd { distrust() }
        case "metadata":
            sawEnd = true
            do throws(JSONError) {
                _ = try read(message.payload)
            } catch {
                distrust()
            }
        // Starts, ends, and kinds of events that are yet to come.
        default: break
        }
    }

    mutating func observe(document: [UInt8]) {
        do throws(JSONError) {
            sawOutput = try read(document)
            sawEnd = sawOutput
        } catch {
            distrust()
        }
    }

    func result(usesLongCacheWrite: Bool) -> MeteredUsage? {
        guard counts.isTrusted, sawEnd,
            let tokens = usage?.tokens(usesLongCacheWrite: usesLongCacheWrite)
        else { return nil }
        return MeteredUsage(usage: tokens, serviceTier: serviceTier)
    }

    /// - Returns: whether there is a member `output`.
    private mutating func read(_ bytes: [UInt8]) throws(JSONError) -> Bool {
        var scanner = JSONScanner(bytes)
        try scanner.enterObject()
        var hasOutput = false
        var keys = KnownKeys(Self.keys)
        while let key = try keys.next(&scanner) {
            switch key {
            case .output: hasOutput = try scanner.skipValue().kind != .null
            case .usage: try readUsage(&scanner)
            case .serviceTier:
                serviceTier = try readString(Self.typeKeys, &scanner) ?? serviceTier
            case .performanceConfig:
                // Other values have prices of their own. Requests for them are refused, so this
                // should not be.
                let latency = try readString(Self.latencyKeys, &scanner)
                if let latency, latency != "standard" { distrust() }
            }
        }
        counts.check(keys)
        try scanner.finish()
        return hasOutput
    }

    private mutating func readUsage(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try scanner.peekKind() != .null else {
            try scanner.skipValue()
            return
        }
        let reported = try ConverseUsage(&scanner)
        // Which of two that contradict each other is billed cannot be told.
        if let usage, reported.isLess(than: usage) { distrust() }
        usage = reported
    }

    /// The one member that matters of the object that comes next.
    private mutating func readString<Key>(
        _ table: KeyTable<Key>, _ scanner: inout JSONScanner
    ) throws(JSONError) -> String? {
        guard try counts.enterObject(&scanner) else { return nil }
        var text: String?
        var keys = KnownKeys(table)
        while try keys.next(&scanner) != nil { text = try counts.string(&scanner) }
        counts.check(keys)
        return text
    }
}

/// The `usage` object of Converse.
struct ConverseUsage: Hashable, Sendable {
    private enum Key: String, CaseIterable {
        case inputTokens, outputTokens, totalTokens, cacheReadInputTokens, cacheWriteInputTokens
        case cacheDetails
    }

    private enum DetailKey: String, CaseIterable { case ttl, inputTokens }

    private static let keys = KeyTable(Key.self)
    private static let detailKeys = KeyTable(DetailKey.self)

    private var counts = TokenCountReader()
    private var input: UInt64?
    private var output: UInt64?
    private var total: UInt64?
    private var cacheRead: UInt64?
    private var cacheWrite: UInt64?
    private var cacheWriteShort: UInt64?
    private var cacheWriteLong: UInt64?

    /// Reads the object that comes next.
    init(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try counts.enterObject(&scanner) else { return }
        var keys = KnownKeys(Self.keys)
        while let key = try keys.next(&scanner) {
            switch key {
            case .inputTokens: input = try counts.read(&scanner)
            case .outputTokens: output = try counts.read(&scanner)
            case .totalTokens: total = try counts.read(&scanner)
            case .cacheReadInputTokens: cacheRead = try counts.read(&scanner)
            case .cacheWriteInputTokens: cacheWrite = try counts.read(&scanner)
            case .cacheDetails: try readDetails(&scanner)
            }
        }
        counts.check(keys)
    }

    /// Whether any of the numbers is below that of `earlier`.
    func isLess(than earlier: ConverseUsage) -> Bool {
        let fields: [KeyPath<ConverseUsage, UInt64?>] = [
            \.input, \.output, \.total, \.cacheRead, \.cacheWrite, \.cacheWriteShort,
            \.cacheWriteLong,
        ]
        return fields.contains { (self[keyPath: $0] ?? 0) < (earlier[keyPath: $0] ?? 0) }
    }

    /// In buckets that do not overlap; `nil` when it cannot be trusted.
    ///
    /// `inputTokens` excludes what was read from and written to the cache; `outputTokens` includes
    /// reasoning. Of a total above the sum of all, the rest was output, the dearest bucket.
    func tokens(usesLongCacheWrite: Bool) -> TokenUsage? {
        guard counts.isTrusted, let input, let output else { return nil }
        let writes = CacheWrites(
            total: cacheWrite, short: cacheWriteShort, long: cacheWriteLong,
            usesLongCacheWrite: usesLongCacheWrite)
        let read = cacheRead ?? 0
        let prompt = input + read + writes.total
        let rest = total.map { $0 > prompt ? $0 - prompt : 0 } ?? 0
        return TokenUsage(
            uncachedInput: input, cacheRead: read, cacheWrite: writes.short,
            cacheWriteLong: writes.long, output: max(output, rest))
    }

    /// Writes to the cache by lifetime. One that is not known counts as the long one, the dearer.
    private mutating func readDetails(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try scanner.peekKind() == .array else {
            if try scanner.skipValue().kind != .null { counts.distrust() }
            return
        }
        try scanner.enterArray()
        while try scanner.nextElement() {
            guard try counts.enterObject(&scanner) else { continue }
            var lifetime: String?
            var written: UInt64?
            var keys = KnownKeys(Self.detailKeys)
            while let key = try keys.next(&scanner) {
                switch key {
                case .ttl: lifetime = try counts.string(&scanner)
                case .inputTokens: written = try counts.read(&scanner)
                }
            }
            counts.check(keys)
            if lifetime == "5m" {
                take(written, as: \.cacheWriteShort)
            } else {
                take(written, as: \.cacheWriteLong)
            }
        }
    }

    /// Of two for one lifetime it cannot be told which is billed.
    private mutating func take(
        _ count: UInt64?, as field: WritableKeyPath<ConverseUsage, UInt64?>
    ) {
        guard let count else { return }
        if self[keyPath: field] != nil { counts.distrust() }
        self[keyPath: field] = count
    }
}
