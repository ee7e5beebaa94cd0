public struct ProviderID: Hashable, Sendable, CustomStringConvertible {
    /// Stable: part of account keys, metric labels and the price table.
    public let name: String

    public static let openAI = ProviderID(name: "openai")
    public static let anthropic = ProviderID(name: "anthropic")

    public init(name: String) {
        self.name = name
    }

    public var description: String { name }
}

/// The shape of requests, streams and errors, which several providers may share.
public enum Dialect: Hashable, Sendable, CaseIterable {
    case openai
    case anthropic
}

/// A kind of request that is billed and that we can bound. All others are refused.
public struct Route: Hashable, Sendable {
    public let method: String
    /// Without query, which callers may add to.
    public let path: String

    public init(method: String, path: String) {
        self.method = method
        self.path = path
    }
}

/// Everything that Holdfast knows about one provider's API. Pure: bytes in, values out.
///
/// Adding a provider:
/// 1. A folder here, with an adapter that reads requests and a tracker that reads usage.
/// 2. One line in `ProviderCatalog.standard`.
/// 3. Rows in `Prices/prices.tsv`. Without them its models are refused.
/// 4. Fixtures: plain, streamed, tool calls, cached, error in the middle, no usage. The tests cut
///    every stream at every byte.
/// 5. For each request field ask: can it make the bill larger than prompt bound × input price plus
///    choices × output limit × output price? Then bound it here or refuse it.
/// 6. A new dialect is a new case of `Dialect`; the compiler then names every place that must
///    decide (the meter, error bodies, the edge's refusals).
///
/// If anything else has to change, the seam is wrong: fix it first.
public protocol ProviderAdapter: Sendable {
    var id: ProviderID { get }
    var dialect: Dialect { get }
    var route: Route { get }
    /// Scheme and authority; the route's path is appended.
    var defaultBaseURL: String { get }

    /// Reads a request body. Throws rather than guesses: a request that we cannot bound is a
    /// request that we cannot cap.
    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts

    /// Reads what the caller's headers do to the cost. A header that changes the price in a way that
    /// cannot be bounded is refused like a field.
    ///
    /// - Parameter values: all values of a header, by its name in lower case.
    func read(
        headers values: (_ name: String) -> [String], into facts: inout RequestFacts
    ) throws(RequestError)

    /// What every price of this place is multiplied by, in tenths: 11 is 10 % more.
    func multiplierTenths(baseURL: String) -> UInt64

    /// The body to send, given the facts that were read from this same body: byte for byte the
    /// caller's, but for the output limit (`nil`: left alone) and what makes streams report usage.
    func upstreamBody(_ body: [UInt8], facts: RequestFacts, outputLimit: UInt64?) -> [UInt8]

    /// Headers, with names in lower case.
    func authorization(apiKey: String) -> [(name: String, value: String)]

    func meter(for facts: RequestFacts) -> ResponseMeter
}

extension ProviderAdapter {
    public var path: String { route.path }

    public func read(
        headers values: (_ name: String) -> [String], into facts: inout RequestFacts
    ) throws(RequestError) {}

    public func multiplierTenths(baseURL: String) -> UInt64 { 10 }
}

/// The providers, listed explicitly: nothing registers itself.
public struct ProviderCatalog: Sendable {
    public static let standard = ProviderCatalog([
        AnthropicAdapter(),
        OpenAIAdapter(),
    ])

    public let adapters: [any ProviderAdapter]

    public init(_ adapters: [any ProviderAdapter]) {
        precondition(
            Set(adapters.map(\.id)).count == adapters.count, "two adapters have the same name")
        precondition(
            Set(adapters.map(\.route)).count == adapters.count, "two adapters have the same route")
        self.adapters = adapters
    }

    public subscript(id: ProviderID) -> (any ProviderAdapter)? {
        adapters.first { $0.id == id }
    }

    /// The adapter for a request; `path` without query.
    public func adapter(method: String, path: String) -> (any ProviderAdapter)? {
        adapters.first { $0.route.method == method && $0.route.path == path }
    }
}
