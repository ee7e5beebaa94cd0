import Glibc
import Testing

extension Integration {
    @Suite struct CapTests {
        @Test func `a limit changes with SIGHUP and not with a mistake`() async throws {
            try await withServe({ Self.config($0, limit: "$0.002") }) { node, provider in
                let call = Call(mark: "[[tokens=10]]", maxTokens: 10)
                // Enough for some of these.
                #expect(try await node.send(call).status == 200)
                try await Self.expect(402, node, call)
                try await Self.reload(node, Self.config(provider.port, limit: "$1").yaml)
                try await Self.expect(200, node, call)
                try await Self.reload(node, Self.config(provider.port, limit: "$0.0001").yaml)
                try await Self.expect(402, node, call)
                try await Self.reload(node, "caps: [ {", isGood: false)
                try await Self.reload(
                    node, Self.config(provider.port, limit: "1 dollar").yaml, isGood: false)
                #expect(try await node.send(call).status == 402)
                try await Self.reload(node, Self.config(provider.port, limit: "$2").yaml)
                try await Self.expect(200, node, call)
                try await node.settled()
                try await node.booksEqual(provider, cap: "cap")
            }
        }

        @Test func `each user has a cap of their own`() async throws {
            try await withServe({
                SiteConfig(provider: $0, caps: ["name: user, limit: $0.002, per: day, each: user"])
            }) { node, _ in
                for user in ["ann", "bob"] {
                    let call = Call(mark: "[[tokens=10]]", maxTokens: 10).from(user: user)
                    #expect(try await node.send(call).status == 200, "\(user)")
                    try await Self.expect(402, node, call)
                    let refusal = try await node.send(call)
                    #expect(refusal.holdfast["scope"] as? String == "user=\(user)")
                    #expect(refusal.header("x-holdfast-cap-scope") == "user=\(user)")
                }
                // Without a user there is no such account.
                #expect(try await node.send(Call()).status == 200)
                let accounts = try await node.accounts()
                #expect(Set(accounts.map(\.scope)) == ["user=ann", "user=bob"])
                try await node.settled()
            }
        }

        @Test func `the strictest of several caps is the one named`() async throws {
            try await withServe({
                SiteConfig(
                    provider: $0,
                    caps: [
                        "name: wide, limit: $0.10, per: day, scope: { tenant: acme }",
                        "name: tight, limit: $0.05, per: month, each: user",
                        "name: tokens, limit: 12k tokens, per: total, scope: { key: app }",
                    ], limits: "clamp: false")
            }) { node, provider in
                for dialect in Call.Dialect.allCases {
                    // 16,000 tokens cost at least $0.16 or $0.08: in either case too much for "tight".
                    let call = Call(dialect, maxTokens: 16_000).from(user: "ann")
                    let refusal = try await node.send(call)
                    #expect(refusal.status == 402)
                    #expect(refusal.reason == "request_exceeds_cap")
                    #expect(refusal.holdfast["cap"] as? String == "tight", "\(refusal.text)")
                    #expect(refusal.holdfast["period"] as? String == "month")
                    #expect(refusal.holdfast["limit"] as? String == "0.05")
                    #expect(refusal.header("x-holdfast-cap-period") == "month")
                    #expect(refusal.header("x-should-retry") == "false")
                    #expect(refusal.header("retry-after") == nil)
                }
                // A cheap model: only the tokens are too many.
                let cheap = Call(maxTokens: 16_000).with { $0.model = "gpt-4o-mini" }
                let refusal = try await node.send(cheap.from(user: "ann"))
                #expect(refusal.holdfast["cap"] as? String == "tokens", "\(refusal.text)")
                #expect(refusal.holdfast["unit"] as? String == "tokens")
                #expect(try await provider.bill().received == 0)
                try await node.settled()
            }
        }

        @Test func `a request is cut down to what the tightest cap can pay`() async throws {
            try await withServe({
                SiteConfig(
                    provider: $0,
                    caps: [
                        "name: wide, limit: $1, per: day", "name: tight, limit: $0.01, per: day",
                    ])
            }) { node, provider in
                let response = try await node.send(Call(mark: "[[tokens=9000]]", maxTokens: 9_000))
                #expect(response.status == 200)
                let clamp = try #require(response.header("x-holdfast-clamped"))
                #expect(clamp.hasPrefix("max_output_tokens=") && clamp.hasSuffix("; cap=tight"))
                #expect(response.text.contains("\"finish_reason\":\"length\""))
                let bill = try await provider.bill().nanoUSDRoundedUp
                #expect((5_000_000...10_000_000).contains(bill))
                try await node.booksEqual(provider, cap: "tight")
                try await node.booksEqual(provider, cap: "wide")
            }
        }

        @Test func `a cap that observes refuses nothing and says what it would do`() async throws {
            try await withServe({
                SiteConfig(
                    provider: $0,
                    caps: ["name: watch, limit: $0.0001, per: day, mode: observe"])
            }) { node, provider in
                for dialect in Call.Dialect.allCases {
                    for isStreamed in [false, true] {
                        let response = try await node.send(
                            Call(dialect, mark: "[[tokens=20]]", isStreamed: isStreamed))
                        #expect(response.status == 200)
                        #expect(response.header("x-holdfast-would-refuse") == "watch")
                        #expect(response.header("x-holdfast-clamped") == nil)
                    }
                }
                #expect(try await provider.bill().requests == 4)
                try await node.settled()
                let metrics = try await node.admin("/metrics").text
                #expect(metrics.contains("holdfast_would_refuse_total{cap=\"watch\"} 4"))
                try await node.booksEqual(provider, cap: "watch")
            }
        }

        private static func config(_ port: Int, limit: String) -> SiteConfig {
            SiteConfig(provider: port, caps: ["name: cap, limit: \(limit), per: total"])
        }

        private static func reload(_ node: Node, _ yaml: String, isGood: Bool = true) async throws {
            let message = "configuration not reloaded; the old one stays"
            let before = node.process.events(message).count
            try node.site.write(yaml: yaml)
            node.process.send(SIGHUP)
            if !isGood {
                _ = try await eventually("the mistake to be logged") {
                    node.process.events(message).count > before ? true : nil
                }
            }
        }

        /// The new limit reaches the edge a moment later.
        private static func expect(
            _ status: Int, _ node: Node, _ call: Call,
            at location: SourceLocation = #_sourceLocation
        ) async throws {
            var last = "nothing"
            do {
                _ = try await eventually("a \(status)", within: .seconds(15)) {
                    let response = try await node.send(call)
                    last = response.text
                    return response.status == status ? true : nil
                }
            } catch {
                Issue.record("\(error): \(last)", sourceLocation: location)
            }
        }
    }
}
