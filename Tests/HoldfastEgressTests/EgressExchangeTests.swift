import HoldfastEgress
import NIOCore
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1)))
struct EgressExchangeTests {
    @Test func `a POST arrives as it was written and its answer comes back`() async throws {
        try await withServer {
            _ = $0.readRequest()
            $0.write("HTTP/1.1 201 Created\r\nX-One: a\r\nx-two:  b \r\nX-One: c\r\n")
            $0.write("content-length: 5\r\n\r\nhello")
        } _: { egress, server in
            let exchange = Exchange(
                egress,
                .post(
                    server.url("/v1/../messages?beta=true"), "{\"a\":1}",
                    headers: [
                        ("X-Api-Key", "k"), ("x-empty", ""), ("X-Twice", "1"), ("X-Twice", "2"),
                    ]))
            let outcome = await exchange.outcome()
            #expect(outcome.failure == nil)
            #expect(outcome.status == 201)
            #expect(outcome.text == "hello")
            #expect(
                outcome.headers.map { "\($0.name)=\($0.value)" }
                    == ["X-One=a", "x-two=b", "X-One=c", "content-length=5"])
            let request = try #require(server.requests.first)
            #expect(request.requestLine == "POST /v1/../messages?beta=true HTTP/1.1")
            #expect(
                request.lines.dropFirst() == [
                    "Host: 127.0.0.1:\(server.port)", "X-Api-Key: k", "x-empty:", "X-Twice: 1",
                    "X-Twice: 2", "Content-Length: 7",
                ])
            #expect(request.body == Array("{\"a\":1}".utf8))
        }
    }

    @Test(arguments: [
        ("GET", "", "GET / HTTP/1.1", nil),
        ("DELETE", "", "DELETE / HTTP/1.1", nil),
        ("POST", "", "POST / HTTP/1.1", "0"),
        ("PUT", "x", "PUT / HTTP/1.1", "1"),
        ("GET", "x", "GET / HTTP/1.1", "1"),
    ])
    func `the method and the body decide the framing`(
        method: String, body: String, line: String, contentLength: String?
    ) async throws {
        try await withServer {
            _ = $0.readRequest()
            $0.answer()
        } _: { egress, server in
            let request = EgressRequest(
                method: method, url: server.url("/"), body: Array(body.utf8))
            let response = try await egress.fetch(request)
            #expect(response.status == 200)
            let seen = try #require(server.requests.first)
            #expect(seen.requestLine == line)
            #expect(seen.values("content-length").first == contentLength)
            #expect(seen.body == Array(body.utf8))
        }
    }

    @Test func `an answer to HEAD ends without a body`() async throws {
        try await withServer {
            _ = $0.readRequest()
            $0.write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            $0.waitForPeer()
        } _: { egress, server in
            let response = try await egress.fetch(EgressRequest(method: "HEAD", url: server.url()))
            #expect(response.status == 200)
            #expect(response.body.readableBytes == 0)
        }
    }

    @Test func `headers that frame the message are the transport's own`() async throws {
        try await withServer {
            _ = $0.readRequest()
            $0.answer()
        } _: { egress, server in
            let request = EgressRequest.post(
                server.url(), "12345",
                headers: [
                    ("Content-Length", "3"), ("transfer-encoding", "chunked"), ("HOST", "evil"),
                    ("Connection", "close"), ("Expect", "100-continue"), ("TE", "trailers"),
                    ("User-Agent", "sdk/1"), ("Content-Type", "application/json"),
                ])
            _ = try await egress.fetch(request)
            let seen = try #require(server.requests.first)
            #expect(
                seen.lines.dropFirst() == [
                    "Host: 127.0.0.1:\(server.port)", "User-Agent: sdk/1",
                    "Content-Type: application/json", "Content-Length: 5",
                ])
        }
    }

    @Test func `a chunked answer loses its framing and keeps its bytes`() async throws {
        try await withServer {
            _ = $0.readRequest()
            $0.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n")
            $0.write("content-encoding: gzip\r\n\r\n")
            $0.write("5\r\nhello\r\n7;ext=1\r\n, world\r\n0\r\nx-trailer: late\r\n\r\n")
        } _: { egress, server in
            let outcome = await Exchange(egress, .post(server.url())).outcome()
            #expect(outcome.failure == nil)
            #expect(outcome.text == "hello, world")
            #expect(outcome.headCount == 1)
            #expect(outcome.headers.map(\.name) == ["transfer-encoding", "content-encoding"])
        }
    }

    @Test func `an answer without a length ends with its connection`() async throws {
        try await withServer {
            _ = $0.readRequest()
            $0.write("HTTP/1.0 200 OK\r\n\r\nall of it")
        } _: { egress, server in
            let response = try await egress.fetch(.post(server.url()))
            #expect(response.body == ByteBuffer(string: "all of it"))
        }
    }

    @Test func `large bodies pass whole in both directions`() async throws {
        let up = (0..<5_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        let down = (0..<7_000_000).map { UInt8(truncatingIfNeeded: $0 &* 17 >> 2) }
        try await withServer {
            _ = $0.readRequest()
            $0.write("HTTP/1.1 200 OK\r\ncontent-length: \(down.count)\r\n\r\n")
            $0.write(down)
        } _: { egress, server in
            let request = EgressRequest(method: "POST", url: server.url(), body: up)
            let response = try await egress.fetch(request)
            #expect(response.body == ByteBuffer(bytes: down))
            #expect(server.requests.first?.body == up)
            #expect(server.requests.first?.values("expect") == [])
        }
    }

    @Test func `informational responses are not shown`() async throws {
        try await withServer {
            _ = $0.readRequest()
            $0.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n")
            $0.answer("done")
        } _: { egress, server in
            let outcome = await Exchange(egress, .post(server.url())).outcome()
            #expect(outcome.status == 200)
            #expect(outcome.headCount == 1)
            #expect(outcome.headers.map(\.name) == ["content-length"])
            #expect(outcome.text == "done")
        }
    }

    @Test func `a redirect is an answer and not followed`() async throws {
        try await withServer {
            _ = $0.readRequest()
            $0.write("HTTP/1.1 307 T\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n")
            $0.waitForPeer()
        } _: { egress, server in
            let response = try await egress.fetch(.post(server.url()))
            #expect(response.status == 307)
            #expect(server.requests.count == 1)
        }
    }

    @Test func `an answer may come before the request is fully sent`() async throws {
        try await withServer {
            _ = $0.readHead()
            $0.write("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
            $0.waitForPeer()
        } _: { egress, server in
            let body = [UInt8](repeating: 1, count: 20 << 20)
            let outcome = await Exchange(
                egress, EgressRequest(method: "POST", url: server.url(), body: body)
            ).outcome()
            #expect(outcome.status == 413)
            #expect(outcome.text == "no")
        }
    }

    @Test func `a connection is used again, and a thousand requests need one handle`() async throws
    {
        try await withServer { connection in
            while connection.readRequest() != nil { connection.answer() }
        } _: { egress, server in
            for _ in 0..<1_000 {
                let response = try await egress.fetch(.post(server.url()))
                #expect(response.status == 200)
            }
            #expect(server.requests.count == 1_000)
            #expect(server.connectionCount == 1)
            #expect(egress.handleCount == 1)
        }
    }

    @Test func `many transfers at once do not mix`() async throws {
        try await withServer(threadCount: 2) { connection in
            while let request = connection.readRequest() {
                connection.answer(String(decoding: request.body, as: UTF8.self))
            }
        } _: { egress, server in
            let exchanges = (0..<64).map { index in
                Exchange(egress, .post(server.url(), "body \(index)"))
            }
            for (index, exchange) in exchanges.enumerated() {
                #expect(await exchange.outcome().text == "body \(index)")
                #expect(exchange.lastEventCount == 1)
            }
            #expect(server.requests.count == 64)
            #expect(egress.handleCount <= 64)
        }
    }

    @Test func `transfers above the connection limit wait their turn`() async throws {
        let server = RawServer { connection in
            while connection.readRequest() != nil { connection.answer() }
        }
        let egress = try Egress(
            threadCount: 1, bufferByteCountMax: 1 << 20, connectionsPerHostMax: 2)
        let exchanges = (0..<20).map { _ in Exchange(egress, .post(server.url())) }
        for exchange in exchanges { #expect(await exchange.outcome().text == "ok") }
        #expect(server.connectionCount <= 2)
        #expect(server.requests.count == 20)
        egress.shutdown()
        server.stop()
    }

    @Test func `every handle is freed at shutdown`() async throws {
        let server = RawServer {
            _ = $0.readRequest()
            $0.answer()
        }
        let egress = try Egress(threadCount: 2, bufferByteCountMax: 1 << 20)
        for _ in 0..<4 { _ = try await egress.fetch(.post(server.url())) }
        #expect(egress.handleCount > 0)
        egress.shutdown()
        egress.shutdown()
        #expect(egress.handleCount == 0)
        server.stop()
    }
}
