import Foundation
import Testing

/// Real processes, real sockets, and the fake provider's own bill as judge. One test at a time:
/// each starts several processes, and the loads would measure each other.
@Suite(.serialized, .timeLimit(.minutes(3)))
enum Integration {}

extension Integration {
    @Suite struct SpendTests {
        private static let cap = "name: cap, limit: $0.50, per: total, scope: { tenant: acme }"
        private static let capNanoUSD: UInt64 = 500_000_000

        @Test(arguments: [1, 2, 3])
        func `three edges spend a cap to its end and not beyond`(seed: Int) async throws {
            try await withSite { site in
                let provider = try await site.fakeProvider(seed: seed)
                let (counter, edges) = try await Self.cluster(site, provider)
                let started = ContinuousClock.now
                let load = Load(site: site, edges: edges, seed: UInt64(seed))
                await load.run()
                let seconds = started.duration(to: .now).components.seconds
                let bill = try await provider.finalBill()
                let tally = load.tally
                print("seed \(seed): \(Self.summary(bill)), \(tally), \(seconds) s")
                #expect(bill.nanoUSDRoundedUp <= Self.capNanoUSD)
                #expect(bill.nanoUSDRoundedUp >= Self.capNanoUSD / 100 * 97)
                #expect(tally.strange == [] && tally.failures == [], "\(tally)")
                #expect(tally.served == bill.requests)
                for edge in edges { try await edge.settled() }
                // Every answer said what it used, so our books and the bill agree exactly.
                try await counter.booksEqual(provider, cap: "cap")
            }
        }

        @Test func `a killed edge and a killed counter overspend nothing`() async throws {
            try await withSite { site in
                let provider = try await site.fakeProvider(seed: 4)
                var (counter, edges) = try await Self.cluster(site, provider)
                let load = Load(site: site, edges: edges, seed: 4)
                async let loaded: Void = load.run()
                _ = try await eventually("a third of the cap to be spent") {
                    try await provider.bill().nanoUSDRoundedUp > Self.capNanoUSD / 3 ? true : nil
                }
                try await edges[0].process.killAndWait()
                try await counter.process.killAndWait()
                let billAtKill = try await provider.bill()
                counter = try await site.counter(port: counter.port)
                edges[0] = try await site.edge(counter: counter.port, port: edges[0].port)
                for edge in edges { try await edge.ready() }
                let servedAtRestart = load.tally.served
                await loaded
                let bill = try await provider.finalBill()
                let account = try #require(try await counter.account("cap"))
                print(
                    "kill -9: \(Self.summary(billAtKill)) when killed, \(Self.summary(bill)) at "
                        + "the end, \(load.tally), books: spent $\(account.spent), reserved "
                        + "$\(account.reserved)")
                #expect(bill.nanoUSDRoundedUp <= Self.capNanoUSD)
                #expect(load.tally.served > servedAtRestart, "\(load.tally)")
                #expect(load.tally.strange == [], "\(load.tally)")
                let spent = try #require(account.spentNanoUSD)
                let reserved = try #require(account.reservedNanoUSD)
                #expect(spent + reserved >= bill.nanoUSDRoundedUp)
                #expect(spent + reserved <= Self.capNanoUSD)
                for edge in edges { try await edge.settled() }
            }
        }

        @Test func `what a dead edge held is refused as spent and not as in flight`() async throws {
            try await withSite { site in
                let provider = try await site.fakeProvider()
                try site.write(
                    SiteConfig(
                        provider: provider.port, caps: ["name: cap, limit: $0.29, per: total"],
                        limits: "clamp: false, wait: 100ms"))
                let counter = try await site.counter()
                let doomed = try await site.edge(counter: counter.port)
                let other = try await site.edge(counter: counter.port)
                for edge in [doomed, other] { try await edge.ready() }
                // 16,000 tokens can cost $0.272 at the dearest tier: nearly all of the cap.
                var stream = StreamedCall(
                    Call(mark: "[[tokens=16000]]", maxTokens: 16_000, isStreamed: true), to: doomed)
                await stream.read(until: "\"content\":")
                // Up to $0.034: more than what is left, as long as the stream lives.
                let call = Call(maxTokens: 2_000)
                #expect(try await other.send(call).status == 429)
                try await doomed.process.killAndWait()
                await stream.read()
                // Nobody settles that hold any more. Callers who are told to retry would do it for
                // ever.
                _ = try await eventually("a 402", within: .seconds(50)) {
                    try await other.send(call).status == 402 ? true : nil
                }
                #expect(try await provider.finalBill().nanoUSDRoundedUp <= 290_000_000)
                try await other.settled()
            }
        }

        private static func cluster(
            _ site: Site, _ provider: Provider
        ) async throws -> (counter: Node, edges: [Node]) {
            try site.write(SiteConfig(provider: provider.port, caps: [cap]))
            let counter = try await site.counter()
            var edges: [Node] = []
            for _ in 0..<3 { edges.append(try await site.edge(counter: counter.port)) }
            for edge in edges { try await edge.ready() }
            return (counter, edges)
        }

        private static func summary(_ bill: Provider.Bill) -> String {
            let permyriad = bill.nanoUSDRoundedUp * 10_000 / capNanoUSD
            let hundredths = String(permyriad % 100 + 100).dropFirst()
            return "billed \(bill.nanoUSDRoundedUp) n$, \(permyriad / 100).\(hundredths) %"
        }
    }
}
