import HoldfastCore
import Testing

@testable import HoldfastProviders

/// The body that is sent is the caller's, but for the splices.
@Suite struct `Upstream body` {
    struct Row: Sendable, CustomTestStringConvertible {
        var id: ProviderID
        var body: String
        var limit: UInt64?
        var sent: String

        init(_ id: ProviderID, _ body: String, _ limit: UInt64?, _ sent: String) {
            self.id = id
            self.body = body
            self.limit = limit
            self.sent = sent
        }

        var testDescription: String { body }
    }

    @Test(arguments: [
        Row(.openAI, #"{ "model" : "a" }"#, nil, #"{ "model" : "a" }"#),
        Row(.openAI, #"{ "model" : "a" }"#, 7, #"{"max_completion_tokens":7, "model" : "a" }"#),
        Row(.openAI, #" {"max_tokens": 900,"model":"a"}"#, 7, #" {"max_tokens": 7,"model":"a"}"#),
        Row(
            .openAI, #"{"model":"a","max\u005fcompletion_tokens": 9 }"#, 100,
            #"{"model":"a","max\u005fcompletion_tokens": 100 }"#),
        Row(
            .openAI, #"{"model":"a","max_completion_tokens":null}"#, 7,
            #"{"model":"a","max_completion_tokens":7}"#),
        Row(
            .openAI, #"{"model":"a","max_tokens":null,"max_completion_tokens":8}"#, 7,
            #"{"model":"a","max_tokens":null,"max_completion_tokens":7}"#),
        Row(
            .openAI, #"{"model":"a","stream":true}"#, nil,
            #"{"stream_options":{"include_usage":true},"model":"a","stream":true}"#),
        Row(
            .openAI, #"{"model":"a","stream":true}"#, 7,
            #"{"max_completion_tokens":7,"stream_options":{"include_usage":true},"#
                + #""model":"a","stream":true}"#),
        Row(
            .openAI, #"{"stream_options": {},"model":"a","stream":true}"#, nil,
            #"{"stream_options": {"include_usage":true},"model":"a","stream":true}"#),
        Row(
            .openAI, #"{"stream_options":{ "x":[1]},"stream":true,"model":"a"}"#, nil,
            #"{"stream_options":{"include_usage":true, "x":[1]},"stream":true,"model":"a"}"#),
        Row(
            .openAI, #"{"stream_options":{"include_usage" : false },"stream":true,"model":"a"}"#,
            nil,
            #"{"stream_options":{"include_usage" : true },"stream":true,"model":"a"}"#),
        Row(
            .openAI, #"{"stream_options":{"include_usage":null},"stream":true,"model":"a"}"#, nil,
            #"{"stream_options":{"include_usage":true},"stream":true,"model":"a"}"#),
        Row(
            .openAI, #"{"stream_options":null,"stream":true,"model":"a"}"#, nil,
            #"{"stream_options":{"include_usage":true},"stream":true,"model":"a"}"#),
        Row(
            .openAI, #"{"stream_options":{"include_usage":true},"stream":true,"model":"a"}"#, nil,
            #"{"stream_options":{"include_usage":true},"stream":true,"model":"a"}"#),
        Row(
            .openAI, #"{"stream_options":{},"stream":false,"model":"a"}"#, nil,
            #"{"stream_options":{},"stream":false,"model":"a"}"#),
        Row(
            .anthropic, #"{"max_tokens" :  1024, "model":"a","x":{"max_tokens":9}}"#, 64,
            #"{"max_tokens" :  64, "model":"a","x":{"max_tokens":9}}"#),
        Row(
            .anthropic, #"{"stream":true,"max_tokens":1024,"model":"Grüße"}"#, nil,
            #"{"stream":true,"max_tokens":1024,"model":"Grüße"}"#),
    ])
    func `splices keep every other byte`(row: Row) throws {
        let endpoint = try #require(ProviderCatalog.standard[row.id]?.endpoints.first)
        let body = Array(row.body.utf8)
        let sent = endpoint.upstreamBody(
            body, facts: try endpoint.facts(of: body), outputLimit: row.limit)
        #expect(String(decoding: sent, as: UTF8.self) == row.sent)
        // What is sent is read as what was meant: no duplicates, usage on, and the limit.
        let facts = try endpoint.facts(of: sent)
        if let limit = row.limit { #expect(facts.outputLimit == limit) }
        if row.id == .openAI { #expect(facts.callerAskedForUsage == facts.isStream) }
    }

    @Test(arguments: [
        (
            ProviderID.openAI,
            #"{"model":"a","stream":true,"n":2,"max_tokens":9,"stream_options":{"x":1},"#
                + #""messages":[{"content":[{"type":"text","text":"\u00e9\n"}]}],"#
                + #""tools":[{"type":"custom"}],"metadata":{"a":"b"},"prediction":{}}"#
        ),
        (
            .anthropic,
            #"{"model":"a","stream":true,"max_tokens":9,"system":[{"type":"text","text":"é"}],"#
                + #""messages":[{"content":[{"type":"text","cache_control":{"ttl":"1h"}}]}],"#
                + #""tools":[{"type":"custom"}],"thinking":{"budget_tokens":4}}"#
        ),
    ])
    func `a body with any one byte changed is refused or understood`(
        id: ProviderID, text: String
    ) throws {
        let endpoint = try #require(ProviderCatalog.standard[id]?.endpoints.first)
        let original = Array(text.utf8)
        for position in original.indices {
            for byte in Array("\"\\{}[]:,0-n\u{0} x".utf8) + [0xC3, 0xFF] {
                var body = original
                body[position] = byte
                let facts: RequestFacts
                do throws(RequestError) {
                    facts = try endpoint.facts(of: body)
                } catch {
                    #expect(!error.message.isEmpty)
                    continue
                }
                let sent = endpoint.upstreamBody(body, facts: facts, outputLimit: 7)
                let again = try endpoint.facts(of: sent)
                #expect(again.outputLimit == 7 && again.model == facts.model)
                #expect(again.isStream == facts.isStream)
            }
        }
    }

    @Test func `a meter hides usage exactly when it was asked for by us`() throws {
        let stream = try fixture("openai/basic.sse")
        for (options, isHidden) in [
            ("", true), (#","stream_options":{"include_usage":false}"#, true),
            (#","stream_options":{"include_usage":true}"#, false),
        ] {
            let endpoint = ChatCompletions()
            let body = "{\"model\":\"a\",\"stream\":true\(options)}"
            var meter = endpoint.meter(for: try endpoint.facts(of: Array(body.utf8)))
            var forwarded: [UInt8] = []
            meter.start(status: 200, contentType: "text/event-stream", contentEncoding: nil)
            meter.consume(stream) { forwarded += $0 }
            #expect(meter.finish { forwarded += $0 }?.usage.output == 90)
            #expect((forwarded == stream) != isHidden)
        }
    }
}

@Suite struct `Provider catalog` {
    @Test func `endpoints are found by provider and route`() throws {
        let catalog = ProviderCatalog.standard
        let openAI = try #require(catalog[.openAI])
        #expect(catalog[ProviderID(name: "other")] == nil)
        #expect(
            openAI.endpoint(method: "POST", path: "/v1/chat/completions")?.endpoint.dialect
                == .openai)
        #expect(openAI.endpoint(method: "POST", path: "/v1/moderations")?.endpoint.isFree == true)
        #expect(openAI.endpoint(method: "POST", path: "/v1/messages") == nil)
        #expect(openAI.endpoint(method: "GET", path: "/v1/chat/completions") == nil)
        #expect(openAI.endpoint(method: "POST", path: "/v1/chat/completions/") == nil)
        let anthropic = try #require(catalog[.anthropic])
        #expect(
            anthropic.endpoint(method: "POST", path: "/v1/messages")?.endpoint.dialect == .anthropic
        )
        #expect(anthropic.endpoint(method: "POST", path: "/v1/messages")?.endpoint.isFree == false)
    }

    @Test func `keys go where each provider looks for them`() throws {
        let openAI = try #require(ProviderCatalog.standard[.openAI]).authorization(apiKey: "k")
        #expect(openAI.map(\.name) == ["authorization"])
        #expect(openAI.map(\.value) == ["Bearer k"])
        let anthropic = try #require(ProviderCatalog.standard[.anthropic])
            .authorization(apiKey: "k")
        #expect(anthropic.map(\.name) == ["x-api-key"])
        #expect(anthropic.map(\.value) == ["k"])
    }

    @Test func `two providers with one name stop the process`() async {
        await #expect(processExitsWith: .failure) {
            _ = ProviderCatalog([OpenAI.api, OpenAI.api])
        }
    }

    @Test func `two endpoints with one route stop the process`() async {
        await #expect(processExitsWith: .failure) {
            _ = ProviderAPI(
                id: "twice", defaultBaseURL: nil, endpoints: [Moderations(), Moderations()])
        }
    }
}

@Suite struct `Error body` {
    @Test func `bodies have the shape of their dialect`() throws {
        let openAI = ErrorBody.openAI(
            message: "No \"money\"", type: "insufficient_quota", code: "spend_cap_reached",
            holdfast: { $0.member("cap", "c1") })
        try check(
            openAI,
            #"{"error":{"message":"No \"money\"","type":"insufficient_quota","param":null,"#
                + #""code":"spend_cap_reached","holdfast":{"cap":"c1"}}}"#)
        let bare = ErrorBody.openAI(message: "m", type: "t", code: nil, param: "n")
        try check(bare, #"{"error":{"message":"m","type":"t","param":"n","code":null}}"#)
        let anthropic = ErrorBody.anthropic(
            message: "m", type: "billing_error", requestID: "req_1",
            holdfast: { $0.member("cap", "c1") })
        try check(
            anthropic,
            #"{"type":"error","error":{"type":"billing_error","message":"m","#
                + #""holdfast":{"cap":"c1"}},"request_id":"req_1"}"#)
        let plain = ErrorBody.anthropic(message: "m", type: "t", requestID: nil)
        try check(plain, #"{"type":"error","error":{"type":"t","message":"m"}}"#)
    }

    @Test func `as an event, a body is one event with these bytes`() throws {
        let body = ErrorBody.openAI(message: "a\nb\r\n", type: "t", code: nil)
        for dialect in [Dialect.openai, .anthropic, .gemini] {
            var parser = SSEParser()
            parser.append(try #require(ErrorBody.event(body, dialect: dialect)))
            guard case .event(let event)? = parser.next() else {
                Issue.record("no event")
                continue
            }
            #expect(event.data.map(Array.init) == body)
            #expect(event.name == (dialect == .anthropic ? "error" : nil))
            #expect(parser.next() == nil && parser.isBetweenEvents)
        }
    }

    private func check(_ body: [UInt8], _ expected: String) throws {
        try JSON.validate(body)
        #expect(String(decoding: body, as: UTF8.self) == expected)
    }

    @Test(arguments: [
        (ProviderID.openAI, #" {"model":"a"}"#, #" {"service_tier":"default","model":"a"}"#),
        (.openAI, #"{"model":"a","service_tier":"flex"}"#, #"{"model":"a","service_tier":"flex"}"#),
        (.openAI, #"{"model":"a","service_tier":null}"#, #"{"model":"a","service_tier":null}"#),
        (
            .anthropic, #" { "model":"a","max_tokens":1,"messages":[]}"#,
            #" {"service_tier":"default", "model":"a","max_tokens":1,"messages":[]}"#
        ),
    ])
    func `a service tier is named only where the caller left it out`(
        id: ProviderID, body: String, sent: String
    ) throws {
        let endpoint = try #require(ProviderCatalog.standard[id]?.endpoints.first)
        let bytes = Array(body.utf8)
        var facts = try endpoint.facts(of: bytes)
        facts.pinServiceTier("default")
        let result = endpoint.upstreamBody(bytes, facts: facts, outputLimit: nil)
        #expect(String(decoding: result, as: UTF8.self) == sent)
        #expect((facts.serviceTier == nil) == body.contains("null"))
    }
}
