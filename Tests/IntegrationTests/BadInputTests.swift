import HoldfastEgress
import Testing

extension Integration {
    @Suite struct BadInputTests {
        private static let cap = "name: cap, limit: $5, per: day"

        /// What a caller gets for a request that never reaches the provider.
        private struct Expectation {
            var status: Int
            var reason: String
            var text = ""
        }

        @Test func `a body that cannot be capped is refused in the caller's dialect`() async throws
        {
            try await withServe({ SiteConfig(provider: $0, caps: [Self.cap]) }) { node, provider in
                for dialect in Call.Dialect.allCases {
                    let call = Call(dialect)
                    func check(
                        _ status: Int, _ reason: String, _ text: String = "",
                        at location: SourceLocation = #_sourceLocation,
                        _ change: (inout Call) -> Void
                    ) async throws {
                        try await self.check(
                            call.with(change), node, provider,
                            Expectation(status: status, reason: reason, text: text), at: location)
                    }
                    try await check(400, "malformed_json") { $0.rawBody = "{\"model\":" }
                    try await check(400, "malformed_json") { $0.rawBody = "" }
                    try await check(400, "malformed_json") { $0.rawBody = "{}{}" }
                    try await check(400, "not_an_object") { $0.rawBody = "[1]" }
                    try await check(400, "missing_field", "model") { $0.model = nil }
                    try await check(400, "invalid_field", "max_tokens") { $0.maxTokens = -1 }
                    try await check(400, "invalid_field", "max_tokens") {
                        $0.maxTokens = nil
                        $0.fields = ["\"max_tokens\":1.5"]
                    }
                    try await check(400, "invalid_field", "max_tokens") {
                        $0.maxTokens = nil
                        $0.fields = ["\"max_tokens\":1\(String(repeating: "0", count: 30))"]
                    }
                    try await check(400, "duplicate_field", "max_tokens") {
                        $0.fields = ["\"max_tokens\":1"]
                    }
                    try await check(400, "invalid_field", "stream") {
                        $0.fields = ["\"stream\":\"yes\""]
                    }
                    try await check(404, "model_not_priced", "prices") { $0.model = "gpt-9" }
                    try await check(401, "missing_api_key", "Authorization") { $0.key = nil }
                    try await check(401, "invalid_api_key", "keys") { $0.key = "sk-of-somebody" }
                    try await check(400, "invalid_scope_value", "user") {
                        $0.headers = [("x-holdfast-user", String(repeating: "u", count: 2_000))]
                    }
                }
            }
        }

        @Test func `an absurd output limit is a refusal and not an overflow`() async throws {
            try await withServe({
                SiteConfig(provider: $0, caps: [Self.cap], limits: "clamp: false")
            }) { node, provider in
                for dialect in Call.Dialect.allCases {
                    for limit in [1_000_000_000, Int(UInt32.max), Int.max] {
                        let response = try await node.send(Call(dialect, maxTokens: limit))
                        #expect([400, 402].contains(response.status), "\(response.text)")
                        #expect(response.reason != nil, "\(response.text)")
                        try await node.settled()
                    }
                }
                #expect(try await provider.bill().received == 0)
            }
        }

        @Test func `a route that is not metered is not served`() async throws {
            try await withServe({ SiteConfig(provider: $0, caps: [Self.cap]) }) { node, provider in
                for (method, path) in [
                    ("GET", "/v1/models/gpt-4o"), ("POST", "/v1/images/generations"),
                    ("GET", "/bill"), ("GET", "/v1/chat/completions"),
                    ("POST", "/v1/messages/batches"), ("POST", "/openai/v1/messages"),
                    ("POST", "/v1/chat/completions/../../bill"), ("DELETE", "/"),
                ] {
                    let response = CallResponse(
                        try await node.site.egress.fetch(
                            EgressRequest(
                                method: method, url: "http://127.0.0.1:\(node.port)\(path)",
                                headers: [("authorization", "Bearer \(Secrets.app)")])))
                    #expect(response.status == 404, "\(method) \(path)")
                    #expect(response.reason == "unknown_route", "\(method) \(path)")
                    #expect(response.text.contains("POST /v1/chat/completions"))
                    #expect(response.text.contains("POST /v1/messages"))
                    try await node.settled()
                }
                #expect(try await provider.bill().received == 0)
            }
        }

        @Test func `a flood of made-up users is stopped and known ones go on`() async throws {
            try await withServe({
                SiteConfig(
                    provider: $0, caps: [Self.cap, "name: user, limit: $1, per: day, each: user"],
                    limits: "new_accounts_per_minute: 5")
            }) { node, _ in
                for number in 1...5 {
                    #expect(try await node.send(Call().from(user: "u\(number)")).status == 200)
                }
                for dialect in Call.Dialect.allCases {
                    for number in 6...20 {
                        let response = try await node.send(Call(dialect).from(user: "u\(number)"))
                        #expect(response.status == 429)
                        #expect(response.reason == "too_many_new_scope_values")
                        #expect(response.header("x-should-retry") == "false")
                    }
                    #expect(try await node.send(Call(dialect).from(user: "u3")).status == 200)
                }
                #expect(try await node.send(Call().with { $0.key = Secrets.other }).status == 200)
                try await node.settled()
            }
        }

        private func check(
            _ call: Call, _ node: Node, _ provider: Provider, _ expected: Expectation,
            at location: SourceLocation
        ) async throws {
            let received = try await provider.bill().received
            let response = try await node.send(call)
            let got = "\(response.status) \(response.text)"
            #expect(response.status == expected.status, "\(got)", sourceLocation: location)
            #expect(response.reason == expected.reason, "\(got)", sourceLocation: location)
            let message = response.error["message"] as? String ?? ""
            #expect(!message.isEmpty, "\(got)", sourceLocation: location)
            #expect(
                expected.text.isEmpty || message.contains(expected.text), "\(got)",
                sourceLocation: location)
            // What each dialect's SDK looks at.
            #expect(response.error["type"] is String, "\(got)", sourceLocation: location)
            #expect(
                response.text.hasPrefix("{\"type\":\"error\"") == (call.dialect == .anthropic),
                "\(got)", sourceLocation: location)
            #expect(response.header("x-request-id") != nil, sourceLocation: location)
            #expect(try await provider.bill().received == received, sourceLocation: location)
            try await node.settled(at: location)
        }
    }
}
