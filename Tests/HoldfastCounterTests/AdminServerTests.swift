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

    private func routes(live: Bool = true, readiness: Readiness = .ready) -> AdminRoutes {
        AdminRoutes(
            isLive: { live }, readiness: { readiness }, metrics: { "up 1\n" },
            extra: [
                ("/echo", { query in .json("{\"cap\":\"\(query["cap"] ?? "")\"}") }),
                ("/fail", { _ in throw RouteFailure(host: "internal-host") }),
            ])
    }

    private func check(
        _ routes: AdminRoutes, _ path: String, _ status: Int, _ body: String,
        at location: SourceLocation = #_sourceLocation
    ) async throws {
        let answer = try await routes.respond(path: path, query: [:])
        #expect(answer.status == status, sourceLocation: location)
        #expect(answer.body == body, sourceLocation: location)
    }

    private func withServer(_ body: (_ port: Int) async throws -> Void) async throws {
        let (ports, bound) = AsyncStream.makeStream(of: Int.self)
        let server = AdminServer(
            host: "127.0.0.1", port: 0, name: "test", routes: routes(), logger: quiet,
            onBound: { bound.yield($0) })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            var iterator = ports.makeAsyncIterator()
            let port = try #require(await iterator.next())
            try await body(port)
            group.cancelAll()
        }
    }

    private func get(_ port: Int, _ line: String) async throws -> String {
        let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                        wrappingChannelSynchronously: channel)
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            let request = "\(line) HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
            try await outbound.write(ByteBuffer(string: request))
            var bytes: [UInt8] = []
            for try await part in inbound { bytes += part.readableBytesView }
            return String(decoding: bytes, as: UTF8.self)
        }
    }
}
