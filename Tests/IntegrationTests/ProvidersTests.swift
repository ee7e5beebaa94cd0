import Foundation
import HoldfastEgress
import Testing

/// Several providers behind one edge: the fake one under names of others.
extension Integration {
    @Suite struct ProvidersTests {
        private static let cap = "name: cap, limit: $5, per: total"

        /// Of `gpt-4o-mini`, which is what answers under every name.
        private static func price(_ provider: String, _ model: String) -> String {
            "- { provider: \(provider), model: \(model), input: $0.15, cache_read: $0.075, "
                + "output: $0.60, context: 128000, max_output: 16384 }"
        }

        private func withProviders(
            cap: String = Self.cap, limits: String = "",
            _ body: (Node, Provider) async throws -> Void
        ) async throws {
            try await withServe(
                { port in
                    let url = "base_url: \"http://127.0.0.1:\(port)\""
                    let key = "api_key: \"\(Secrets.openAI)\""
                    return SiteConfig(provider: port, caps: [cap], limits: limits).with {
                        $0.moreProviders = """
                              groq: { \(key), \(url) }
                              mine:
                                type: openai-compatible
                                api_key: "\(Secrets.openAI)"
                                base_url: "http://127.0.0.1:\(port)/v1"
                                models: { gpt-4o-mini-2024-07-18: small }
                            """
                        $0.moreSettings = """
                            prices:
                              \(Self.price("groq", "gpt-4o-mini"))
                              \(Self.price("mine", "small"))
                            """
                    }
                }, body)
        }

        private func send(
            _ call: Call, to path: String, of node: Node
        ) async throws -> CallResponse {
            var request = call.request(port: node.port)
            request.url = "http://127.0.0.1:\(node.port)\(path)"
            return CallResponse(try await node.site.egress.fetch(request))
        }

        @Test func `a path or a model says which provider is asked, and one cap counts all`()
            async throws
        {
            try await withProviders { node, provider in
                let mini = Call().with { $0.model = "gpt-4o-mini" }
                let ways: [(path: String, model: String, provider: String)] = [
                    ("/v1/chat/completions", "gpt-4o-mini", "openai"),
                    ("/openai/v1/chat/completions", "gpt-4o-mini", "openai"),
                    ("/groq/v1/chat/completions", "gpt-4o-mini", "groq"),
                    ("/groq/openai/v1/chat/completions", "gpt-4o-mini", "groq"),
                    ("/v1/chat/completions", "groq/gpt-4o-mini", "groq"),
                    ("/mine/v1/chat/completions", "gpt-4o-mini-2024-07-18", "mine"),
                ]
                for (number, way) in ways.enumerated() {
                    for isStreamed in [false, true] {
                        let name = "call-\(number)-\(isStreamed)"
                        let call = mini.with { call in
                            call.model = way.model
                            call.isStreamed = isStreamed
                        }.named(name)
                        let response = try await send(call, to: way.path, of: node)
                        #expect(response.status == 200, "\(way): \(response.text)")
                        let record = try await node.record(of: name)
                        #expect(record["provider"] == way.provider, "\(record)")
                        #expect(record["basis"] == "usage", "\(record)")
                    }
                }
                #expect(try await provider.bill().requests == 2 * ways.count)
                try await node.settled()
                try await node.booksEqual(provider, cap: "cap")
            }
        }

        @Test func `what is not served or not priced costs nothing`() async throws {
            try await withProviders { node, provider in
                let rows: [(path: String, model: String, status: Int, reason: String)] = [
                    ("/groq/v1/embeddings", "gpt-4o-mini", 404, "unknown_route"),
                    ("/mistral/v1/chat/completions", "x", 404, "provider_not_configured"),
                    ("/v2/chat", "command-a", 404, "provider_not_configured"),
                    ("/nobody/v1/chat/completions", "x", 404, "unknown_route"),
                    ("/groq/v1/chat/completions", "gpt-4o", 404, "model_not_priced"),
                    ("/v1/chat/completions", "mine/gpt-4o", 404, "model_not_priced"),
                ]
                for row in rows {
                    let call = Call().with { $0.model = row.model }
                    let response = try await send(call, to: row.path, of: node)
                    #expect(response.status == row.status, "\(row): \(response.text)")
                    #expect(response.reason == row.reason, "\(row)")
                }
                #expect(try await provider.bill().received == 0)
            }
        }

        @Test func `a cap that cannot pay for a model has another one asked`() async throws {
            // Enough for the small model at its largest, and not for the large one. Clamping would come
            // first.
            let cap =
                "name: cap, limit: $0.02, per: total, on_exceed: { fallback: groq/gpt-4o-mini }"
            try await withProviders(cap: cap, limits: "clamp: false") { node, provider in
                let large = Call(mark: "[[tokens=40]]", maxTokens: 16_000)
                #expect(large.model == "gpt-4o")
                for isStreamed in [false, true] {
                    let call = large.with { $0.isStreamed = isStreamed }.named(
                        "large-\(isStreamed)")
                    let response = try await node.send(call)
                    #expect(response.status == 200, "\(response.text)")
                    #expect(
                        response.header("x-holdfast-fallback")
                            == "model=gpt-4o-mini; instead_of=gpt-4o; cap=cap")
                    #expect(response.text.contains("gpt-4o-mini"))
                    let record = try await node.record(of: "large-\(isStreamed)")
                    #expect(record["provider"] == "groq" && record["instead_of"] == "gpt-4o")
                }
                // What fits is left alone.
                let small = try await node.send(large.with { $0.maxTokens = 20 })
                #expect(small.status == 200 && small.header("x-holdfast-fallback") == nil)
                // And what fits with no model is refused.
                let huge = large.with { $0.mark = String(repeating: "word ", count: 200_000) }
                let refused = try await node.send(huge)
                #expect(refused.status == 402, "\(refused.text)")
                #expect(try await node.metric("holdfast_fallbacks_total{cap=\"cap\"}") == "3")
                #expect(try await provider.bill().requests == 3)
                try await node.settled()
                try await node.booksEqual(provider, cap: "cap")
            }
        }

        @Test func `the models of a key are those that can be priced`() async throws {
            try await withProviders { node, provider in
                var request = Call().request(port: node.port)
                request.method = "GET"
                request.body = []
                func ids(_ path: String) async throws -> [String] {
                    request.url = "http://127.0.0.1:\(node.port)\(path)"
                    let response = CallResponse(try await node.site.egress.fetch(request))
                    #expect(response.status == 200, "\(response.text)")
                    let object = try #require(
                        try JSONSerialization.jsonObject(with: Data(response.text.utf8))
                            as? [String: Any])
                    return (object["data"] as? [[String: Any]] ?? [])
                        .compactMap { $0["id"] as? String }
                }
                #expect(try await ids("/mine/v1/models") == ["gpt-4o-mini-2024-07-18", "small"])
                let all = try await ids("/v1/models")
                #expect(all.contains("gpt-4o-mini") && all.contains("groq/gpt-4o-mini"))
                #expect(all.contains("claude-haiku-4-5") && all.contains("small"))
                request.headers.removeAll { $0.0 == "authorization" }
                request.url = "http://127.0.0.1:\(node.port)/v1/models"
                #expect(try await node.site.egress.fetch(request).status == 401)
                #expect(try await provider.bill().received == 0)
            }
        }
    }
}
