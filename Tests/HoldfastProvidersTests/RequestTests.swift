import HoldfastProviders
import Testing

/// What both providers' generation have in common: a base body, and one row per change to it.
@Suite struct `Request body` {
    private static let openAI = #""model":"gpt-6-sol","messages":[{"role":"user","content":"Hi"}]"#
    private static let anthropic =
        #""model":"claude-opus-5-5","max_tokens":100,"messages":[{"role":"user","content":"Hi"}]"#

    // MARK: - Both

    @Test(arguments: [ProviderID.openAI, .anthropic])
    func `a body that is not JSON is refused with its byte`(id: ProviderID) throws {
        try check(
            id, body: "{\"model\":\"x\",}",
            refused: .malformedJSON(JSONError(.unexpectedByte, byteOffset: 13)))
        try check(
            id, body: "", refused: .malformedJSON(JSONError(.unexpectedEnd, byteOffset: 0)))
        try check(
            id, body: "{} x", refused: .malformedJSON(JSONError(.trailingBytes, byteOffset: 3)))
        for body in ["[]", "null", "\"model\"", "1"] {
            try check(id, body: body, refused: .notAnObject)
        }
        // What is wrong further on does not hide that it is no JSON.
        try check(
            id, body: "{\"model\":7,\"stream\":1,",
            refused: .malformedJSON(JSONError(.unexpectedEnd, byteOffset: 22)))
        let bomb = "{\"messages\":" + String(repeating: "[", count: 200)
        try check(
            id, body: bomb, refused: .malformedJSON(JSONError(.tooDeep, byteOffset: 12 + 127)))
        let invalid = Array("{\"model\":\"".utf8) + [0xFF] + Array("\"}".utf8)
        try check(
            id, bytes: invalid,
            refused: .malformedJSON(JSONError(.invalidUTF8, byteOffset: 10)))
    }

    @Test(arguments: [ProviderID.openAI, .anthropic])
    func `fields that both providers have are checked alike`(id: ProviderID) throws {
        let max = #""max_tokens":5"#
        for body in ["{\(max)}", "{\(max),\"model\":null}", "{\(max),\"model\":\"\"}"] {
            try check(id, body: body, refused: .missing(param: "model"))
        }
        try check(
            id, body: "{\(max),\"model\":7}",
            refused: .invalid(param: "model", expected: "a string"))
        try check(
            id, body: "{\(max),\"model\":\"a\",\"stream\":\"yes\"}",
            refused: .invalid(param: "stream", expected: "true or false"))
        try check(
            id, body: "{\(max),\"model\":\"a\",\"service_tier\":1}",
            refused: .invalid(param: "service_tier", expected: "a string"))
        try check(
            id, body: "{\(max),\"model\":\"a\",\"messages\":\"Hi\"}",
            refused: .invalid(param: "messages", expected: "an array"))
        for limit in ["-1", "1.5", "1e3", "2147483649", "99999999999999999999", "\"5\"", "true"] {
            let error = try refusal(id, "{\"max_tokens\":\(limit),\"model\":\"a\"}")
            #expect(error.param == "max_tokens")
            #expect(error.code == "invalid_field")
        }
    }

    @Test(arguments: [ProviderID.openAI, .anthropic])
    func `a field that decides the cost may come only once`(id: ProviderID) throws {
        for (member, param) in [
            (#""max_tokens":5,"max_tokens":5"#, "max_tokens"),
            (#""max_tokens":5,"max\u005ftokens":9"#, "max_tokens"),
            (#""max_tokens":5,"model":"b""#, "model"),
            (#""max_tokens":5,"stream":true,"stream":false"#, "stream"),
        ] {
            try check(id, body: "{\"model\":\"a\",\(member)}", refused: .duplicate(param: param))
        }
        // Others are the provider's business.
        let body = #"{"model":"a","max_tokens":5,"temperature":1,"temperature":0}"#
        #expect(try facts(id, body).model == "a")
    }

    @Test(arguments: [ProviderID.openAI, .anthropic])
    func `the prompt bound covers every byte of text`(id: ProviderID) throws {
        let texts = ["", "Hi", "Grüße 👋", "\u{0}\u{1}", "\"\\", String(repeating: "é", count: 999)]
        for text in texts {
            var escaped = ""
            for unit in text.utf16 {
                let digits = String(unit, radix: 16)
                escaped += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
            }
            var writer = JSONWriter()
            writer.string(text)
            for form in [String(decoding: writer.bytes, as: UTF8.self), "\"\(escaped)\""] {
                let body =
                    #"{"model":"a","max_tokens":5,"messages":[{"role":"user","content":\#(form)},"#
                    + #"{"role":"user","content":[{"type":"text","text":\#(form)}]}],"#
                    + #""tools":[{"type":"custom","name":"x","description":\#(form)}]}"#
                let facts = try facts(id, body)
                let decoded = UInt64(3 * text.utf8.count)
                // Two messages, one tool, and the request itself.
                #expect(facts.promptTokensMax >= decoded + 3 * 16 + 64)
                #expect(facts.promptTokensMax >= UInt64(body.utf8.count))
                #expect(!facts.promptIsUnboundedByBytes)
            }
        }
    }

    @Test func `a refusal tells what to do, and which field`() {
        let all: [RequestError] = [
            .malformedJSON(JSONError(.tooDeep, byteOffset: 3)), .notAnObject,
            .missing(param: "p"), .invalid(param: "p", expected: "a string"),
            .duplicate(param: "p"), .conflict(param: "p", other: "q"),
            .unboundable(param: "p", because: "it is"),
        ]
        #expect(Set(all.map(\.code)).count == all.count)
        for error in all {
            #expect(error.message.hasSuffix("."))
            #expect(error.status == (error.code == "cost_unbounded" ? 422 : 400))
            if let param = error.param { #expect(error.message.hasPrefix(param)) }
        }
        #expect(all[0].message.contains("128 levels at offset 3"))
    }

    // MARK: - OpenAI

    @Test func `OpenAI's fields are read`() throws {
        let facts = try facts(
            .openAI,
            #"{"model":"gpt-6-sol","stream":true,"n":3,"max_completion_tokens":50,"#
                + #""stream_options":{"include_usage":true},"user":"u1","service_tier":"flex","#
                + #""metadata":{"tenant":"acme","x":1,"kéy":"v\n"},"prediction":{"content":"abc"},"#
                + #""prompt_cache_options":{"ttl":"12h"},"unknown":{"max_tokens":7}}"#)
        #expect(facts.model == "gpt-6-sol")
        #expect(facts.isStream)
        #expect(facts.choices == 3)
        #expect(facts.outputLimit == 50)
        #expect(facts.callerAskedForUsage)
        #expect(facts.metadataUser == "u1")
        #expect(facts.serviceTier == "flex")
        #expect(facts.metadata == ["tenant": "acme", "kéy": "v\n"])
        #expect(facts.extraOutputTokens == 3 * UInt64(#"{"content":"abc"}"#.utf8.count))
        #expect(facts.usesLongCacheWrite)
        #expect(facts.rateMultiplierTenths == 10)
        let plain = try self.facts(.openAI, "{\(Self.openAI)}")
        #expect(plain.outputLimit == nil)
        #expect(!plain.isStream && !plain.callerAskedForUsage && !plain.usesLongCacheWrite)
        #expect(plain.choices == 1 && plain.extraOutputTokens == 0)
    }

    @Test(arguments: [
        (#""web_search_options":{}"#, "web_search_options"),
        (#""modalities":["text","audio"]"#, "modalities"),
        (#""audio":{"voice":"x"}"#, "audio"),
        (#""previous_response_id":"r""#, "previous_response_id"),
        (#""conversation":"c""#, "conversation"), (#""prompt":{"id":"p"}"#, "prompt"),
        (#""background":true"#, "background"), (#""mcp_servers":[{}]"#, "mcp_servers"),
        (#""context_management":{}"#, "context_management"), (#""fallbacks":["m"]"#, "fallbacks"),
        (#""container":"c""#, "container"), (#""multi_agent":{}"#, "multi_agent"),
        (#""thread":{}"#, "thread"),
        (#""tools":[{"type":"function"},{"type":"web_search"}]"#, "tools[1].type"),
        (#""tools":[{}]"#, "tools[0].type"),
        (#""prompt_cache_options":{"ttl":"24h"}"#, "prompt_cache_options.ttl"),
    ])
    func `OpenAI's fields whose cost has no bound are refused`(member: String, param: String) throws
    {
        let error = try refusal(.openAI, "{\(Self.openAI),\(member)}")
        #expect(error.param == param)
        #expect(error.code == "cost_unbounded")
    }

    @Test(arguments: [
        #""web_search_options":null"#, #""mcp_servers":[]"#, #""background":false"#,
        #""modalities":["text"]"#, #""modalities":null"#, #""audio":null"#, #""stream":null"#,
        #""max_tokens":null"#, #""n":null"#, #""metadata":null"#, #""prediction":null"#,
        #""tools":null"#, #""tools":[{"type":"custom"}]"#, #""stream_options":null"#,
        #""prompt_cache_options":{"ttl":"30m"}"#, #""max_tokens":null,"max_completion_tokens":7"#,
    ])
    func `OpenAI's fields that are off change nothing`(member: String) throws {
        let facts = try facts(.openAI, "{\(Self.openAI),\(member)}")
        #expect(!facts.isStream && facts.choices == 1 && !facts.usesLongCacheWrite)
        #expect(facts.extraOutputTokens == 0)
    }

    @Test(arguments: [
        (#""n":0"#, "n"), (#""n":-1"#, "n"), (#""n":129"#, "n"), (#""n":1.0"#, "n"),
        (#""max_tokens":0"#, "max_tokens"),
        (#""max_completion_tokens":0"#, "max_completion_tokens"),
        (#""max_tokens":5,"max_completion_tokens":5"#, "max_tokens"),
        (#""stream_options":[]"#, "stream_options"), (#""metadata":[]"#, "metadata"),
        (#""stream_options":{"include_usage":1}"#, "stream_options.include_usage"),
        (
            #""stream_options":{"include_usage":true,"include_usage":false}"#,
            "stream_options.include_usage"
        ),
        (#""metadata":{"a":"b","\u0061":"c"}"#, "metadata.a"), (#""user":{}"#, "user"),
        (#""tools":{}"#, "tools"), (#""tools":[{"type":"custom","type":"mcp"}]"#, "tools[0].type"),
    ])
    func `OpenAI's fields of a wrong type or value are refused`(member: String, param: String)
        throws
    {
        let error = try refusal(.openAI, "{\(Self.openAI),\(member)}")
        #expect(error.param == param)
        #expect(error.status == 400)
    }

    @Test func `OpenAI's metadata has a bound`() throws {
        let members = (0..<17).map { "\"k\($0)\":\"v\"" }
        let full = members.dropLast().joined(separator: ",")
        #expect(try facts(.openAI, "{\(Self.openAI),\"metadata\":{\(full)}}").metadata.count == 16)
        let error = try refusal(
            .openAI, "{\(Self.openAI),\"metadata\":{\(members.joined(separator: ","))}}")
        #expect(error.param == "metadata")
    }

    @Test(
        arguments: [
            (#"{"type":"text","text":"Hi"}"#, false, nil), (#"{"type":"refusal"}"#, false, nil),
            (#"{"type":"image_url","image_url":{"url":"https://x"}}"#, true, nil),
            (#"{"type":"file","file":{"file_id":"f"}}"#, true, nil),
            (#"{"type":"input_audio"}"#, false, "cost_unbounded"),
            (#"{"type":"hologram"}"#, false, "cost_unbounded"), ("{}", false, "invalid_field"),
            ("7", false, "invalid_field"),
            (#"{"type":"text","type":"file"}"#, false, "duplicate_field"),
        ] as [(String, Bool, String?)])
    func `OpenAI's content tells whether bytes bound the prompt`(
        part: String, isUnbounded: Bool, code: String?
    ) throws {
        let body = #"{"model":"a","messages":[{"content":[\#(part)]}]}"#
        guard let code else {
            return #expect(try facts(.openAI, body).promptIsUnboundedByBytes == isUnbounded)
        }
        #expect(try refusal(.openAI, body).code == code)
    }

    // MARK: - Anthropic

    @Test func `Anthropic's fields are read`() throws {
        let facts = try facts(
            .anthropic,
            #"{"model":"claude-opus-5-5","max_tokens":4096,"stream":true,"speed":"fast","#
                + #""inference_geo":"us","service_tier":"auto","metadata":{"user_id":"u1"},"#
                + #""thinking":{"type":"enabled","budget_tokens":2048},"#
                + #""cache_control":{"ttl":"1h"}}"#
        )
        #expect(facts.model == "claude-opus-5-5")
        #expect(facts.isStream && facts.isFast && facts.usesLongCacheWrite)
        #expect(facts.outputLimit == 4_096 && facts.outputLimitMin == 2_049)
        #expect(facts.rateMultiplierTenths == 11)
        #expect(facts.serviceTier == "auto")
        #expect(facts.metadataUser == "u1")
        let plain = try self.facts(.anthropic, "{\(Self.anthropic)}")
        #expect(!plain.isStream && !plain.isFast && !plain.usesLongCacheWrite)
        #expect(plain.rateMultiplierTenths == 10 && plain.outputLimitMin == 1)
        let warming = try self.facts(.anthropic, #"{"model":"a","max_tokens":0}"#)
        #expect(warming.outputLimit == 0)
    }

    @Test func `Anthropic requires an output limit`() throws {
        for body in [#"{"model":"a"}"#, #"{"model":"a","max_tokens":null}"#] {
            try check(.anthropic, body: body, refused: .missing(param: "max_tokens"))
        }
    }

    @Test(arguments: [
        (#""mcp_servers":[{}]"#, "mcp_servers"), (#""container":"c""#, "container"),
        (#""fallbacks":"default""#, "fallbacks"), (#""thread":{}"#, "thread"),
        (#""fallback_credit_token":"t""#, "fallback_credit_token"),
        (#""billing_policy":{}"#, "billing_policy"), (#""speed":"turbo""#, "speed"),
        (#""inference_geo":"mars""#, "inference_geo"),
        (
            #""context_management":{"edits":[{"type":"compact_20260112"}]}"#,
            "context_management.edits"
        ),
        (#""context_management":{"edits":[{}]}"#, "context_management.edits"),
        (#""context_management":{"other":{}}"#, "context_management"),
        (#""tools":[{"name":"f"},{"type":"web_search_20250305"}]"#, "tools[1].type"),
        (#""tools":[{"type":"web_fetch_20250910"}]"#, "tools[0].type"),
        (#""tools":[{"type":"code_execution_20250825"}]"#, "tools[0].type"),
        (#""tools":[{"type":"advisor_20260301"}]"#, "tools[0].type"),
        (#""tools":[{"type":"mcp_toolset"}]"#, "tools[0].type"),
        (#""cache_control":{"type":"ephemeral","ttl":"24h"}"#, "cache_control.ttl"),
        (#""system":[{"type":"text","cache_control":{"ttl":"2d"}}]"#, "system.cache_control.ttl"),
    ])
    func `Anthropic's fields whose cost has no bound are refused`(
        member: String, param: String
    ) throws {
        let error = try refusal(.anthropic, "{\(Self.anthropic),\(member)}")
        #expect(error.param == param)
        #expect(error.code == "cost_unbounded")
    }

    @Test(arguments: [
        #""mcp_servers":[]"#, #""container":null"#, #""thread":null"#, #""speed":"standard""#,
        #""inference_geo":"global""#, #""context_management":null"#,
        #""context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]}"#,
        #""context_management":{"edits":[{"type":"clear_tool_uses_20250919"}]}"#,
        #""tools":[{"type":"custom"},{"type":null},{"type":"bash_20250124"}]"#,
        #""tools":[{"type":"text_editor_20250728"},{"type":"computer_20250124"}]"#,
        #""tools":[{"type":"memory_20250818"},{"name":"web_search_mine"}]"#,
        #""cache_control":{"type":"ephemeral","ttl":"5m"}"#, #""cache_control":null"#,
    ])
    func `Anthropic's fields that are bounded pass`(member: String) throws {
        let facts = try facts(.anthropic, "{\(Self.anthropic),\(member)}")
        #expect(!facts.isFast && !facts.usesLongCacheWrite)
        #expect(facts.rateMultiplierTenths == 10)
    }

    @Test(arguments: [
        #""system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1h"}}]"#,
        #""tools":[{"name":"f","cache_control":{"type":"ephemeral","t\u0074l":"1h"}}]"#,
        #""system":[{"content":[{"type":"text","cache_control":{"ttl":"1h"}}]}]"#,
        #""system":[{"type":"text","unheard_of":[{"cache_control":{"ttl":"1h"}}]}]"#,
    ])
    func `Anthropic's long cache lifetime is found wherever it stands`(member: String) throws {
        #expect(try facts(.anthropic, "{\(Self.anthropic),\(member)}").usesLongCacheWrite)
    }

    @Test(arguments: [
        (#"{"type":"text","text":"Hi"}"#, false),
        (#"{"type":"tool_use","input":{"type":"image","enabled":true}}"#, false),
        (#"{"type":"tool_result","content":"x"}"#, false),
        (#"{"type":"document","source":{"type":"text","data":"x"}}"#, false),
        (#"{"type":"thinking","thinking":"x","signature":"y"}"#, false),
        (#"{"type":"image","source":{"type":"base64","data":"x"}}"#, true),
        (#"{"type":"image","source":{"type":"url","url":"https://x"}}"#, true),
        (#"{"type":"tool_result","content":[{"type":"image","source":{"type":"file"}}]}"#, true),
        (#"{"type":"document","source":{"type":"text"},"citations":{"enabled":true}}"#, true),
        (#"{"type":"tool_reference","tool_name":"x"}"#, true),
        (#"{"type":"hologram"}"#, true),
    ])
    func `Anthropic's content tells whether bytes bound the prompt`(
        block: String, isUnbounded: Bool
    ) throws {
        let body = #"{"model":"a","max_tokens":5,"messages":[{"content":[\#(block)]}]}"#
        #expect(try facts(.anthropic, body).promptIsUnboundedByBytes == isUnbounded)
        let system = #"{"model":"a","max_tokens":5,"system":[\#(block)]}"#
        #expect(try facts(.anthropic, system).promptIsUnboundedByBytes == isUnbounded)
    }

    @Test func `Anthropic's hidden prompts and encrypted thinking are allowed for`() throws {
        let base = try bound(.anthropic, "{\(Self.anthropic)}")
        #expect(base == UInt64("{\(Self.anthropic)}".utf8.count) + 16 + 64)
        func extra(_ member: String) throws -> UInt64 {
            try bound(.anthropic, "{\(Self.anthropic),\(member)}")
                - base - UInt64(member.utf8.count + 1)
        }
        #expect(try extra(#""tools":[]"#) == 0)
        #expect(try extra(#""tools":[{"name":"f"}]"#) == 16 + 1_024)
        #expect(try extra(#""tools":[{"type":"bash_20250124"}]"#) == 16 + 2_048)
        #expect(try extra(#""output_config":{"format":{}}"#) == 1_024)
        let signature = #"{"type":"thinking","signature":"12345678"}"#
        #expect(try extra(#""system":[\#(signature)]"#) == 3 * 10)
    }

    // MARK: - Checking

    private func endpoint(_ id: ProviderID) throws -> any Endpoint {
        try #require(ProviderCatalog.standard[id]?.endpoints.first)
    }

    private func facts(_ id: ProviderID, _ body: String) throws -> RequestFacts {
        try endpoint(id).facts(of: Array(body.utf8))
    }

    private func bound(_ id: ProviderID, _ body: String) throws -> UInt64 {
        try facts(id, body).promptTokensMax
    }

    private func refusal(_ id: ProviderID, _ body: String) throws -> RequestError {
        let endpoint = try endpoint(id)
        return try #require(throws: RequestError.self) {
            _ = try endpoint.facts(of: Array(body.utf8))
        }
    }

    private func check(_ id: ProviderID, body: String, refused error: RequestError) throws {
        try check(id, bytes: Array(body.utf8), refused: error)
    }

    private func check(_ id: ProviderID, bytes: [UInt8], refused error: RequestError) throws {
        let endpoint = try endpoint(id)
        #expect(throws: error) { _ = try endpoint.facts(of: bytes) }
    }
}
