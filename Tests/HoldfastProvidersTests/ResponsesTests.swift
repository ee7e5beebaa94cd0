import HoldfastCore
import Testing

@testable import HoldfastProviders

/// OpenAI's responses: requests and usage.
@Suite struct `OpenAI responses` {
    private static let usage = TokenUsage(
        uncachedInput: 76, cacheRead: 1_024, cacheWrite: 60, cacheWriteLong: 40, output: 90)

    // MARK: - Usage

    private func meter(
        _ pieces: [[UInt8]], type: String = "text/event-stream"
    ) -> (usage: MeteredUsage?, forwarded: [UInt8], sawEnd: Bool) {
        var meter = ResponseMeter(
            ResponsesTracker(), hidesUsage: false, usesLongCacheWrite: false)
        var forwarded: [UInt8] = []
        meter.start(status: 200, contentType: type, contentEncoding: nil)
        for piece in pieces { meter.consume(piece) { forwarded += $0 } }
        let usage = meter.finish { forwarded += $0 }
        return (usage, forwarded, meter.sawTerminalEvent)
    }

    @Test func `a stream gives its usage wherever it is cut into pieces`() throws {
        let stream = try fixture("openai/responses.sse")
        let expected = MeteredUsage(
            usage: Self.usage, serviceTier: "default", model: "gpt-6-sol")
        for cuts in cutsOf(stream) {
            let result = meter(cuts)
            #expect(result.usage == expected)
            #expect(result.forwarded == stream && result.sawEnd)
        }
    }

    @Test func `a stream that is cut off gives none`() throws {
        let stream = try fixture("openai/responses.sse")
        // Without the last blank line the event is whole all the same.
        for count in 0..<stream.count - 2 {
            #expect(meter([Array(stream.prefix(count))]).usage == nil, "\(count) bytes")
        }
    }

    private static let response =
        #"{"object":"response","status":"STATUS","model":"m","usage":{"input_tokens":5,"#
        + #""output_tokens":7,"total_tokens":12}EXTRA}"#

    private func document(_ status: String, _ extra: String = "") -> MeteredUsage? {
        let text = Self.response.replacing("STATUS", with: status)
            .replacing("EXTRA", with: extra)
        return meter([Array(text.utf8)], type: "application/json").usage
    }

    @Test func `a response that is over is billed as it says`() {
        for status in ["completed", "incomplete", "failed"] {
            #expect(document(status)?.usage == TokenUsage(uncachedInput: 5, output: 7))
        }
        // The rest of the bill is yet to come.
        for status in ["queued", "in_progress", "cancelled", "new"] {
            #expect(document(status) == nil)
        }
    }

    @Test func `what cannot be priced is not trusted`() {
        #expect(document("completed", #","tool_usage":null"#) != nil)
        #expect(document("completed", #","tool_usage":{"web_search":{"num_requests":2}}"#) == nil)
        #expect(document("completed", #","usage":{"input_tokens":1,"output_tokens":1}"#) == nil)
        #expect(document("completed", #","status":"completed""#) == nil)
    }

    @Test func `numbers under both of their names must agree`() throws {
        func usage(_ text: String) throws -> TokenUsage? {
            var scanner = JSONScanner(Array(text.utf8))
            return try OpenAIUsage(&scanner).tokens(usesLongCacheWrite: false, hasOutput: true)
        }
        let both = #"{"prompt_tokens":5,"input_tokens":5,"completion_tokens":7,"output_tokens":7}"#
        #expect(try usage(both) == TokenUsage(uncachedInput: 5, output: 7))
        #expect(try usage(both.replacing("put_tokens\":7", with: "put_tokens\":8")) == nil)
        #expect(
            try usage(
                #"{"input_tokens":5,"output_tokens":7,"input_tokens_details":{},"#
                    + #""prompt_tokens_details":{"cached_tokens":5}}"#) == nil)
    }

    @Test func `an error in the middle of a stream leaves no usage`() throws {
        var stream = Array("data: {\"type\":\"error\",\"code\":\"x\",\"message\":\"y\"}\n\n".utf8)
        stream += try fixture("openai/responses.sse")
        #expect(meter([stream]).usage == nil)
    }

    // MARK: - Requests

    private func facts(_ members: String) throws -> RequestFacts {
        try Responses().facts(of: Array("{\"model\":\"gpt-6-sol\",\(members)}".utf8))
    }

    @Test func `fields are read`() throws {
        let facts = try facts(
            #""input":"Hi","max_output_tokens":50,"stream":true,"user":"u","service_tier":"flex","#
                + #""metadata":{"tenant":"acme"},"prompt_cache_options":{"ttl":"12h"},"#
                + #""tools":[{"type":"function","name":"f"}],"store":false"#)
        #expect(facts.model == "gpt-6-sol" && facts.isStream && facts.outputLimit == 50)
        #expect(facts.metadataUser == "u" && facts.metadata == ["tenant": "acme"])
        #expect(facts.serviceTier == "flex" && facts.usesLongCacheWrite)
        #expect(facts.outputLimitMin == 16 && !facts.promptIsUnboundedByBytes)
    }

    @Test(arguments: [
        (#"{"role":"user","content":"Hi"}"#, true),
        (#"{"type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]}"#, true),
        (#"{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}"#, true),
        (#"{"type":"function_call_output","call_id":"c","output":"42"}"#, true),
        (#"{"role":"user","content":[{"type":"input_image","image_url":"u"}]}"#, false),
        (#"{"role":"user","content":[{"type":"input_file","file_id":"f"}]}"#, false),
        (#"{"type":"reasoning","encrypted_content":"x","summary":[]}"#, false),
    ])
    func `items are bounded by their bytes or by the context`(
        item: String, isBounded: Bool
    ) throws {
        let facts = try facts(#""input":[\#(item)]"#)
        #expect(facts.promptIsUnboundedByBytes != isBounded)
        #expect(facts.promptTokensMax > UInt64(item.utf8.count))
    }

    @Test(arguments: [
        (#""previous_response_id":"r""#, "previous_response_id"),
        (#""conversation":"c""#, "conversation"), (#""prompt":{"id":"p"}"#, "prompt"),
        (#""background":true"#, "background"), (#""tools":[{"type":"mcp"}]"#, "tools[0].type"),
        (#""tools":[{"type":"web_search"}]"#, "tools[0].type"),
        (#""input":[{"type":"item_reference","id":"i"}]"#, "input[0].type"),
        (#""input":[{"type":"computer_call"}]"#, "input[0].type"),
        (#""input":[{}]"#, "input[0].type"),
        (
            #""input":[{"role":"user","content":[{"type":"input_audio"}]}]"#,
            "input[0].content[0].type"
        ),
        (#""reasoning":{"mode":"pro"}"#, "reasoning.mode"),
        (#""context_management":[{}]"#, "context_management"),
    ])
    func `what cannot be bounded is refused`(members: String, param: String) throws {
        let error = try #require(throws: RequestError.self) { _ = try facts(members) }
        #expect(error.param == param && error.code == "cost_unbounded")
    }

    @Test func `the clamp goes where the limit was, or in front`() throws {
        for (body, sent) in [
            (
                #"{"model":"a","max_output_tokens": 900,"input":"x"}"#,
                #"{"model":"a","max_output_tokens": 20,"input":"x"}"#
            ), (#"{"model":"a"}"#, #"{"max_output_tokens":20,"model":"a"}"#),
        ] {
            let bytes = Array(body.utf8)
            let facts = try Responses().facts(of: bytes)
            let result = Responses().upstreamBody(bytes, facts: facts, outputLimit: 20)
            #expect(String(decoding: result, as: UTF8.self) == sent)
        }
    }
}
