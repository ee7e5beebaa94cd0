import HoldfastCore
import HoldfastProviders
import Testing

/// Requests that try to be billed for more than they are held for, or to hold up the edge.
@Suite struct `Hostile request` {
    private static let openAI =
        #""max_tokens":5,"messages":[{"role":"user","content":"Hi"}]"#
    private static let anthropic =
        #""model":"claude-sonnet-4-5","max_tokens":5,"messages":[{"role":"user","content":"Hi"}]"#

    private func refusal(_ id: ProviderID, _ body: String) throws -> RequestError? {
        let endpoint = try #require(ProviderCatalog.standard[id]?.endpoints.first)
        do throws(RequestError) {
            _ = try endpoint.facts(of: Array(body.utf8))
            return nil
        } catch {
            return error
        }
    }

    @Test(arguments: [
        ("openai", "gpt-5-search-api", true), ("openai", "gpt-4o-search-preview", true),
        ("azure", "o3-deep-research", true), ("openai", "gpt-4o", false),
    ])
    func `a model that searches by itself is known`(
        provider: String, model: String, searches: Bool
    ) throws {
        let book = try PriceBook(
            tsv: "provider\tmodel\tinput\toutput\n\(provider)\t\(model)\t1\t1\n")
        let quote = try #require(
            book.quote(provider: provider, model: model, from: UnixTime(0), lasting: 0))
        #expect(quote.searchesTheWeb == searches)
    }

    @Test func `work that is multiplied behind one answer is refused`() throws {
        func check(
            _ reasoning: String, _ code: String?, at location: SourceLocation = #_sourceLocation
        ) throws {
            let error = try refusal(
                .openAI, "{\"model\":\"gpt-6-sol\",\"reasoning\":\(reasoning),\(Self.openAI)}")
            #expect(error?.code == code, sourceLocation: location)
        }
        try check(#"{"mode":"pro"}"#, "cost_unbounded")
        try check(#"{"m\u006fde":"pro"}"#, "cost_unbounded")
        try check(#"{"mode":"standard","mode":"pro"}"#, "duplicate_field")
        try check(#"{"mode":1}"#, "invalid_field")
        try check(#"{"mode":"standard","effort":"high"}"#, nil)
        try check(#"{"mode":null}"#, nil)
        try check("null", nil)
    }

    @Test func `long texts are refused where they would be compared`() throws {
        // Equal only after their marks are sorted, which takes quadratic time in their number.
        let marks = String(repeating: "\u{327}\u{301}", count: 4_000)
        let escapes = String(repeating: "\\u0041", count: 4_000)
        for text in [marks, escapes] {
            for body in [
                "{\"model\":\"\(text)\",\(Self.openAI)}",
                "{\"model\":\"a\",\"service_tier\":\"\(text)\",\(Self.openAI)}",
                "{\"model\":\"a\",\"user\":\"\(text)\",\(Self.openAI)}",
                "{\"model\":\"a\",\"metadata\":{\"\(text)\":\"1\"},\(Self.openAI)}",
                "{\"model\":\"a\",\"metadata\":{\"user\":\"\(text)\"},\(Self.openAI)}",
                "{\"model\":\"a\",\"messages\":[{\"content\":[{\"type\":\"\(text)\"}]}]}",
            ] {
                #expect(try refusal(.openAI, body)?.code == "invalid_field")
            }
            for body in [
                "{\"max_tokens\":1,\"model\":\"\(text)\",\"messages\":[]}",
                "{\(Self.anthropic),\"metadata\":{\"user_id\":\"\(text)\"}}",
                "{\(Self.anthropic),\"system\":[{\"type\":\"\(text)\"}]}",
            ] {
                #expect(try refusal(.anthropic, body)?.code == "invalid_field")
            }
        }
        // Prompts are never compared: they may be as long as they like.
        let prompt = "{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":\"\(marks)\"}]}"
        #expect(try refusal(.openAI, prompt) == nil)
    }

    @Test func `a known name in escapes is still found and a long one is none`() throws {
        let escaped = "max_tokens".unicodeScalars
            .map { "\\u00" + String($0.value, radix: 16) }.joined()
        let endpoint = try #require(ProviderCatalog.standard[.openAI]?.endpoints.first)
        let body = "{\"model\":\"a\",\"\(escaped)\":7,\"messages\":[]}"
        #expect(try endpoint.facts(of: Array(body.utf8)).outputLimit == 7)
        let long = "{\"model\":\"a\",\"\(escaped)\(escaped)\(escaped)\":7,\"messages\":[]}"
        #expect(try endpoint.facts(of: Array(long.utf8)).outputLimit == nil)
    }

    // MARK: - Headers and places

    @Test func `a header for a larger context is noticed`() throws {
        let endpoint = try #require(ProviderCatalog.standard[.anthropic]?.endpoints.first)
        func check(
            _ values: [String], _ tokens: UInt64, at location: SourceLocation = #_sourceLocation
        ) throws {
            var facts = try endpoint.facts(of: Array("{\(Self.anthropic)}".utf8))
            try endpoint.read(headers: { $0 == "anthropic-beta" ? values : [] }, into: &facts)
            #expect(facts.contextTokensAsked == tokens, "\(values)", sourceLocation: location)
        }
        try check([], 0)
        try check(["context-1m-2025-08-07"], 1_000_000)
        try check(["oauth-2025-04-20, \tContext-1M-2025-08-07"], 1_000_000)
        try check(["context-500k-2027-01-01", "context-2m-2027-01-01"], 2_000_000)
        try check(["context-300000-2027-01-01"], 300_000)
        try check(["context-99999999999999999999999m"], 1 << 60)
        try check(["context-management-2025-06-27,interleaved-thinking-2025-05-14"], 0)
        try check(["", ",,", "context-"], 0)
    }

    @Test func `a regional host costs a tenth more`() throws {
        func check(
            _ id: ProviderID, _ url: String, _ tenths: UInt64,
            at location: SourceLocation = #_sourceLocation
        ) throws {
            let provider = try #require(ProviderCatalog.standard[id])
            #expect(provider.multiplierTenths(baseURL: url) == tenths, sourceLocation: location)
        }
        try check(.openAI, "https://api.openai.com", 10)
        try check(.openAI, "https://eu.api.openai.com", 11)
        try check(.openAI, "HTTPS://US.API.OPENAI.COM:443/proxy", 11)
        try check(.openAI, "http://127.0.0.1:9090", 10)
        try check(.openAI, "https://example.com/eu.api.openai.com", 10)
        try check(.openAI, "", 10)
        try check(.anthropic, "https://api.anthropic.com", 10)
    }
}
