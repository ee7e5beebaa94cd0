import Glibc
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

    /// Nearly every chunk has a piece of the answer and no usage, as its bytes show at a glance: that
    /// is a third of the time of reading it. `nil` for those that have to be read.
    private func contentOnly(_ event: SSEEvent, _ range: Range<Int>) -> Passage? {
        guard event.dataBytes[range].holds(Self.firstChoice),
            !event.dataBytes[range].holds(Self.errorKey)
        else { return nil }
        let tail = Self.nullUsage
        let start = range.upperBound - tail.count
        guard start > range.lowerBound, event.dataBytes[start..<range.upperBound] == tail else {
            return event.dataBytes[range].holds(Self.usageKey) ? nil : .whole
        }
        guard !event.dataBytes[range.lowerBound..<start].holds(Self.usageKey) else { return nil }
        // Without the brace at the end.
        return event.isDataInPlace ? .without(start..<range.upperBound - 1) : .whole
    }

    private static let firstChoice = Array(#""choices":[{"#.utf8)
    private static let usageKey = Array("usage".utf8)
    private static let errorKey = Array(#""error""#.utf8)
    private static let nullUsage = Array(#","usage":null}"#.utf8)[...]

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

extension ArraySlice<UInt8> {
    /// - Parameter text: at least one byte, the rarer the first one the better.
    fileprivate func holds(_ text: [UInt8]) -> Bool {
        withUnsafeBytes { bytes in
            guard var start = bytes.baseAddress else { return false }
            var count = bytes.count
            while count >= text.count,
                let found = memchr(start, CInt(text[0]), count - text.count + 1)
            {
                if memcmp(found, text, text.count) == 0 { return true }
                let next = UnsafeRawPointer(found) + 1
                count -= next - start
                start = next
            }
            return false
        }
    }
}
