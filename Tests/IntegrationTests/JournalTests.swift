import Foundation
import Glibc
import Testing

extension Integration {
    /// An edge with `--journal` is killed under load and comes back.
    @Suite struct JournalTests {
        /// $0.002 each, held at the dearest tier's price.
        private static let call = Call(mark: "[[tokens=200]][[delay=0]]", maxTokens: 200)

        @Test func `an edge that was killed gives back what it had not used`() async throws {
            try await withSite { site in
                let (provider, counter) = try await Self.start(site, dollars: 100)
                let without = try await Self.loadAndKill(site, counter, provider, journal: nil)
                let (stranded, first) = try await Self.books(counter, provider)
                let edge = try await Self.loadAndKill(
                    site, counter, provider, journal: "edge.journal")
                let (slice, second) = try await Self.books(counter, provider)
                let back = try await site.edge(
                    counter: counter.port, more: ["--journal", "edge.journal"])
                try await back.ready()
                try await Self.delivered(back)
                let (rest, _) = try await Self.books(counter, provider)
                print(
                    """
                    journal: bill \(first) n$, then \(second) n$. Presumed spent beyond the bill: \
                    without \(stranded) n$; with, before coming back \(slice - stranded) n$, after \
                    \(rest - stranded) n$; given back \(slice - rest) n$
                    """)
                #expect(stranded > 0)
                #expect(rest < slice)
                #expect(rest >= stranded)
                // A block is what a second takes at the recent rate; the load lasted 3.5 s.
                #expect(rest - stranded <= (second - first))
                #expect(try await back.send(Self.call).status == 200)
                try await back.settled()
                #expect(!edge.process.isRunning && !without.process.isRunning)
                #expect(try await back.metric("holdfast_journal_failures_total") == "0")
            }
        }

        @Test func `an old copy of a journal gives nothing back`() async throws {
            try await withSite { site in
                let (provider, counter) = try await Self.start(site, dollars: 5)
                let journal = site.directory.appendingPathComponent("edge.journal")
                let copy = site.directory.appendingPathComponent("copy")
                _ = try await Self.loadAndKill(
                    site, counter, provider, journal: "edge.journal",
                    halfway: {
                        try FileManager.default.copyItem(at: journal, to: copy)
                    })
                let (before, _) = try await Self.books(counter, provider)
                // As `cp copy edge.journal`: the file stays the same one.
                let descriptor = open(journal.path, O_WRONLY | O_TRUNC)
                let bytes = try Data(contentsOf: copy)
                let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
                #expect(count == bytes.count)
                close(descriptor)
                let back = try await site.edge(
                    counter: counter.port, more: ["--journal", "edge.journal"])
                try await back.ready()
                // The file's time gives it away. A fresher copy would be refused by the counter.
                _ = try await eventually("the old copy to be refused") {
                    back.process.log.contains("a journal is not believed") ? true : nil
                }
                let (after, _) = try await Self.books(counter, provider)
                #expect(after == before)
                await Load(site: site, edges: [back], seed: 8).run()
                let bill = try await provider.finalBill().nanoUSDRoundedUp
                print("old copy: presumed spent \(before) n$, then \(after) n$; bill \(bill) n$")
                #expect(bill <= 5_000_000_000)
                try await back.settled()
            }
        }

        @Test func `a clean end leaves no journal and one file serves one process`() async throws {
            try await withSite { site in
                let (_, counter) = try await Self.start(site, dollars: 5)
                let arguments = ["--journal", "edge.journal"]
                let edge = try await site.edge(counter: counter.port, more: arguments)
                try await edge.ready()
                #expect(try await edge.send(Self.call).status == 200)
                let journal = site.directory.appendingPathComponent("edge.journal").path
                #expect(FileManager.default.fileExists(atPath: journal))
                let other = try await site.run(
                    [
                        "edge", "--config", site.configFile.path, "--counter",
                        "127.0.0.1:\(counter.port)", "--listen", "127.0.0.1:0",
                    ] + arguments)
                #expect(other.code == 1)
                #expect(other.errors.contains("is the journal of another Holdfast process"))
                await edge.process.stop()
                #expect(!FileManager.default.fileExists(atPath: journal))
                let next = try await site.edge(counter: counter.port, more: arguments)
                try await next.ready()
                #expect(try await next.send(Self.call).status == 200)
                #expect(next.process.events(Self.deliveredMessage).isEmpty)
            }
        }

        // MARK: - Steps

        private static let deliveredMessage =
            "an earlier life of this edge has given back what it had not unlocked; the amounts are "
            + "in 'holdfast operator-log'"

        private static func start(
            _ site: Site, dollars: Int
        ) async throws -> (Provider, Node) {
            let provider = try await site.fakeProvider()
            try site.write(
                SiteConfig(
                    provider: provider.port, caps: ["name: cap, limit: $\(dollars), per: total"]))
            return (provider, try await site.counter())
        }

        /// Requests for a while, one after the other, and no word of goodbye.
        private static func loadAndKill(
            _ site: Site, _ counter: Node, _ provider: Provider, journal: String?,
            halfway: () throws -> Void = {}
        ) async throws -> Node {
            let edge = try await site.edge(
                counter: counter.port, more: journal.map { ["--journal", $0] } ?? [])
            try await edge.ready()
            for part in 0..<2 {
                let end = ContinuousClock.now + .milliseconds(part == 0 ? 1_000 : 2_500)
                while ContinuousClock.now < end {
                    #expect(try await edge.send(call).status == 200)
                }
                if part == 0 { try halfway() }
            }
            try await edge.process.killAndWait()
            return edge
        }

        /// What is charged to the cap beyond the bill, and the bill.
        private static func books(
            _ counter: Node, _ provider: Provider
        ) async throws -> (beyond: UInt64, bill: UInt64) {
            let bill = try await provider.finalBill().nanoUSDRoundedUp
            let account = try #require(try await counter.account("cap"))
            let spent = try #require(account.spentNanoUSD)
            let reserved = try #require(account.reservedNanoUSD)
            try #require(spent + reserved >= bill)
            return (spent + reserved - bill, bill)
        }

        private static func delivered(_ edge: Node) async throws {
            _ = try await eventually("the journal to be delivered") {
                edge.process.events(deliveredMessage).first
            }
        }
    }
}
