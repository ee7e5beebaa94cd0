import Foundation
import Glibc
import Testing

/// Callers over TLS. libcurl is the client, and takes HTTP/2 where it is offered.
extension Integration {
    @Suite struct DownstreamTLSTests {
        private static let cap = "name: cap, limit: $5, per: total"

        private func withNode(
            cap: String = cap, limits: String = "",
            _ body: (Node, Provider, SelfSigned) async throws -> Void
        ) async throws {
            try await withSite { site in
                let certificate = try SelfSigned("first").write(to: site)
                let provider = try await site.fakeProvider()
                let node = try await site.serve(
                    SiteConfig(provider: provider.port, caps: [cap], limits: limits)
                        .with { $0.hasTLS = true })
                try await node.ready()
                try await body(node, provider, certificate)
            }
        }

        @Test(arguments: [true, false])
        func `calls are served and charged by either protocol`(isHTTP2: Bool) async throws {
            try await withNode { node, provider, certificate in
                #expect(node.process.events("edge is up").first?["tls"] == "on")
                let caller = try TLSCaller(
                    site: node.site, trusting: certificate, isHTTP2Enabled: isHTTP2)
                for dialect in Call.Dialect.allCases {
                    for isStreamed in [false, true] {
                        let response = try await caller.send(
                            Call(dialect, mark: "[[tokens=20]]", isStreamed: isStreamed), to: node)
                        #expect(response.status == 200, "\(response.text)")
                        #expect(response.text.contains("\"usage\"") || isStreamed)
                        let isChunked = response.header("transfer-encoding") != nil
                        #expect(isChunked == (isStreamed && !isHTTP2))
                    }
                }
                #expect(try await node.metric("holdfast_downstream_connections") == "1")
                #expect(try await provider.bill().requests == 4)
                try await node.booksEqual(provider, cap: "cap")
            }
        }

        @Test func `one connection serves a stream and other calls meanwhile`() async throws {
            try await withNode { node, provider, certificate in
                let caller = try TLSCaller(site: node.site, trusting: certificate)
                var stream = caller.stream(
                    Call(mark: "[[tokens=200]][[delay=10]]", maxTokens: 300, isStreamed: true),
                    to: node)
                await stream.read(until: "\"content\":")
                // The caller has one connection, and the stream is not over.
                #expect(try await caller.send(Call(), to: node).status == 200)
                let large = Call().with { $0.mark = String(repeating: "a", count: 300_000) }
                #expect(try await caller.send(large, to: node).status == 200)
                #expect(try await provider.bill().in_flight == 1)
                #expect(try await node.metric("holdfast_downstream_connections") == "1")
                await stream.read()
                #expect(stream.isComplete && stream.text.hasSuffix("data: [DONE]\n\n"))
                try await node.booksEqual(provider, cap: "cap")
            }
        }

        @Test func `many streams of one connection spend a cap to its end and not beyond`()
            async throws
        {
            let limit: UInt64 = 100_000_000
            try await withNode(cap: "name: cap, limit: $0.10, per: total") {
                node, provider, certificate in
                let caller = try TLSCaller(site: node.site, trusting: certificate)
                let load = Load(caller: caller, edges: [node], seed: 7)
                await load.run()
                let bill = try await provider.finalBill()
                let tally = load.tally
                #expect(bill.nanoUSDRoundedUp <= limit, "\(tally)")
                #expect(bill.nanoUSDRoundedUp >= limit / 100 * 95, "\(tally)")
                #expect(tally.strange == [] && tally.failures == [], "\(tally)")
                #expect(tally.served == bill.requests)
                try await node.settled()
                try await node.booksEqual(provider, cap: "cap")
            }
        }

        @Test func `refusals come whole and leave the connection as it is`() async throws {
            try await withNode(
                cap: "name: cap, limit: $0.0001, per: total", limits: "body: 64KiB, header: 8KiB"
            ) { node, provider, certificate in
                let caller = try TLSCaller(site: node.site, trusting: certificate)
                let wide = String(repeating: "a", count: 1 << 20)
                for _ in 0..<8 {
                    let spent = try await caller.send(Call(maxTokens: 16_000), to: node)
                    #expect(spent.status == 402, "\(spent.text)")
                    #expect(spent.holdfast["cap"] as? String == "cap")
                    let large = try await caller.send(Call().with { $0.mark = wide }, to: node)
                    #expect(large.status == 413, "\(large.text)")
                    #expect(large.reason == "request_too_large")
                    #expect(large.header("connection") == nil)
                    let headers = try await caller.send(
                        Call().with { $0.headers = [("x-wide", String(wide.prefix(10_000)))] },
                        to: node)
                    #expect(headers.status == 431, "\(headers.text)")
                }
                #expect(try await node.metric("holdfast_downstream_connections") == "1")
                #expect(try await provider.bill().received == 0)
                try await node.settled()
            }
        }

        @Test func `a stream that its caller resets is settled and the others go on`()
            async throws
        {
            try await withNode { node, provider, certificate in
                let caller = try TLSCaller(site: node.site, trusting: certificate)
                let call = Call(
                    mark: "[[tokens=100]][[delay=10]]", maxTokens: 400, isStreamed: true)
                var stays = caller.stream(call.named("stays"), to: node)
                await stays.read(until: "\"content\":")
                var leaves = caller.stream(call.named("leaves"), to: node)
                await leaves.read(until: "\"content\":")
                leaves.leave()
                await stays.read()
                #expect(stays.isComplete && stays.text.hasSuffix("data: [DONE]\n\n"))
                let record = try await node.record(of: "leaves")
                #expect(record["outcome"] == "abandoned", "\(record)")
                #expect(record["basis"] == "usage", "\(record)")
                try await node.settled()
                try await node.booksEqual(provider, cap: "cap")
            }
        }

        @Test func `a new certificate is used without a restart and a bad one is not`()
            async throws
        {
            try await withNode { node, _, first in
                let old = try TLSCaller(site: node.site, trusting: first)
                #expect(try await old.send(Call(), to: node).status == 200)
                let second = try SelfSigned("second").write(to: node.site)
                let new = try await eventually("the new certificate") {
                    let caller = try TLSCaller(site: node.site, trusting: second)
                    do {
                        return try await caller.send(Call(), to: node).status == 200 ? caller : nil
                    } catch {
                        return nil
                    }
                }
                #expect(node.process.events("callers' certificate reloaded").count >= 1)
                // What was connected stays so.
                #expect(try await old.send(Call(), to: node).status == 200)
                let file = node.site.directory.appendingPathComponent("tls.crt")
                try Data("no certificate".utf8).write(to: file)
                let message = "callers' certificate not reloaded; the old one stays"
                let event = try await eventually("the mistake to be logged") {
                    let caller = try TLSCaller(site: node.site, trusting: second)
                    #expect(try await caller.send(Call(), to: node).status == 200)
                    return node.process.events(message).last
                }
                #expect(event["error"]?.contains("tls.crt") == true)
                #expect(try await new.send(Call(), to: node).status == 200)
                try await node.settled()
            }
        }

        @Test func `a drain lets streams finish and does not wait for idle connections`()
            async throws
        {
            try await withNode(limits: "drain: 30s") { node, provider, certificate in
                let idle = try TLSCaller(site: node.site, trusting: certificate)
                #expect(try await idle.send(Call(), to: node).status == 200)
                let caller = try TLSCaller(site: node.site, trusting: certificate)
                var stream = caller.stream(
                    Call(mark: "[[tokens=100]][[delay=10]]", maxTokens: 200, isStreamed: true),
                    to: node)
                await stream.read(until: "\"content\":")
                let started = ContinuousClock.now
                node.process.send(SIGTERM)
                await stream.read()
                #expect(stream.isComplete, "\(String(describing: stream.failure))")
                #expect(stream.text.hasSuffix("data: [DONE]\n\n"))
                #expect(try await node.process.exitCode() == 0, "\(node.process.log)")
                #expect(started.duration(to: .now) < .seconds(20))
                let again = try await node.site.serve(
                    SiteConfig(provider: provider.port, caps: [Self.cap]))
                try await again.ready()
                try await again.booksEqual(provider, cap: "cap")
            }
        }

        @Test func `certificates that cannot be used stop the start`() async throws {
            try await withSite { site in
                let good = try SelfSigned("good").write(to: site)
                let config = SiteConfig(provider: 1, caps: [Self.cap]).with { $0.hasTLS = true }
                func check(
                    _ file: String, _ text: String, _ says: String,
                    at location: SourceLocation = #_sourceLocation
                ) async throws {
                    try good.write(to: site)
                    let url = site.directory.appendingPathComponent(file)
                    try FileManager.default.removeItem(at: url)
                    if !text.isEmpty { try Data(text.utf8).write(to: url) }
                    try site.write(config)
                    let result = try await site.run([
                        "serve", "--config", site.configFile.path,
                    ])
                    #expect(result.code == 1, "\(result.errors)", sourceLocation: location)
                    #expect(result.errors.contains(file), sourceLocation: location)
                    #expect(
                        result.errors.contains(says), "\(result.errors)", sourceLocation: location)
                }
                let other = try SelfSigned("other")
                let old = try SelfSigned("old", until: .now - 86_400)
                try await check("tls.crt", "", "no such file")
                try await check("tls.key", "", "no such file")
                try await check("tls.crt", "hello", "no certificate")
                try await check("tls.key", good.certificate, "no private key")
                try await check("tls.key", other.key, "does not belong")
                try await check("tls.crt", old.certificate, "expired")
            }
        }
    }
}
