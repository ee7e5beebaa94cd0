import Testing

extension Integration {
    @Suite struct UpstreamTroubleTests {
        private static let cap = "name: cap, limit: $5, per: total"

        /// What a caller gets, and what the charge rests on.
        private struct Outcome {
            var status: Int
            var basis: String
            var has = ""
            /// The response breaks off, so that the caller cannot take it for whole.
            var isCut = false
        }

        @Test(arguments: Call.Dialect.allCases)
        func `a fault of the provider never makes a request free`(
            dialect: Call.Dialect
        ) async throws {
            try await withServe({
                SiteConfig(provider: $0, caps: [Self.cap], providerSettings: "idle_timeout: 700ms")
            }) { node, provider in
                func check(
                    _ fault: String, isStreamed: Bool, _ status: Int, _ basis: String,
                    has: String = "", isCut: Bool = false,
                    at location: SourceLocation = #_sourceLocation
                ) async throws {
                    let call = Call(
                        dialect, mark: "[[tokens=8]][[fault=\(fault)]]", maxTokens: 50,
                        isStreamed: isStreamed)
                    try await self.check(
                        call.named("\(fault)-\(isStreamed)"), node, provider,
                        Outcome(status: status, basis: basis, has: has, isCut: isCut), at: location)
                }
                try await check("status-429", isStreamed: false, 429, "nothing", has: "rate")
                try await check("status-503", isStreamed: true, 503, "nothing", has: "overloaded")
                // Nobody knows how far it got before it failed.
                try await check("status-500", isStreamed: false, 500, "ceiling", has: "error")
                try await check("no-usage", isStreamed: false, 200, "ceiling")
                try await check("no-usage", isStreamed: true, 200, "ceiling")
                try await check(
                    "reset-before-head", isStreamed: false, 502, "ceiling", has: "upstream_failed")
                try await check(
                    "reset-before-head", isStreamed: true, 502, "ceiling", has: "upstream_failed")
                try await check("reset-mid-stream", isStreamed: false, 200, "ceiling", isCut: true)
                try await check(
                    "reset-mid-stream", isStreamed: true, 200, "ceiling", has: "upstream_failed")
                try await check("garbage", isStreamed: false, 200, "ceiling")
                try await check("garbage", isStreamed: true, 200, "ceiling", has: "not an event")
                try await check("hang", isStreamed: false, 504, "ceiling", has: "upstream_timeout")
                try await check("hang", isStreamed: true, 504, "ceiling", has: "upstream_timeout")
                try await check("gzip", isStreamed: false, 200, "ceiling")
                try await check("gzip", isStreamed: true, 200, "ceiling")
                try await check("usage-twice", isStreamed: true, 200, "usage")
                try await check("huge-event", isStreamed: true, 200, "usage", has: "xxxx")
                try await check("error-mid-stream", isStreamed: true, 200, "ceiling", has: "error")
                try await check("error-mid-stream", isStreamed: false, 500, "ceiling")
                let account = try #require(try await node.account("cap"))
                let bill = try await provider.finalBill()
                #expect(try #require(account.spentNanoUSD) >= bill.nanoUSDRoundedUp)
            }
        }

        @Test func `a provider that cannot be reached costs nothing`() async throws {
            // Nothing listens on port 1 of any machine that runs tests.
            try await withServe({ _ in SiteConfig(provider: 1, caps: [Self.cap]) }) {
                node, provider in
                for dialect in Call.Dialect.allCases {
                    for isStreamed in [false, true] {
                        try await check(
                            Call(dialect, isStreamed: isStreamed).named("\(dialect)-\(isStreamed)"),
                            node, provider,
                            Outcome(status: 502, basis: "nothing", has: "upstream_unreachable"))
                    }
                }
                try await node.booksEqual(provider, cap: "cap")
            }
        }

        @Test func `a caller that leaves pays for what was generated and no more`() async throws {
            try await withServe({ SiteConfig(provider: $0, caps: [Self.cap]) }) { node, provider in
                for dialect in Call.Dialect.allCases {
                    let name = "left-\(dialect)"
                    var stream = StreamedCall(
                        Call(
                            dialect, mark: "[[tokens=100]][[delay=5]]", maxTokens: 400,
                            isStreamed: true
                        ).named(name), to: node)
                    await stream.read(until: dialect == .openAI ? "\"content\":" : "text_delta")
                    stream.leave()
                    let record = try await node.record(of: name)
                    #expect(record["outcome"] == "abandoned", "\(record)")
                    #expect(record["basis"] == "usage", "\(record)")
                    try await node.settled()
                    try await node.booksEqual(provider, cap: "cap")
                }
            }
        }

        private func check(
            _ call: Call, _ node: Node, _ provider: Provider, _ expected: Outcome,
            at location: SourceLocation = #_sourceLocation
        ) async throws {
            let before = try await provider.bill().nanoUSDRoundedUp
            var response = StreamedCall(call, to: node)
            await response.read()
            let name = try #require(call.requestID)
            let got = Comment("\(name): \(response.text.prefix(1_000))")
            #expect(response.status == expected.status, got, sourceLocation: location)
            #expect(response.isComplete == !expected.isCut, got, sourceLocation: location)
            #expect(
                expected.has.isEmpty || response.text.contains(expected.has), got,
                sourceLocation: location)
            let record = try await node.record(of: name)
            #expect(record["basis"] == expected.basis, "\(record)", sourceLocation: location)
            let charged = try #require(
                record["charged_usd"].flatMap(nanoUSD(dollars:)), sourceLocation: location)
            let billed = try await provider.finalBill().nanoUSDRoundedUp - before
            #expect(charged >= billed, got, sourceLocation: location)
            #expect((charged == 0) == (expected.basis == "nothing"), got, sourceLocation: location)
            try await node.settled(at: location)
        }
    }
}
