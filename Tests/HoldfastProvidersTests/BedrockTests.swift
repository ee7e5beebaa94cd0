import HoldfastCore
import Testing

@testable import HoldfastProviders

@Suite struct `Bedrock response` {
    /// What comes before the numbers.
    private static let beginning = [
        event("messageStart", #"{"role":"assistant"}"#),
        event("contentBlockDelta", #"{"contentBlockIndex":0,"delta":{"text":"Hi"}}"#),
        event("contentBlockStop", #"{"contentBlockIndex":0}"#),
        event("messageStop", #"{"stopReason":"end_turn"}"#),
    ].flatMap { $0 }

    private static let usage = MeteredUsage(usage: TokenUsage(uncachedInput: 5, output: 7))

    private static func event(_ type: String, _ payload: String) -> [UInt8] {
        EventStreamMessage.encoded(
            headers: [
                (":event-type", type), (":content-type", "application/json"),
                (":message-type", "event"),
            ],
            payload: Array(payload.utf8))
    }

    private static func stream() throws -> [UInt8] {
        beginning + (try EventStreamVector.metadata.bytes())
    }

    // MARK: - Streams

    @Test func `a stream passes byte for byte and says its usage, wherever it is cut`() throws {
        let stream = try Self.stream()
        let expected = Outcome(
            forwarded: stream, usage: Self.usage, sawOutput: true, sawTerminal: true)
        for cuts in cutsOf(stream) {
            #expect(try run(cuts) == expected, "cut at \(cuts[0].count)")
        }
    }

    @Test func `a stream cut off anywhere says nothing`() throws {
        let stream = try Self.stream()
        for length in stream.indices {
            let outcome = try run([Array(stream[..<length])])
            #expect(outcome.usage == nil, "cut at \(length)")
            #expect(!outcome.sawTerminal)
        }
    }

    @Test func `a stream with any one byte changed passes, and says nothing`() throws {
        let original = try Self.stream()
        for position in original.indices {
            var stream = original
            stream[position] ^= 1
            let outcome = try run([stream])
            #expect(outcome.forwarded == stream)
            #expect(outcome.usage == nil, "changed at \(position)")
        }
    }

    @Test func `an exception or an error anywhere leaves nothing to trust`() throws {
        let metadata = try EventStreamVector.metadata.bytes()
        let error = EventStreamMessage.encoded(
            headers: [(":message-type", "error"), (":error-code", "InternalFailure")], payload: [])
        for failure in [try EventStreamVector.throttling.bytes(), error] {
            for stream in [
                failure, failure + metadata, Self.beginning + failure,
                Self.beginning + failure + metadata, Self.beginning + metadata + failure,
            ] {
                let outcome = try run([stream])
                #expect(outcome.forwarded == stream)
                #expect(outcome.usage == nil)
            }
        }
    }

    @Test func `a message that does not say what it is leaves nothing to trust`() throws {
        let outcome = try run([EventStreamVector.empty.bytes() + Self.stream()])
        #expect(outcome.usage == nil)
    }

    @Test func `kinds of events that are yet to come change nothing`() throws {
        let outcome = try run([Self.event("novelty", "[") + Self.stream()])
        #expect(outcome.usage == Self.usage)
    }

    @Test func `numbers that come again must not have become lower`() throws {
        func metadata(_ input: UInt64, _ output: UInt64) -> [UInt8] {
            Self.event(
                "metadata",
                "{\"usage\":{\"inputTokens\":\(input),\"outputTokens\":\(output)}}")
        }
        let first = Self.beginning + metadata(5, 7)
        #expect(try run([first + metadata(4, 8)]).usage == nil)
        #expect(try run([first + metadata(5, 6)]).usage == nil)
        #expect(
            try run([first + metadata(5, 9)]).usage?.usage
                == TokenUsage(uncachedInput: 5, output: 9))
    }

    @Test func `what comes after the numbers is not in them`() throws {
        let delta = Self.event("contentBlockDelta", "{}")
        #expect(try run([Self.stream() + delta]).usage == nil)
    }

    @Test(arguments: ["", "{", "[]", "{}", #"{"usage":null}"#, #"{"usage":{"inputTokens":5}}"#])
    func `an end without numbers says nothing`(payload: String) throws {
        let outcome = try run([Self.beginning + Self.event("metadata", payload)])
        #expect(outcome.usage == nil)
        #expect(outcome.sawTerminal)
    }

    @Test func `a stream of another framing says nothing`() throws {
        let outcome = try run(
            [Array("data: {\"usage\":{\"inputTokens\":5,\"outputTokens\":7}}\n\n".utf8)],
            type: "text/event-stream")
        #expect(outcome.usage == nil)
    }

    // MARK: - Documents

    struct Row: Sendable, CustomTestStringConvertible {
        var usage: String
        var tokens: TokenUsage?
        var usesLongCacheWrite = false

        init(_ usage: String, _ tokens: TokenUsage?, usesLongCacheWrite: Bool = false) {
            self.usage = usage
            self.tokens = tokens
            self.usesLongCacheWrite = usesLongCacheWrite
        }

        var testDescription: String { usage }
    }

    @Test(arguments: [
        Row(
            #""inputTokens":5,"outputTokens":7,"totalTokens":12"#,
            TokenUsage(uncachedInput: 5, output: 7)),
        Row(#""inputTokens":0,"outputTokens":0,"totalTokens":0"#, .zero),
        // Reads and writes come on top of the input.
        Row(
            #""inputTokens":5,"outputTokens":7,"totalTokens":312,"cacheReadInputTokens":100,"#
                + #""cacheWriteInputTokens":200"#,
            TokenUsage(uncachedInput: 5, cacheRead: 100, cacheWrite: 200, output: 7)),
        Row(
            #""inputTokens":5,"outputTokens":7,"cacheWriteInputTokens":200"#,
            TokenUsage(uncachedInput: 5, cacheWriteLong: 200, output: 7),
            usesLongCacheWrite: true),
        Row(
            #""inputTokens":5,"outputTokens":7,"cacheWriteInputTokens":200,"#
                + #""cacheDetails":[{"ttl":"1h","inputTokens":150},{"ttl":"5m","inputTokens":50}]"#,
            TokenUsage(uncachedInput: 5, cacheWrite: 50, cacheWriteLong: 150, output: 7)),
        // What the split leaves out is the dearer kind, and so is a lifetime that is not known.
        Row(
            #""inputTokens":5,"outputTokens":7,"cacheWriteInputTokens":200,"#
                + #""cacheDetails":[{"ttl":"5m","inputTokens":50}]"#,
            TokenUsage(uncachedInput: 5, cacheWrite: 50, cacheWriteLong: 150, output: 7)),
        Row(
            #""inputTokens":5,"outputTokens":7,"cacheDetails":[{"ttl":"9h","inputTokens":50}]"#,
            TokenUsage(uncachedInput: 5, cacheWriteLong: 50, output: 7)),
        // A total above the sum: the rest was output.
        Row(
            #""inputTokens":5,"outputTokens":7,"totalTokens":100,"cacheReadInputTokens":10"#,
            TokenUsage(uncachedInput: 5, cacheRead: 10, output: 85)),
        Row(#""inputTokens":5,"outputTokens":7,"inputTokens":5"#, nil),
        Row(#""inputTokens":5,"outputTokens":7,"output\u0054okens":7"#, nil),
        Row(#""inputTokens":5,"outputTokens":-7"#, nil),
        Row(#""inputTokens":"5","outputTokens":7"#, nil),
        Row(#""inputTokens":5,"outputTokens":7,"cacheDetails":{}"#, nil),
        Row(
            #""inputTokens":5,"outputTokens":7,"cacheDetails":[{"ttl":"1h","inputTokens":1},"#
                + #"{"ttl":"1h","inputTokens":1}]"#, nil),
        Row(#""inputTokens":5"#, nil),
    ])
    func `a response that is not streamed is read at its end`(row: Row) throws {
        let text: String =
            #"{"output":{"message":{"role":"assistant","content":[{"text":"Hi"}]}},"#
            + #""stopReason":"end_turn","usage":{\#(row.usage)},"metrics":{"latencyMs":9},"#
            + #""serviceTier":{"type":"flex"}}"#
        let body = Array(text.utf8)
        let outcome = try run(
            [body], type: "application/json", usesLongCacheWrite: row.usesLongCacheWrite)
        #expect(outcome.forwarded == body)
        #expect(outcome.usage == row.tokens.map { MeteredUsage(usage: $0, serviceTier: "flex") })
        #expect(outcome.sawOutput && outcome.sawTerminal)
    }

    @Test(arguments: [
        #"{"message":"slow"}"#,
        #"{"output":{},"usage":{"inputTokens":5,"outputTokens":7},"usage":{}}"#,
        #"{"output":{},"usage":{"inputTokens":5,"outputTokens":7}"#,
        #"{"usage":{"inputTokens":5,"outputTokens":7}}"#,
        #"{"output":{},"usage":{"inputTokens":5,"outputTokens":7},"#
            + #""performanceConfig":{"latency":"optimized"}}"#,
    ])
    func `a response that is not one says nothing`(body: String) throws {
        #expect(try run([Array(body.utf8)], type: "application/json").usage == nil)
    }

    // MARK: - Running

    private struct Outcome: Equatable {
        var forwarded: [UInt8] = []
        var usage: MeteredUsage?
        var sawOutput = false
        var sawTerminal = false
    }

    private func run(
        _ pieces: [[UInt8]], type: String = "application/vnd.amazon.eventstream",
        usesLongCacheWrite: Bool = false
    ) throws -> Outcome {
        var facts = RequestFacts(model: "")
        facts.usesLongCacheWrite = usesLongCacheWrite
        var meter = Converse(isStreamed: true).meter(for: facts)
        var outcome = Outcome()
        meter.start(status: 200, contentType: type, contentEncoding: nil)
        for piece in pieces { meter.consume(piece) { outcome.forwarded += $0 } }
        outcome.usage = meter.finish { outcome.forwarded += $0 }
        outcome.sawOutput = meter.sawOutputEvents
        outcome.sawTerminal = meter.sawTerminalEvent
        return outcome
    }
}

@Suite struct `Bedrock request` {
    private static let messages = #""messages":[{"role":"user","content":[{"text":"Hi"}]}]"#
    private static let additional = "additionalModelRequestFields"

    private func facts(_ body: String) throws -> RequestFacts {
        try Converse(isStreamed: false).facts(of: Array(body.utf8))
    }

    private func facts(member: String) throws -> RequestFacts {
        try facts("{\(Self.messages),\(member)}")
    }

    private func facts(block: String) throws -> RequestFacts {
        try facts(#"{"messages":[{"role":"user","content":[\#(block)]}]}"#)
    }

    private func refusal(_ body: String) -> RequestError? {
        do throws(RequestError) {
            _ = try Converse(isStreamed: false).facts(of: Array(body.utf8))
            return nil
        } catch {
            return error
        }
    }

    // MARK: - Routes

    @Test(arguments: [
        ("/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/converse", false, false),
        ("/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/converse-stream", true, false),
        ("/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/count-tokens", false, true),
    ])
    func `the path says what it is, and the model`(path: String, isStream: Bool, isFree: Bool)
        throws
    {
        let found = try #require(Bedrock.api.endpoint(method: "POST", path: path[...]))
        #expect(found.model == "anthropic.claude-haiku-4-5-20251001-v1%3A0")
        #expect(found.endpoint.isFree == isFree)
        #expect(found.endpoint.dialect == .bedrock)
        let body = Array("{\(Self.messages)}".utf8)
        let facts = try found.endpoint.facts(of: body)
        #expect(facts.isStream == isStream)
        #expect(facts.model.isEmpty)
    }

    @Test func `other routes are not served`() {
        for route in ["invoke", "invoke-with-response-stream", "async-invoke", "x/converse"] {
            let found = Bedrock.api.endpoint(method: "POST", path: "/model/a/\(route)")
            #expect(found?.endpoint.route == nil)
        }
    }

    @Test(arguments: [
        "x-amzn-bedrock-guardrailidentifier", "x-amzn-bedrock-performanceconfig-latency",
        "x-amzn-bedrock-service-tier",
    ])
    func `a header that may change the price is refused`(header: String) throws {
        var facts = try facts("{\(Self.messages)}")
        let endpoint = Converse(isStreamed: false)
        #expect(throws: RequestError.self) {
            try endpoint.read(headers: { $0 == header ? ["1"] : [] }, into: &facts)
        }
        try endpoint.read(headers: { _ in [] }, into: &facts)
    }

    // MARK: - Output limit

    @Test(
        arguments: [
            ("{\(messages)}", #"{"inferenceConfig":{"maxTokens":9},\#(messages)}"#),
            (
                #" { "system":[],\#(messages)}"#,
                #" {"inferenceConfig":{"maxTokens":9}, "system":[],\#(messages)}"#
            ),
            (
                #"{"inferenceConfig":{ },\#(messages)}"#,
                #"{"inferenceConfig":{"maxTokens":9 },\#(messages)}"#
            ),
            (
                #"{"inferenceConfig":{ "topP":1},\#(messages)}"#,
                #"{"inferenceConfig":{"maxTokens":9, "topP":1},\#(messages)}"#
            ),
            (
                #"{"inferenceConfig":{"topP":1,"maxTokens": 900 },\#(messages)}"#,
                #"{"inferenceConfig":{"topP":1,"maxTokens": 9 },\#(messages)}"#
            ),
            (
                #"{"inferenceConfig":{"max\u0054okens":null},\#(messages)}"#,
                #"{"inferenceConfig":{"max\u0054okens":9},\#(messages)}"#
            ),
        ] as [(String, String)])
    func `the output limit goes where it belongs`(body: String, sent: String) throws {
        let facts = try facts(body)
        let endpoint = Converse(isStreamed: true)
        #expect(facts.outputLimit == (body.contains("900") ? 900 : nil))
        let limited = endpoint.upstreamBody(Array(body.utf8), facts: facts, outputLimit: 9)
        #expect(String(decoding: limited, as: UTF8.self) == sent)
        try JSON.validate(limited)
        let untouched = endpoint.upstreamBody(Array(body.utf8), facts: facts, outputLimit: nil)
        #expect(untouched == Array(body.utf8))
    }

    @Test func `no member of another API is added for the service tier`() throws {
        var facts = try facts("{\(Self.messages)}")
        facts.pinServiceTier("default")
        let body = Array("{\(Self.messages)}".utf8)
        let sent = Converse(isStreamed: false).upstreamBody(body, facts: facts, outputLimit: nil)
        #expect(sent == body)
    }

    // MARK: - Refusals

    @Test(
        arguments: [
            (#""guardrailConfig":{"guardrailIdentifier":"a"}"#, "guardrailConfig"),
            (#""promptVariables":{"a":{"text":"b"}}"#, "promptVariables"),
            (#""performanceConfig":{"latency":"optimized"}"#, "performanceConfig.latency"),
            (#""system":[{"guardContent":{}}]"#, "system[0].guardContent"),
            (
                #""system":[{"cachePoint":{"type":"default","ttl":"9h"}}]"#,
                "system[0].cachePoint.ttl"
            ),
            (#""toolConfig":{"tools":[{"systemTool":{}}]}"#, "toolConfig.tools[0].systemTool"),
            (#""toolConfig":{"tools":[{"toolSpec":{}},{"novelty":{}}]}"#, "toolConfig.tools[1]"),
            (#""\#(additional)":{"max_tokens":9}"#, "\(additional).max_tokens"),
            (#""\#(additional)":{"n":2}"#, "\(additional).n"),
            (#""\#(additional)":{"num_generations":2}"#, "\(additional).num_generations"),
            (#""\#(additional)":{"tools":[{}]}"#, "\(additional).tools"),
            (#""\#(additional)":{"mcp_servers":[{}]}"#, "\(additional).mcp_servers"),
            (#""\#(additional)":{"container":"a"}"#, "\(additional).container"),
            (#""\#(additional)":{"context_management":{}}"#, "\(additional).context_management"),
            (#""\#(additional)":{"fallbacks":"default"}"#, "\(additional).fallbacks"),
            (#""\#(additional)":{"sp\u0065ed":"fast"}"#, "\(additional).speed"),
            (#""\#(additional)":{"inference_geo":"us"}"#, "\(additional).inference_geo"),
            (#""\#(additional)":{"service_tier":"auto"}"#, "\(additional).service_tier"),
            (#""\#(additional)":{"novelty":false}"#, additional),
            (
                #""\#(additional)":{"anthropic_beta":["a","context-1m-2025-08-07"]}"#,
                "\(additional).anthropic_beta"
            ),
            (
                #""\#(additional)":{"anthropic_beta":"a, Output-300k-2026-03-24"}"#,
                "\(additional).anthropic_beta"
            ),
        ] as [(String, String)])
    func `what may be billed beyond the bound is refused`(member: String, param: String) {
        let error = refusal("{\(Self.messages),\(member)}")
        #expect(error?.code == "cost_unbounded")
        #expect(error?.param == param)
    }

    @Test(
        arguments: [
            (#"{"video":{"format":"mp4","source":{}}}"#, "video"),
            (#"{"audio":{"format":"mp3","source":{}}}"#, "audio"),
            (#"{"guardContent":{"text":{"text":"a"}}}"#, "guardContent"),
            (#"{"image":{"source":{"s3Location":{"uri":"s3://a/b"}}}}"#, "image.source.s3Location"),
            (#"{"document":{"source":{"s3Location":{"uri":"a"}}}}"#, "document.source.s3Location"),
            (#"{"toolResult":{"content":[{"video":{}}]}}"#, "toolResult.content[0].video"),
            (#"{"cachePoint":{"ttl":"12h"}}"#, "cachePoint.ttl"),
            (#"{"novelty":{}}"#, ""),
        ] as [(String, String)])
    func `content that is not bounded by its bytes is refused`(block: String, param: String) {
        let error = refusal(#"{"messages":[{"content":[{"text":"a"},\#(block)]}]}"#)
        #expect(error?.code == "cost_unbounded")
        #expect(error?.param == "messages[0].content[1]" + (param.isEmpty ? "" : ".") + param)
    }

    @Test(
        arguments: [
            ("{}", "missing_field"),
            (#"{"messages":null}"#, "missing_field"),
            ("{\(messages),\(messages)}", "duplicate_field"),
            (#"{\#(messages),"inferenceConfig":null}"#, "invalid_field"),
            (#"{\#(messages),"inferenceConfig":{"maxTokens":0}}"#, "invalid_field"),
            (#"{\#(messages),"inferenceConfig":{"maxTokens":1e3}}"#, "invalid_field"),
            (#"{\#(messages),"inferenceConfig":{"maxTokens":1,"maxTokens":9}}"#, "duplicate_field"),
            (#"{\#(messages),"inferenceConfig":{},"inferenceConfig":{}}"#, "duplicate_field"),
            (#"{\#(messages),"\#(additional)":"a"}"#, "invalid_field"),
            (#"{\#(messages),"\#(additional)":{"n":null,"n":2}}"#, "duplicate_field"),
            (#"{"messages":[{"content":[{"text":"a","text":"b"}]}]}"#, "duplicate_field"),
            (#"{"messages":[{"content":"a"}]}"#, "invalid_field"),
            (#"{\#(messages),"serviceTier":"flex"}"#, "invalid_field"),
            (#"{\#(messages),"serviceTier":{"type":"flex","type":"priority"}}"#, "duplicate_field"),
            ("[]", "not_an_object"),
            ("{", "malformed_json"),
        ] as [(String, String)])
    func `a body that is not certain is refused`(body: String, code: String) {
        #expect(refusal(body)?.code == code)
    }

    // MARK: - What passes

    @Test(arguments: [
        #""\#(additional)":{}"#, #""\#(additional)":null"#,
        #""\#(additional)":{"top_k":5,"anthropic_beta":["interleaved-thinking-2025-05-14"]}"#,
        #""\#(additional)":{"n":null,"tools":[]}"#,
        #""additionalModelResponseFieldPaths":["/stop_sequence"]"#,
        #""performanceConfig":{"latency":"standard"}"#, #""guardrailConfig":null"#,
        #""outputConfig":{"textFormat":{"type":"json_schema"}}"#, #""novelty":{"a":1}"#,
        #""toolConfig":{"tools":[{"toolSpec":{"name":"a"}}],"toolChoice":{"auto":{}}}"#,
    ])
    func `members that cost nothing pass`(member: String) throws {
        #expect(try !facts(member: member).promptIsUnboundedByBytes)
    }

    @Test func `what decides the price is read`() throws {
        let read = try facts(
            member: #""serviceTier":{"type":"flex"},"requestMetadata":{"team":"a"}"#)
        #expect(read.serviceTier == "flex")
        #expect(read.metadata == ["team": "a"])
        #expect(!read.usesLongCacheWrite)
        for member in ["thinking", "reasoning_config"] {
            let thinking = try facts(
                member: #""\#(Self.additional)":{"\#(member)":{"budget_tokens":1024}}"#)
            #expect(thinking.outputLimitMin == 1_025)
        }
        let point = #"{"cachePoint":{"type":"default","ttl":"1h"}}"#
        #expect(try facts(block: point).usesLongCacheWrite)
        #expect(try facts(member: "\"system\":[\(point)]").usesLongCacheWrite)
        #expect(try facts(member: "\"toolConfig\":{\"tools\":[\(point)]}").usesLongCacheWrite)
        #expect(try !facts(block: point.replacing("1h", with: "5m")).usesLongCacheWrite)
    }

    @Test(
        arguments: [
            (#"{"image":{"format":"png","source":{"bytes":"aGk="}}}"#, true),
            (#"{"document":{"name":"a","source":{"text":"b"}}}"#, true),
            (#"{"toolResult":{"content":[{"image":{"source":{"bytes":"aGk="}}}]}}"#, true),
            (#"{"reasoningContent":{"redactedContent":"aGk="}}"#, true),
            (#"{"searchResult":{"content":[{"text":"a"}],"citations":{"enabled":true}}}"#, true),
            (#"{"searchResult":{"content":[{"text":"a"}],"citations":{"enabled":false}}}"#, false),
            (
                #"{"toolResult":{"content":[{"json":{"image":{"s3Location":1}}},{"text":"a"}]}}"#,
                false
            ),
            (#"{"toolUse":{"name":"a","input":{"video":{"s3Location":{}}}}}"#, false),
            (#"{"citationsContent":{"content":[{"text":"a"}]}}"#, false),
            (#"{"image":null,"text":"a"}"#, false),
        ] as [(String, Bool)])
    func `a prompt is bounded by its bytes or else by the context`(
        block: String, isUnbounded: Bool
    ) throws {
        #expect(try facts(block: block).promptIsUnboundedByBytes == isUnbounded)
    }

    @Test func `what the body hides is allowed for`() throws {
        let plain = try facts(member: #""novelty":{}"#).promptTokensMax
        let tools = try facts(member: #""toolConfig":{"tools":[{"toolSpec":{}}]}"#).promptTokensMax
        #expect(tools > plain + 1_024)
        let signed = #"{"reasoningContent":{"reasoningText":{"signature":"\#(padding(400))"}}}"#
        let text = #"{"reasoningContent":{"reasoningText":{"otherwise":"\#(padding(400))"}}}"#
        let more = try facts(block: signed).promptTokensMax
        let less = try facts(block: text).promptTokensMax
        #expect(more == less + 3 * 402)
    }

    private func padding(_ count: Int) -> String { String(repeating: "a", count: count) }
}
