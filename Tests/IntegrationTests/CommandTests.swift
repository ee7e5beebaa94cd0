import Foundation
import Testing

extension Integration {
    @Suite struct CommandTests {
        private static let cap = "name: cap, limit: $5, per: day, scope: { tenant: acme }"

        @Test func `the demo reaches its cap and stays below it`() async throws {
            try await withSite { site in
                let result = try await site.run(["demo", "--once", "--json", "--port", "0"])
                #expect(result.code == 0, "\(result)")
                let summary = try #require(
                    try JSONSerialization.jsonObject(with: Data(result.output.utf8))
                        as? [String: Any])
                #expect(summary["within_cap"] as? Bool == true)
                let refused = try #require(summary["refused"] as? Int)
                #expect(refused > 0)
                let billed = try #require((summary["billed_usd"] as? String).flatMap(nanoUSD))
                #expect((1...250_000_000).contains(billed))
                let shown = try await site.run(
                    ["demo", "--once", "--port", "0", "--cap", "$0.02", "--clients", "2"])
                #expect(shown.code == 0, "\(shown)")
                #expect(shown.output.contains("402 Payment Required"))
                #expect(shown.output.contains("of $0.02 cap"))
            }
        }

        @Test func `check says what it understood and no secret`() async throws {
            try await withSite { site in
                try site.write(SiteConfig(provider: 9, caps: [Self.cap]))
                let result = try await site.run(["check", site.configFile.path])
                #expect(result.code == 0, "\(result)")
                #expect(result.output.hasSuffix("ok\n"))
                for text in ["tenant=acme", "$5", "per day (UTC)", "http://127.0.0.1:9"] {
                    #expect(result.output.contains(text), "\(text): \(result.output)")
                }
            }
        }

        @Test func `spend shows what the provider billed`() async throws {
            try await withServe({ SiteConfig(provider: $0, caps: [Self.cap]) }) { node, provider in
                let admin = ["--admin", "127.0.0.1:\(node.adminPort)"]
                let empty = try await node.site.run(["spend"] + admin)
                #expect(empty.code == 0, "\(empty)")
                #expect(try await node.send(Call()).status == 200)
                try await node.booksEqual(provider, cap: "cap")
                let json = try await node.site.run(["spend", "--json"] + admin)
                #expect(json.code == 0, "\(json)")
                struct Answer: Decodable { var accounts: [Account] }
                let accounts = try JSONDecoder().decode(Answer.self, from: Data(json.output.utf8))
                    .accounts
                let bill = try await provider.bill().nanoUSDRoundedUp
                #expect(accounts.map(\.spentNanoUSD) == [bill])
                let table = try await node.site.run(["spend"] + admin)
                #expect(table.output.contains("CAP"))
                #expect(table.output.contains("$\(accounts[0].spent)"), "\(table.output)")
                await node.process.stop()
                let nobody = try await node.site.run(["spend"] + admin)
                #expect(nobody.code == 4)
                #expect(nobody.errors.contains("no counter answers"))
            }
        }

        @Test func `the probes of a node answer`() async throws {
            try await withServe({ SiteConfig(provider: $0, caps: [Self.cap]) }) { node, _ in
                #expect(try await node.admin("/livez").status == 200)
                #expect(try await node.admin("/readyz").status == 200)
                #expect(try await node.send(Call()).status == 200)
                try await node.settled()
                let metrics = try await node.admin("/metrics").text
                for name in [
                    "holdfast_requests_total{", "holdfast_spend_usd_total{", "holdfast_holds_open ",
                    "holdfast_counter_commits_total ", "holdfast_counter_up 1",
                ] {
                    #expect(metrics.contains("\n" + name), "\(name)")
                }
                #expect(try await node.admin("/nothing").status == 404)
            }
        }
    }
}
