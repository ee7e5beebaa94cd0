import HoldfastEgress
import HoldfastProviders
import NIOCore
import NIOHTTP1

/// Phase 5: send the request to the provider. Never sent twice by us.
extension Exchange {
    /// Of this connection and not of the message, or set by the transport itself.
    static let hopByHopHeaders: Set<String> = [
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host",
        "content-length", "expect", "accept-encoding",
    ]

    /// What the bytes of the body are, which we say ourselves.
    private static let bodyHeaders: Set<String> = ["content-type", "content-encoding"]

    func forward() {
        guard let adapter, let provider, let facts, let hold else {
            preconditionFailure("forward before admit")
        }
        let isClamped = hold.output < outputWanted
        let request = EgressRequest(
            method: head.method.rawValue, url: provider.baseURL + adapter.path + query,
            headers: upstreamHeaders(adapter.authorization(apiKey: provider.apiKey)),
            body: adapter.upstreamBody(
                body, facts: facts, outputLimit: isClamped ? hold.output : nil),
            connectTimeout: provider.connectTimeout, idleTimeout: provider.idleTimeout)
        meter = adapter.meter(for: facts)
        upstreamStarted = .now
        let me = NIOLoopBound(self, eventLoop: loop)
        let loop = loop
        transfer = context.egress.start(request) { event in
            loop.execute { me.value.received(event) }
        }
    }

    /// Everything the caller sent passes, except what belongs to its connection to us, its key, and
    /// our own headers. Identity encoding is asked for: usage in a compressed body cannot be read.
    /// The content type is ours: another one, or a charset, could make the provider read another
    /// request out of the same bytes.
    private func upstreamHeaders(_ authorization: [(name: String, value: String)]) -> [(
        String, String
    )] {
        var dropped = Self.hopByHopHeaders.union(Self.credentialHeaders).union(Self.bodyHeaders)
        // Only ASCII can name a header, and hashing a long run of combining marks takes seconds.
        for value in head.headers[canonicalForm: "connection"]
        where value.utf8.allSatisfy({ $0 < 0x80 }) {
            dropped.insert(value.lowercased())
        }
        for (name, _) in context.scopeHeaders { dropped.insert(name) }
        var headers: [(String, String)] = []
        for (name, value) in head.headers {
            let lower = name.lowercased()
            if dropped.contains(lower) || lower.hasPrefix("x-holdfast-") { continue }
            headers.append((name, value))
        }
        headers.append(("accept-encoding", "identity"))
        headers.append(("content-type", "application/json"))
        headers += authorization.map { ($0.name, $0.value) }
        return headers
    }
}
