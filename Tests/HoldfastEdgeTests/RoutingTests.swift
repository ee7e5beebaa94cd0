import HoldfastCore
import HoldfastProviders
import NIOHTTP1
import Testing

@testable import HoldfastEdge

@Suite struct RoutingTests {
    private static func provider(
        _ name: String, type: String? = nil, models: [String: String] = [:]
    ) throws -> EdgeSettings.Provider {
        let api =
            type == "openai-compatible"
            ? ProviderCatalog.compatible
            : try #require(ProviderCatalog.standard[ProviderID(name: type ?? name)])
        return EdgeSettings.Provider(
            api: api.named(name), priceProvider: type == "openai-compatible" ? name : api.id.name,
            models: models, baseURL: "http://127.0.0.1:1/v1/", apiKey: "k")
    }

    private func routing() throws -> Routing {
        Routing([
            try Self.provider("mine", type: "openai-compatible"), try Self.provider("groq"),
            try Self.provider("anthropic"), try Self.provider("openai"),
        ])
    }

    private func found(_ path: String, method: String = "POST") throws -> [String] {
        try routing().destinations(method: method, path: path[...])
            .map { "\($0.provider.name) \($0.path)" }
    }

    @Test func `a path alone is for everybody who serves it, in the catalog's order`() throws {
        let chat = "/v1/chat/completions"
        #expect(try found(chat) == ["openai \(chat)", "groq \(chat)", "mine \(chat)"])
        #expect(try found("/v1/messages") == ["anthropic /v1/messages"])
        #expect(try found("/v1/messages/count_tokens") == ["anthropic /v1/messages/count_tokens"])
        #expect(try found("/v1/realtime") == [])
        #expect(try found(chat, method: "GET") == [])
        #expect(try found("/v1/chat/completions/") == [])
        #expect(try found("") == [] && found("/") == [])
    }

    @Test func `a path may begin with its provider, and have what its SDK puts in between`() throws
    {
        let chat = "/v1/chat/completions"
        #expect(try found("/groq/v1/chat/completions") == ["groq \(chat)"])
        #expect(try found("/groq/openai/v1/chat/completions") == ["groq \(chat)"])
        #expect(try found("/mine/v1/chat/completions") == ["mine \(chat)"])
        #expect(try found("/mine/openai/v1/chat/completions") == [])
        #expect(try found("/groq/v1/messages") == [])
        #expect(try found("/mistral/v1/chat/completions") == [])
        #expect(try found("/groq") == [])
    }

    @Test func `among several the model decides`() throws {
        let all = try routing().destinations(method: "POST", path: "/v1/chat/completions")
        func chosen(_ model: String) -> String {
            Routing.choose(among: all, model: model) { provider, model in
                [
                    "openai gpt", "groq gpt", "groq llama", "groq openai/oss", "mine m",
                    "mine openai/gpt",
                ].contains("\(provider.name) \(model)")
            }.provider.name
        }
        #expect(chosen("gpt") == "openai")
        #expect(chosen("llama") == "groq")
        #expect(chosen("m") == "mine")
        // What stands in front names the provider, if it has the rest.
        #expect(chosen("openai/gpt") == "openai")
        #expect(chosen("openai/oss") == "groq")
        #expect(chosen("openai/other") == "openai")
        #expect(chosen("groq/gpt") == "groq")
        #expect(chosen("unknown") == "openai")
        #expect(Routing.nameBehind("groq", in: "groq/a/b") == "a/b")
        #expect(Routing.nameBehind("groq", in: "groqs/a") == nil)
    }

    @Test func `a fallback is asked where it is priced, by the same kind of request`() throws {
        let routing = try routing()
        let route = Route(method: "POST", path: "/v1/chat/completions")
        let openAI = try Self.provider("openai")
        func fallback(_ name: String, _ route: Route) -> String? {
            routing.fallback(name, from: openAI, route) { provider, model in
                ["openai mini", "groq llama", "mine m", "anthropic claude"]
                    .contains("\(provider.name) \(model)")
            }.map { "\($0.destination.provider.name) \($0.model)" }
        }
        #expect(fallback("mini", route) == "openai mini")
        #expect(fallback("groq/llama", route) == "groq llama")
        #expect(fallback("llama", route) == nil)
        #expect(fallback("groq/mini", route) == nil)
        // Another dialect would need another request.
        #expect(fallback("anthropic/claude", route) == nil)
        #expect(fallback("groq/llama", Route(method: "POST", path: "/v1/responses")) == nil)
    }

    @Test func `the list of models has every name that leads somewhere`() throws {
        let prices = try PriceBook(
            tsv: """
                provider\tmodel\tinput\toutput\tcontext\tmax_output
                openai\tgpt\t1\t2\t100\t10
                groq\tgpt\t1\t2\t\t
                groq\tllama\t1\t2\t\t
                mistral\tlarge\t1\t2\t\t

                """)
        let routing = Routing([
            try Self.provider("groq"), try Self.provider("openai", models: ["mine": "gpt"]),
        ])
        func text(_ path: String, _ dialect: Dialect = .openai) throws -> String? {
            let list = ModelList(
                method: .GET, path: path[...], routing: routing, prices: prices, now: UnixTime(0))
            guard let body = list?.body(dialect) else { return nil }
            try JSON.validate(body)
            return String(decoding: body, as: UTF8.self)
        }
        #expect(
            try text("/v1/models")
                == #"{"object":"list","data":["#
                + #"{"id":"mine","object":"model","created":0,"owned_by":"openai","#
                + #""max_input_tokens":100,"max_tokens":10},"#
                + #"{"id":"gpt","object":"model","created":0,"owned_by":"openai","#
                + #""max_input_tokens":100,"max_tokens":10},"#
                + #"{"id":"groq/gpt","object":"model","created":0,"owned_by":"groq"},"#
                + #"{"id":"llama","object":"model","created":0,"owned_by":"groq"}]}"#)
        #expect(
            try text("/groq/openai/v1/models", .anthropic)
                == #"{"data":[{"id":"gpt","type":"model","display_name":"gpt","#
                + #""created_at":"1970-01-01T00:00:00Z"},{"id":"llama","type":"model","#
                + #""display_name":"llama","created_at":"1970-01-01T00:00:00Z"}],"#
                + #""has_more":false,"first_id":"gpt","last_id":"llama"}"#)
        #expect(try text("/groq/v1/models") == text("/groq/openai/v1/models"))
        #expect(try text("/v1/models/gpt") == nil)
    }
}
