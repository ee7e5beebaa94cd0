public import HoldfastCore

/// The TLS of the callers' listener: PEM files, read again when they change.
public struct TLSSettings: Hashable, Sendable {
    /// The certificate, and those that it was issued by, in this order.
    public var certificate: String
    public var key: String

    public init(certificate: String, key: String) {
        self.certificate = certificate
        self.key = key
    }
}

/// How edges and counters know each other: PEM files, read again when they change.
public struct NodeTLSSettings: Hashable, Sendable {
    /// The certificates of the authority that issues the nodes'.
    public var authority: String
    public var certificate: String
    public var key: String

    public init(authority: String, certificate: String, key: String) {
        self.authority = authority
        self.certificate = certificate
        self.key = key
    }
}

/// Bounds of what one edge can take or cause. An edge is trusted with what it holds; this says with
/// how much.
public struct EdgeQuota: Hashable, Sendable {
    /// Of a cap's limit, in percent: the most that one edge may hold unspent. 100: no bound.
    public var slicePercentMax: UInt64 = 100
    /// Accounts that one edge may use at a time.
    public var accountCountMax = 1_000_000

    public init() {}
}

/// How to reach one provider.
public struct ProviderSettings: Sendable {
    /// Sent upstream. `nil`: callers bring the provider's key themselves.
    public var apiKey: Secret?
    /// `http(s)://host[:port][/path]` without a slash at the end; `nil` for the provider's own.
    public var baseURL: String?
    public var connectTimeout: Duration?
    /// How long the provider may be silent within one response.
    public var idleTimeout: Duration?
    /// Asked for where the caller does not, because leaving it out can select a dearer one.
    public var serviceTier: String?
    /// Whose API it has, where that is not what its name says: a provider's name, or
    /// `openai-compatible`.
    public var type: String?
    /// Names that callers use, of deployments for example, and the priced models behind them.
    public var models: [String: String] = [:]

    public init(
        apiKey: Secret? = nil, baseURL: String? = nil, connectTimeout: Duration? = nil,
        idleTimeout: Duration? = nil, serviceTier: String? = nil
    ) {
        self.apiKey = apiKey
        self.baseURL = baseURL
        self.connectTimeout = connectTimeout
        self.idleTimeout = idleTimeout
        self.serviceTier = serviceTier
    }
}

/// A virtual key: what it stands for, and the secret by which callers show that they have it.
public struct KeyEntry: Sendable {
    public var policy: KeyPolicy
    public var secret: Secret

    public init(policy: KeyPolicy, secret: Secret) {
        self.policy = policy
        self.secret = secret
    }
}

/// The operator's own price for one model, in place of the built-in table's.
public struct PriceOverride: Hashable, Sendable {
    public var provider: String
    public var model: String
    public var input: TokenPrice
    public var output: TokenPrice
    /// `nil`: not given. Whoever prices with it must not take it for cheaper than it may be.
    public var cacheRead: TokenPrice?
    /// `nil`: not given. Whoever prices with it must not take it for cheaper than it may be.
    public var cacheWrite: TokenPrice?
    /// Most tokens, input and output together.
    public var contextTokens: UInt64?
    public var outputTokensMax: UInt64?

    public init(
        provider: String, model: String, input: TokenPrice, output: TokenPrice,
        cacheRead: TokenPrice? = nil, cacheWrite: TokenPrice? = nil, contextTokens: UInt64? = nil,
        outputTokensMax: UInt64? = nil
    ) {
        self.provider = provider
        self.model = model
        self.input = input
        self.output = output
        self.cacheRead = cacheRead
        self.cacheWrite = cacheWrite
        self.contextTokens = contextTokens
        self.outputTokensMax = outputTokensMax
    }
}

/// Bounds of one edge, and what it may do to a request that does not fit.
public struct EdgeLimits: Hashable, Sendable {
    /// Larger request bodies are refused.
    public var bodyByteCountMax = Limits.bodyByteCountMaxDefault
    /// Larger request heads are refused.
    public var headerByteCountMax = 64 << 10
    /// Accounts that callers can bring into being by sending new scope values. Bounds the store's
    /// growth.
    public var newAccountsPerMinuteMax = 600
    /// How long a request waits for budget before it is refused.
    public var wait: Duration = .seconds(2)
    /// How long requests in flight may go on after a stop was asked for.
    public var drain: Duration = .seconds(30)
    /// How much of one response may wait for a slow caller.
    public var streamBufferByteCountMax = 8 << 20
    /// Whether the output limit of a request may be lowered to what its caps can pay.
    public var clamps = true
    /// Never lowered below this many tokens.
    public var clampMinimumTokens: UInt64 = 16
    /// The request header, in lower case, that sets a dimension for keys that allow it. Dimensions
    /// that are not in here keep the edge's own header names.
    public var scopeHeaders: [ScopeDimension: String] = [:]

    public init() {}
}
