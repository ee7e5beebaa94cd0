import HoldfastCore

/// Follows the usage through a response.
struct AnthropicTracker: UsageTracker {
    private enum Key: String, CaseIterable { case type, message, usage, error, model }

    private static let keys = KeyTable(Key.self)

    private(set) var sawOutput = false
    private(set) var sawEnd = false
    private var usage = AnthropicUsage()
    private var model: String?
    private var sawStart = false
    private var sawError = false

    mutating func distrust() {
        usage.distrust()
    }

    mutating func observe(_ event: SSEEvent) -> Passage {
        guard let range = event.dataRange else { return .whole }
        do throws(JSONError) {
            try readEvent(event.dataBytes, in: range)
        } catch {
            // It may have been the one with the final numbers.
            usage.distrust()
        }
        return .whole
    }

    mutating func observe(document: [UInt8]) {
        do throws(JSONError) {
            var scanner = JSONScanner(document)
            var type: String?
            try readMessage(&scanner, type: &type)
            try scanner.finish()
            sawStart = type == "message"
            sawEnd = sawStart
            sawOutput = sawStart
        } catch {
            usage.distrust()
        }
    }

    func result(usesLongCacheWrite: Bool) -> MeteredUsage? {
        guard sawStart, sawEnd, !sawError else { return nil }
        return usage.metered(model: model, usesLongCacheWrite: usesLongCacheWrite)
    }

    private mutating func readEvent(_ bytes: [UInt8], in range: Range<Int>) throws(JSONError) {
        var scanner = JSONScanner(bytes, in: range)
        try scanner.enterObject()
        var keys = KnownKeys(Self.keys)
        var type: String?
        var message: Range<Int>?
        var delta: Range<Int>?
        while let key = try keys.next(&scanner) {
            let value = try scanner.skipValue()
            switch key {
            case .type:
                guard value.kind == .string else { break }
                type = JSON.string(value.range, in: bytes)
                // Nearly every event is one, and nothing in it matters but that it came.
                if type == "content_block_delta" {
                    sawOutput = true
                    return
                }
            case .message: message = value.range
            case .usage: delta = value.range
            case .error, .model: break
            }
        }
        try scanner.finish()
        if keys.duplicate != nil { usage.distrust() }
        switch type {
        case "message_start":
            guard let message else { return usage.distrust() }
            var scanner = JSONScanner(bytes, in: message)
            var type: String?
            try readMessage(&scanner, type: &type)
            usage.forgetOutput()
            sawStart = true
        case "content_block_start": sawOutput = true
        case "message_delta":
            guard let delta else { break }
            var scanner = JSONScanner(bytes, in: delta)
            try usage.merge(&scanner)
        case "message_stop": sawEnd = true
        case "error": sawError = true
        // Pings, ends of blocks, and kinds of events that are yet to come.
        default: break
        }
    }

    private mutating func readMessage(
        _ scanner: inout JSONScanner, type: inout String?
    ) throws(JSONError) {
        try scanner.enterObject()
        var keys = KnownKeys(Self.keys)
        while let key = try keys.next(&scanner) {
            switch key {
            case .usage: try usage.merge(&scanner)
            case .error: if try scanner.skipValue().kind != .null { sawError = true }
            case .message: try scanner.skipValue()
            case .type, .model:
                let value = try scanner.skipValue()
                guard value.kind == .string else { break }
                let text = JSON.string(value.range, in: scanner.bytes)
                if key == .type { type = text } else { model = text }
            }
        }
        if keys.duplicate != nil { usage.distrust() }
    }
}
