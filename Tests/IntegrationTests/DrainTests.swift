import Glibc
import HoldfastEgress
import Testing

extension Integration {
    @Suite struct DrainTests {
        private static let cap = "name: cap, limit: $1, per: total"

        @Test func `a stop lets streams finish and gives every slice back`() async throws {
            try await withSite { site in
                let provider = try await site.fakeProvider()
                let config = SiteConfig(provider: provider.port, caps: [Self.cap])
                let node = try await site.serve(config)
                try await node.ready()
                var stream = StreamedCall(
                    Call(mark: "[[tokens=100]][[delay=10]]", maxTokens: 200, isStreamed: true),
                    to: node)
                await stream.read(until: "\"content\":")
                node.process.send(SIGTERM)
                _ = try await eventually("the drain to begin") {
                    node.process.events("draining").first
                }
                // Whoever comes now is sent away: by the kernel, or in the moment before by us.
                do {
                    #expect(try await node.send(Call()).reason == "edge_draining")
                } catch let failure as EgressFailure {
                    #expect(!failure.requestWasSent || failure.kind == .reset, "\(failure)")
                }
                await stream.read()
                #expect(stream.isComplete, "\(String(describing: stream.failure))")
                #expect(stream.text.hasSuffix("data: [DONE]\n\n"))
                #expect(try await node.process.exitCode() == 0, "\(node.process.log)")
                let again = try await site.serve(config)
                try await again.ready()
                try await again.booksEqual(provider, cap: "cap")
                let bill = try await provider.bill()
                #expect(bill.requests == 1)
                // The stream was not cut: its hundred tokens are on the bill.
                #expect(bill.nanoUSDRoundedUp > 100 * 10_000)
            }
        }

        @Test func `a stream that outlasts the drain is cut and charged at its ceiling`()
            async throws
        {
            try await withSite { site in
                let provider = try await site.fakeProvider()
                let config = SiteConfig(
                    provider: provider.port, caps: [Self.cap], limits: "drain: 200ms")
                let node = try await site.serve(config)
                try await node.ready()
                var stream = StreamedCall(
                    Call(mark: "[[tokens=2000]][[delay=20]]", maxTokens: 2_000, isStreamed: true)
                        .named("cut"),
                    to: node)
                await stream.read(until: "\"content\":")
                node.process.send(SIGTERM)
                #expect(try await node.process.exitCode() == 0, "\(node.process.log)")
                await stream.read()
                #expect(!stream.text.contains("[DONE]"))
                #expect(try await node.record(of: "cut")["basis"] == "ceiling")
                let again = try await site.serve(config)
                try await again.ready()
                let account = try #require(try await again.account("cap"))
                let bill = try await provider.finalBill()
                #expect(account.reservedNanoUSD == 0)
                // The ceiling: two thousand tokens at ten microdollars, and the prompt.
                #expect(try #require(account.spentNanoUSD) > 20_000_000)
                #expect(try #require(account.spentNanoUSD) >= bill.nanoUSDRoundedUp)
            }
        }
    }
}
