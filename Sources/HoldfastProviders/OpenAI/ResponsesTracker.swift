import HoldfastCore

/// Follows the usage through a response of OpenAI's responses.
///
/// Its last event carries the whole response with its usage; nothing before does.
struct ResponsesTracker: UsageTracker {
    private enum EventKey: String, CaseIterable { case type, response }
    private enum ResponseKey: String, CaseIterable {
        case object, model, status, usage, error
        case serviceTier = "service_tier"
        case toolUsage = "tool_usage"
    }

    private static let eventKeys = KeyTable(EventKey.self)
    private static let responseKeys = KeyTable(ResponseKey.self)
    private static let finalStatuses: Set<String> = ["completed", "incomplete", "failed"]

    private(set) var sawOutput = false
    private(set) var sawEnd = false
    private var usage: OpenAIUsage?
    private var serviceTier: String?
    private var model: String?
    private var isTrusted = true

    mutating func distrust() {
        isTrusted = false
    }

    mutating func observe(_ event: SSEEvent) -> Passage {
        guard let range = event.dataRange,
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
            var scanner = JSONScanner(document)
            try readResponse(&scanner)
            try scanner.finish()
            sawOutput = true
        } catch {
            distrust()
        }
    }

    func result(usesLongCacheWrite: Bool) -> MeteredUsage? {
        guard isTrusted, sawEnd,
            let tokens = usage?.tokens(usesLongCacheWrite: usesLongCacheWrite, hasOutput: true)
        else { return nil }
        return MeteredUsage(usage: tokens, serviceTier: serviceTier, model: model)
    }

    private mutating func readEvent(_ bytes: [UInt8], in range: Range<Int>) throws(JSONError) {
        var scanner = JSONScanner(bytes, in: range)
        try scanner.enterObject()
        var keys = KnownKeys(Self.eventKeys)
        var type: String?
        var response: Range<Int>?
        while let key = try keys.next(&scanner) {
            let value = try scanner.skipValue()
            switch key {
            case .type:
                guard value.kind == .string else { break }
                type = JSON.string(value.range, in: bytes)
                // Nearly every event is one, and nothing in it matters but that it came.
                if type?.hasSuffix(".delta") == true {
                    sawOutput = true
                    return
                }
            case .response: response = value.range
            }
        }
        try scanner.finish()
        if keys.duplicate != nil { distrust() }
        switch type {
        case "response.completed", "response.incomplete", "response.failed":
            guard let response else { return distrust() }
            var scanner = JSONScanner(bytes, in: response)
            try readResponse(&scanner)
        case "response.output_item.added": sawOutput = true
        case "error": distrust()
        // Created, in progress, parts that end, and kinds of events that are yet to come.
        default: break
        }
    }

    private mutating func readResponse(_ scanner: inout JSONScanner) throws(JSONError) {
        try scanner.enterObject()
        var keys = KnownKeys(Self.responseKeys)
        var status: String?
        while let key = try keys.next(&scanner) {
            switch key {
            case .usage:
                guard try scanner.peekKind() != .null else {
                    try scanner.skipValue()
                    break
                }
                // A second one: which of them is billed cannot be told.
                if usage != nil { distrust() }
                usage = try OpenAIUsage(&scanner)
            case .toolUsage:
                // Tools that are billed by themselves are refused in requests, so this should not be.
                if try isUsed(&scanner) { distrust() }
            case .object, .error: try scanner.skipValue()
            case .model, .status, .serviceTier:
                let value = try scanner.skipValue()
                guard value.kind == .string else { break }
                let text = JSON.string(value.range, in: scanner.bytes)
                switch key {
                case .model: model = text
                case .status: status = text
                default: serviceTier = text
                }
            }
        }
        if keys.duplicate != nil { distrust() }
        sawEnd = status.map(Self.finalStatuses.contains) ?? false
    }

    /// Whether there is any number above zero in what comes next.
    private func isUsed(_ scanner: inout JSONScanner) throws(JSONError) -> Bool {
        let value = try scanner.skipValue()
        return scanner.bytes[value.range].contains {
            (UInt8(ascii: "1")...UInt8(ascii: "9")).contains($0)
        }
    }
}
