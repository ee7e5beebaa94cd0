import ArgumentParser
import Foundation
import HoldfastProviders

/// What it costs to read the usage out of a stream that passes.
struct MeteringBenchmarkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metering", abstract: "How long metering takes per event of a stream.",
        discussion: """
            Passes streams of each format through the meter, one event at a time as they come from the
            network, warm, in this process: the median of nine rounds. Then how much more memory is in
            use after a stream twice as long. Build with 'make build' first.
            """)

    @Option(help: "Events of each stream.")
    var events = 100_000

    private static let rounds = 9

    func run() throws {
        guard events >= 100 else { throw ValidationError("--events must be at least 100") }
        Terminal.say("format                          ns/event  bytes/event   memory kept")
        for format in MeteredFormat.all {
            var meter = try format.meter()
            let rates = try (0..<Self.rounds).map { _ in
                meter = try format.meter()
                let start = ContinuousClock.now
                Self.pass(format.event, times: events, through: &meter)
                let passed = start.duration(to: .now).components
                let nanoseconds =
                    passed.seconds * 1_000_000_000 + passed.attoseconds / 1_000_000_000
                return Int(nanoseconds) / events
            }
            meter = try format.meter()
            Self.pass(format.event, times: events, through: &meter)
            let before = try Self.bytesInUse()
            Self.pass(format.event, times: events, through: &meter)
            let kept = try Self.bytesInUse() - before
            Terminal.say(
                format.name.padded(to: 30) + "\(rates.sorted()[Self.rounds / 2])".aligned(to: 10)
                    + "\(format.event.count)".aligned(to: 13) + "\(kept) bytes".aligned(to: 14))
        }
        Terminal.say("goal: at most 1000 ns per event, and no memory that grows with the stream")
    }

    private static func pass(_ event: [UInt8], times: Int, through meter: inout ResponseMeter) {
        var forwarded = 0
        for _ in 0..<times { meter.consume(event) { forwarded += $0.count } }
        precondition(forwarded > 0, "nothing was passed on")
    }

    /// Resident, in whole pages.
    private static func bytesInUse() throws -> Int {
        let fields = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
            .split(separator: " ")
        guard fields.count > 1, let pages = Int(fields[1]) else {
            throw ValidationError("/proc/self/statm is not as expected")
        }
        return pages * sysconf(Int32(_SC_PAGESIZE))
    }
}

/// One format, with the kind of event that a stream mostly consists of.
private struct MeteredFormat {
    let name: String
    let provider: String
    let path: String
    let request: String
    let event: [UInt8]
    var contentType = "text/event-stream"

    func meter() throws -> ResponseMeter {
        guard
            let endpoint = ProviderCatalog.standard[ProviderID(name: provider)]?
                .endpoint(method: "POST", path: path[...])?.endpoint
        else { preconditionFailure("\(provider) has no \(path)") }
        var meter = endpoint.meter(for: try endpoint.facts(of: Array(request.utf8)))
        meter.start(status: 200, contentType: contentType, contentEncoding: nil)
        return meter
    }

    static let all = [
        MeteredFormat(
            name: "OpenAI chat", provider: "openai", path: "/v1/chat/completions",
            request: #"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
            event: data(chunk)),
        MeteredFormat(
            name: "OpenAI chat, usage hidden", provider: "openai", path: "/v1/chat/completions",
            request: #"{"model":"m","stream":true}"#, event: data(chunk)),
        MeteredFormat(
            name: "OpenAI responses", provider: "openai", path: "/v1/responses",
            request: #"{"model":"m","stream":true}"#,
            event: data(
                #"{"type":"response.output_text.delta","sequence_number":17,"item_id":"msg_1","#
                    + #""output_index":0,"content_index":0,"delta":" token"}"#,
                name: "response.output_text.delta")),
        MeteredFormat(
            name: "Anthropic messages", provider: "anthropic", path: "/v1/messages",
            request: #"{"model":"m","max_tokens":9,"messages":[],"stream":true}"#,
            event: data(
                #"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","#
                    + #""text":" token"}}"#, name: "content_block_delta")),
        MeteredFormat(
            name: "Cohere chat", provider: "cohere", path: "/v2/chat",
            request: #"{"model":"m","messages":[],"stream":true}"#,
            event: data(
                #"{"type":"content-delta","index":0,"#
                    + #""delta":{"message":{"content":{"text":" t"}}}}"#,
                name: "content-delta")),
        MeteredFormat(
            name: "Gemini generateContent", provider: "gemini",
            path: "/v1beta/models/m:streamGenerateContent",
            request: #"{"contents":[{"parts":[{"text":"Hi"}]}]}"#,
            event: data(
                #"{"candidates":[{"content":{"parts":[{"text":" token"}],"role":"model"},"#
                    + #""index":0}],"#
                    + #""usageMetadata":{"promptTokenCount":20,"totalTokenCount":20},"#
                    + #""modelVersion":"gemini-3.8-flash"}"#)),
        MeteredFormat(
            name: "Bedrock converse", provider: "bedrock", path: "/model/m/converse-stream",
            request: #"{"messages":[{"role":"user","content":[{"text":"Hi"}]}]}"#,
            event: EventStreamMessage.encoded(
                headers: [
                    (":event-type", "contentBlockDelta"), (":content-type", "application/json"),
                    (":message-type", "event"),
                ],
                payload: Array(
                    #"{"contentBlockIndex":0,"delta":{"text":" token"},"p":"abcdefghijk"}"#.utf8)),
            contentType: "application/vnd.amazon.eventstream"),
    ]

    private static let chunk =
        #"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795000000,"#
        + #""model":"gpt-6-sol","service_tier":"default","choices":[{"index":0,"#
        + #""delta":{"content":" token"},"finish_reason":null}],"usage":null}"#

    private static func data(_ text: String, name: String? = nil) -> [UInt8] {
        Array(((name.map { "event: \($0)\n" } ?? "") + "data: \(text)\n\n").utf8)
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }

    fileprivate func aligned(to width: Int) -> String {
        String(repeating: " ", count: max(0, width - count)) + self
    }
}
