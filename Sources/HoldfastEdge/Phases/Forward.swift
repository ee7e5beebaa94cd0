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

    /// Ours, and Google's, with which numbers can be left out of the usage.
    private static let droppedPrefixes = ["x-holdfast-", "x-goog-"]

    /// What would make another request of it.
    private static let methodHeaders: Set<String> = [
        "x-http-method-override", "x-http-method", "x-method-override",
    ]

    func forward() {
        guard let endpoint, let provider, let facts else {
            preconditionFailure("forward before resolve")
        }
        precondition(hold != nil || endpoint.isFree, "forward before admit")
        let limit = facts.outputLimitIsOurs ? ownLimit : hold.flatMap(clampedLimit)
        let body = endpoint.upstreamBody(body, facts: facts, outputLimit: limit)
        let request = EgressRequest(
            method: head.method.rawValue, url: provider.baseURL + upstreamPath + upstreamQuery,
            headers: upstreamHeaders(authorization(provider, body)), body: body,
            connectTimeout: provider.connectTimeout, idleTimeout: provider.idleTimeout)
        meter = endpoint.meter(for: facts)
        upstreamStarted = .now
        let me = NIOLoopBound(self, eventLoop: loop)
        let loop = loop
        transfer = context.egress.start(request) { event in
            loop.execute { me.value.received(event) }
        }
    }

    /// `nil`: what the provider would go by if we changed nothing is not above the hold.
    private func clampedLimit(_ hold: LeaseTable.Hold) -> UInt64? {
        hold.output < facts?.outputLimit ?? outputWanted ? hold.output : nil
    }

    /// Where the caller has set none. Some servers refuse what does not fit into the context beside the
    /// prompt, of which only a bound is known here.
    private var ownLimit: UInt64? {
        guard let hold else { return nil }
        guard let context = quote?.contextTokens, context > promptBound,
            context - promptBound >= self.context.settings.clampMinimumTokens
        else { return hold.output }
        return min(hold.output, context - promptBound)
    }

    /// The key, or a signature with it over the request as it is sent.
    private func authorization(
        _ provider: EdgeSettings.Provider, _ body: [UInt8]
    ) -> [(name: String, value: String)] {
        guard let signature = provider.signature else {
            return provider.api.authorization(apiKey: provider.apiKey)
        }
        let (host, basePath) = provider.hostAndPath
        return signature.headers(
            method: head.method.rawValue, host: host, path: basePath + upstreamPath,
            query: String(upstreamQuery.dropFirst()), headers: Self.signedHeaders, body: body,
            at: context.wallClock())
    }

    /// Those that are ours and arrive as they are sent.
    private static let signedHeaders = [("content-type", "application/json")]

    private var upstreamQuery: String {
        let allowed = provider?.api.queryParameters ?? []
        let kept = query.dropFirst().split(separator: "&").filter { part in
            allowed.contains(String(part.prefix { $0 != "=" }))
        }
        return kept.isEmpty ? "" : "?" + kept.joined(separator: "&")
    }

    /// Everything the caller sent passes, except what belongs to its connection to us, its key, and
    /// our own headers. Identity encoding is asked for: usage in a compressed body cannot be read.
    /// The content type is ours: another one, or a charset, could make the provider read another
    /// request out of the same bytes.
    private func upstreamHeaders(_ authorization: [(name: String, value: String)]) -> [(
        String, String
    )] {
        var dropped = Self.hopByHopHeaders.union(Self.credentialHeaders).union(Self.bodyHeaders)
            .union(Self.methodHeaders)
        // Only ASCII can name a header, and hashing a long run of combining marks takes seconds.
        for value in head.headers[canonicalForm: "connection"]
        where value.utf8.allSatisfy({ $0 < 0x80 }) {
            dropped.insert(value.lowercased())
        }
        for (name, _) in context.scopeHeaders { dropped.insert(name) }
        var headers: [(String, String)] = []
        for (name, value) in head.headers {
            let lower = name.lowercased()
            if dropped.contains(lower) || Self.droppedPrefixes.contains(where: lower.hasPrefix) {
                continue
            }
            headers.append((name, value))
        }
        headers.append(("accept-encoding", "identity"))
        headers.append(("content-type", "application/json"))
        headers += authorization.map { ($0.name, $0.value) }
        return headers
    }
}
