import HoldfastCore

/// What one chunk of a stream, or a whole response, says; only the parts that matter to us.
struct OpenAIChunk {
    private enum Key: String, CaseIterable {
        case model, choices, usage, error
        case serviceTier = "service_tier"
    }

    private static let keys = KeyTable(Key.self)

    private(set) var model: String?
    private(set) var serviceTier: String?
    private(set) var usage: OpenAIUsage?
    /// The member `usage` with one comma beside it, when its value is `null`.
    private(set) var nullUsageMember: Range<Int>?
    private(set) var hasError = false
    private(set) var isAmbiguous = false
    private(set) var hasChoices = false
    private var hasEmptyChoices = false

    /// The chunk that comes only because usage was asked for. The first chunk of some providers has
    /// no choices either, but no usage.
    var isUsageOnly: Bool { hasEmptyChoices && usage != nil }

    init(_ bytes: [UInt8], in range: Range<Int>) throws(JSONError) {
        var scanner = JSONScanner(bytes, in: range)
        try scanner.enterObject()
        var keys = KnownKeys(Self.keys)
        while let key = try keys.next(&scanner) {
            switch key {
            case .model: model = try Self.string(&scanner)
            case .serviceTier: serviceTier = try Self.string(&scanner)
            case .error: hasError = try scanner.skipValue().kind != .null
            case .choices: try readChoices(&scanner)
            case .usage: try readUsage(&scanner)
            }
        }
        isAmbiguous = keys.duplicate != nil
        try scanner.finish()
    }

    private static func string(_ scanner: inout JSONScanner) throws(JSONError) -> String? {
        let value = try scanner.skipValue()
        return value.kind == .string ? JSON.string(value.range, in: scanner.bytes) : nil
    }

    private mutating func readChoices(_ scanner: inout JSONScanner) throws(JSONError) {
        guard try scanner.peekKind() == .array else {
            try scanner.skipValue()
            return
        }
        try scanner.enterArray()
        while try scanner.nextElement() {
            hasChoices = true
            try scanner.skipValue()
        }
        hasEmptyChoices = !hasChoices
    }

    private mutating func readUsage(_ scanner: inout JSONScanner) throws(JSONError) {
        let keyStart = scanner.keyStart
        let separator = scanner.separator
        guard try scanner.peekKind() == .null else {
            usage = try OpenAIUsage(&scanner)
            return
        }
        try scanner.skipValue()
        if let separator {
            nullUsageMember = separator..<scanner.index
            return
        }
        // The first member: the comma after it goes, if there is one.
        let valueEnd = scanner.index
        scanner.skipSpace()
        let hasComma =
            scanner.index < scanner.bytes.count
            && scanner.bytes[scanner.index] == UInt8(ascii: ",")
        nullUsageMember = keyStart..<(hasComma ? scanner.index + 1 : valueEnd)
    }
}

/// Follows the usage through a response.
struct OpenAITracker: UsageTracker {
    private(set) var sawOutput = false
    private(set) var sawEnd = false
    private let hasOutput: Bool
    private var usage: OpenAIUsage?
    private var serviceTier: String?
    private var model: String?
    /// Some providers report running numbers with every chunk. Those are the bill only when nothing
    /// came after them.
    private var isFinal = false
    /// Something was generated that the newest numbers cannot include.
    private var isOutdated = false
    private var isTrusted = true

    /// - Parameter hasOutput: whether anything is generated that is billed, so that the numbers are
    ///   not complete without it.
    init(hasOutput: Bool = true) {
        self.hasOutput = hasOutput
    }

    mutating func distrust() {
        isTrusted = false
    }

    mutating func observe(_ event: SSEEvent) -> Passage {
        guard let range = event.dataRange else { return .whole }
        if event.dataBytes[range].elementsEqual("[DONE]".utf8) {
            sawEnd = true
            return .whole
        }
        if model != nil, let passage = contentOnly(event, range) {
            sawOutput = true
            isFinal = false
            isOutdated = usage != nil
            return passage
        }
        let chunk: OpenAIChunk
        do throws(JSONError) {
            chunk = try OpenAIChunk(event.dataBytes, in: range)
        } catch {
            // It may have carried other numbers; later ones replace them.
            usage = nil
            return .whole
        }
        if chunk.hasChoices { sawOutput = true }
        take(chunk)
        if chunk.isUsageOnly { return .nothing }
        guard let member = chunk.nullUsageMember, event.isDataInPlace else { return .whole }
        return .without(member)
    }

    /// Nearly every chunk has a piece of the answer and no usage, as one look at its bytes shows, in a
    /// third of the time that it takes to read it. `nil` for those that have to be read.
    private func contentOnly(_ event: SSEEvent, _ range: Range<Int>) -> Passage? {
        let glance = ChunkGlance(event.dataBytes, in: range)
        guard glance.hasChoice, !glance.hasError else { return nil }
        guard let usage = glance.usage else { return .whole }
        let tail = ChunkGlance.nullUsage
        guard usage == range.upperBound - tail.count + 1,
            event.dataBytes[(usage - 1)..<range.upperBound].elementsEqual(tail)
        else { return nil }
        // With the comma in front, without the brace behind.
        return event.isDataInPlace ? .without(usage - 1..<range.upperBound - 1) : .whole
    }

    mutating func observe(document: [UInt8]) {
        do throws(JSONError) {
            let response = try OpenAIChunk(document, in: 0..<document.count)
            take(response)
            sawOutput = response.hasChoices
            sawEnd = !response.hasError
        } catch {
            distrust()
        }
    }

    private mutating func take(_ chunk: OpenAIChunk) {
        model = chunk.model ?? model
        serviceTier = chunk.serviceTier ?? serviceTier
        if chunk.isAmbiguous || chunk.hasError {
            usage = nil
        } else if let reported = chunk.usage {
            // Running numbers only grow. Which of two that contradict each other is billed cannot be
            // told.
            if let usage, reported.isLess(than: usage) { distrust() }
            usage = reported
            isFinal = !chunk.hasChoices
            isOutdated = false
        } else if chunk.hasChoices {
            isFinal = false
            isOutdated = usage != nil
        }
    }

    func result(usesLongCacheWrite: Bool) -> MeteredUsage? {
        guard isTrusted, !isOutdated, isFinal || sawEnd,
            let tokens = usage?.tokens(
                usesLongCacheWrite: usesLongCacheWrite, hasOutput: hasOutput)
        else { return nil }
        return MeteredUsage(usage: tokens, serviceTier: serviceTier, model: model)
    }
}

/// Which of the members that matter could be in a chunk, by their names anywhere in its bytes.
private struct ChunkGlance {
    static let nullUsage = Array(#","usage":null}"#.utf8)
    private static let choice = Array(#""choices":[{"#.utf8)
    private static let error = Array(#""error""#.utf8)
    private static let usage = Array(#""usage""#.utf8)

    private(set) var hasChoice = false
    private(set) var hasError = false
    /// Where the first one is.
    private(set) var usage: Int?

    init(_ bytes: [UInt8], in range: Range<Int>) {
        bytes.withUnsafeBufferPointer { bytes in
            var index = range.lowerBound
            let end = range.upperBound - 1
            while index < end {
                guard bytes[index] == UInt8(ascii: "\"") else {
                    index += 1
                    continue
                }
                let rest = bytes[index..<range.upperBound]
                switch bytes[index + 1] {
                case UInt8(ascii: "c"): hasChoice = hasChoice || rest.starts(with: Self.choice)
                case UInt8(ascii: "e"): hasError = hasError || rest.starts(with: Self.error)
                case UInt8(ascii: "u"):
                    if usage == nil, rest.starts(with: Self.usage) { usage = index }
                default: break
                }
                index += 1
            }
        }
    }
}
