import HTTPTypes
import Hummingbird
package import Logging
import NIOCore
import ServiceLifecycle

/// The listener for probes, metrics and operator queries, apart from the port that carries traffic.
///
/// Reading takes no authentication: it belongs on loopback or on a network that only operators
/// reach. Changing something does, see `AdminOperations`.
package struct AdminServer: Service {
    package enum ListenError: Error, Hashable, CustomStringConvertible {
        /// The address could not be bound: in use, not ours, or not allowed.
        case cannotListen(host: String, port: Int, reason: String)

        package var description: String {
            switch self {
            case .cannotListen(let host, let port, let reason):
                "the admin listener cannot listen on \(host):\(port): \(reason)"
            }
        }
    }

    private let host: String
    private let port: Int
    private let name: String
    private let routes: AdminRoutes
    private let logger: Logger
    private let onBound: @Sendable (_ port: Int) -> Void

    /// - Parameters:
    ///   - port: 0 lets the system choose; `onBound` is told which.
    ///   - name: sent as the `server` header.
    ///   - onBound: called once, when connections are accepted.
    package init(
        host: String, port: Int, name: String, routes: AdminRoutes, logger: Logger,
        onBound: @escaping @Sendable (_ port: Int) -> Void = { _ in }
    ) {
        self.host = host
        self.port = port
        self.name = name
        self.routes = routes
        self.logger = logger
        self.onBound = onBound
    }

    /// Serves until graceful shutdown or cancellation.
    package func run() async throws {
        var frameworkLogger = logger
        // Hummingbird logs each start and each broken connection; ours says what matters.
        frameworkLogger.logLevel = max(logger.logLevel, .warning)
        let application = Application(
            responder: AdminResponder(routes: routes, logger: logger),
            server: .http1(configuration: .init(idleTimeout: .seconds(60))),
            configuration: .init(address: .hostname(host, port: port), serverName: name),
            onServerRunning: { channel in
                let port = channel.localAddress?.port ?? self.port
                self.logger.info(
                    "admin listener is up", metadata: ["host": "\(host)", "port": "\(port)"])
                onBound(port)
            },
            logger: frameworkLogger)
        do {
            try await application.run()
        } catch let error as IOError {
            throw ListenError.cannotListen(
                host: host, port: port, reason: SocketFailure.reason(error))
        } catch let error as SocketAddressError {
            throw ListenError.cannotListen(
                host: host, port: port, reason: SocketFailure.reason(error))
        }
    }
}

private struct AdminResponder: HTTPResponder {
    let routes: AdminRoutes
    let logger: Logger

    func respond(to request: Request, context: BasicRequestContext) async throws -> Response {
        let path = request.uri.path
        let answer: AdminResponse
        do {
            switch request.method {
            case .get, .head:
                answer = try await routes.respond(path: path, query: Self.query(of: request))
            case .post:
                answer = try await operate(request, path: path)
            default:
                answer = routes.unserved(path)
            }
        } catch {
            // The reason stays in the log: it may name hosts that a caller has no business with.
            logger.error(
                "an admin route failed", metadata: ["path": "\(path)", "error": "\(error)"])
            answer = .problem(
                status: 500, title: "Internal Server Error",
                detail: "The route failed; the reason is in this process's log.")
        }
        let response = Self.response(answer)
        return request.method == .head ? response.createHeadResponse() : response
    }

    private func operate(_ request: Request, path: String) async throws -> AdminResponse {
        guard let handler = routes.operations.handler(of: path) else {
            return routes.unserved(path)
        }
        let refusal = routes.operations.refusal(
            authorization: request.headers[.authorization],
            contentType: request.headers[.contentType], origin: request.headers[.origin])
        if let refusal {
            logger.warning(
                "an operation was refused",
                metadata: ["path": "\(path)", "status": "\(refusal.status)"])
            return refusal
        }
        let body: ByteBuffer
        do {
            body = try await request.body.collect(upTo: AdminOperations.bodyByteCountMax)
        } catch is NIOTooManyBytesError {
            return .problem(
                status: 413, title: "Content Too Large",
                detail: "A body has at most \(AdminOperations.bodyByteCountMax) bytes here.")
        }
        return try await handler(Array(body.readableBytesView))
    }

    /// The last value where a name is repeated.
    private static func query(of request: Request) -> [String: String] {
        var query: [String: String] = [:]
        for (name, value) in request.uri.queryParameters { query[String(name)] = String(value) }
        return query
    }

    private static func response(_ answer: AdminResponse) -> Response {
        var headers: HTTPFields = [
            .contentType: answer.contentType, .cacheControl: "no-store",
        ]
        for (name, value) in answer.headers.sorted(by: { $0.key < $1.key }) {
            guard let name = HTTPField.Name(name) else { continue }
            headers[name] = value
        }
        return Response(
            status: .init(code: answer.status), headers: headers,
            body: .init(byteBuffer: ByteBuffer(string: answer.body)))
    }
}
