/// What operators change through the admin listener, with POST, and whom it takes that from.
///
/// Whoever reaches the listener can read; changing something takes the operators' token. Browsers
/// are kept out altogether, so that no page that an operator has open can act in his name.
package struct AdminOperations: Sendable {
    /// Answers a POST; gets the body, of at most `bodyByteCountMax` bytes.
    package typealias Handler = @Sendable (_ body: [UInt8]) async throws -> AdminResponse

    package static let bodyByteCountMax = 64 << 10

    package static let none = AdminOperations(token: nil, handlers: [])

    package let handlers: [(path: String, handler: Handler)]
    private let token: [UInt8]?

    /// - Parameters:
    ///   - token: `nil` turns all operations off.
    ///   - handlers: each path starts with `/`.
    package init(token: String?, handlers: [(path: String, handler: Handler)]) {
        precondition(token.map { !$0.isEmpty } ?? true, "an empty token lets everybody in")
        for (path, _) in handlers {
            precondition(path.hasPrefix("/"), "the admin path \(path) does not start with /")
        }
        precondition(
            Set(handlers.map(\.path)).count == handlers.count, "an admin path is there twice")
        self.token = token.map { Array($0.utf8) }
        self.handlers = handlers
    }

    func handler(of path: String) -> Handler? { handlers.first { $0.path == path }?.handler }

    /// Why a POST with these headers is not carried out; `nil` when it may be.
    func refusal(
        authorization: String?, contentType: String?, origin: String?
    ) -> AdminResponse? {
        guard let token else {
            return .problem(
                status: 403, title: "Forbidden",
                detail: "Changes are turned off: no operators' token is configured. Set "
                    + "'admin: { token: \"${HOLDFAST_ADMIN_TOKEN}\" }' and start the process again."
            )
        }
        guard origin == nil else {
            return .problem(
                status: 403, title: "Forbidden",
                detail: "Changes are not taken from browsers: the request has an Origin header.")
        }
        guard Self.isBearer(authorization, of: token) else {
            var response = AdminResponse.problem(
                status: 401, title: "Unauthorized",
                detail: "Changes take 'Authorization: Bearer …' with the token that "
                    + "'admin.token' of the configuration says.")
            response.headers["www-authenticate"] = "Bearer"
            return response
        }
        guard Self.isJSON(contentType) else {
            return .problem(
                status: 415, title: "Unsupported Media Type",
                detail: "Send the body with 'Content-Type: application/json'.")
        }
        return nil
    }

    private static func isJSON(_ contentType: String?) -> Bool {
        let type = contentType?.prefix { $0 != ";" } ?? ""
        return type.lowercased().filter { !$0.isWhitespace } == "application/json"
    }

    private static func isBearer(_ authorization: String?, of token: [UInt8]) -> Bool {
        let scheme = "bearer "
        guard let authorization, authorization.lowercased().hasPrefix(scheme) else { return false }
        return isSame(Array(authorization.utf8.dropFirst(scheme.utf8.count)), token)
    }

    /// Takes as long as what was offered is long, wherever it differs.
    private static func isSame(_ offered: [UInt8], _ token: [UInt8]) -> Bool {
        var difference: UInt8 = offered.count == token.count ? 0 : 1
        for (index, byte) in offered.enumerated() {
            difference |= byte ^ token[index % token.count]
        }
        return difference == 0
    }
}
