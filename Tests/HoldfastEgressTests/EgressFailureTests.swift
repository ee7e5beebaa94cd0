import Dispatch
import HoldfastEgress
import NIOCore
import Synchronization
import Testing

/// Every way a transfer can go wrong, and whether it may have been billed.
@Suite(.timeLimit(.minutes(1)))
struct EgressFailureTests {
    /// Runs one request against a script and compares the failure.
    private func check(
        _ kind: EgressFailure.Kind, sent: Bool, status: Int? = nil,
        _ request: EgressRequest = .post(""), bufferByteCountMax: Int = 1 << 20,
        scheme: String = "http", sourceLocation: SourceLocation = #_sourceLocation,
        _ script: @escaping @Sendable (RawConnection) -> Void
    ) async throws {
        try await withServer(bufferByteCountMax: bufferByteCountMax, script) { egress, server in
            var request = request
            if request.url.isEmpty { request.url = server.url(scheme: scheme) }
            let exchange = Exchange(egress, request)
            let outcome = await exchange.outcome()
            #expect(outcome.failure?.kind == kind, sourceLocation: sourceLocation)
            #expect(outcome.failure?.requestWasSent == sent, sourceLocation: sourceLocation)
            #expect(outcome.failure?.message.isEmpty == false, sourceLocation: sourceLocation)
            #expect(outcome.status == status, sourceLocation: sourceLocation)
            egress.shutdown()
            #expect(exchange.lastEventCount == 1, sourceLocation: sourceLocation)
        }
    }

    // MARK: - Nothing was sent

    @Test func `a refused connection cannot have been billed`() async throws {
        let request = EgressRequest.post("http://127.0.0.1:\(RawServer.closedPort())/")
        try await check(.connect, sent: false, request) { $0.close() }
    }

    @Test func `a name that does not resolve cannot have been billed`() async throws {
        // A label of 64 letters is refused by the resolver itself: nothing leaves this machine.
        let request = EgressRequest.post("http://\(String(repeating: "a", count: 64)).invalid/")
        try await check(.resolve, sent: false, request) { $0.close() }
    }

    @Test func `a server that does not speak TLS cannot have billed`() async throws {
        try await check(.tls, sent: false, scheme: "https") {
            $0.write("HTTP/1.1 400 Bad Request\r\n\r\n")
            $0.waitForPeer()
        }
    }

    @Test func `a TLS handshake that never ends runs into the connect timeout`() async throws {
        let request = EgressRequest.post("", connectTimeout: .milliseconds(200))
        try await check(.timeoutBeforeSend, sent: false, request, scheme: "https") {
            $0.waitForPeer()
        }
    }

    @Test(arguments: [
        EgressRequest.post("http://127.0.0.1:1/", headers: [("x-a", "b\r\nx-evil: 1")]),
        .post("http://127.0.0.1:1/", headers: [("x-a", "b\nc")]),
        .post("http://127.0.0.1:1/", headers: [("x-a", "b\u{0}c")]),
        .post("http://127.0.0.1:1/", headers: [("x-a\r\nx-evil", "b")]),
        .post("http://127.0.0.1:1/", headers: [("x a", "b")]),
        .post("http://127.0.0.1:1/", headers: [("", "b")]),
        .post("http://127.0.0.1:1/ HTTP/1.1\r\nx-evil: 1"),
        .post("http://127.0.0.1:1/a b"),
        .post("http://user:password@127.0.0.1:1/"),
        .post("file:///etc/passwd"),
        .post("gopher://127.0.0.1:1/"),
        .post("127.0.0.1:1/"),
        .post("http://"),
        .post("http://127.0.0.1:1/", idleTimeout: .zero),
        .post("http://127.0.0.1:1/", totalTimeout: .seconds(-1)),
        EgressRequest(method: "GET / HTTP/1.1\r\nx-evil: 1\r\n", url: "http://127.0.0.1:1/"),
        EgressRequest(method: "", url: "http://127.0.0.1:1/"),
    ])
    func `a request that would be read differently is not sent`(request: EgressRequest) async throws
    {
        let egress = try Egress(threadCount: 1, bufferByteCountMax: 1 << 20)
        let outcome = await Exchange(egress, request).outcome()
        let failure = try #require(outcome.failure)
        #expect(failure.kind == .other)
        #expect(!failure.requestWasSent)
        for secret in ["evil", "password", "passwd"] {
            #expect(!failure.message.contains(secret))
        }
        egress.shutdown()
    }

    // MARK: - It may have been billed

    @Test func `a connection closed instead of an answer`() async throws {
        try await check(.reset, sent: true) { _ = $0.readRequest() }
    }

    @Test func `a connection reset instead of an answer`() async throws {
        try await check(.reset, sent: true) {
            _ = $0.readRequest()
            $0.reset()
        }
    }

    @Test func `a body cut short`() async throws {
        try await check(.reset, sent: true, status: 200) {
            _ = $0.readRequest()
            $0.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        }
        try await check(.reset, sent: true, status: 200) {
            _ = $0.readRequest()
            $0.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        }
    }

    @Test(arguments: [
        "220 smtp.example ESMTP\r\n",
        "<html>no head</html>\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad name: 1\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n",
    ])
    func `an answer that is not HTTP`(answer: String) async throws {
        try await check(.badResponse, sent: true) {
            _ = $0.readRequest()
            $0.write(answer)
        }
    }

    @Test func `a head without end`() async throws {
        try await check(.badResponse, sent: true) {
            _ = $0.readRequest()
            $0.write("HTTP/1.1 200 OK\r\n")
            let line = "x-filler: " + String(repeating: "a", count: 1_000) + "\r\n"
            $0.write(String(repeating: line, count: 400))
            $0.waitForPeer()
        }
    }

    @Test func `silence before the head runs into the idle timeout`() async throws {
        try await check(.timeout, sent: true, .post("", idleTimeout: .milliseconds(200))) {
            _ = $0.readRequest()
            $0.waitForPeer()
        }
    }

    @Test func `silence in the middle of the body runs into the idle timeout`() async throws {
        let request = EgressRequest.post("", idleTimeout: .milliseconds(200))
        try await check(.timeout, sent: true, status: 200, request) {
            _ = $0.readRequest()
            $0.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
            $0.waitForPeer()
        }
    }

    @Test func `bytes that keep coming run into the total timeout only`() async throws {
        let request = EgressRequest.post(
            "", idleTimeout: .milliseconds(400), totalTimeout: .milliseconds(1_200))
        let startedAt = ContinuousClock.now
        try await check(
            .timeout, sent: true, status: 200, request, bufferByteCountMax: 1 << 30
        ) { connection in
            _ = connection.readRequest()
            connection.write("HTTP/1.1 200 OK\r\n\r\n")
            while connection.isOpen(forMilliseconds: 50) { connection.write("x") }
        }
        #expect(ContinuousClock.now - startedAt >= .milliseconds(1_200))
    }

    @Test func `an upload that stalls runs into the idle timeout`() async throws {
        var request = EgressRequest.post("", idleTimeout: .milliseconds(200))
        request.body = [UInt8](repeating: 0, count: 32 << 20)
        let isOver = DispatchSemaphore(value: 0)
        try await check(.timeout, sent: true, request) { _ in isOver.wait() }
        isOver.signal()
    }

    @Test func `a reader that falls behind loses its transfer`() async throws {
        try await check(
            .bufferOverflow, sent: true, status: 200, bufferByteCountMax: 64 << 10
        ) {
            _ = $0.readRequest()
            $0.write("HTTP/1.1 200 OK\r\n\r\n")
            $0.write([UInt8](repeating: 0, count: 1 << 20))
            $0.waitForPeer()
        }
    }

    @Test func `a fetch refuses a body above its limit`() async throws {
        try await withServer {
            _ = $0.readRequest()
            $0.answer(String(repeating: "a", count: 1_001))
            _ = $0.readRequest()
        } _: { egress, server in
            let failure = await #expect(throws: EgressFailure.self) {
                try await egress.fetch(.post(server.url()), bodyByteCountMax: 1_000)
            }
            #expect(failure?.kind == .bufferOverflow)
            let response = try await egress.fetch(.post(server.url()), bodyByteCountMax: 1_001)
            #expect(response.body.readableBytes == 1_001)
        }
    }
}
