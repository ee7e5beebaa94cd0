import HoldfastCore

/// What one chunk of a stream, or a whole response, says; only the parts that matter to us.
struct GeminiChunk {
    private enum Key: String, CaseIterable {
        case candidates, usageMetadata, modelVersion, promptFeedback, error
    }

    private enum CandidateKey: String, CaseIterable { case content, finishReason, index }
    private enum ContentKey: String, CaseIterable { case parts }
    private enum FeedbackKey: String, CaseIterable { case blockReason }

    private static let keys = KeyTable(Key.self)
    private static let candidateKeys = KeyTable(CandidateKey.self)
    private static let contentKeys = KeyTable(ContentKey.self)
    private static let feedbackKeys = KeyTable(FeedbackKey.self)

    private(set) var model: String?
    private(set) var usage: GeminiUsage?
    private(set) var hasError = false
    private(set) var isAmbiguous = false
    private(set) var hasCandidates = false
    /// Whether anything was generated, though perhaps an empty text.
    private(set) var hasParts = false
    private(set) var isBlocked = false
    /// The numbers of the candidates that came to their end.
    private(set) var finished: [UInt64] = []

    /// Reads the object that comes next.
    init(_ scanner: inout JSONScanner) throws(JSONError) {
        try scanner.enterObject()
        var keys = KnownKeys(Self.keys)
        while let key = try keys.next(&scanner) {
            switch key {
            case .candidates: try readCandidates(&scanner)
            case .usageMetadata:
                if try scanner.peekKind() == .null {
                    try scanner.skipValue()
                } else {
                    usage = try GeminiUsage(&scanner)
                }
            case .modelVersion: model = try Self.string(&scanner)
            case .promptFeedback: try readFeedback(&scanner)
            case .error: hasError = try scanner.skipValue().kind != .null
            }
        }
        if keys.duplicate != nil { isAmbiguous = true }
    }

    private static func string(_ scanner: inout JSONScanner) throws(JSONError) -> String? {
        let value = try scanner.skipValue()
        return value.kind == .string ? JSON.string(value.range, in: scanner.bytes) : nil
    }

    /// Whether it entered an object; anything else is skipped.
    private static func enterObject(_ scanner: inout JSONScanner) throws(JSONError) -> Bool {
        guard try scanner.peekKind() == .object else {
            try scanner.skipValue()
            return false
        }
        try scanner.enterObject()
        return true
    }

    private mutating func readCandidates(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try scanner.peekKind() == .array else {
            try scanner.skipValue()
            return
        }
        try scanner.enterArray()
        while try scanner.nextElement() {
            hasCandidates = true
            try readCandidate(&scanner)
        }
    }

    private mutating func readCandidate(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try Self.enterObject(&scanner) else { return }
        var keys = KnownKeys(Self.candidateKeys)
        // The first one is left out by some: zero is the default of a number.
        var index: UInt64 = 0
        var isFinished = false
        while let key = try keys.next(&scanner) {
            switch key {
            case .content: try readContent(&scanner)
            case .finishReason: isFinished = try Self.isReason(&scanner)
            case .index:
                let value = try scanner.skipValue()
                if value.kind == .number {
                    index = JSON.unsigned(value.range, in: scanner.bytes) ?? 0
                }
            }
        }
        if keys.duplicate != nil { isAmbiguous = true }
        if isFinished { finished.append(index) }
    }

    private mutating func readContent(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try Self.enterObject(&scanner) else { return }
        var keys = KnownKeys(Self.contentKeys)
        while try keys.next(&scanner) != nil {
            guard try scanner.peekKind() == .array else {
                try scanner.skipValue()
                continue
            }
            try scanner.enterArray()
            while try scanner.nextElement() {
                hasParts = true
                try scanner.skipValue()
            }
        }
    }

    private mutating func readFeedback(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try Self.enterObject(&scanner) else { return }
        var keys = KnownKeys(Self.feedbackKeys)
        while try keys.next(&scanner) != nil {
            if try Self.isReason(&scanner) { isBlocked = true }
        }
    }

    private static func isReason(_ scanner: inout JSONScanner) throws(JSONError) -> Bool {
        guard let reason = try string(&scanner) else { return false }
        return !reason.isEmpty && !reason.hasSuffix("_UNSPECIFIED")
    }
}

/// The `usageMetadata` object, as reported. A number that is left out is zero.
struct GeminiUsage: Hashable, Sendable {
    private enum Key: String, CaseIterable {
        case promptTokenCount, candidatesTokenCount, thoughtsTokenCount, cachedContentTokenCount
        case toolUsePromptTokenCount, totalTokenCount, promptTokensDetails, cacheTokensDetails
        case toolUsePromptTokensDetails, candidatesTokensDetails, serviceTier
    }

    private enum DetailKey: String, CaseIterable { case modality, tokenCount }

    private static let keys = KeyTable(Key.self)
    private static let detailKeys = KeyTable(DetailKey.self)

    /// Those with the price of text.
    private static let promptModalities: Set<String> = ["TEXT", "IMAGE", "VIDEO", "DOCUMENT"]
    private static let outputModalities: Set<String> = ["TEXT"]

    private(set) var serviceTier: String?
    private var counts = TokenCountReader()
    private var prompt: UInt64?
    private var candidates: UInt64 = 0
    private var thoughts: UInt64 = 0
    private var cached: UInt64 = 0
    private var toolUse: UInt64 = 0
    private var total: UInt64?
    /// The largest prompt of an earlier chunk.
    private var earlierPrompt: UInt64 = 0

    /// Reads the object that comes next; what is wrong with it makes it untrustworthy.
    init(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try counts.enterObject(&scanner) else { return }
        var keys = KnownKeys(Self.keys)
        while let key = try keys.next(&scanner) {
            switch key {
            case .promptTokenCount: prompt = try counts.read(&scanner)
            case .candidatesTokenCount: candidates = try counts.read(&scanner) ?? 0
            case .thoughtsTokenCount: thoughts = try counts.read(&scanner) ?? 0
            case .cachedContentTokenCount: cached = try counts.read(&scanner) ?? 0
            case .toolUsePromptTokenCount: toolUse = try counts.read(&scanner) ?? 0
            case .totalTokenCount: total = try counts.read(&scanner)
            case .promptTokensDetails, .cacheTokensDetails, .toolUsePromptTokensDetails:
                try readDetails(&scanner, allowed: Self.promptModalities)
            case .candidatesTokensDetails:
                try readDetails(&scanner, allowed: Self.outputModalities)
            case .serviceTier:
                let tier = try counts.string(&scanner)
                serviceTier = tier == "unspecified" ? nil : tier
            }
        }
        counts.check(keys)
    }

    /// Thoughts are billed as output. Sources differ on whether `candidatesTokenCount` includes them,
    /// and the total does not depend on it: the larger reading counts.
    private var output: UInt64 {
        let input = (prompt ?? 0) + toolUse
        let total = total ?? 0
        return max(candidates + thoughts, total > input ? total - input : 0)
    }

    /// Whether less output is reported than by `earlier`.
    func hasLessOutput(than earlier: GeminiUsage) -> Bool {
        output < earlier.output
    }

    /// The last chunk of some streams counts one prompt token less than those before it. That is no
    /// reason to distrust the rest: the larger one counts.
    mutating func keepPrompt(of earlier: GeminiUsage) {
        earlierPrompt = max(earlier.prompt ?? 0, earlier.earlierPrompt)
    }

    /// In buckets that do not overlap; `nil` when it cannot be trusted.
    ///
    /// `promptTokenCount` includes cached tokens, but not what tools added. Where more was cached
    /// than there is, there is no discount.
    func tokens(generatedParts: Bool) -> TokenUsage? {
        // Without a total nobody knows what else is missing: callers can ask for some numbers only.
        guard counts.isTrusted, let prompt, total != nil else { return nil }
        // An answer that nothing was reported for: the number is missing rather than zero.
        if generatedParts, output == 0 { return nil }
        let input = max(prompt, earlierPrompt)
        let read = cached > input ? 0 : cached
        return TokenUsage(uncachedInput: input - read + toolUse, cacheRead: read, output: output)
    }

    /// Audio has prices of its own, which no bucket can carry, and so may what is not known.
    private mutating func readDetails(
        _ scanner: inout JSONScanner, allowed: Set<String>
    ) throws(JSONError) {
        guard try scanner.peekKind() == .array else {
            if try scanner.skipValue().kind != .null { counts.distrust() }
            return
        }
        try scanner.enterArray()
        while try scanner.nextElement() {
            guard try counts.enterObject(&scanner) else { continue }
            var modality: String?
            var count: UInt64 = 0
            var keys = KnownKeys(Self.detailKeys)
            while let key = try keys.next(&scanner) {
                switch key {
                case .modality: modality = try counts.string(&scanner)
                case .tokenCount: count = try counts.read(&scanner) ?? 0
                }
            }
            counts.check(keys)
            if count > 0, !allowed.contains(modality ?? "") { counts.distrust() }
        }
    }
}

/// Follows the usage through a response.
///
/// Every chunk has running numbers, and the last ones are the bill. No event says that the stream
/// is over: it is when every answer has the reason why it ended.
struct GeminiTracker: UsageTracker {
    private(set) var sawOutput = false
    private let choices: UInt64
    private var usage: GeminiUsage?
    private var model: String?
    private var finished: Set<UInt64> = []
    private var isBlocked = false
    /// Whether the response is one JSON text that was read to its end: nothing is missing then.
    private var isWhole = false
    private var generatedParts = false
    /// Something was generated that the newest numbers cannot include.
    private var isOutdated = false
    private var isTrusted = true

    /// - Parameter choices: how many answers were asked for.
    init(choices: UInt64 = 1) {
        self.choices = choices
    }

    /// One answer can end long before another.
    var sawEnd: Bool {
        if isBlocked { return true }
        return isWhole ? !finished.isEmpty : UInt64(finished.count) >= choices
    }

    mutating func distrust() {
        isTrusted = false
    }

    mutating func observe(_ event: SSEEvent) -> Passage {
        guard let range = event.dataRange else { return .whole }
        do throws(JSONError) {
            var scanner = JSONScanner(event.dataBytes, in: range)
            let chunk = try GeminiChunk(&scanner)
            try scanner.finish()
            take(chunk)
        } catch {
            // It may have carried other numbers; later ones replace them.
            usage = nil
        }
        return .whole
    }

    /// A stream that was not asked for as events is an array of its chunks.
    mutating func observe(document: [UInt8]) {
        do throws(JSONError) {
            var scanner = JSONScanner(document)
            if try scanner.peekKind() == .array {
                try scanner.enterArray()
                while try scanner.nextElement() { try take(GeminiChunk(&scanner)) }
            } else {
                try take(GeminiChunk(&scanner))
            }
            try scanner.finish()
            isWhole = true
        } catch {
            finished = []
            isBlocked = false
            distrust()
        }
    }

    private mutating func take(_ chunk: GeminiChunk) {
        model = chunk.model ?? model
        if chunk.isAmbiguous || chunk.hasError { distrust() }
        if chunk.hasCandidates { sawOutput = true }
        if chunk.hasParts { generatedParts = true }
        if chunk.isBlocked { isBlocked = true }
        finished.formUnion(chunk.finished)
        if var reported = chunk.usage {
            if let usage {
                // Running numbers only grow. Which of two that contradict each other is billed cannot
                // be told.
                if reported.hasLessOutput(than: usage) { distrust() }
                reported.keepPrompt(of: usage)
            }
            usage = reported
            isOutdated = false
        } else if chunk.hasCandidates {
            isOutdated = true
        }
    }

    func result(usesLongCacheWrite: Bool) -> MeteredUsage? {
        guard isTrusted, !isOutdated, sawEnd, let usage,
            let tokens = usage.tokens(generatedParts: generatedParts)
        else { return nil }
        return MeteredUsage(usage: tokens, serviceTier: usage.serviceTier, model: model)
    }
}
