package import HoldfastCore
package import HoldfastProviders

/// What one edge is told at start. Caps, keys and prices are not here: they come from the counter.
package struct EdgeSettings: Sendable {
    package struct Provider: Sendable {
        /// Under the operator's name for it.
        package var api: ProviderAPI
        /// Whose prices it has.
        package var priceProvider: String
        /// Names that callers use, and the priced models behind them.
        package var models: [String: String]
        /// Scheme, authority and perhaps a path prefix, without the `/v1` that routes begin with.
        package var baseURL: String
        package var apiKey: String
        package var connectTimeout: Duration
        /// Longest silence of the provider during a response.
        package var idleTimeout: Duration
        /// Asked for where the caller leaves the tier open, which could be a dearer one.
        package var serviceTier: String?

        package init(
            api: ProviderAPI, priceProvider: String, models: [String: String] = [:],
            baseURL: String, apiKey: String, connectTimeout: Duration = .seconds(10),
            idleTimeout: Duration = .seconds(600), serviceTier: String? = nil
        ) {
            self.api = api
            self.priceProvider = priceProvider
            self.models = models
            var base = baseURL
            while base.hasSuffix("/") { base.removeLast() }
            // People paste the base URL that SDKs want; routes bring their own `/v1`.
            if base.hasSuffix("/v1") { base.removeLast(3) }
            self.baseURL = base
            self.apiKey = apiKey
            self.connectTimeout = connectTimeout
            self.idleTimeout = idleTimeout
            self.serviceTier = serviceTier
        }

        var name: String { api.id.name }

        /// The authority of the base URL, and what follows it.
        var hostAndPath: (host: String, path: String) {
            let rest = baseURL.drop { $0 != "/" }.drop { $0 == "/" }
            let host = rest.prefix { $0 != "/" }
            return (String(host), String(rest.dropFirst(host.count)))
        }

        /// With the pair `ID:SECRET` or `ID:SECRET:SESSION_TOKEN` as its key, where the provider takes
        /// signatures; `nil` where the key goes as it is.
        var signature: SignatureV4? {
            guard case .signatureV4(let service) = api.credential else { return nil }
            let parts = apiKey.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count >= 2 else { return nil }
            return SignatureV4(
                credentials: .init(
                    accessKeyID: String(parts[0]), secretAccessKey: String(parts[1]),
                    sessionToken: parts.count == 3 ? String(parts[2]) : nil),
                region: region, service: service)
        }

        /// `us-east-1` of `bedrock-runtime.us-east-1.amazonaws.com`.
        private var region: String {
            let labels = hostAndPath.host.split(separator: ".")
            return labels.count >= 2 && labels[0].hasPrefix("bedrock")
                ? String(labels[1]) : "us-east-1"
        }
    }

    /// Paths of PEM files: a certificate with those that it was issued by, and its key.
    package struct TLS: Sendable {
        package var certificate: String
        package var key: String

        package init(certificate: String, key: String) {
            self.certificate = certificate
            self.key = key
        }
    }

    package var nodeName: String
    package var host: String
    package var port: Int
    /// What callers are shown; `nil`: they are served in plain text.
    package var tls: TLS?
    package var providers: [Provider] = []
    package var bodyByteCountMax = Limits.bodyByteCountMaxDefault
    package var headerByteCountMax = 64 << 10
    package var newAccountsPerMinuteMax = 600
    /// Longest wait of one request for budget.
    package var waitMax = Duration.seconds(2)
    /// How long requests in flight may take when the edge stops.
    package var drainMax = Duration.seconds(30)
    /// How long a response whose caller is gone is read on, to learn what it cost.
    package var abandonedReadMax = Duration.seconds(120)
    /// How long a caller may take for a request, from the first byte of its head. A body gets more
    /// time as it comes, at 64 KiB/s.
    package var requestReadMax = Duration.seconds(60)
    /// How long a connection may wait for its next request.
    package var keepAliveIdleMax = Duration.seconds(300)
    /// Bytes of all request bodies together that are kept at a time, not counting the first 64 KiB
    /// of each, so that a few large ones do not keep the small ones out.
    package var largeBodiesByteCountMax = 512 << 20
    /// Bytes of one response that may wait for a slow caller.
    package var streamBufferByteCountMax = 8 << 20
    /// Where to write down what may be spent before it is; `nil`: nowhere.
    package var journalPath: String?
    /// Lease connections may cross the network without TLS.
    package var allowsPlaintextNodes = false
    package var clamps = true
    package var clampMinimumTokens: UInt64 = 16
    /// Header that sets each dimension, lower case, where it is not `x-holdfast-…`.
    package var scopeHeaders: [ScopeDimension: String] = [:]

    package init(nodeName: String, host: String, port: Int) {
        self.nodeName = nodeName
        self.host = host
        self.port = port
    }
}
