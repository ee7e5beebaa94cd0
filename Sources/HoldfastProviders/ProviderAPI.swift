public struct ProviderID: Hashable, Sendable, CustomStringConvertible {
    /// Stable: part of account keys, metric labels, paths and the price table.
    public let name: String

    public static let openAI = ProviderID(name: "openai")
    public static let anthropic = ProviderID(name: "anthropic")

    public init(name: String) {
        self.name = name
    }

    public var description: String { name }
}

/// What can be asked of a provider, where, and with which key.
///
/// Adding a provider:
/// 1. A folder here. Where its API is another's, that is all: see `Groq`. Otherwise with endpoints
///    that read requests, and trackers that read usage.
/// 2. One line in `ProviderCatalog.standard`.
/// 3. Rows in `Prices/prices.tsv`. Without them its models are refused.
/// 4. Fixtures: plain, streamed, tool calls, cached, error in the middle, no usage. The tests cut
///    every stream at every byte.
/// 5. A new dialect is a new case of `Dialect`; the compiler then names every place that must
///    decide (error bodies, the edge's refusals).
///
/// If anything else has to change, the seam is wrong: fix it first.
public struct ProviderAPI: Sendable {
    public enum Credential: Hashable, Sendable {
        /// `Authorization: Bearer …`.
        case bearer
        /// In a header of that name, in lower case.
        case header(String)
        /// Amazon's signature over the whole request, for that service.
        case signatureV4(service: String)
    }

    public let id: ProviderID
    /// Scheme, authority and perhaps a path, to which routes are appended; `nil` where every customer
    /// has another.
    public let defaultBaseURL: String?
    public let credential: Credential
    /// What its own SDKs put in front of the routes: callers may leave it out.
    public let pathPrefix: String
    public let endpoints: [any Endpoint]
    /// Query parameters that go on to the provider. All others stay here: with them callers could send
    /// another key, or have numbers left out of the usage.
    public let queryParameters: Set<String>
    /// Whether a refusal with status 400 may be billed, as of a prompt that a filter has stopped.
    public let mayBillBadRequests: Bool
    /// Whether requests carry the highest prices that they may be served at.
    public let takesPriceLimit: Bool
    private let multiplier: @Sendable (_ host: Substring) -> UInt64

    /// - Parameter multiplier: see `multiplierTenths`; by host.
    init(
        id: String, defaultBaseURL: String?, credential: Credential = .bearer,
        pathPrefix: String = "", endpoints: [any Endpoint], queryParameters: Set<String> = [],
        mayBillBadRequests: Bool = false, takesPriceLimit: Bool = false,
        multiplier: @escaping @Sendable (_ host: Substring) -> UInt64 = { _ in 10 }
    ) {
        precondition(
            Set(endpoints.map(\.route)).count == endpoints.count, "two endpoints of one route")
        self.id = ProviderID(name: id)
        self.defaultBaseURL = defaultBaseURL
        self.credential = credential
        self.pathPrefix = pathPrefix
        self.endpoints = endpoints
        self.queryParameters = queryParameters
        self.mayBillBadRequests = mayBillBadRequests
        self.takesPriceLimit = takesPriceLimit
        self.multiplier = multiplier
    }

    /// The same under another name.
    public func named(_ name: String) -> ProviderAPI {
        ProviderAPI(
            id: name, defaultBaseURL: defaultBaseURL, credential: credential,
            pathPrefix: pathPrefix, endpoints: endpoints, queryParameters: queryParameters,
            mayBillBadRequests: mayBillBadRequests, takesPriceLimit: takesPriceLimit,
            multiplier: multiplier)
    }

    /// - Parameter path: without query.
    public func endpoint(
        method: String, path: Substring
    ) -> (endpoint: any Endpoint, model: Substring?)? {
        for endpoint in endpoints {
            switch endpoint.route.match(method: method, path: path) {
            case .whole: return (endpoint, nil)
            case .model(let model): return (endpoint, model)
            case nil: continue
            }
        }
        return nil
    }

    /// What every price of this place is multiplied by, in tenths: 11 is 10 % more.
    public func multiplierTenths(baseURL: String) -> UInt64 {
        let lower = baseURL.lowercased()
        return multiplier(
            lower.drop { $0 != "/" }.drop { $0 == "/" }.prefix { $0 != "/" && $0 != ":" })
    }

    /// Headers, with names in lower case. A key of Amazon's that is no pair is one of Bedrock's own,
    /// which goes as it is.
    public func authorization(apiKey: String) -> [(name: String, value: String)] {
        switch credential {
        case .bearer, .signatureV4: [("authorization", "Bearer \(apiKey)")]
        case .header(let name): [(name, apiKey)]
        }
    }
}

/// The providers, listed explicitly: nothing registers itself.
public struct ProviderCatalog: Sendable {
    /// Where a request does not say which provider it is for, the first one that serves it.
    public static let standard = ProviderCatalog([
        Anthropic.api,
        OpenAI.api,
        Azure.api,
        Groq.api,
        Mistral.api,
        DeepSeek.api,
        XAI.api,
        OpenRouter.api,
        Cohere.api,
        Gemini.api,
        Bedrock.api,
    ])

    /// Of `type: openai-compatible`, under a name of the operator's.
    public static let compatible = OpenAICompatible.api

    public let providers: [ProviderAPI]

    public init(_ providers: [ProviderAPI]) {
        precondition(
            Set(providers.map(\.id)).count == providers.count, "two providers have the same name")
        self.providers = providers
    }

    public var names: [String] { providers.map(\.id.name) }

    public subscript(id: ProviderID) -> ProviderAPI? { providers.first { $0.id == id } }
}
