import Testing

extension Integration {
    @Suite struct CounterLossTests {
        private static let cap = "name: cap, limit: $5, per: total"

        @Test func `an edge without a counter says so and recovers by itself`() async throws {
            try await withSite { site in
                let provider = try await site.fakeProvider()
                try site.write(SiteConfig(provider: provider.port, caps: [Self.cap]))
                // A counter that was there, so that its port is free now.
                var counter = try await site.counter()
                try await counter.process.killAndWait()
                let edge = try await site.edge(counter: counter.port)
                let ready = try await edge.admin("/readyz")
                #expect(ready.status == 503)
                #expect(ready.text.contains("no counter has answered yet"))
                #expect(try await edge.admin("/livez").status == 200)
                try await check(edge, provider)
                counter = try await site.counter(port: counter.port)
                try await edge.ready()
                #expect(try await edge.send(Call()).status == 200)
                try await edge.settled()
                try await counter.booksEqual(provider, cap: "cap")
            }
        }

        @Test func `an edge works on its slices when the counter goes and then refuses`()
            async throws
        {
            try await withSite { site in
                let provider = try await site.fakeProvider()
                try site.write(SiteConfig(provider: provider.port, caps: [Self.cap]))
                var counter = try await site.counter()
                let edge = try await site.edge(counter: counter.port)
                try await edge.ready()
                let quick = Call(mark: "[[tokens=1]][[delay=0]]", maxTokens: 1)
                // A steady rate earns a slice for the seconds to come.
                let start = ContinuousClock.now
                while start.duration(to: .now) < .milliseconds(1_500) {
                    #expect(try await edge.send(quick).status == 200)
                }
                try await counter.process.killAndWait()
                _ = try await eventually("the edge to notice") {
                    edge.process.events("counter connection lost").first
                }
                #expect(try await edge.send(quick).status == 200)
                // Larger ones use the slice up before the lease ends.
                let large = Call(mark: "[[tokens=400]][[delay=0]]", maxTokens: 400)
                let refusal = try await eventually("the slice to be used up", within: .seconds(20))
                {
                    let response = try await edge.send(large)
                    return response.status == 200 ? nil : response
                }
                #expect(refusal.text.contains("no counter answers"), "\(refusal.text)")
                #expect(refusal.status == 503)
                try await check(edge, provider)
                counter = try await site.counter(port: counter.port)
                try await edge.ready()
                _ = try await eventually("requests to be served again") {
                    try await edge.send(quick).status == 200 ? true : nil
                }
                try await edge.settled()
                try await counter.booksEqual(provider, cap: "cap")
            }
        }

        private func check(
            _ edge: Node, _ provider: Provider, at location: SourceLocation = #_sourceLocation
        ) async throws {
            let received = try await provider.bill().received
            for dialect in Call.Dialect.allCases {
                let response = try await edge.send(Call(dialect, maxTokens: 4_000))
                #expect(response.status == 503, "\(response.text)", sourceLocation: location)
                #expect(response.reason == "counter_unavailable", sourceLocation: location)
                #expect(response.header("retry-after") == "1", sourceLocation: location)
                #expect(response.header("x-should-retry") == "true", sourceLocation: location)
            }
            #expect(try await provider.bill().received == received, sourceLocation: location)
            try await edge.settled(at: location)
        }
    }
}
