import HoldfastAdmin
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Testing

@Suite(.timeLimit(.minutes(1)))
struct AdminServerTests {
    @Test func `probes say whether and why not`() async throws {
        let busy = routes(live: false, readiness: .notReady(reasons: ["no counter", "draining"]))
        try await check(routes(), "/livez", 200, "ok\n")
        try await check(busy, "/livez", 503, "not live\n")
        try await check(busy, "/healthz", 503, "not live\n")
        try await check(routes(), "/readyz", 200, "ok\n")
        try await check(busy, "/readyz", 503, "no counter\ndraining\n")
        try await check(
            routes(readiness: .notReady(reasons: [])), "/readyz", 503, "not ready\n")
    }

    @Test func `metrics have the type that Prometheus asks for`() async throws {
        let answer = try await routes().respond(path: "/metrics", query: [:])
        #expect(answer.contentType == "text/plain; version=0.0.4; charset=utf-8")
        #expect(answer.body == "up 1\n")
    }

    @Test func `an unknown path is told the known ones`() async throws {
        let answer = try await routes().respond(path: "/x", query: [:])
        #expect(answer.status == 404)
        #expect(answer.contentType == "application/problem+json")
        #expect(
            answer.body == #"{"type":"about:blank","title":"Not Found","status":404,"detail":"#
                + #""This listener serves GET /livez, /readyz, /healthz, /metrics, /echo, "#
                + #"/fail."}"#)
    }

    @Test func `the listener answers over HTTP`() async throws {
        let service: any Service = AdminServer(
            host: "127.0.0.1", port: 0, name: "test", routes: routes(), logger: quiet)
        #expect(service is AdminServer)
        try await withServer { port in
            let live = try await get(port, "GET /livez")
            #expect(live.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(live.hasSuffix("\r\n\r\nok\n"))
            let echo = try await get(port, "GET /echo?cap=a%20b&cap=c%26d&x")
            #expect(echo.contains("application/json"))
            #expect(echo.hasSuffix(#"{"cap":"c&d"}"#))
            let head = try await get(port, "HEAD /livez")
            #expect(head.hasSuffix("\r\n\r\n"))
            let post = try await get(port, "POST /livez")
            #expect(post.hasPrefix("HTTP/1.1 405 "))
            #expect(post.lowercased().contains("allow: get, head"))
            #expect(try await get(port, "DELETE /livez").hasPrefix("HTTP/1.1 405 "))
            #expect(try await get(port, "DELETE /x").hasPrefix("HTTP/1.1 404 "))
        }
    }

    // MARK: - Operations

    private static let json = "content-type: application/json"
    private static let token = "authorization: Bearer s3cret-of-operators"

    @Test(arguments: [
        ("POST /double", [json, token], 200),
        ("POST /double", ["content-type: application/json; charset=utf-8", token], 200),
        ("POST /double", [json, "authorization: bearer s3cret-of-operators"], 200),
        ("POST /double", [json], 401),
        ("POST /double", [json, "authorization: Bearer s3cret-of-operatorS"], 401),
        ("POST /double", [json, "authorization: Bearer s3cret-of-operator"], 401),
        ("POST /double", [json, "authorization: Bearer s3cret-of-operatorss"], 401),
        ("POST /double", [json, "authorization: Bearer "], 401),
        ("POST /double", [json, "authorization: Basic s3cret-of-operators"], 401),
        ("POST /double", [json, "authorization: s3cret-of-operators"], 401),
        ("POST /double", [token], 415),
        ("POST /double", ["content-type: text/plain", token], 415),
        ("POST /double", ["content-type: application/jsonp", token], 415),
        ("POST /double", [json, token, "origin: http://127.0.0.1"], 403),
        ("POST /double", [json, token, "origin: null"], 403),
        ("POST /broken", [json, token], 500),
        ("POST /nothing", [json, token], 404),
        ("POST /echo", [json, token], 405),
        ("GET /double", [json, token], 405),
        ("PUT /double", [json, token], 405),
    ])
    func `operators change things, and nobody else`(
        _ row: (line: String, headers: [String], status: Int)
    ) async throws {
        try await withServer { port in
            let reply = try await send(port, row.line, row.headers, body: "ab")
            #expect(reply.hasPrefix("HTTP/1.1 \(row.status) "), "\(reply)")
            #expect(reply.hasSuffix("abab") == (row.status == 200), "\(reply)")
            #expect(!reply.contains("s3cret") && !reply.contains("internal-host"), "\(reply)")
            let isChallenged = reply.lowercased().contains("www-authenticate: bearer")
            #expect(isChallenged == (row.status == 401))
            if row.line.hasSuffix(" /double"), row.status == 405 {
                #expect(reply.lowercased().contains("allow: post"))
            }
        }
    }

    @Test func `a body has a bound`() async throws {
        try await withServer { port in
            let most = String(repeating: "x", count: AdminOperations.bodyByteCountMax)
            let taken = try await send(port, "POST /double", [Self.json, Self.token], body: most)
            #expect(taken.hasPrefix("HTTP/1.1 200 "))
            let refused = try await send(
                port, "POST /double", [Self.json, Self.token], body: most + "x")
            #expect(refused.hasPrefix("HTTP/1.1 413 "), "\(refused.prefix(200))")
        }
    }

    @Test func `without a token nothing can be changed, and the answer says how to`()
        async throws
    {
        try await withServer(token: nil) { port in
            for headers in [[Self.json, Self.token], [Self.json], []] {
                let reply = try await send(port, "POST /double", headers, body: "ab")
                #expect(reply.hasPrefix("HTTP/1.1 403 "), "\(reply)")
                #expect(reply.contains("no operators' token is configured"), "\(reply)")
            }
        }
    }

    @Test func `a failing route keeps its reason to itself`() async throws {
        try await withServer { port in
            let reply = try await get(port, "GET /fail")
            #expect(reply.hasPrefix("HTTP/1.1 500 "))
            #expect(!reply.contains("internal-host"))
        }
    }

    @Test func `a taken port is named in the error`() async throws {
        try await withServer { port in
            let second = AdminServer(
                host: "127.0.0.1", port: port, name: "test", routes: routes(), logger: quiet)
            let error = await #expect(throws: AdminServer.ListenError.self) {
                try await second.run()
            }
            #expect(error?.description.contains("cannot listen on 127.0.0.1:\(port)") == true)
        }
    }

    private struct RouteFailure: Error {
        let host: String
    }

    private var quiet: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }

    private func routes(
        live: Bool = true, readiness: Readiness = .ready,
        operations: AdminOperations = .none
    ) -> AdminRoutes {
        AdminRoutes(
            isLive: { live }, readiness: { readiness }, metrics: { "up 1\n" },
            extra: [
                ("/echo", { query in .json("{\"cap\":\"\(query["cap"] ?? "")\"}") }),
                ("/fail", { _ in throw RouteFailure(host: "internal-host") }),
            ], operations: operations)
    }

    private func check(
        _ routes: AdminRoutes, _ path: String, _ status: Int, _ body: String,
        at location: SourceLocation = #_sourceLocation
    ) async throws {
        let answer = try await routes.respond(path: path, query: [:])
        #expect(answer.status == status, sourceLocation: location)
        #expect(answer.body == body, sourceLocation: location)
    }

    private func withServer(
        token: String? = "s3cret-of-operators", _ body: (_ port: Int) async throws -> Void
    ) async throws {
        let operations = AdminOperations(
            token: token,
            handlers: [
                ("/double", { .json(String(decoding: $0 + $0, as: UTF8.self)) }),
                ("/broken", { _ in throw RouteFailure(host: "internal-host") }),
            ])
        let (ports, bound) = AsyncStream.makeStream(of: Int.self)
        let server = AdminServer(
            host: "127.0.0.1", port: 0, name: "test", routes: routes(operations: operations),
            logger: quiet, onBound: { bound.yield($0) })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            var iterator = ports.makeAsyncIterator()
            let port = try #require(await iterator.next())
            try await body(port)
            group.cancelAll()
        }
    }

    private func get(_ port: Int, _ line: String) async throws -> String {
        try await send(port, line, [], body: nil)
    }

    private func send(
        _ port: Int, _ line: String, _ headers: [String], body: String?
    ) async throws -> String {
        let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                        wrappingChannelSynchronously: channel)
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            var lines = ["\(line) HTTP/1.1", "host: test", "connection: close"] + headers
            if let body { lines.append("content-length: \(body.utf8.count)") }
            let head = lines.map { $0 + "\r\n" }.joined() + "\r\n"
            try await outbound.write(ByteBuffer(string: head + (body ?? "")))
            var bytes: [UInt8] = []
            for try await part in inbound { bytes += part.readableBytesView }
            return String(decoding: bytes, as: UTF8.self)
        }
    }
}
