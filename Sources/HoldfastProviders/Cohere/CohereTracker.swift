import HoldfastCore

/// Follows the usage through a response.
struct CohereTracker: UsageTracker {
    private enum EventKey: String, CaseIterable { case type, delta, message, error }
    private enum DeltaKey: String, CaseIterable { case usage }
    private enum DocumentKey: String, CaseIterable { case message, usage, embeddings, meta, error }

    private static let eventKeys = KeyTable(EventKey.self)
    private static let deltaKeys = KeyTable(DeltaKey.self)
    private static let documentKeys = KeyTable(DocumentKey.self)

    private(set) var sawOutput = false
    private(set) var sawEnd = false
    private let hasOutput: Bool
    private var usage: CohereUsage?
    private var isTrusted = true

    /// - Parameter hasOutput: whether it is a chat; otherwise embeddings, which have other members
    ///   and no output tokens.
    init(hasOutput: Bool = true) {
        self.hasOutput = hasOutput
    }

    mutating func distrust() {
        isTrusted = false
    }

    mutating func observe(_ event: SSEEvent) -> Passage {
        guard let range = event.dataRange, !range.isEmpty,
            // Not part of version 2, but its own SDK steps over it.
            !event.dataBytes[range].elementsEqual("[DONE]".utf8)
        else { return .whole }
        do throws(JSONError) {
            try readEvent(event.dataBytes, in: range)
        } catch {
            // It may have been the one with the numbers.
            distrust()
        }
        return .whole
    }

    mutating func observe(document: [UInt8]) {
        do throws(JSONError) {
            try readDocument(document)
        } catch {
            distrust()
        }
    }

    func result(usesLongCacheWrite: Bool) -> MeteredUsage? {
        guard isTrusted, sawEnd, let tokens = usage?.tokens(hasOutput: hasOutput) else {
            return nil
        }
        return MeteredUsage(usage: tokens)
    }

    // MARK: - Streams

    private mutating func readEvent(_ bytes: [UInt8], in range: Range<Int>) throws(JSONError) {
        var scanner = JSONScanner(bytes, in: range)
        try scanner.enterObject()
        var keys = KnownKeys(Self.eventKeys)
        var type: String?
        var delta: Range<Int>?
        var hasMessage = false
        while let key = try keys.next(&scanner) {
            let value = try scanner.skipValue()
            switch key {
            case .type:
                guard value.kind == .string else { break }
                type = JSON.string(value.range, in: bytes)
                // Nearly every event is one, and nothing in it matters but that it came.
                if type == "content-delta" { return noteOutput() }
            case .delta: if value.kind == .object { delta = value.range }
            case .message: hasMessage = value.kind != .null
            case .error: if value.kind != .null { distrust() }
            }
        }
        try scanner.finish()
        if keys.duplicate != nil { distrust() }
        switch type {
        case "content-start", "tool-plan-delta", "tool-call-start", "tool-call-delta",
            "citation-start":
            noteOutput()
        case "message-start", "content-end", "tool-call-end", "citation-end", "debug": break
        case "message-end":
            sawEnd = true
            if let delta { try readEnd(bytes, in: delta) }
        // Errors have a message and no type. Others may be kinds of events that are yet to come.
        default: if hasMessage { distrust() }
        }
    }

    /// What comes after the numbers cannot be in them.
    private mutating func noteOutput() {
        sawOutput = true
        if sawEnd { distrust() }
    }

    /// The reason for the end does not matter: what was billed until an error is billed.
    private mutating func readEnd(_ bytes: [UInt8], in range: Range<Int>) throws(JSONError) {
        var scanner = JSONScanner(bytes, in: range)
        try scanner.enterObject()
        var keys = KnownKeys(Self.deltaKeys)
        while try keys.next(&scanner) != nil {
            let reported = try CohereUsage(&scanner)
            // Of two ends the later has everything in it. If it does not, which of the two is
            // billed cannot be told.
            if let usage, reported.isLess(than: usage) { distrust() }
            usage = reported
        }
        if keys.duplicate != nil { distrust() }
    }

    // MARK: - Documents

    private mutating func readDocument(_ bytes: [UInt8]) throws(JSONError) {
        var scanner = JSONScanner(bytes)
        try scanner.enterObject()
        var keys = KnownKeys(Self.documentKeys)
        while let key = try keys.next(&scanner) {
            switch (key, hasOutput) {
            case (.usage, true), (.meta, false): usage = try CohereUsage(&scanner)
            case (.embeddings, false):
                if try scanner.skipValue().kind != .null { sawEnd = true }
            case (.message, true):
                // A string is the message of an error.
                let isAnswer = try scanner.skipValue().kind == .object
                sawOutput = isAnswer
                sawEnd = isAnswer
            case (.message, false), (.error, _):
                if try scanner.skipValue().kind != .null { distrust() }
            case (.usage, false), (.meta, true), (.embeddings, true): try scanner.skipValue()
            }
        }
        try scanner.finish()
        if keys.duplicate != nil { distrust() }
    }
}

/// The `usage` of a chat, or the `meta` of embeddings, as reported.
struct CohereUsage: Hashable, Sendable {
    private enum Key: String, CaseIterable {
        case tokens
        case billedUnits = "billed_units"
        case cachedTokens = "cached_tokens"
    }

    private enum UnitKey: String, CaseIterable {
        case classifications, images
        case inputTokens = "input_tokens"
        case outputTokens = "output_tokens"
        case searchUnits = "search_units"
        case imageTokens = "image_tokens"
    }

    private static let keys = KeyTable(Key.self)
    private static let unitKeys = KeyTable(UnitKey.self)

    private struct Counts: Hashable {
        var input: UInt64?
        var output: UInt64?
    }

    private var reader = TokenCountReader()
    private var billed = Counts()
    /// With the provider's own template around the prompt, and what else it does not bill.
    private var processed = Counts()

    private var input: UInt64? { billed.input ?? processed.input }
    private var output: UInt64? { billed.output ?? processed.output }

    /// Reads the object that comes next.
    init(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try reader.enterObject(&scanner) else { return }
        var keys = KnownKeys(Self.keys)
        while let key = try keys.next(&scanner) {
            switch key {
            case .billedUnits: billed = try readCounts(&scanner)
            case .tokens: processed = try readCounts(&scanner)
            // No price for them is known, so they stay in the input.
            case .cachedTokens: _ = try read(&scanner)
            }
        }
        reader.check(keys)
    }

    /// Whether any of the numbers that are billed is below that of `earlier`.
    func isLess(than earlier: CohereUsage) -> Bool {
        (input ?? 0) < (earlier.input ?? 0) || (output ?? 0) < (earlier.output ?? 0)
    }

    /// `nil` when it cannot be trusted. Where the provider does not say what it bills, everything
    /// that it processed: never less.
    ///
    /// - Parameter hasOutput: without it there need not be `output_tokens`.
    func tokens(hasOutput: Bool) -> TokenUsage? {
        guard reader.isTrusted, let input, let output = output ?? (hasOutput ? nil : 0) else {
            return nil
        }
        return TokenUsage(uncachedInput: input, output: output)
    }

    private mutating func readCounts(_ scanner: inout JSONScanner) throws(JSONError) -> Counts {
        var counts = Counts()
        guard try reader.enterObject(&scanner) else { return counts }
        var keys = KnownKeys(Self.unitKeys)
        while let key = try keys.next(&scanner) {
            let count = try read(&scanner)
            switch key {
            case .inputTokens: counts.input = count
            case .outputTokens: counts.output = count
            // They have prices of their own, which no bucket can carry.
            case .searchUnits, .classifications, .images, .imageTokens:
                if let count, count > 0 { reader.distrust() }
            }
        }
        reader.check(keys)
        return counts
    }

    /// Like `TokenCountReader.read`, but for numbers that may be written as fractions.
    private mutating func read(_ scanner: inout JSONScanner) throws(JSONError) -> UInt64? {
        let value = try scanner.skipValue()
        if value.kind == .null { return nil }
        guard value.kind == .number,
            let count = CohereNumber.roundedUp(scanner.bytes[value.range])
        else {
            reader.distrust()
            return nil
        }
        return count
    }
}

/// Cohere's counts are floating-point numbers: `5.0` and `1e2`.
///
/// They are read digit by digit, because in a `Double` a fraction can vanish. What is not whole is
/// rounded up, the dearer reading.
enum CohereNumber {
    /// As for all other providers.
    private static let countMax: UInt64 = 1 << 40
    /// Of the largest count. More cannot be one, and so many are far from overflow.
    private static let digitCountMax = 13
    /// Above it an exponent is as good as any other: no number that is read here is so long.
    private static let exponentMax = 1 << 40

    /// - Parameter text: a number by JSON's grammar.
    /// - Returns: `nil` for a sign, even of zero, and for anything too large.
    static func roundedUp(_ text: ArraySlice<UInt8>) -> UInt64? {
        let mantissa = text.prefix { $0 | 0x20 != UInt8(ascii: "e") }
        guard mantissa.first != UInt8(ascii: "-") else { return nil }
        let point = mantissa.firstIndex(of: UInt8(ascii: ".")) ?? mantissa.endIndex
        let digits = mantissa.lazy.filter { $0 != UInt8(ascii: ".") }.map { $0 - UInt8(ascii: "0") }
        let leadingZeros = digits.prefix { $0 == 0 }.count
        let significant = digits.dropFirst(leadingZeros)
        guard !significant.isEmpty else { return 0 }
        // How many of the significant digits stand before the point, zeros at the end included.
        let wholeCount =
            point - mantissa.startIndex - leadingZeros + exponent(text[mantissa.endIndex...])
        guard wholeCount <= digitCountMax else { return nil }
        guard wholeCount > 0 else { return 1 }
        var value: UInt64 = 0
        var position = 0
        var hasFraction = false
        for digit in significant {
            if position < wholeCount {
                value = value * 10 + UInt64(digit)
            } else if digit != 0 {
                hasFraction = true
            }
            position += 1
        }
        while position < wholeCount {
            value *= 10
            position += 1
        }
        if hasFraction { value += 1 }
        return value <= countMax ? value : nil
    }

    /// - Parameter text: from the letter on; empty without an exponent.
    private static func exponent(_ text: ArraySlice<UInt8>) -> Int {
        var value = 0
        for byte in text where UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte {
            value = min(value * 10 + Int(byte - UInt8(ascii: "0")), exponentMax)
        }
        return text.dropFirst().first == UInt8(ascii: "-") ? -value : value
    }
}
