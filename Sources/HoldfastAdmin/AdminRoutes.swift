/// Whether a process wants traffic.
package enum Readiness: Hashable, Sendable {
    case ready
    /// One sentence per reason, for the operator who asks why a load balancer skips this process.
    case notReady(reasons: [String])
}

/// What an admin route answers with.
package struct AdminResponse: Hashable, Sendable {
    package var status: Int
    package var contentType: String
    package var body: String
    /// More headers, by their names in lower case.
    var headers: [String: String] = [:]

    package init(status: Int = 200, contentType: String, body: String) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    /// `body` must be JSON already: this package has no opinion about how it is made.
    package static func json(_ body: String, status: Int = 200) -> AdminResponse {
        AdminResponse(status: status, contentType: "application/json", body: body)
    }

    /// RFC 9457.
    package static func problem(status: Int, title: String, detail: String) -> AdminResponse {
        let body =
            "{\"type\":\"about:blank\",\"title\":\(JSONText.quoted(title)),\"status\":\(status),"
            + "\"detail\":\(JSONText.quoted(detail))}"
        return AdminResponse(status: status, contentType: "application/problem+json", body: body)
    }

    static func text(_ body: String, status: Int = 200) -> AdminResponse {
        AdminResponse(status: status, contentType: "text/plain; charset=utf-8", body: body)
    }
}

/// What the admin listener serves, as closures that read the process's state when they are called.
package struct AdminRoutes: Sendable {
    /// Answers a GET; gets the decoded query, the last value where a name is repeated.
    package typealias Handler =
        @Sendable (_ query: [String: String]) async throws -> AdminResponse

    private let isLive: @Sendable () -> Bool
    private let readiness: @Sendable () -> Readiness
    private let metrics: @Sendable () -> String
    private let extra: [(path: String, handler: Handler)]
    let operations: AdminOperations

    /// - Parameter extra: more GET routes, each path starting with `/`. None may be taken already.
    package init(
        isLive: @escaping @Sendable () -> Bool,
        readiness: @escaping @Sendable () -> Readiness,
        metrics: @escaping @Sendable () -> String,
        extra: [(path: String, handler: Handler)] = [],
        operations: AdminOperations = .none
    ) {
        var taken = Set(Self.fixedPaths)
        for (path, _) in extra {
            precondition(path.hasPrefix("/"), "the admin path \(path) does not start with /")
            precondition(taken.insert(path).inserted, "the admin path \(path) is there twice")
        }
        self.isLive = isLive
        self.readiness = readiness
        self.metrics = metrics
        self.extra = extra
        self.operations = operations
    }

    package var paths: [String] { Self.fixedPaths + extra.map(\.path) }

    /// Answers a GET of `path`.
    package func respond(
        path: String, query: [String: String]
    ) async throws -> AdminResponse {
        switch path {
        case "/livez", "/healthz":
            return isLive() ? .text("ok\n") : .text("not live\n", status: 503)
        case "/readyz":
            return readinessResponse()
        case "/metrics":
            return AdminResponse(
                contentType: "text/plain; version=0.0.4; charset=utf-8", body: metrics())
        default:
            guard let route = extra.first(where: { $0.path == path }) else {
                return unserved(path)
            }
            return try await route.handler(query)
        }
    }

    /// Answers a method that `path` does not take.
    func unserved(_ path: String) -> AdminResponse {
        let isRead = paths.contains(path)
        guard isRead || operations.handler(of: path) != nil else {
            var detail = "This listener serves GET \(paths.joined(separator: ", "))"
            let posts = operations.handlers.map(\.path)
            if !posts.isEmpty { detail += "; POST \(posts.joined(separator: ", "))" }
            return .problem(status: 404, title: "Not Found", detail: detail + ".")
        }
        let allow = isRead ? "GET, HEAD" : "POST"
        var response = AdminResponse.problem(
            status: 405, title: "Method Not Allowed", detail: "\(path) takes \(allow) only.")
        response.headers["allow"] = allow
        return response
    }

    private static let fixedPaths = ["/livez", "/readyz", "/healthz", "/metrics"]

    private func readinessResponse() -> AdminResponse {
        switch readiness() {
        case .ready:
            return .text("ok\n")
        case .notReady(let reasons):
            // A probe's answer is never empty: an empty 503 could be anybody's.
            let lines = reasons.isEmpty ? ["not ready"] : reasons
            return .text(lines.map { $0 + "\n" }.joined(), status: 503)
        }
    }
}
