import HoldfastCore
import Testing

@testable import HoldfastProviders

/// What usage objects mean, above all the ones that make no sense.
@Suite struct `Reported usage` {
    @Test(
        arguments: [
            // Plain, and with details absent or null.
            (#"{"prompt_tokens":10,"completion_tokens":5}"#, [10, 0, 0, 0, 5]),
            (
                #"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":null,"#
                    + #""completion_tokens_details":{"reasoning_tokens":null}}"#, [10, 0, 0, 0, 5]
            ),
            ("{\"prompt_tokens\":0,\"completion_tokens\":0}", [0, 0, 0, 0, 0]),
            // An escaped key is the key.
            (#"{"prompt\u005ftokens":10,"completion_tokens":5}"#, [10, 0, 0, 0, 5]),
            // More cached than there is: no discount.
            (
                #"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":"#
                    + #"{"cached_tokens":11}}"#, [10, 0, 0, 0, 5]
            ),
            (
                #"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":"#
                    + #"{"cached_tokens":8,"cache_write_tokens":8}}"#, [2, 0, 8, 0, 5]
            ),
            (
                #"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":"#
                    + #"{"cache_write_tokens":20}}"#, [0, 0, 20, 0, 5]
            ),
            // A split that lacks something: the rest is long.
            (
                #"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":"#
                    + #"{"cache_write_tokens":8,"#
                    + #""cache_write_tokens_details":{"ttl_30m_tokens":3}}}"#,
                [2, 0, 3, 5, 5]
            ),
            // Reasoning or a total beyond the sum: output.
            (
                #"{"prompt_tokens":10,"completion_tokens":5,"completion_tokens_details":"#
                    + #"{"reasoning_tokens":7}}"#, [10, 0, 0, 0, 12]
            ),
            (#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":40}"#, [10, 0, 0, 0, 30]),
            (#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":3}"#, [10, 0, 0, 0, 5]),
        ] as [(String, [UInt64])])
    func `OpenAI's numbers are read on the dear side`(usage: String, tokens: [UInt64]) {
        checkOpenAI(usage, tokens)
    }

    @Test(arguments: [
        "{}", "[]", "7", #"{"prompt_tokens":10}"#, #"{"completion_tokens":10}"#,
        #"{"prompt_tokens":null,"completion_tokens":5}"#,
        #"{"prompt_tokens":"10","completion_tokens":5}"#,
        #"{"prompt_tokens":-10,"completion_tokens":5}"#,
        #"{"prompt_tokens":10.0,"completion_tokens":5}"#,
        #"{"prompt_tokens":1e3,"completion_tokens":5}"#,
        #"{"prompt_tokens":1099511627777,"completion_tokens":5}"#,
        #"{"prompt_tokens":99999999999999999999,"completion_tokens":5}"#,
        #"{"prompt_tokens":10,"prompt_tokens":1,"completion_tokens":5}"#,
        #"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":[]}"#,
        #"{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":1.5}}"#,
        #"{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"audio_tokens":1}}"#,
        #"{"prompt_tokens":9,"completion_tokens":5,"#
            + #""completion_tokens_details":{"audio_tokens":1}}"#,
    ])
    func `OpenAI's numbers that cannot be trusted are not used`(usage: String) {
        checkOpenAI(usage, nil)
    }

    @Test(
        arguments: [
            (#"{"input_tokens":10,"output_tokens":5}"#, [10, 0, 0, 0, 5]),
            (#"{"input_tokens":10,"output_tokens":5,"iterations":null}"#, [10, 0, 0, 0, 5]),
            (
                #"{"input_tokens":10,"output_tokens":5,"cache_creation_input_tokens":9,"#
                    + #""cache_creation":{"ephemeral_5m_input_tokens":4}}"#, [10, 0, 4, 5, 5]
            ),
            (
                #"{"input_tokens":10,"output_tokens":5,"cache_creation_input_tokens":1,"#
                    + #""cache_creation":{"ephemeral_5m_input_tokens":4}}"#, [10, 0, 4, 0, 5]
            ),
            (
                #"{"input_tokens":10,"output_tokens":5,"cache_read_input_tokens":70}"#,
                [10, 70, 0, 0, 5]
            ),
        ] as [(String, [UInt64])])
    func `Anthropic's numbers are read on the dear side`(usage: String, tokens: [UInt64]) {
        checkAnthropic(usage, tokens)
    }

    @Test(arguments: [
        "{}", "null", "[]", #"{"input_tokens":10}"#, #"{"output_tokens":10}"#,
        #"{"input_tokens":10,"output_tokens":-5}"#, #"{"input_tokens":10,"output_tokens":5.5}"#,
        #"{"input_tokens":10,"input_tokens":10,"output_tokens":5}"#,
        #"{"input_tokens":10,"output_tokens":5,"speed":"turbo"}"#,
        #"{"input_tokens":10,"output_tokens":5,"speed":3}"#,
        #"{"input_tokens":10,"output_tokens":5,"iterations":{}}"#,
        #"{"input_tokens":10,"output_tokens":5,"iterations":[{}]}"#,
        #"{"input_tokens":10,"output_tokens":5,"iterations":[3]}"#,
        #"{"input_tokens":10,"output_tokens":5,"iterations":[{"type":"advisor_message"}]}"#,
        #"{"input_tokens":10,"output_tokens":5,"#
            + #""iterations":[{"type":"message"},{"type":"message"}]}"#,
        #"{"input_tokens":10,"output_tokens":5,"#
            + #""cache_creation":{"ephemeral_5m_input_tokens":"4"}}"#,
    ])
    func `Anthropic's numbers that cannot be trusted are not used`(usage: String) {
        checkAnthropic(usage, nil)
    }

    @Test(arguments: [
        ("\"us\"", true), ("\"global\"", false), ("\"not_available\"", false), ("null", false),
        ("\"mars\"", true),
    ])
    func `a place of inference that is not known is taken for the dearer`(
        geo: String, isUS: Bool
    ) {
        let usage = #"{"input_tokens":1,"output_tokens":1,"inference_geo":\#(geo)}"#
        #expect(anthropic(usage)?.inferenceGeoUS == isUS)
    }

    @Test func `an event that cannot be read spoils what came before it`() {
        let usage = #"data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#
        let broken = "data: {\"choices\":[],\"usage\":{\"prompt_tok\n\n"
        #expect(openAIStream("\(usage)\n\n") != nil)
        #expect(openAIStream("\(usage)\n\n\(broken)") == nil)
        #expect(openAIStream("\(broken)\(usage)\n\n") != nil)
    }

    @Test func `output after the usage makes it stale`() {
        let usage = #"data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#
        let output = #"data: {"choices":[{"index":0,"delta":{"content":"x"}}]}"#
        #expect(openAIStream("\(output)\n\n\(usage)\n\n") != nil)
        #expect(openAIStream("\(usage)\n\n\(output)\n\n") == nil)
    }

    @Test func `the later usage replaces the earlier`() {
        let events = [3, 9].map {
            #"data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":\#($0)}}"# + "\n\n"
        }
        #expect(openAIStream(events.joined())?.usage.output == 9)
    }

    // MARK: - Checking

    private func checkOpenAI(_ usage: String, _ tokens: [UInt64]?) {
        let chunk = "data: {\"choices\":[],\"usage\":\(usage)}\n\n"
        #expect(openAIStream(chunk)?.usage == tokens.map(makeUsage))
        let response = Array("{\"choices\":[{}],\"usage\":\(usage)}".utf8)
        let result = run(response, OpenAITracker(), type: "application/json")
        #expect(result?.usage == tokens.map(makeUsage))
    }

    private func checkAnthropic(_ usage: String, _ tokens: [UInt64]?) {
        #expect(anthropic(usage)?.usage == tokens.map(makeUsage))
        let stream =
            "data: {\"type\":\"message_start\",\"message\":{\"usage\":{}}}\n\n"
            + "data: {\"type\":\"message_delta\",\"usage\":\(usage)}\n\n"
            + "data: {\"type\":\"message_stop\"}\n\n"
        let result = run(Array(stream.utf8), AnthropicTracker(), type: "text/event-stream")
        #expect(result?.usage == tokens.map(makeUsage))
    }

    private func anthropic(_ usage: String) -> MeteredUsage? {
        let response = Array("{\"type\":\"message\",\"usage\":\(usage)}".utf8)
        return run(response, AnthropicTracker(), type: "application/json")
    }

    private func openAIStream(_ stream: String) -> MeteredUsage? {
        run(Array(stream.utf8), OpenAITracker(), type: "text/event-stream")
    }

    private func run(
        _ body: [UInt8], _ tracker: any UsageTracker, type: String
    ) -> MeteredUsage? {
        var meter = ResponseMeter(tracker, hidesUsage: false, usesLongCacheWrite: false)
        meter.start(status: 200, contentType: type, contentEncoding: nil)
        meter.consume(body) { _ in }
        return meter.finish { _ in }
    }

    private func makeUsage(_ tokens: [UInt64]) -> TokenUsage {
        TokenUsage(
            uncachedInput: tokens[0], cacheRead: tokens[1], cacheWrite: tokens[2],
            cacheWriteLong: tokens[3], output: tokens[4])
    }
}
