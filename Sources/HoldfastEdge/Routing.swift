import HoldfastCore
import HoldfastProviders

/// Which providers a request can be for: by its path, and among those that serve the same path by its
/// model.
///
/// `/groq/v1/chat/completions` names its provider, also with what the provider's own SDK puts in
/// between (`/groq/openai/v1/chat/completions`). `/v1/chat/completions` is for whoever has the model:
/// the one that is named in front of it (`groq/llama-3.3-70b-versatile`), or the first in the catalog's
/// order with a price for it.
struct Routing: Sendable {
    struct Destination: Sendable {
        let provider: EdgeSettings.Provider
        let endpoint: any Endpoint
        /// As the provider has it.
        let path: String
        /// Where it is in the path; without percent-encoding.
        let model: String?
    }

    let providers: [EdgeSettings.Provider]

    init(_ providers: [EdgeSettings.Provider]) {
        let order = ProviderCatalog.standard.names
        func rank(_ provider: EdgeSettings.Provider) -> Int {
            order.firstIndex(of: provider.name) ?? order.count
        }
        self.providers = providers.sorted { (rank($0), $0.name) < (rank($1), $1.name) }
    }

    /// - Parameter path: without query.
    /// - Returns: in the order of preference; empty when nobody serves it.
    func destinations(method: String, path: Substring) -> [Destination] {
        guard let (provider, rest) = named(in: path) else {
            return providers.compactMap { destination(of: $0, method, path) }
        }
        let found =
            destination(of: provider, method, rest)
            ?? withoutPrefix(rest, of: provider).flatMap { destination(of: provider, method, $0) }
        return found.map { [$0] } ?? []
    }

    private func destination(
        of provider: EdgeSettings.Provider, _ method: String, _ path: Substring
    ) -> Destination? {
        guard let (endpoint, model) = provider.api.endpoint(method: method, path: path) else {
            return nil
        }
        return Destination(
            provider: provider, endpoint: endpoint, path: String(path),
            model: model.map { PercentEncoding.decode($0) ?? "" })
    }

    /// The provider that the path begins with, and the rest.
    func named(in path: Substring) -> (EdgeSettings.Provider, rest: Substring)? {
        guard path.utf8.first == UInt8(ascii: "/") else { return nil }
        let first = path.dropFirst().prefix { $0 != "/" }
        guard let provider = providers.first(where: { $0.name == first }) else { return nil }
        return (provider, path[first.endIndex...])
    }

    private func withoutPrefix(
        _ path: Substring, of provider: EdgeSettings.Provider
    ) -> Substring? {
        let prefix = provider.api.pathPrefix
        guard !prefix.isEmpty, path.hasPrefix(prefix) else { return nil }
        return path.dropFirst(prefix.count)
    }

    /// - Parameters:
    ///   - destinations: at least one.
    ///   - isPriced: whether the provider has a price for a model of that name.
    static func choose(
        among destinations: [Destination], model: String,
        isPriced: (EdgeSettings.Provider, String) -> Bool
    ) -> Destination {
        let first = destinations[0]
        guard destinations.count > 1 else { return first }
        return destinations.first { destination in
            nameBehind(destination.provider.name, in: model).map {
                isPriced(destination.provider, $0)
            } ?? false
        } ?? destinations.first { isPriced($0.provider, model) }
            ?? destinations.first { destination in
                nameBehind(destination.provider.name, in: model) != nil
            } ?? first
    }

    /// Where a fallback is asked: at the same provider, or at the one that is named in front of the
    /// model, by the same kind of request.
    func fallback(
        _ name: String, from provider: EdgeSettings.Provider, _ route: Route,
        isPriced: (EdgeSettings.Provider, String) -> Bool
    ) -> (destination: Destination, model: String)? {
        func served(by provider: EdgeSettings.Provider) -> Destination? {
            destination(of: provider, route.method, route.path[...])
        }
        if isPriced(provider, name), let same = served(by: provider) { return (same, name) }
        for other in providers {
            guard let model = Self.nameBehind(other.name, in: name), isPriced(other, model),
                let found = served(by: other)
            else { continue }
            return (found, model)
        }
        return nil
    }

    /// `llama` of `groq/llama`, for the provider `groq`.
    static func nameBehind(_ provider: String, in model: String) -> String? {
        guard model.hasPrefix(provider + "/") else { return nil }
        return String(model.dropFirst(provider.count + 1))
    }

    /// Everything that is served, for people.
    func routes() -> [String] {
        var seen: Set<Route> = []
        var routes: [String] = []
        for provider in providers {
            for endpoint in provider.api.endpoints where seen.insert(endpoint.route).inserted {
                routes.append(endpoint.route.description)
            }
        }
        return routes
    }
}
