import Glibc
import Testing

/// HTTP/2 in plain text, as load balancers speak it to what is behind them.
extension Integration {
    @Suite struct DownstreamHTTP2Tests {
        private static let cap = "name: cap, limit: $5, per: total"

        private func withNode(
            limits: String = "", _ body: (Node, Provider) async throws -> Void
        ) async throws {
            try await withServe(
                { SiteConfig(provider: $0, caps: [Self.cap], limits: limits) }, body)
        }

        @Test func `calls are served side by side with those of HTTP1`() async throws {
            try await withNode { node, provider in
                #expect(node.process.events("edge is up").first?["tls"] == "off")
                try await RawHTTP2.connect(node.port) { connection in
                    var stream: UInt32 = 1
                    for dialect in Call.Dialect.allCases {
                        for isStreamed in [false, true] {
                            try await connection.send(
                                Call(dialect, mark: "[[tokens=20]]", isStreamed: isStreamed),
                                stream: stream)
                            stream += 2
                        }
                    }
                    #expect(try await node.send(Call()).status == 200)
                    for stream in [7, 5, 3, 1] as [UInt32] {
                        let answer = try await connection.read(stream)
                        #expect(answer.isOK && answer.isComplete, "\(answer)")
                        #expect(answer.resetCode == nil)
                    }
                    #expect(try await connection.read(3).text.hasSuffix("data: [DONE]\n\n"))
                    // Of those with a length: callers that count would take them for complete.
                    for stream in [1, 5] as [UInt32] {
                        #expect(try await !connection.read(stream).endsApart)
                    }
                }
                #expect(try await provider.bill().requests == 5)
                try await node.settled()
                try await node.booksEqual(provider, cap: "cap")
            }
        }

        @Test func `a response that is cut short does not look complete`() async throws {
            try await withNode { node, provider in
                try await RawHTTP2.connect(node.port) { connection in
                    try await connection.send(
                        Call(mark: "[[tokens=8]][[fault=reset-mid-stream]]", maxTokens: 50)
                            .named("cut"), stream: 1)
                    let answer = try await connection.read(1)
                    #expect(answer.isOK && !answer.isComplete && answer.resetCode != nil)
                    #expect(try await node.record(of: "cut")["basis"] == "ceiling")
                    try await connection.send(Call(), stream: 3)
                    #expect(try await connection.read(3).isComplete)
                }
                try await node.settled()
                try await booksCover(provider, node)
            }
        }

        @Test func `a reset and a lost connection settle their holds`() async throws {
            try await withNode { node, provider in
                func call(_ name: String, tokens: Int) -> Call {
                    let mark = "[[tokens=\(tokens)]][[delay=10]]"
                    return Call(mark: mark, maxTokens: 400, isStreamed: true).named(name)
                }
                try await RawHTTP2.connect(node.port) { connection in
                    try await connection.send(call("reset", tokens: 50), stream: 1)
                    // Long enough to outlive the other, whose provider is read on to its end.
                    try await connection.send(call("lost", tokens: 300), stream: 3)
                    _ = try await connection.read(1, until: "\"content\":")
                    _ = try await connection.read(3, until: "\"content\":")
                    try await connection.reset(1)
                    #expect(try await node.record(of: "reset")["outcome"] == "abandoned")
                }
                #expect(try await node.record(of: "lost")["outcome"] == "abandoned")
                try await node.settled()
                try await node.booksEqual(provider, cap: "cap")
            }
        }

        @Test func `a caller that does not read does not fill the memory`() async throws {
            try await withNode(limits: "stream_buffer: 64KiB") { node, provider in
                try await RawHTTP2.connect(node.port, window: 1_000) { connection in
                    try await connection.send(
                        Call(mark: "[[tokens=9000]]", maxTokens: 9_000, isStreamed: true)
                            .named("slow"), stream: 1)
                    #expect(try await node.record(of: "slow")["basis"] == "ceiling")
                    // The others are not held up.
                    try await connection.send(Call().with { $0.model = "gpt-9" }, stream: 3)
                    #expect(try await connection.read(3).isComplete)
                    #expect(try #require(connection.answers[1]).text.utf8.count <= 1_000)
                    // What has been kept for the caller is little, and says that it is not all.
                    try await connection.allow(1, more: 1 << 20)
                    let text = try await connection.read(1).text
                    #expect(text.utf8.count < 256 << 10)
                    #expect(text.contains("upstream_failed") && !text.contains("[DONE]"))
                }
                try await node.settled()
                try await booksCover(provider, node)
            }
        }

        @Test func `a drain says goodbye and lets what is in flight finish`() async throws {
            try await withNode { node, provider in
                try await RawHTTP2.connect(node.port) { connection in
                    try await connection.send(
                        Call(mark: "[[tokens=100]][[delay=10]]", maxTokens: 200, isStreamed: true),
                        stream: 1)
                    _ = try await connection.read(1, until: "\"content\":")
                    node.process.send(SIGTERM)
                    let answer = try await connection.read(1)
                    #expect(answer.isComplete && answer.text.hasSuffix("data: [DONE]\n\n"))
                    #expect(connection.goAwayCode == 0)
                    try await connection.readToEnd()
                }
                #expect(try await node.process.exitCode() == 0, "\(node.process.log)")
                #expect(try await provider.bill().requests == 1)
            }
        }

        /// Once everything is reported: at least what the provider billed.
        private func booksCover(_ provider: Provider, _ node: Node) async throws {
            let bill = try await provider.finalBill().nanoUSDRoundedUp
            _ = try await eventually("the books to cover \(bill)") {
                let account = try await node.account("cap")
                return account?.reservedNanoUSD == 0 && (account?.spentNanoUSD ?? 0) >= bill
                    ? true : nil
            }
        }
    }
}
