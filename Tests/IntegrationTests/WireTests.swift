import Testing

/// HTTP as clients of all sorts write it, byte by byte.
extension Integration {
    @Suite struct WireTests {
        private func withNode(_ body: (Node, Provider) async throws -> Void) async throws {
            try await withServe(
                {
                    SiteConfig(
                        provider: $0, caps: ["name: cap, limit: $5, per: day"],
                        limits: "body: 64KiB, header: 8KiB")
                }, body)
        }

        @Test func `a request beyond the limits is refused before it is read`() async throws {
            try await withNode { node, provider in
                let wide = String(repeating: "a", count: 70_000)
                func check(
                    _ pieces: [String], _ status: Int, _ reason: String,
                    at location: SourceLocation = #_sourceLocation
                ) async throws {
                    let reply = try await rawExchange(node.port, pieces)
                    #expect(
                        reply.text.hasPrefix("HTTP/1.1 \(status) "), "\(reply)",
                        sourceLocation: location)
                    #expect(reply.text.contains(reason), "\(reply)", sourceLocation: location)
                    #expect(reply.isClosed, sourceLocation: location)
                    try await node.settled(at: location)
                }
                let big = Call().with { $0.mark = wide }
                try await check([big.raw()], 413, "request_too_large")
                try await check(
                    [Self.chunked(Call(), [big.body])], 413, "request_too_large")
                try await check(
                    [Call(.anthropic).with { $0.mark = wide }.raw()], 413, "request_too_large")
                try await check(
                    [Call().raw(headers: ["x-wide: \(wide)"])], 431, "headers_too_large")
                let many = (0..<500).map { "x-many-\($0): \(wide.prefix(100))" }
                try await check([Call().raw(headers: many)], 431, "headers_too_large")
                try await check(["NONSENSE\r\n\r\n"], 400, "malformed_http")
                try await check(["GET / HTTP/9.9\r\n\r\n"], 400, "malformed_http")
                #expect(try await provider.bill().received == 0)
            }
        }

        @Test func `a body may come in chunks`() async throws {
            try await withNode { node, _ in
                let body = Call().body
                let half = body.utf8.count / 2
                let reply = try await rawExchange(
                    node.port,
                    [
                        Self.chunked(
                            Call(), [String(body.prefix(half)), String(body.dropFirst(half))])
                    ],
                    until: { $0.contains("\"usage\"") })
                #expect(reply.text.hasPrefix("HTTP/1.1 200 OK"), "\(reply)")
                try await node.settled()
            }
        }

        @Test func `a client that waits for a go gets one`() async throws {
            try await withNode { node, _ in
                let raw = Call().raw(headers: ["expect: 100-continue"])
                let reply = try await rawExchange(
                    node.port, [raw, Call().named("next").raw()],
                    until: { text in
                        text.firstRange(of: "x-request-id: next").map {
                            text[$0.upperBound...].contains("\"usage\"")
                        } ?? false
                    })
                let go = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
                #expect(reply.text.hasPrefix(go), "\(reply)")
                #expect(!reply.isClosed, "\(reply)")
                try await node.settled()
            }
        }

        @Test func `pipelined requests are answered in order`() async throws {
            try await withNode { node, provider in
                // The first takes longest, and one of them is refused.
                let calls = [
                    Call(mark: "[[tokens=20]][[delay=10]]").named("first"),
                    Call().with { $0.model = "gpt-9" }.named("second"),
                    Call(mark: "[[tokens=1]]").named("third"),
                ]
                let reply = try await rawExchange(
                    node.port, [calls.map { $0.raw() }.joined()],
                    until: { text in
                        text.firstRange(of: "x-request-id: third").map {
                            text[$0.upperBound...].contains("\"usage\"")
                        } ?? false
                    })
                let places = ["first", "second", "third"].compactMap {
                    reply.text.firstRange(of: "x-request-id: \($0)\r\n")?.lowerBound
                }
                #expect(places.count == 3 && places == places.sorted(), "\(reply)")
                #expect(try await provider.bill().requests == 2)
                try await node.settled()
            }
        }

        @Test func `an HTTP 1_0 client gets what it can read`() async throws {
            try await withNode { node, _ in
                for isStreamed in [false, true] {
                    let reply = try await rawExchange(
                        node.port, [Call(isStreamed: isStreamed).raw(version: "1.0")])
                    #expect(reply.text.hasPrefix("HTTP/1."), "\(reply)")
                    #expect(reply.text.contains(" 200 OK\r\n"), "\(reply)")
                    // Chunks came with HTTP/1.1; the end of the connection is the end of the body.
                    #expect(!reply.text.lowercased().contains("transfer-encoding"), "\(reply)")
                    #expect(reply.isClosed && !reply.isReset)
                    #expect(
                        reply.text.hasSuffix(isStreamed ? "data: [DONE]\n\n" : "}"), "\(reply)")
                    try await node.settled()
                }
            }
        }

        @Test func `an answer to HEAD has no body and the connection goes on`() async throws {
            try await withNode { node, _ in
                let head = "HEAD /v1/models HTTP/1.1\r\nx-api-key: \(Secrets.app)\r\n\r\n"
                let reply = try await rawExchange(
                    node.port, [head + Call().named("next").raw()],
                    until: { $0.contains("\"usage\"") })
                let parts = reply.text.split(separator: "\r\n\r\n")
                #expect(parts.first?.hasPrefix("HTTP/1.1 404") == true, "\(reply)")
                #expect(parts.dropFirst().first?.hasPrefix("HTTP/1.1 200") == true, "\(reply)")
                try await node.settled()
            }
        }

        @Test func `a client that leaves in the middle of its request costs nothing`() async throws
        {
            try await withNode { node, provider in
                let raw = Call().raw()
                for length in [10, raw.utf8.count / 2, raw.utf8.count - 1] {
                    try await rawHangUp(node.port, String(raw.prefix(length)))
                    try await node.settled()
                }
                #expect(try await provider.bill().received == 0)
            }
        }

        private static func chunked(_ call: Call, _ pieces: [String]) -> String {
            let headers = call.allHeaders.map { "\($0.0): \($0.1)\r\n" }.joined()
            let chunks = pieces.map {
                String($0.utf8.count, radix: 16) + "\r\n" + $0 + "\r\n"
            }
            return "POST \(call.dialect.path) HTTP/1.1\r\nhost: edge\r\n\(headers)"
                + "transfer-encoding: chunked\r\n\r\n" + chunks.joined() + "0\r\n\r\n"
        }
    }
}
