import HoldfastCore
import Testing

@testable import HoldfastProviders

/// Cohere's golden responses. Streams are cut at every byte, which must change nothing.
@Suite struct `Cohere's responses` {
    struct Row: Sendable, CustomTestStringConvertible {
        var file: String
        /// Input and output tokens; `nil` when the ceiling is charged.
        var tokens: [UInt64]?
        var sawOutput = true
        var sawTerminal = true

        var testDescription: String { file }
        var usage: MeteredUsage? {
            tokens.map { MeteredUsage(usage: TokenUsage(uncachedInput: $0[0], output: $0[1])) }
        }
    }

    static let streams = [
        Row(file: "basic.sse", tokens: [5, 7]),
        Row(file: "thinking.sse", tokens: [12, 40]),
        Row(file: "tools.sse", tokens: [30, 21]),
        // A fraction of a token is a whole one.
        Row(file: "floats.sse", tokens: [5, 7]),
        Row(file: "no-billed-units.sse", tokens: [71, 9]),
        Row(file: "error-at-end.sse", tokens: [5, 1]),
        Row(file: "no-usage.sse", tokens: nil),
        Row(file: "search-units.sse", tokens: nil),
        Row(file: "error-midway.sse", tokens: nil, sawTerminal: false),
        Row(file: "cut-before-end.sse", tokens: nil, sawTerminal: false),
    ]

    static let documents = [
        Row(file: "plain.json", tokens: [5, 7]),
        Row(file: "tools.json", tokens: [30, 21]),
        Row(file: "error.json", tokens: nil, sawOutput: false, sawTerminal: false),
    ]

    @Test(arguments: streams, ["\n", "\r\n", "\r"])
    func `a stream passes byte for byte, wherever it is cut`(row: Row, lineEnd: String) throws {
        let stream = try fixture("cohere/\(row.file)", lineEnd: lineEnd)
        check(row, stream, CohereTracker(), type: "text/event-stream")
    }

    @Test(arguments: documents)
    func `a response that is not streamed is read at its end`(row: Row) throws {
        check(row, try fixture("cohere/\(row.file)"), CohereTracker(), type: "application/json")
    }

    @Test func `embeddings are billed by input alone`() throws {
        let row = Row(file: "embed.json", tokens: [3, 0], sawOutput: false)
        let text = try fixture("cohere/embed.json")
        check(row, text, CohereTracker(hasOutput: false), type: "application/json")
        let error = Row(file: "error.json", sawOutput: false, sawTerminal: false)
        check(
            error, try fixture("cohere/error.json"), CohereTracker(hasOutput: false),
            type: "application/json")
    }

    @Test(arguments: streams)
    func `a stream cut off anywhere never reports less than a whole one`(row: Row) throws {
        let stream = try fixture("cohere/\(row.file)")
        for length in 0..<stream.count {
            let outcome = run([Array(stream[..<length])], CohereTracker(), "text/event-stream")
            #expect(outcome.usage == nil || outcome.usage == row.usage, "cut at \(length)")
        }
    }

    @Test func `a stream with any one byte changed passes all the same`() throws {
        let original = try fixture("cohere/basic.sse")
        for position in original.indices {
            for byte in Array("\"}\n-".utf8) + [0xFF] {
                var body = original
                body[position] = byte
                #expect(run([body], CohereTracker(), "text/event-stream").forwarded == body)
            }
        }
    }

    // MARK: - Numbers

    @Test(
        arguments: [
            (#""billed_units":{"input_tokens":10,"output_tokens":5}"#, [10, 5]),
            (#""billed_units":{"input_tokens":0.0,"output_tokens":0}"#, [0, 0]),
            (#""billed_units":{"input_tokens":1e2,"output_tokens":2.5E+1}"#, [100, 25]),
            (#""billed_units":{"input_tokens":100e-2,"output_tokens":101e-2}"#, [1, 2]),
            (#""billed_units":{"input_tokens":1e-400,"output_tokens":0.0001}"#, [1, 1]),
            (#""billed_units":{"input_tokens":1099511627775.5,"output_tokens":1}"#, [1 << 40, 1]),
            // An escaped key is the key.
            (#""billed\u005funits":{"input_tokens":10,"output_tokens":5}"#, [10, 5]),
            // What is not billed does not count, and what is not said counts in full.
            (
                #""billed_units":{"input_tokens":10,"output_tokens":5},"#
                    + #""tokens":{"input_tokens":90,"output_tokens":80}"#, [10, 5]
            ),
            (
                #""billed_units":{"input_tokens":10},"#
                    + #""tokens":{"input_tokens":90,"output_tokens":80}"#, [10, 80]
            ),
            (
                #""billed_units":null,"tokens":{"input_tokens":90,"output_tokens":80.0}"#,
                [90, 80]
            ),
            // Nothing is known about a discount.
            (
                #""billed_units":{"input_tokens":10,"output_tokens":5},"cached_tokens":8"#,
                [10, 5]
            ),
            (
                #""billed_units":{"input_tokens":10,"output_tokens":5,"search_units":0.0,"#
                    + #""classifications":null}"#, [10, 5]
            ),
        ] as [(String, [UInt64])])
    func `numbers are read on the dear side`(usage: String, tokens: [UInt64]) {
        checkUsage("{\(usage)}", tokens)
    }

    @Test(arguments: [
        "{}", "null", "[]", "7", #"{"billed_units":{}}"#, #"{"billed_units":[]}"#,
        #"{"billed_units":{"input_tokens":10}}"#, #"{"billed_units":{"output_tokens":5}}"#,
        #"{"billed_units":{"input_tokens":"10","output_tokens":5}}"#,
        #"{"billed_units":{"input_tokens":-10,"output_tokens":5}}"#,
        #"{"billed_units":{"input_tokens":-0.0,"output_tokens":5}}"#,
        #"{"billed_units":{"input_tokens":1099511627776.1,"output_tokens":5}}"#,
        #"{"billed_units":{"input_tokens":1e13,"output_tokens":5}}"#,
        #"{"billed_units":{"input_tokens":1e99999999999999999999,"output_tokens":5}}"#,
        #"{"billed_units":{"input_tokens":99999999999999999999,"output_tokens":5}}"#,
        #"{"billed_units":{"input_tokens":10,"input_tokens":1,"output_tokens":5}}"#,
        #"{"billed_units":{"input_tokens":10,"output_tokens":5},"billed_units":{}}"#,
        #"{"billed_units":{"input_tokens":10,"output_tokens":5},"cached_tokens":-1}"#,
        #"{"billed_units":{"input_tokens":10,"output_tokens":5},"tokens":{"input_tokens":true}}"#,
        #"{"billed_units":{"input_tokens":10,"output_tokens":5,"search_units":1}}"#,
        #"{"billed_units":{"input_tokens":10,"output_tokens":5,"search_units":0.1}}"#,
        #"{"billed_units":{"input_tokens":10,"output_tokens":5,"classifications":1}}"#,
        #"{"billed_units":{"input_tokens":10,"output_tokens":5,"images":1}}"#,
        #"{"billed_units":{"input_tokens":10,"output_tokens":5,"image_tokens":9.0}}"#,
    ])
    func `numbers that cannot be trusted are not used`(usage: String) {
        checkUsage(usage, nil)
    }

    @Test func `what contradicts the numbers makes them useless`() {
        func end(_ output: Int) -> String {
            #"{"type":"message-end","delta":{"usage":{"billed_units":{"input_tokens":1,"#
                + #""output_tokens":\#(output)}}}}"#
        }
        let content = #"{"type":"content-delta","delta":{}}"#
        func check(
            _ events: [String], _ expected: UInt64?,
            at location: SourceLocation = #_sourceLocation
        ) {
            let stream = events.map { "data: \($0)\n\n" }.joined()
            let outcome = run([Array(stream.utf8)], CohereTracker(), "text/event-stream")
            #expect(outcome.usage?.usage.output == expected, sourceLocation: location)
        }
        check([content, end(5)], 5)
        check([content, end(5), end(5)], 5)
        check([content, end(5), end(9)], 9)
        check([content, end(9), end(5)], nil)
        check([end(5), content], nil)
        check([end(5), #"{"type":"tool-call-delta","delta":{}}"#], nil)
        check([end(5), #"{"type":"message-e"#], nil)
        check([#"{"type":"message-end","type":"debug","delta":{}}"#, end(5)], nil)
        check([#"{"message":"overloaded"}"#, end(5)], nil)
        check([#"{"type":"failure","message":"overloaded"}"#, end(5)], nil)
        check([#"{"type":"debug","error":{}}"#, end(5)], nil)
        // Kinds of events that are yet to come, and what is none.
        check([#"{"type":"ping"}"#, "", "[DONE]", end(5), "[DONE]"], 5)
    }

    // MARK: - Checking

    private struct Outcome: Equatable {
        var forwarded: [UInt8] = []
        var usage: MeteredUsage?
        var sawOutput = false
        var sawTerminal = false
    }

    private func check(_ row: Row, _ body: [UInt8], _ tracker: CohereTracker, type: String) {
        let expected = Outcome(
            forwarded: body, usage: row.usage, sawOutput: row.sawOutput,
            sawTerminal: row.sawTerminal)
        for cuts in cutsOf(body) {
            let outcome = run(cuts, tracker, type)
            if outcome != expected {
                let offset = cuts[0].count
                Issue.record("\(row.file) cut at \(offset) of \(body.count): \(outcome)")
                return
            }
        }
    }

    private func checkUsage(_ usage: String, _ tokens: [UInt64]?) {
        let expected = tokens.map { TokenUsage(uncachedInput: $0[0], output: $0[1]) }
        let stream = "data: {\"type\":\"message-end\",\"delta\":{\"usage\":\(usage)}}\n\n"
        let streamed = run([Array(stream.utf8)], CohereTracker(), "text/event-stream")
        #expect(streamed.usage?.usage == expected)
        let response = "{\"message\":{},\"usage\":\(usage)}"
        let whole = run([Array(response.utf8)], CohereTracker(), "application/json")
        #expect(whole.usage?.usage == expected)
    }

    private func run(_ pieces: [[UInt8]], _ tracker: CohereTracker, _ type: String) -> Outcome {
        var meter = ResponseMeter(tracker, hidesUsage: false, usesLongCacheWrite: false)
        var outcome = Outcome()
        meter.start(status: 200, contentType: type, contentEncoding: nil)
        for piece in pieces {
            meter.consume(piece) { outcome.forwarded += $0 }
        }
        outcome.usage = meter.finish { outcome.forwarded += $0 }
        outcome.sawOutput = meter.sawOutputEvents
        outcome.sawTerminal = meter.sawTerminalEvent
        return outcome
    }
}

@Suite struct `Cohere's requests` {
    private static let base = #""model":"command-a-03-2025","messages":[{"content":"Hi"}]"#

    @Test func `its endpoints are found by route`() throws {
        let api = Cohere.api
        #expect(api.id.name == "cohere")
        #expect(api.endpoint(method: "POST", path: "/v2/chat")?.endpoint.isFree == false)
        #expect(api.endpoint(method: "POST", path: "/v2/embed")?.endpoint.isFree == false)
        #expect(api.endpoint(method: "POST", path: "/v1/tokenize")?.endpoint.isFree == true)
        // Billed by searches.
        #expect(api.endpoint(method: "POST", path: "/v2/rerank") == nil)
        #expect(api.endpoint(method: "POST", path: "/v1/chat") == nil)
        let tokenize = CohereTokenize()
        let facts = try tokenize.facts(of: Array(#"{"model":"m","text":"Hi"}"#.utf8))
        #expect(facts.model == "m")
    }

    @Test func `fields of a chat are read`() throws {
        let facts = try chat(
            "{\(Self.base),"
                + #""stream":true,"max_tokens":50,"temperature":0.5,"priority":3,"k":1,"#
                + #""tools":[{"type":"function","function":{"name":"f"}}],"strict_tools":true,"#
                + #""documents":["a",{"data":{"text":"b"},"id":"1"}],"safety_mode":"OFF","#
                + #""citation_options":{"mode":"FAST"},"response_format":{"type":"text"},"#
                + #""thinking":{"type":"enabled","token_budget":30}}"#)
        #expect(facts.model == "command-a-03-2025")
        #expect(facts.isStream && facts.outputLimit == 50 && facts.choices == 1)
        // It may come on top of the output limit.
        #expect(facts.extraOutputTokens == 30)
        #expect(!facts.promptIsUnboundedByBytes)
        let plain = try chat("{\(Self.base)}")
        #expect(!plain.isStream && plain.outputLimit == nil && plain.extraOutputTokens == 0)
        // Each document and each tool is allowed for.
        let body = "{\(Self.base),\"documents\":[\"a\",\"b\"],\"tools\":[{\"type\":\"function\"}]}"
        let bound = try chat(body).promptTokensMax
        #expect(bound == UInt64(body.utf8.count) + 16 * 4 + 64 + 64)
    }

    @Test(arguments: [
        (#""connectors":[{"id":"web-search"}]"#, "connectors"),
        (#""search_queries_only":true"#, "search_queries_only"),
        (#""search_options":{}"#, "search_options"),
        (#""prompt_truncation":"AUTO""#, "prompt_truncation"),
        (#""conversation_id":"c""#, "conversation_id"),
        (#""n":2"#, "n"), (#""num_generations":2"#, "num_generations"),
        (#""tools":[{"type":"function"},{"type":"web_search"}]"#, "tools[1].type"),
        (#""tools":[{}]"#, "tools[0].type"),
    ])
    func `fields whose cost has no bound are refused`(member: String, param: String) throws {
        let error = try refusal(CohereChat(), "{\(Self.base),\(member)}")
        #expect(error.param == param)
        #expect(error.code == "cost_unbounded")
    }

    @Test(arguments: [
        (#""max_tokens":0"#, "max_tokens"), (#""max_tokens":1.0"#, "max_tokens"),
        (#""max_tokens":5,"max\u005ftokens":9"#, "max_tokens"),
        (#""stream":1"#, "stream"), (#""documents":{}"#, "documents"),
        (#""documents":["a",7]"#, "documents[1]"), (#""thinking":true"#, "thinking"),
        (#""thinking":{"token_budget":-1}"#, "thinking.token_budget"),
        (#""thinking":{"token_budget":1,"token_budget":2}"#, "thinking.token_budget"),
        (#""tools":{}"#, "tools"), (#""service_tier":1"#, "service_tier"),
        (#""tools":[{"type":"function","type":"x"}]"#, "tools[0].type"),
    ])
    func `fields of a wrong type or value are refused`(member: String, param: String) throws {
        let error = try refusal(CohereChat(), "{\(Self.base),\(member)}")
        #expect(error.param == param)
        #expect(error.status == 400)
    }

    @Test(arguments: [
        #""connectors":[]"#, #""search_queries_only":false"#, #""prompt_truncation":null"#,
        #""max_tokens":null"#, #""thinking":null"#, #""thinking":{"type":"disabled"}"#,
        #""documents":null"#, #""documents":[]"#, #""tools":null"#, #""stream":null"#,
    ])
    func `fields that are off change nothing`(member: String) throws {
        let facts = try chat("{\(Self.base),\(member)}")
        #expect(!facts.isStream && facts.outputLimit == nil && facts.extraOutputTokens == 0)
    }

    @Test(
        arguments: [
            (#"{"type":"text","text":"Hi"}"#, false, nil),
            (#"{"type":"thinking","thinking":"Hm"}"#, false, nil),
            (#"{"type":"document","document":{"data":{"a":"b"}}}"#, false, nil),
            (#"{"type":"image_url","image_url":{"url":"https://x"}}"#, true, nil),
            (#"{"type":"hologram"}"#, false, "cost_unbounded"), ("{}", false, "invalid_field"),
            ("7", false, "invalid_field"),
            (#"{"type":"text","type":"image_url"}"#, false, "duplicate_field"),
        ] as [(String, Bool, String?)])
    func `content tells whether bytes bound the prompt`(
        part: String, isUnbounded: Bool, code: String?
    ) throws {
        let body = #"{"model":"a","messages":[{"role":"tool","content":[\#(part)]}]}"#
        guard let code else {
            return #expect(try chat(body).promptIsUnboundedByBytes == isUnbounded)
        }
        #expect(try refusal(CohereChat(), body).code == code)
    }

    @Test func `the prompt bound covers what a normal form adds`() throws {
        // With the bytes of their longest normal forms: canonical, and for compatibility.
        for (text, canonical, compatible) in [
            ("Hi", 2, 2), ("é", 3, 3), ("й", 4, 4), ("\u{390}", 6, 6), ("\u{1F82}", 8, 8),
            ("\u{DDD}", 9, 9), ("が", 6, 6), ("中", 3, 3), ("각", 9, 9), ("\u{FB2C}", 6, 6),
            ("\u{1D160}", 12, 12), ("\u{2057}", 3, 12), ("\u{3316}", 3, 18),
            ("\u{FDFA}", 3, 33), ("👋", 4, 4),
        ] {
            var escaped = ""
            for unit in text.utf16 {
                let digits = String(unit, radix: 16)
                escaped += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
            }
            for form in [text, escaped] {
                let chats = try ["", form].map {
                    try chat(#"{"model":"a","messages":[{"content":"\#($0)"}]}"#).promptTokensMax
                }
                #expect(chats[1] - chats[0] >= UInt64(canonical), "\(form)")
                let embeds = try ["", form].map {
                    try embed(#"{"model":"a","texts":["\#($0)"]}"#).promptTokensMax
                }
                #expect(embeds[1] - embeds[0] >= UInt64(compatible), "\(form)")
            }
        }
        // Text that stays as it is gets no extra.
        #expect(CohereText.canonical.growth(of: Array("Hi, 中文 \\n".utf8)) == 0)
    }

    @Test func `embeddings have an input and no output`() throws {
        let body =
            #"{"model":"embed-v4.0","texts":["a","b"],"inputs":[{"content":["#
            + #"{"type":"text","text":"c"}]}],"images":[],"max_tokens":9,"truncate":"END"}"#
        let facts = try embed(body)
        #expect(facts.model == "embed-v4.0" && facts.promptsAreSeparate)
        #expect(facts.outputLimit == 0 && facts.outputLimitMin == 0)
        #expect(facts.promptTokensMax == UInt64(body.utf8.count) + 3 * 16 + 64)
        #expect(!facts.promptIsUnboundedByBytes)
    }

    @Test(arguments: [
        (#""images":["data:image/png;base64,AA=="]"#, "images", "cost_unbounded"),
        (
            #""inputs":[{"content":[{"type":"text"},{"type":"image_url"}]}]"#,
            "inputs[0].content[1].type", "cost_unbounded"
        ),
        (
            #""inputs":[{"content":[{"type":"audio"}]}]"#, "inputs[0].content[0].type",
            "cost_unbounded"
        ),
        (#""inputs":[{"content":[{}]}]"#, "inputs[0].content[0].type", "invalid_field"),
        (#""inputs":[{"content":"a"}]"#, "inputs[0].content", "invalid_field"),
        (#""inputs":["a"]"#, "inputs[0]", "invalid_field"),
        (#""texts":["a",1]"#, "texts[1]", "invalid_field"),
        (#""texts":"a""#, "texts", "invalid_field"),
        (#""texts":["a"],"texts":["b"]"#, "texts", "duplicate_field"),
    ])
    func `embeddings of anything but text are refused`(
        member: String, param: String, code: String
    ) throws {
        let error = try refusal(CohereEmbed(), "{\"model\":\"a\",\(member)}")
        #expect(error.param == param)
        #expect(error.code == code)
    }

    @Test func `a model is required`() throws {
        for endpoint in [CohereChat(), CohereEmbed()] as [any Endpoint] {
            for body in ["{}", #"{"model":null}"#, #"{"model":""}"#] {
                #expect(try refusal(endpoint, body) == .missing(param: "model"))
            }
            #expect(try refusal(endpoint, "[]") == .notAnObject)
        }
    }

    @Test(
        arguments: [
            (#"{ "model" : "a" }"#, nil, #"{ "model" : "a" }"#),
            (#"{ "model" : "a" }"#, 7, #"{"max_tokens":7, "model" : "a" }"#),
            (#"{"max_tokens": 900 ,"model":"a"}"#, 7, #"{"max_tokens": 7 ,"model":"a"}"#),
            (#"{"max_tokens":null,"model":"a"}"#, 7, #"{"max_tokens":7,"model":"a"}"#),
            (
                #"{"stream":true,"model":"Grüße","x":{"max_tokens":9}}"#, 64,
                #"{"max_tokens":64,"stream":true,"model":"Grüße","x":{"max_tokens":9}}"#
            ),
            (#"{"stream":true,"model":"a"}"#, nil, #"{"stream":true,"model":"a"}"#),
        ] as [(String, UInt64?, String)])
    func `splices keep every other byte`(text: String, limit: UInt64?, sent: String) throws {
        let body = Array(text.utf8)
        let endpoint = CohereChat()
        let upstream = endpoint.upstreamBody(
            body, facts: try endpoint.facts(of: body), outputLimit: limit)
        #expect(String(decoding: upstream, as: UTF8.self) == sent)
        if let limit { #expect(try endpoint.facts(of: upstream).outputLimit == limit) }
    }

    // MARK: - Checking

    private func chat(_ body: String) throws -> RequestFacts {
        try CohereChat().facts(of: Array(body.utf8))
    }

    private func embed(_ body: String) throws -> RequestFacts {
        try CohereEmbed().facts(of: Array(body.utf8))
    }

    private func refusal(_ endpoint: any Endpoint, _ body: String) throws -> RequestError {
        try #require(throws: RequestError.self) {
            _ = try endpoint.facts(of: Array(body.utf8))
        }
    }
}
