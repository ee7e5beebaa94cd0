import HoldfastTestKit
import NIOCore
import NIOPosix
import Testing

@Suite(.timeLimit(.minutes(1)))
struct FakeProviderTests {
    @Test func `what an answer reports is what the bill has, to the picodollar`() async throws {
        // gpt-4o-mini: 150,000 picoUSD in, 75,000 cached, 600,000 out. A prompt of 40 bytes is 10.
        let usage = #""prompt_tokens":10,"completion_tokens":7,"total_tokens":17"#
        try await checkChat("[[tokens=7]]", expect: [usage, #""finish_reason":"stop""#], 5_700_000)
        try await checkChat(
            "[[tokens=7]]", "\"stream\":true,\"stream_options\":{\"include_usage\":true}",
            expect: [usage, #""content":"the ""#, #""usage":null}"#, "data: [DONE]"], 5_700_000)
        try await checkChat(
            "[[tokens=7]]", "\"stream\":true", expect: ["data: [DONE]"], without: "usage",
            5_700_000)
        try await checkChat(
            "[[tokens=7]]", "\"max_tokens\":4",
            expect: [#""completion_tokens":4"#, #""finish_reason":"length""#], 3_900_000)
        try await checkChat(
            "[[tokens=7]]", "\"n\":3", expect: [#""completion_tokens":21"#, #""index":2"#],
            14_100_000)
        try await checkChat(
            "[[tokens=7]][[cached=6]]", expect: [#""cached_tokens":6"#], 5_250_000)
        try await checkChat(
            "[[tokens=3]][[tool]]",
            "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]",
            expect: [#""finish_reason":"tool_calls""#, #""arguments":"{\"note\":\"river \"}""#],
            3_750_000)
    }

    @Test func `a message streams in order and bills cache writes`() async throws {
        try await withProvider { port, bill in
            let reply = try await exchange(
                port,
                messages(
                    mark: "[[tokens=2]][[cached=1]][[cache-write=2]][[cache-write-long=3]]",
                    fields: "\"max_tokens\":5,\"stream\":true"))
            let events = reply.text.split(separator: "\n").filter { $0.hasPrefix("event: ") }
                .map { $0.dropFirst(7) }
            #expect(
                events == [
                    "message_start", "content_block_start", "ping", "content_block_delta",
                    "content_block_delta", "content_block_stop", "message_delta", "message_stop",
                ])
            let input =
                #""input_tokens":14,"cache_creation_input_tokens":5,"cache_read_input_tokens":1"#
            #expect(reply.text.contains("\(input),\"output_tokens\":2}"))
            #expect(reply.text.contains(#""stop_reason":"end_turn""#))
            // claude-haiku-4-5: 14 × 1 + 1 × 0.1 + 2 × 1.25 + 3 × 2 + 2 × 5, in microdollars.
            #expect(bill.totalPicoUSD == 32_600_000)
            #expect(bill.inFlight == 0)
        }
    }

    @Test func `every other dialect is answered in its own words, and billed alike`() async throws {
        // gpt-4o-mini, command-r-08-2024 and gemini-2.5-flash; a prompt of 10 tokens, 7 of output.
        try await check(
            responses(),
            [#""input_tokens":10,"#, #""output_tokens":7,"#, #""status":"completed""#],
            5_700_000)
        try await check(
            responses(fields: "\"stream\":true"),
            [
                "event: response.created\n", #""sequence_number":4,"#, #""delta":"river ""#,
                "event: response.completed\n", #""total_tokens":17"#,
            ], 5_700_000)
        try await check(
            responses(mark: "[[tokens=20]]", fields: "\"stream\":true,\"max_output_tokens\":16"),
            ["event: response.incomplete\n", #""reason":"max_output_tokens""#], 11_100_000)
        try await check(
            cohere(fields: "\"stream\":false"),
            [#""billed_units":{"input_tokens":10,"output_tokens":7}"#, "COMPLETE"], 5_700_000)
        try await check(
            cohere(fields: "\"stream\":true,\"max_tokens\":4"),
            ["event: content-delta\n", "event: message-end\n", "MAX_TOKENS"], 3_900_000)
        try await check(
            gemini("generateContent"),
            [#""promptTokenCount":10,"candidatesTokenCount":7,"#, #""finishReason":"STOP""#],
            20_500_000)
        try await check(
            gemini("streamGenerateContent?alt=sse", limit: 4),
            [#"data: {"candidates":"#, #""candidatesTokenCount":4,"#, "MAX_TOKENS"], 13_000_000)
        try await check(
            gemini("streamGenerateContent"), [#"[{"candidates":"#, "]\n"], 20_500_000)
    }

    @Test func `Bedrock's streams are framed, and its models named in the path`() async throws {
        // 14 tokens of a prompt of 80 bytes are neither read from the cache nor written to it.
        let mark = "[[tokens=2]][[cached=1]][[cache-write=2]][[cache-write-long=3]]"
        let usage = #""inputTokens":14,"outputTokens":2,"totalTokens":22,"cacheReadInputTokens":1,"#
        try await check(
            bedrock("converse", mark: mark), [usage, #""stopReason":"end_turn""#], 32_600_000)
        try await check(
            bedrock("converse-stream", mark: mark),
            [
                "application/vnd.amazon.eventstream", ":event-type\u{7}\0\u{8}metadata",
                #""delta":{"text":"river "}"#, usage,
            ], 32_600_000)
        try await check(
            bedrock("converse-stream", mark: "[[tokens=4]][[fault=error-mid-stream]]"),
            [":exception-type\u{7}\0\u{17}internalServerException"], 20_000_000)
        try await check(
            bedrock("converse", key: "AWS4-HMAC-SHA256 Credential=AKID/20261121/us-east-1"),
            [#""inputTokens":10,"outputTokens":7,"#], 45_000_000)
    }

    @Test func `every dialect refuses in its own shape`() async throws {
        try await checkRefusal(responses(fields: "\"max_output_tokens\":1"), 400, "\"param\"")
        try await checkRefusal(cohere(fields: "\"max_tokens\":0"), 400, #"{"id":"req_fake1","m"#)
        try await checkRefusal(
            gemini("generateContent", key: ""), 403, #""status":"PERMISSION_DENIED""#)
        try await checkRefusal(
            gemini("generateContent", mark: "[[fault=status-429]]"), 429, "RESOURCE_EXHAUSTED")
        try await checkRefusal(bedrock("converse", key: "Bearer "), 403, "AccessDeniedException")
        try await checkRefusal(
            bedrock("converse", mark: "[[fault=status-503]]"), 503, "ServiceUnavailableException")
    }

    @Test func `a client that hangs up pays for what was generated and no more`() async throws {
        try await withProvider { port, bill in
            let request = chat(mark: "[[tokens=16000]][[delay=1]]", fields: "\"stream\":true")
            let reply = try await exchange(port, request, until: "\"content\":\"mill \"")
            #expect(!reply.text.contains("[DONE]"))
            while bill.inFlight > 0 { await Task.yield() }
            let line = try #require(bill.lines.first)
            #expect(line.requests == 1)
            #expect((8..<16_000).contains(line.tokens.output))
            #expect(bill.totalPicoUSD == 1_500_000 + 600_000 * UInt128(line.tokens.output))
        }
    }

    @Test func `requests that a provider refuses are not billed`() async throws {
        try await checkRefusal(chat(mark: "", key: ""), 401, "API key")
        try await checkRefusal(chat(mark: "", model: "gpt-9"), 404, "model_not_found")
        try await checkRefusal(chat(mark: "", model: "claude-haiku-4-5"), 404, "model_not_found")
        try await checkRefusal(chat(mark: "", fields: "\"max_tokens\":0"), 400, "max_tokens")
        try await checkRefusal(
            chat(mark: "", model: "gpt-6-sol", fields: "\"max_tokens\":5"), 400,
            "unsupported_parameter")
        try await checkRefusal(chat(mark: "", fields: "\"n\":"), 400, "could not parse")
        try await checkRefusal(messages(mark: "", fields: "\"top_k\":1"), 400, "Field required")
        try await checkRefusal(
            messages(mark: "", fields: "\"max_tokens\":1", key: ""), 401, "authentication_error")
        try await checkRefusal(chat(mark: "[[tokens=x]]"), 400, "whole number")
        try await checkRefusal(chat(mark: "[[fault=status-429]]"), 429, "rate_limit_exceeded")
        try await checkRefusal(chat(mark: "[[fault=status-500]]"), 500, "server_error")
        try await checkRefusal(chat(mark: "[[fault=status-503]]"), 503, "overloaded")
    }

    @Test func `faults break the answer and not the bill`() async throws {
        try await checkFault("no-usage", stream: false, 8, without: "\"usage\"")
        try await checkFault("no-usage", stream: true, 8, without: "\"usage\"")
        try await checkFault("usage-twice", stream: true, 8, has: "\"completion_tokens\":4,")
        try await checkFault("reset-before-head", stream: true, 8, without: "HTTP", isReset: true)
        try await checkFault("reset-before-head", stream: false, 8, without: "HTTP", isReset: true)
        try await checkFault("reset-mid-stream", stream: true, 4, has: "slowly", isReset: true)
        try await checkFault("reset-mid-stream", stream: false, 8, has: "200 OK", isReset: true)
        try await checkFault("garbage", stream: true, 8, has: "not an event", without: "[DONE]")
        try await checkFault("garbage", stream: false, 8, has: "200 OK", without: "usage")
        try await checkFault("gzip", stream: true, 8, has: "Content-Encoding: gzip")
        try await checkFault("error-mid-stream", stream: true, 4, has: "server_error")
        try await checkFault("error-mid-stream", stream: false, 4, has: "500")
        try await checkFault("huge-event", stream: true, 8, has: String(repeating: "x", count: 999))
    }

    @Test func `the same seed gives the same lengths`() async throws {
        var bills: [UInt128] = []
        for seed: UInt64 in [7, 7, 8] {
            try await withProvider(seed: seed) { port, bill in
                for _ in 0..<3 { _ = try await exchange(port, chat(mark: "")) }
                bills.append(bill.totalPicoUSD)
            }
        }
        #expect(bills[0] == bills[1])
        #expect(bills[0] != bills[2])
    }

    @Test func `the bill can be read and reset over HTTP`() async throws {
        try await withProvider { port, _ in
            _ = try await exchange(port, chat(mark: "[[tokens=1]]"))
            let bill = try await exchange(port, "GET /bill HTTP/1.1\r\nconnection: close\r\n\r\n")
            #expect(bill.text.contains(#"{"total_usd":"0.000002100000","total_pico_usd":2100000,"#))
            #expect(bill.text.contains(#""requests":1,"received":1,"in_flight":0"#))
            #expect(bill.text.contains(#""key":"…test""#))
            #expect(!bill.text.contains("sk-"))
            _ = try await exchange(port, "POST /reset HTTP/1.1\r\nconnection: close\r\n\r\n")
            let empty = try await exchange(port, "GET /bill HTTP/1.1\r\nconnection: close\r\n\r\n")
            #expect(empty.text.contains(#""total_pico_usd":0,"requests":0"#))
        }
    }

    private func checkChat(
        _ mark: String, _ fields: String = "\"user\":\"u\"", expect: [String],
        without: String = "impossible", _ picoUSD: UInt64,
        at location: SourceLocation = #_sourceLocation
    ) async throws {
        try await withProvider { port, bill in
            // Tools are prompt too: one more token here.
            let reply = try await exchange(port, chat(mark: mark, fields: fields))
            for text in expect {
                #expect(reply.text.contains(text), "\(reply.text)", sourceLocation: location)
            }
            #expect(!reply.text.contains(without), sourceLocation: location)
            #expect(bill.totalPicoUSD == UInt128(picoUSD), sourceLocation: location)
            #expect(bill.inFlight == 0, sourceLocation: location)
        }
    }

    private func check(
        _ request: String, _ expected: [String], _ picoUSD: UInt64,
        at location: SourceLocation = #_sourceLocation
    ) async throws {
        try await withProvider { port, bill in
            let reply = try await exchange(port, request)
            for text in expected {
                #expect(reply.raw.contains(text), "\(reply.raw)", sourceLocation: location)
            }
            #expect(bill.totalPicoUSD == UInt128(picoUSD), sourceLocation: location)
            #expect(bill.inFlight == 0, sourceLocation: location)
        }
    }

    private func checkRefusal(
        _ request: String, _ status: Int, _ text: String,
        at location: SourceLocation = #_sourceLocation
    ) async throws {
        try await withProvider { port, bill in
            let reply = try await exchange(port, request)
            #expect(reply.text.hasPrefix("HTTP/1.1 \(status) "), sourceLocation: location)
            #expect(reply.text.contains(text), "\(reply.text)", sourceLocation: location)
            #expect(bill.totalPicoUSD == 0, sourceLocation: location)
            #expect(bill.received == 1, sourceLocation: location)
        }
    }

    private func checkFault(
        _ fault: String, stream: Bool, _ outputTokens: UInt64, has: String = "",
        without: String = "impossible", isReset: Bool = false,
        at location: SourceLocation = #_sourceLocation
    ) async throws {
        try await withProvider { port, bill in
            let options = "\"stream\":true,\"stream_options\":{\"include_usage\":true}"
            let reply = try await exchange(
                port,
                chat(
                    mark: "[[tokens=8]][[fault=\(fault)]]",
                    fields: stream ? options : "\"stream\":false"))
            #expect(
                has.isEmpty || reply.text.contains(has), "\(reply.text.prefix(2_000))",
                sourceLocation: location)
            #expect(!reply.text.contains(without), sourceLocation: location)
            #expect(reply.isReset == isReset, sourceLocation: location)
            #expect(
                bill.lines.map(\.tokens.output) == [outputTokens], sourceLocation: location)
        }
    }
}

/// A prompt of 40 bytes whatever the marks, so that it is 10 tokens; with 80 where they need it.
private func prompt(_ mark: String) -> String {
    mark + String(repeating: ".", count: (mark.utf8.count <= 40 ? 40 : 80) - mark.utf8.count)
}

private func chat(
    mark: String, model: String = "gpt-4o-mini", fields: String = "\"user\":\"u\"",
    key: String = "sk-test"
) -> String {
    post(
        "/v1/chat/completions", "authorization: Bearer \(key)",
        "{\"model\":\"\(model)\",\(fields),\"messages\":[{\"role\":\"user\","
            + "\"content\":\"\(prompt(mark))\"}]}")
}

private func messages(mark: String, fields: String, key: String = "sk-test") -> String {
    post(
        "/v1/messages", "x-api-key: \(key)\r\nanthropic-version: 2023-06-01",
        "{\"model\":\"claude-haiku-4-5\",\(fields),\"messages\":[{\"role\":\"user\","
            + "\"content\":\"\(prompt(mark))\"}]}")
}

private func responses(
    mark: String = "[[tokens=7]]", fields: String = "\"user\":\"u\""
) -> String {
    post(
        "/v1/responses", "authorization: Bearer sk-test",
        "{\"model\":\"gpt-4o-mini\",\(fields),\"input\":\"\(prompt(mark))\"}")
}

private func cohere(fields: String) -> String {
    post(
        "/v2/chat", "authorization: Bearer sk-test",
        "{\"model\":\"command-r-08-2024\",\(fields),\"messages\":[{\"role\":\"user\","
            + "\"content\":\"\(prompt("[[tokens=7]]"))\"}]}")
}

private func gemini(
    _ call: String, mark: String = "[[tokens=7]]", limit: Int = 100, key: String = "sk-test"
) -> String {
    post(
        "/v1beta/models/gemini-2.5-flash:\(call)", "x-goog-api-key: \(key)",
        "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"\(prompt(mark))\"}]}],"
            + "\"generationConfig\":{\"maxOutputTokens\":\(limit)}}")
}

private func bedrock(
    _ call: String, mark: String = "[[tokens=7]]", key: String = "Bearer sk-test"
) -> String {
    post(
        "/model/global.anthropic.claude-haiku-4-5-20251001-v1%3A0/\(call)",
        "authorization: \(key)\r\nx-amz-date: 20261121T120000Z",
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"\(prompt(mark))\"}]}],"
            + "\"inferenceConfig\":{\"maxTokens\":100}}")
}

private func post(_ path: String, _ headers: String, _ body: String) -> String {
    "POST \(path) HTTP/1.1\r\nhost: fake\r\n\(headers)\r\nconnection: close\r\n"
        + "content-length: \(body.utf8.count)\r\n\r\n\(body)"
}

/// Runs `body` against a provider of its own that generates without delay.
private func withProvider(
    seed: UInt64 = 1, _ body: (_ port: Int, Bill) async throws -> Void
) async throws {
    let (ports, bound) = AsyncStream.makeStream(of: Int.self)
    let provider = FakeProvider(
        behaviour: FakeBehaviour(seed: seed, tokenDelay: .zero), onBound: { bound.yield($0) })
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await provider.run() }
        var iterator = ports.makeAsyncIterator()
        let port = try #require(await iterator.next())
        try await body(port, provider.bill)
        group.cancelAll()
    }
}

private struct Reply {
    var text: String
    /// With the marks of the chunks: of a body that may have any bytes in it they cannot be told.
    var raw: String
    var isReset: Bool

    /// - Parameter bytes: a reply as it came, perhaps cut, perhaps in chunks.
    init(_ bytes: [UInt8], isReset: Bool = false) {
        raw = String(decoding: bytes, as: UTF8.self)
        let lines = raw.replacing("\r\n", with: "\u{1}")
        let parts = lines.split(separator: "\u{1}\u{1}", maxSplits: 1).map(String.init)
        var text = lines
        if parts.count == 2, parts[0].lowercased().contains("transfer-encoding: chunked") {
            // Sizes and data alternate, and the data has no line break of this kind.
            let lines = parts[1].split(separator: "\u{1}").enumerated()
            let data = lines.filter { !$0.offset.isMultiple(of: 2) }.map { String($0.element) }
            text = parts[0] + "\n\n" + data.joined()
        }
        self.text = text.replacing("\u{1}", with: "\n")
        self.isReset = isReset
    }
}

/// Sends raw HTTP and reads until the server closes, or until `marker` has arrived.
private func exchange(
    _ port: Int, _ request: String, until marker: String? = nil
) async throws -> Reply {
    let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
        .connect(host: "127.0.0.1", port: port) { channel in
            channel.eventLoop.makeCompletedFuture {
                try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
            }
        }
    return try await channel.executeThenClose { inbound, outbound in
        try await outbound.write(ByteBuffer(string: request))
        var bytes: [UInt8] = []
        do {
            for try await part in inbound {
                bytes += part.readableBytesView
                if let marker, Reply(bytes).text.contains(marker) { break }
            }
        } catch let error as IOError where error.errnoCode == 104 {
            return Reply(bytes, isReset: true)
        }
        return Reply(bytes)
    }
}
