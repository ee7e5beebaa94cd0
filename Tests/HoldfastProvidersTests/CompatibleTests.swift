import HoldfastCore
import Testing

@testable import HoldfastProviders

/// Completions, embeddings, moderations, and what sets providers with OpenAI's API apart.
@Suite struct `OpenAI-compatible providers` {
    // MARK: - Completions

    private func completion(
        _ members: String, _ endpoint: Completions = Completions(defaultOutputLimit: 16)
    ) throws -> RequestFacts {
        try endpoint.facts(of: Array("{\"model\":\"m\",\(members)}".utf8))
    }

    @Test(
        arguments: [
            (#""prompt":"Hi""#, 1, 16), (#""prompt":["a","b","c"]"#, 3, 16),
            (#""prompt":[1,2,3],"max_tokens":7"#, 1, 7), (#""prompt":[[1,2],[3]]"#, 2, 16),
            (#""prompt":["a","b"],"n":3,"best_of":5"#, 10, 16), (#""n":4,"best_of":2"#, 4, 16),
            (#""prompt":[],"max_tokens":0"#, 1, 0),
        ] as [(String, UInt64, UInt64)])
    func `every answer to every prompt is counted`(
        members: String, choices: UInt64, limit: UInt64
    ) throws {
        let facts = try completion(members)
        #expect(facts.choices == choices)
        #expect(facts.outputLimit == limit)
        #expect(facts.promptTokensMax >= UInt64(members.utf8.count))
    }

    @Test func `a completion's limits and stream are checked`() throws {
        for (members, param) in [
            (#""n":0"#, "n"), (#""best_of":129"#, "best_of"), (#""stream":"yes""#, "stream"),
            (#""max_tokens":-1"#, "max_tokens"), (#""model":"x""#, "model"),
        ] {
            let error = try #require(throws: RequestError.self) { _ = try completion(members) }
            #expect(error.param == param)
        }
        let many = "\"prompt\":[" + Array(repeating: "\"a\"", count: 2_049).joined(separator: ",")
        let error = try #require(throws: RequestError.self) { _ = try completion(many + "]") }
        #expect(error.param == "prompt")
    }

    @Test func `streams are asked for their usage only where they have to be`() throws {
        let body = Array(#"{"model":"m","stream":true,"prompt":"x"}"#.utf8)
        let asking = Completions(defaultOutputLimit: 16)
        let sent = asking.upstreamBody(body, facts: try asking.facts(of: body), outputLimit: nil)
        #expect(String(decoding: sent, as: UTF8.self).contains("include_usage"))
        let mistral = Completions(
            path: "/v1/fim/completions", defaultOutputLimit: nil, asksForUsage: false)
        let facts = try mistral.facts(of: body)
        #expect(mistral.upstreamBody(body, facts: facts, outputLimit: nil) == body)
        #expect(facts.outputLimit == nil && facts.callerAskedForUsage)
    }

    @Test func `a limit that nobody gave is sent`() throws {
        #expect(try completion(#""prompt":"x""#).outputLimitIsOurs)
        #expect(try !completion(#""prompt":"x","max_tokens":9"#).outputLimitIsOurs)
        let compatible = try #require(
            OpenAICompatible.api.endpoint(method: "POST", path: "/v1/chat/completions")?.endpoint)
        func facts(_ members: String) throws -> RequestFacts {
            try compatible.facts(of: Array("{\"model\":\"m\",\"messages\":[]\(members)}".utf8))
        }
        #expect(try facts("").outputLimitIsOurs)
        #expect(try !facts(#","max_tokens":9"#).outputLimitIsOurs)
        #expect(try !ChatCompletions().facts(of: Array(#"{"model":"m"}"#.utf8)).outputLimitIsOurs)
    }

    @Test func `members that are not known are refused unless they say nothing`() throws {
        #expect(try completion(#""temperature":0,"seed":1,"stop":["x"]"#).choices == 1)
        #expect(try completion(#""fallbacks":null,"use_beam_search":false,"x":[]"#).choices == 1)
        #expect(try embedding(#""input":"a","dimensions":5,"messages":null"#).model == "m")
        for member in [#""fallbacks":["dear"]"#, #""n_predict":9"#, #""guided_json":{}"#] {
            let error = try #require(throws: RequestError.self) { _ = try completion(member) }
            #expect(error.code == "cost_unbounded")
        }
        let error = try #require(throws: RequestError.self) {
            _ = try embedding(#""input":"a","messages":[{}]"#)
        }
        #expect(error.param == "messages" && error.code == "cost_unbounded")
    }

    @Test func `several prompts may each be as long as the context`() throws {
        #expect(try !completion(#""prompt":"x""#).promptsAreSeparate)
        #expect(try completion(#""prompt":["x","y"]"#).promptsAreSeparate)
    }

    @Test func `a completion's service tier is read`() throws {
        var facts = try completion(#""prompt":"x","service_tier":"priority""#)
        facts.pinServiceTier("default")
        #expect(facts.serviceTier == "priority" && facts.tierSplice == nil)
    }

    // MARK: - Embeddings

    private func embedding(_ members: String) throws -> RequestFacts {
        try Embeddings().facts(of: Array("{\"model\":\"m\",\(members)}".utf8))
    }

    @Test func `embeddings have prompts and no output`() throws {
        let facts = try embedding(#""input":["abc","d",[1,2,3]],"user":"u""#)
        #expect(facts.outputLimit == 0 && facts.outputLimitMin == 0)
        #expect(facts.promptsAreSeparate && facts.metadataUser == "u")
        #expect(facts.promptTokensMax >= UInt64(3 * 16 + 30))
        for members in [#""input":{"image":"x"}"#, #""input":[{"type":"image"}]"#] {
            let error = try #require(throws: RequestError.self) { _ = try embedding(members) }
            #expect(error.code == "cost_unbounded")
        }
        #expect(throws: RequestError.missing(param: "model")) {
            _ = try Embeddings().facts(of: Array(#"{"input":"a"}"#.utf8))
        }
    }

    @Test func `an embedding is billed by its input`() throws {
        func metered(_ text: String) throws -> TokenUsage? {
            var meter = Embeddings().meter(for: try embedding(#""input":"a""#))
            meter.start(status: 200, contentType: "application/json", contentEncoding: nil)
            meter.consume(Array(text.utf8)) { _ in }
            return meter.finish { _ in }?.usage
        }
        let response = #"{"object":"list","data":[{"embedding":[0.1]}],"model":"m","usage":USAGE}"#
        let usage = response.replacing("USAGE", with: #"{"prompt_tokens":8,"total_tokens":8}"#)
        #expect(try metered(usage) == TokenUsage(uncachedInput: 8))
        #expect(try metered(response.replacing("USAGE", with: "null")) == nil)
        #expect(try metered(response.replacing("USAGE", with: #"{"total_tokens":8}"#)) == nil)
    }

    // MARK: - Free

    @Test func `what is free passes unread`() throws {
        let facts = try Moderations().facts(of: Array(#"{"input":"x"}"#.utf8))
        #expect(facts.model.isEmpty && !facts.isModelInBody)
        #expect(throws: RequestError.notAnObject) { _ = try CountTokens().facts(of: [0x5B, 0x5D]) }
        var meter = CountTokens().meter(for: facts)
        var forwarded: [UInt8] = []
        meter.start(status: 200, contentType: "application/json", contentEncoding: nil)
        meter.consume(Array(#"{"input_tokens":3}"#.utf8)) { forwarded += $0 }
        #expect(meter.finish { forwarded += $0 } == nil && forwarded.count == 18)
    }

    // MARK: - Providers

    @Test func `every provider's endpoints have their limit where it takes it`() throws {
        let expected = [
            "openai": "max_completion_tokens", "azure": "max_completion_tokens",
            "groq": "max_completion_tokens", "xai": "max_completion_tokens",
            "mistral": "max_tokens", "deepseek": "max_tokens", "openrouter": "max_tokens",
        ]
        for (name, member) in expected {
            let provider = try #require(ProviderCatalog.standard[ProviderID(name: name)])
            let chat = provider.endpoint(method: "POST", path: "/v1/chat/completions")
            #expect(chat?.endpoint.outputLimitMember == member, "\(name)")
        }
        #expect(ProviderCatalog.compatible.named("mine").id.name == "mine")
        #expect(Azure.api.authorization(apiKey: "k").map(\.name) == ["api-key"])
        #expect(Azure.api.defaultBaseURL == nil)
    }

    @Test func `Mistral's streams report their usage unasked`() throws {
        let endpoint = try #require(
            Mistral.api.endpoint(method: "POST", path: "/v1/chat/completions")?.endpoint)
        let body = Array(#"{"model":"m","stream":true,"messages":[]}"#.utf8)
        let facts = try endpoint.facts(of: body)
        #expect(endpoint.upstreamBody(body, facts: facts, outputLimit: nil) == body)
        let stream = Array(
            (#"data: {"model":"m","choices":[{"index":0,"delta":{"content":"Hi"}}]}"# + "\n\n"
                + #"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":"#
                + #"{"prompt_tokens":20,"completion_tokens":5,"total_tokens":25,"#
                + #""prompt_tokens_details":{"cached_tokens":4}}}"# + "\n\ndata: [DONE]\n\n").utf8)
        for cuts in cutsOf(stream) {
            var meter = endpoint.meter(for: facts)
            var forwarded: [UInt8] = []
            meter.start(status: 200, contentType: "text/event-stream", contentEncoding: nil)
            for piece in cuts { meter.consume(piece) { forwarded += $0 } }
            let usage = meter.finish { forwarded += $0 }?.usage
            #expect(usage == TokenUsage(uncachedInput: 16, cacheRead: 4, output: 5))
            #expect(forwarded == stream)
        }
    }

    @Test func `members by which others answer or bill are refused everywhere`() throws {
        for member in [
            "models", "route", "preset", "plugins", "search_settings", "search_parameters",
            "compound_custom", "documents", "deferred", "provider", "n_predict", "data_sources",
        ] {
            let body = #"{"model":"m","messages":[],"\#(member)":{"a":1}}"#
            let error = try #require(throws: RequestError.self) {
                _ = try ChatCompletions().facts(of: Array(body.utf8))
            }
            #expect(error.param == member && error.code == "cost_unbounded")
        }
    }

    @Test func `only the limit that a provider goes by is taken`() throws {
        for (member, isTaken) in [("max_tokens", true), ("max_completion_tokens", false)] {
            let body = Array(#"{"model":"m","messages":[],"\#(member)":5}"#.utf8)
            #expect(try ChatCompletions().facts(of: body).outputLimit == 5)
            let older = ChatCompletions(outputLimitMember: "max_tokens")
            if isTaken {
                #expect(try older.facts(of: body).outputLimit == 5)
            } else {
                let error = try #require(throws: RequestError.self) {
                    _ = try older.facts(of: body)
                }
                #expect(error.param == member)
            }
        }
    }

    @Test func `a limit of null is replaced where it would count`() throws {
        let older = ChatCompletions(outputLimitMember: "max_tokens")
        for (endpoint, body, sent) in [
            (older, #"{"max_tokens":null,"model":"m"}"#, #"{"max_tokens":5,"model":"m"}"#),
            (
                older, #"{"model":"m","max_completion_tokens":null}"#,
                #"{"max_tokens":5,"model":"m","max_completion_tokens":null}"#
            ),
            (
                ChatCompletions(), #"{"model":"m","max_tokens":null}"#,
                #"{"max_completion_tokens":5,"model":"m","max_tokens":null}"#
            ),
            (
                ChatCompletions(), #"{"model":"m","max_completion_tokens":null}"#,
                #"{"model":"m","max_completion_tokens":5}"#
            ),
        ] {
            let bytes = Array(body.utf8)
            let facts = try endpoint.facts(of: bytes)
            #expect(facts.outputLimit == nil)
            let result = endpoint.upstreamBody(bytes, facts: facts, outputLimit: 5)
            #expect(String(decoding: result, as: UTF8.self) == sent)
        }
        let named = try older.facts(of: Array(#"{"model":"m","provider":null}"#.utf8))
        #expect(named.hasProviderMember)
    }

    @Test func `the prices that a host may take are those of the table`() throws {
        let book = try PriceBook(
            tsv:
                "provider\tmodel\tinput\tcache_write\toutput\tlong_above\tlong_input\tlong_output\n"
                + "openrouter\tm\t3\t4\t15\t100\t6\t22\n")
        let quote = try #require(
            book.quote(provider: "openrouter", model: "m", from: UnixTime(0), lasting: 0))
        func rates(_ prompt: UInt64) -> [UInt64] {
            let rates = quote.listedRates(promptTokensMax: prompt)
            return [rates.input, rates.output].map(\.nanoUSDPerMillionTokens)
        }
        #expect(rates(100) == [3, 15])
        #expect(rates(101) == [6, 22])
    }

    @Test(arguments: [
        (#"[{"content":[{"type":"text","cache_control":{"type":"ephemeral","ttl":"1h"}}]}]"#, true),
        (
            #"[{"content":[{"type":"text","cache_control":{"type":"ephemeral","ttl":"5m"}}]}]"#,
            false
        ),
        (#"[{"content":[{"type":"text","cache_control":{"type":"ephemeral"}}]}]"#, false),
        (#"[],"tools":[{"type":"function","cache_control":{"ttl":"1h"}}]"#, true),
        (#"[],"cache_control":{"ttl":"1h"}"#, true),
    ])
    func `marks of a long cache lifetime are seen`(messages: String, isLong: Bool) throws {
        let body = #"{"model":"m","messages":\#(messages)}"#
        let facts = try ChatCompletions().facts(of: Array(body.utf8))
        #expect(facts.usesLongCacheWrite == isLong)
    }

    @Test func `a request to OpenRouter carries what it may cost`() throws {
        #expect(OpenRouter.api.takesPriceLimit && !OpenAI.api.takesPriceLimit)
        let body = Array(#"{"model":"m","messages":[]}"#.utf8)
        var facts = try ChatCompletions().facts(of: body)
        facts.limitPrices(
            to: HoldRates(
                input: TokenPrice(nanoUSDPerMillionTokens: 2_500_000_000),
                output: TokenPrice(nanoUSDPerMillionTokens: 37_500_000)))
        let sent = ChatCompletions().upstreamBody(body, facts: facts, outputLimit: nil)
        #expect(
            String(decoding: sent, as: UTF8.self)
                == #"{"provider":{"max_price":{"prompt":2.50,"completion":0.0375}},"#
                + #""model":"m","messages":[]}"#)
    }

    @Test func `of a query only what is known goes on`() {
        for provider in ProviderCatalog.standard.providers {
            let expected: [String: Set<String>] = [
                "gemini": ["alt"], "azure": ["api-version"], "anthropic": ["beta"],
            ]
            #expect(provider.queryParameters == expected[provider.id.name] ?? [])
            #expect(provider.named("x").queryParameters == provider.queryParameters)
            #expect(provider.mayBillBadRequests == (provider.id.name == "azure"))
        }
    }

    @Test func `a model goes upstream under another name where it must`() throws {
        let body = Array(#"{"stream":true,"model": "groq/llama","messages":[]}"#.utf8)
        var facts = try ChatCompletions().facts(of: body)
        facts.sendModel(as: "llama\"x")
        let sent = ChatCompletions().upstreamBody(body, facts: facts, outputLimit: 5)
        #expect(
            String(decoding: sent, as: UTF8.self)
                == #"{"max_completion_tokens":5,"stream_options":{"include_usage":true},"#
                + #""stream":true,"model": "llama\"x","messages":[]}"#)
        #expect(facts.model == "llama\"x")
    }

    @Test func `a route's model is one part of its path`() {
        let route = Route(method: "POST", path: "/v1beta/models/{model}:generateContent")
        func match(_ path: String) -> Route.Match? { route.match(method: "POST", path: path[...]) }
        #expect(match("/v1beta/models/gemini-3:generateContent") == .model("gemini-3"))
        #expect(match("/v1beta/models/a%2Fb:generateContent") == .model("a%2Fb"))
        #expect(match("/v1beta/models/:generateContent") == nil)
        #expect(match("/v1beta/models/a/b:generateContent") == nil)
        #expect(match("/v1beta/models/gemini-3:countTokens") == nil)
        #expect(route.match(method: "GET", path: "/v1beta/models/a:generateContent") == nil)
    }
}
