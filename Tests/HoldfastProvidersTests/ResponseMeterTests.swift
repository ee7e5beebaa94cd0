import Foundation
import HoldfastCore
import Testing

@testable import HoldfastProviders

/// Golden responses of both providers. Streams are cut at every byte, which must change nothing.
@Suite struct `Response meter` {
    struct Row: Sendable, CustomTestStringConvertible {
        var file: String
        var usage: MeteredUsage?
        var sawOutput = true
        var sawTerminal = true
        var usesLongCacheWrite = false

        var testDescription: String { file }
        var tracker: any UsageTracker {
            file.hasPrefix("openai/") ? OpenAITracker() : AnthropicTracker()
        }
    }

    static func openAI(
        _ usage: TokenUsage, tier: String? = "default", model: String? = "gpt-6-sol"
    ) -> MeteredUsage {
        MeteredUsage(usage: usage, serviceTier: tier, model: model)
    }

    static func anthropic(_ usage: TokenUsage, tier: String? = nil) -> MeteredUsage {
        MeteredUsage(usage: usage, serviceTier: tier, model: "claude-opus-5-5")
    }

    static let openAIStreams = [
        Row(
            file: "openai/basic.sse",
            usage: openAI(TokenUsage(uncachedInput: 1_200, output: 90))),
        Row(
            file: "openai/cached.sse",
            usage: openAI(
                TokenUsage(
                    uncachedInput: 76, cacheRead: 1_024, cacheWrite: 60, cacheWriteLong: 40,
                    output: 90))),
        Row(file: "openai/tools.sse", usage: openAI(TokenUsage(uncachedInput: 300, output: 25))),
        Row(
            file: "openai/azure.sse",
            usage: openAI(TokenUsage(uncachedInput: 8, output: 2), tier: nil, model: "gpt-4o")),
        Row(file: "openai/error-midway.sse", usage: nil, sawTerminal: false),
        Row(file: "openai/no-usage.sse", usage: nil),
        Row(
            file: "openai/running-usage.sse",
            usage: openAI(TokenUsage(uncachedInput: 10, output: 2))),
        Row(file: "openai/running-usage-cut.sse", usage: nil, sawTerminal: false),
        Row(
            file: "openai/several-lines.sse",
            usage: openAI(TokenUsage(uncachedInput: 5, output: 1), tier: nil, model: nil)),
    ]

    static let anthropicStreams = [
        Row(
            file: "anthropic/basic.sse",
            usage: anthropic(TokenUsage(uncachedInput: 25, output: 15))),
        Row(
            file: "anthropic/cached.sse",
            usage: MeteredUsage(
                usage: TokenUsage(
                    uncachedInput: 1_000, cacheRead: 10_000, cacheWrite: 2_000,
                    cacheWriteLong: 3_000, output: 500),
                serviceTier: "standard", isFast: true, inferenceGeoUS: true,
                model: "claude-opus-5-5", webSearchRequests: 1)),
        Row(
            file: "anthropic/unsplit-writes.sse",
            usage: anthropic(TokenUsage(uncachedInput: 10, cacheWrite: 700, output: 5))),
        Row(
            file: "anthropic/unsplit-writes.sse",
            usage: anthropic(TokenUsage(uncachedInput: 10, cacheWriteLong: 700, output: 5)),
            usesLongCacheWrite: true),
        Row(
            file: "anthropic/tools.sse",
            usage: anthropic(TokenUsage(uncachedInput: 472, output: 89))),
        Row(file: "anthropic/error-midway.sse", usage: nil, sawTerminal: false),
        Row(file: "anthropic/cut-before-stop.sse", usage: nil, sawTerminal: false),
        Row(file: "anthropic/no-usage.sse", usage: nil),
        Row(file: "anthropic/compaction.sse", usage: nil),
    ]

    static let documents = [
        Row(
            file: "openai/plain.json",
            usage: openAI(
                TokenUsage(uncachedInput: 176, cacheRead: 1_024, output: 90), tier: "priority")),
        Row(file: "openai/error.json", usage: nil, sawOutput: false, sawTerminal: false),
        Row(
            file: "anthropic/plain.json",
            usage: anthropic(
                TokenUsage(
                    uncachedInput: 1_000, cacheRead: 10_000, cacheWrite: 2_000,
                    cacheWriteLong: 3_000, output: 500),
                tier: "priority")),
        Row(file: "anthropic/error.json", usage: nil, sawOutput: false, sawTerminal: false),
    ]

    @Test(arguments: openAIStreams + anthropicStreams)
    func `a stream that reports usage by itself passes byte for byte`(row: Row) throws {
        let stream = try fixture(row.file)
        check(row, stream, hidesUsage: false, forwarded: stream)
    }

    @Test(arguments: openAIStreams)
    func `usage that only we asked for is taken out`(row: Row) throws {
        let golden = row.file.replacing(".sse", with: ".forwarded.sse")
        check(row, try fixture(row.file), hidesUsage: true, forwarded: try fixture(golden))
    }

    @Test(arguments: openAIStreams)
    func `line ends of any kind are kept`(row: Row) throws {
        let golden = row.file.replacing(".sse", with: ".forwarded.sse")
        for lineEnd in ["\r\n", "\r"] {
            let stream = try fixture(row.file, lineEnd: lineEnd)
            let forwarded = try fixture(golden, lineEnd: lineEnd)
            check(row, stream, hidesUsage: true, forwarded: forwarded)
        }
    }

    @Test(arguments: documents)
    func `a response that is not streamed is read at its end`(row: Row) throws {
        let text = try fixture(row.file)
        check(row, text, hidesUsage: false, type: "application/json", forwarded: text)
    }

    @Test(arguments: openAIStreams + anthropicStreams)
    func `a stream cut off anywhere never reports less than a whole one`(row: Row) throws {
        let stream = try fixture(row.file)
        for length in 0..<stream.count {
            let outcome = run(
                [Array(stream[..<length])], row, hidesUsage: false, type: "text/event-stream")
            #expect(outcome.usage == nil || outcome.usage == row.usage, "cut at \(length)")
        }
    }

    @Test(arguments: [openAIStreams[3], anthropicStreams[0]])
    func `a stream with any one byte changed passes all the same`(row: Row) throws {
        let original = try fixture(row.file)
        for position in original.indices {
            for byte in Array("\"}\n".utf8) + [0xFF] {
                var body = original
                body[position] = byte
                let outcome = run([body], row, hidesUsage: false, type: "text/event-stream")
                #expect(outcome.forwarded == body)
                // The same verdict when bytes are held back for the sake of hiding.
                let hidden = run([body], row, hidesUsage: true, type: "text/event-stream")
                #expect(hidden.usage == outcome.usage)
            }
        }
    }

    @Test func `only bytes that can be read are trusted`() throws {
        let stream = try fixture("openai/basic.sse")
        let row = Row(file: "openai/basic.sse", usage: nil, sawOutput: false, sawTerminal: false)
        let sse = "text/event-stream"
        check(row, stream, hidesUsage: true, type: sse, encoding: "gzip", forwarded: stream)
        check(row, stream, hidesUsage: true, type: sse, status: 500, forwarded: stream)
        check(row, stream, hidesUsage: true, type: "text/plain", forwarded: stream)
        check(row, stream, hidesUsage: true, type: nil, forwarded: stream)
        let identity = run(
            [stream], row, hidesUsage: false, type: "Text/Event-Stream; charset=utf-8",
            encoding: " Identity")
        #expect(identity.usage == Self.openAIStreams[0].usage)
    }

    @Test func `an overlong response passes, and charges the ceiling`() throws {
        let row = Row(file: "openai/plain.json", usage: nil)
        let text = try fixture(row.file)
        for (limit, isRead) in [(text.count, true), (text.count - 1, false)] {
            for cuts in cutsOf(text) {
                var meter = ResponseMeter(
                    OpenAITracker(), hidesUsage: false, usesLongCacheWrite: false,
                    documentByteCountMax: limit)
                let outcome = run(cuts, &meter, type: "application/json")
                #expect(outcome.forwarded == text)
                #expect((outcome.usage != nil) == isRead)
            }
        }
    }

    @Test(arguments: [true, false])
    func `an overlong event passes, and charges the ceiling`(hidesUsage: Bool) throws {
        let stream =
            Array("data: {\"choices\":[1],\"x\":\"yyyyyyyyyyyyyyyyyyyyyyyyyyyyy\"}\n\n".utf8)
            + Array("data: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n".utf8)
        for cuts in cutsOf(stream) {
            var meter = ResponseMeter(
                OpenAITracker(), hidesUsage: hidesUsage, usesLongCacheWrite: false,
                eventByteCountMax: 40)
            let outcome = run(cuts, &meter, type: "text/event-stream")
            #expect(outcome.forwarded == stream)
            #expect(outcome.usage == nil)
            #expect(!meter.isBetweenEvents)
        }
    }

    @Test func `an event of our own fits only between events`() {
        let event = Array("data: {\"choices\":[1]}\n\n".utf8)
        var meter = ResponseMeter(OpenAITracker(), hidesUsage: false, usesLongCacheWrite: false)
        meter.start(status: 200, contentType: "text/event-stream", contentEncoding: nil)
        meter.consume(Array(event.prefix(9))) { _ in }
        #expect(!meter.isBetweenEvents)
        meter.consume(Array(event.dropFirst(9))) { _ in }
        #expect(meter.isBetweenEvents)
    }

    @Test func `a response without a head is passed on unread`() {
        var meter = ResponseMeter(OpenAITracker(), hidesUsage: true, usesLongCacheWrite: false)
        var forwarded: [UInt8] = []
        meter.consume([1, 2, 3]) { forwarded += $0 }
        #expect(forwarded == [1, 2, 3])
        #expect(meter.finish { _ in } == nil)
    }

    // MARK: - Checking

    private struct Outcome: Equatable {
        var forwarded: [UInt8] = []
        var usage: MeteredUsage?
        var sawOutput = false
        var sawTerminal = false
    }

    private func check(
        _ row: Row, _ body: [UInt8], hidesUsage: Bool, type: String? = "text/event-stream",
        encoding: String? = nil, status: Int = 200, forwarded: [UInt8]
    ) {
        let expected = Outcome(
            forwarded: forwarded, usage: row.usage, sawOutput: row.sawOutput,
            sawTerminal: row.sawTerminal)
        for cuts in cutsOf(body) {
            let outcome = run(
                cuts, row, hidesUsage: hidesUsage, type: type, encoding: encoding, status: status)
            if outcome != expected {
                let offset = cuts[0].count
                Issue.record("\(row.file) cut at \(offset) of \(body.count): \(outcome)")
                return
            }
        }
    }

    private func run(
        _ pieces: [[UInt8]], _ row: Row, hidesUsage: Bool, type: String?,
        encoding: String? = nil, status: Int = 200
    ) -> Outcome {
        var meter = ResponseMeter(
            row.tracker, hidesUsage: hidesUsage,
            usesLongCacheWrite: row.usesLongCacheWrite)
        return run(pieces, &meter, type: type, encoding: encoding, status: status)
    }

    private func run(
        _ pieces: [[UInt8]], _ meter: inout ResponseMeter, type: String?,
        encoding: String? = nil, status: Int = 200
    ) -> Outcome {
        var outcome = Outcome()
        meter.start(status: status, contentType: type, contentEncoding: encoding)
        for piece in pieces {
            meter.consume(piece) { outcome.forwarded += $0 }
        }
        outcome.usage = meter.finish { outcome.forwarded += $0 }
        outcome.sawOutput = meter.sawOutputEvents
        outcome.sawTerminal = meter.sawTerminalEvent
        return outcome
    }
}

func fixture(_ name: String, lineEnd: String = "\n") throws -> [UInt8] {
    let file = Bundle.module.bundleURL.appending(path: "Fixtures/\(name)")
    let bytes = [UInt8](try Data(contentsOf: file))
    return bytes.flatMap { $0 == UInt8(ascii: "\n") ? Array(lineEnd.utf8) : [$0] }
}
