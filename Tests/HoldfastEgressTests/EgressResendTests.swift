import HoldfastEgress
import Testing

/// libcurl re-sends a request whose reused connection died before an answer. A completion that is
/// sent twice is billed twice.
@Suite(.timeLimit(.minutes(1)))
struct EgressResendTests {
    /// The first request is answered and the connection kept; the second one comes on the same
    /// connection and `fault` is all the answer that it gets. On a second connection, which libcurl
    /// opens before it asks whether to send, every request is counted and answered.
    private func check(
        _ second: EgressRequest, requestCount: Int, failure: EgressFailure.Kind?,
        sourceLocation: SourceLocation = #_sourceLocation,
        fault: @escaping @Sendable (RawConnection) -> Void
    ) async throws {
        let isFirst = FirstCall()
        try await withServer { connection in
            if isFirst.take() {
                _ = connection.readRequest()
                connection.answer()
                _ = connection.readRequest()
                fault(connection)
            } else {
                while connection.readRequest() != nil { connection.answer("sent again") }
            }
        } _: { egress, server in
            _ = try await egress.fetch(.post(server.url()))
            var request = second
            request.url = server.url()
            let outcome = await Exchange(egress, request).outcome()
            #expect(outcome.failure?.kind == failure, sourceLocation: sourceLocation)
            if failure != nil {
                #expect(outcome.failure?.requestWasSent == true, sourceLocation: sourceLocation)
            }
            #expect(server.requests.count == requestCount, sourceLocation: sourceLocation)
        }
    }

    @Test func `a POST on a connection that closes without an answer is not sent again`()
        async throws
    {
        try await check(.post(""), requestCount: 2, failure: .reset) { $0.close() }
    }

    @Test func `a POST on a connection that is reset is not sent again`() async throws {
        try await check(.post(""), requestCount: 2, failure: .reset) { $0.reset() }
    }

    @Test func `a large POST is not sent again`() async throws {
        var request = EgressRequest.post("")
        request.body = [UInt8](repeating: 7, count: 3 << 20)
        try await check(request, requestCount: 2, failure: .reset) { $0.close() }
    }

    /// Nothing of a body can be rewound here: only the prerequest callback stands in the way.
    @Test func `a POST without a body is not sent again`() async throws {
        try await check(.post("", ""), requestCount: 2, failure: .reset) { $0.close() }
    }

    @Test func `a DELETE is not sent again`() async throws {
        let request = EgressRequest(method: "DELETE", url: "")
        try await check(request, requestCount: 2, failure: .reset) { $0.close() }
    }

    @Test func `a GET costs nothing and may be sent again`() async throws {
        let request = EgressRequest(method: "GET", url: "")
        try await check(request, requestCount: 3, failure: nil) { $0.close() }
    }

    @Test func `a connection that the server closed while idle is not used`() async throws {
        try await withServer { connection in
            _ = connection.readRequest()
            connection.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        } _: { egress, server in
            for _ in 0..<20 {
                // The FIN may still be under way; then the transfer fails, and is not repeated.
                let before = server.requests.count
                let outcome = await Exchange(egress, .post(server.url())).outcome()
                #expect(outcome.status == 200 || outcome.failure?.requestWasSent == true)
                #expect(server.requests.count - before <= 1)
            }
        }
    }
}
