package import NIOCore

/// One HTTP request to a provider.
///
/// The transport owns the framing: `Connection`, `Content-Length`, `Expect`, `Host`,
/// `Proxy-Authorization`, `Transfer-Encoding` and the other names in `EgressRequest.ownedHeaders`
/// are left out of `headers` and follow from the URL and the body. All others go out as they are;
/// nothing is added (no `Accept`, no `Accept-Encoding`, no `User-Agent`, no `Content-Type`).
package struct EgressRequest: Sendable {
    package var method: String
    /// `http` or `https`, without user and password. The path is sent as it is, `..` included.
    package var url: String
    package var headers: [(String, String)]
    package var body: [UInt8]
    /// For name resolution, a free connection, TCP and TLS together.
    package var connectTimeout: Duration
    /// Longest time in which no byte moves, in either direction, once the request is being sent.
    package var idleTimeout: Duration
    /// For everything, from `start` to the last byte. `nil`: no such limit.
    package var totalTimeout: Duration?

    /// Whether the environment's proxy is asked (`http_proxy`, …). Not for our own nodes: it would be
    /// shown what is meant for them.
    package var usesProxy = true

    package init(
        method: String, url: String, headers: [(String, String)] = [], body: [UInt8] = [],
        connectTimeout: Duration = .seconds(10), idleTimeout: Duration = .seconds(600),
        totalTimeout: Duration? = nil
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.connectTimeout = connectTimeout
        self.idleTimeout = idleTimeout
        self.totalTimeout = totalTimeout
    }
}

/// What happens to a transfer: at most one `head`, then any number of `body`, and last exactly one
/// `end` or `failed`. `failed` can come at any moment, `end` only after a `head`.
package enum EgressEvent: Sendable {
    /// The final response: informational (1xx) ones are skipped, redirects are not followed.
    /// Names are as the server wrote them (HTTP/2: lower case); trailers are dropped.
    case head(status: Int, headers: [(name: String, value: String)])
    /// Content as sent: transfer coding removed, content coding not.
    case body(ByteBuffer)
    /// The response is complete.
    case end
    case failed(EgressFailure)
}

package struct EgressFailure: Error, Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable, CaseIterable {
        case resolve
        case connect
        case tls
        /// Time ran out before there was a connection to send on.
        case timeoutBeforeSend
        /// Time ran out after the request had begun to be sent.
        case timeout
        case sendFailed
        /// The connection or stream ended before the response was complete.
        case reset
        /// What the server sent is not an HTTP response that can be passed on.
        case badResponse
        case cancelled
        /// The reader fell behind by more than the buffer holds.
        case bufferOverflow
        /// A request that cannot be sent, or a failure of this process.
        case other
    }

    package var kind: Kind
    /// `false` only if no byte of the request can have reached the provider, which therefore cannot
    /// have billed it. In doubt `true`.
    package var requestWasSent: Bool
    /// For operators. Holds no header, no path or query of the URL, and nothing of either body.
    package var message: String

    package init(kind: Kind, requestWasSent: Bool, message: String) {
        self.kind = kind
        self.requestWasSent = requestWasSent
        self.message = message
    }
}

/// A whole response, for callers that do not stream.
package struct EgressResponse: Sendable {
    package var status: Int
    package var headers: [(name: String, value: String)]
    package var body: ByteBuffer

    package init(status: Int, headers: [(name: String, value: String)], body: ByteBuffer) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}
