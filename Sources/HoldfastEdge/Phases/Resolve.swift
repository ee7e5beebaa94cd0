import HoldfastAdmin
import HoldfastCore
import HoldfastProviders
import NIOHTTP1

/// Phase 2: provider, model, price, scope values, and the caps that apply.
extension Exchange {
    func resolve() throws(Refusal) {
        try resolve(destination())
    }

    /// - Parameter model: instead of the one that the body names.
    func resolve(
        _ destination: Routing.Destination, model: String? = nil
    ) throws(Refusal) {
        let (endpoint, provider) = (destination.endpoint, destination.provider)
        self.endpoint = endpoint
        self.provider = provider
        upstreamPath = destination.path
        var facts: RequestFacts
        do {
            facts = try endpoint.facts(of: body)
            if let model = destination.model { facts.model = model }
            if let model { facts.sendModel(as: model) }
            try endpoint.read(headers: { head.headers[$0] }, into: &facts)
        } catch {
            throw .request(error)
        }
        facts.rateMultiplierTenths = max(
            facts.rateMultiplierTenths, provider.api.multiplierTenths(baseURL: provider.baseURL))
        if endpoint.takesServiceTier, let tier = provider.serviceTier {
            facts.pinServiceTier(tier)
        }
        guard !endpoint.isFree else {
            self.facts = facts
            return
        }
        guard let policy = context.policy.policy, let now = context.clock.now() else {
            throw .counterUnavailable("no counter has sent its policy yet")
        }
        let quote = try quote(&facts, provider, policy, now)
        guard endpoint.dialect != .openai || !quote.searchesTheWeb else {
            throw .request(
                .unboundable(
                    param: "model", because: "it searches the web, which is billed per search"))
        }
        self.facts = facts
        self.quote = quote
        scopes = try scopeValues(provider: provider.name, model: quote.model, facts)
        try resolveTargets()
    }

    /// By the path, and by the model where several serve it.
    private func destination() throws(Refusal) -> Routing.Destination {
        let found = context.routing.destinations(method: head.method.rawValue, path: path)
        guard let first = found.first else { throw noDestination() }
        dialect = first.endpoint.dialect
        let model: String
        do {
            try checkBodyIsPlain()
            guard found.count > 1, !first.endpoint.isFree else { return first }
            model = try RequestFacts.model(of: body)
        } catch {
            throw .request(error)
        }
        let policy = context.policy.policy
        let now = context.clock.now()
        return Routing.choose(among: found, model: model) { provider, model in
            guard let policy, let now else { return false }
            return provider.quote(for: model, in: policy.prices, now: now) != nil
        }
    }

    private func noDestination() -> Refusal {
        let method = head.method.rawValue
        let named = path.dropFirst().prefix { $0 != "/" }
        let known = ProviderCatalog.standard.providers.first { provider in
            provider.id.name == named || provider.endpoint(method: method, path: path) != nil
        }
        if let known, !context.settings.providers.contains(where: { $0.name == known.id.name }) {
            return .providerNotConfigured(known.id.name)
        }
        return .unknownRoute(
            method: method, path: String(path.prefix(128)).headerSafe,
            routes: context.routing.routes())
    }

    /// The provider's own name may stand in front of the model's: it goes no further then.
    private func quote(
        _ facts: inout RequestFacts, _ provider: EdgeSettings.Provider, _ policy: CompiledPolicy,
        _ now: UnixTime
    ) throws(Refusal) -> PriceQuote {
        if let quote = provider.quote(for: facts.model, in: policy.prices, now: now) {
            return quote
        }
        if facts.isModelInBody, let name = Routing.nameBehind(provider.name, in: facts.model),
            let quote = provider.quote(for: name, in: policy.prices, now: now)
        {
            facts.sendModel(as: name)
            return quote
        }
        context.metrics.priceMissing.increment()
        throw .unknownModel(provider: provider.name, model: facts.model)
    }

    /// A body that is encoded is not the one that the provider reads.
    private func checkBodyIsPlain() throws(RequestError) {
        for value in head.headers[canonicalForm: "content-encoding"] where !value.isEmpty {
            guard value.utf8.count == 8, value.lowercased() == "identity" else {
                throw .unboundable(
                    param: "content-encoding",
                    because: "an encoded request body is not the one that the provider reads")
            }
        }
    }

    /// Also called again when a period ends while the request waits.
    func resolveTargets() throws(Refusal) {
        guard let policy = context.policy.policy, let now = context.clock.now(),
            let targets = policy.targets(for: scopes, now: now)
        else { throw .counterUnavailable("the current period is not known") }
        guard targets.count <= Limits.capsPerRequestMax else { throw .tooManyCaps }
        self.targets = targets
        policyGeneration = policy.generation
    }

    /// The key's own values win; what callers say counts only where their key allows it.
    private func scopeValues(
        provider: String, model: String, _ facts: RequestFacts
    ) throws(Refusal) -> ScopeValues {
        guard let key else { preconditionFailure("resolved before authenticated") }
        var values = ScopeValues()
        values[.key] = key.name
        values[.provider] = provider
        values[.model] = model
        for dimension in key.callerSettable {
            values[dimension] = facts.metadata[dimension.name]
        }
        if key.callerSettable.contains(.user), let user = facts.metadataUser {
            values[.user] = user
        }
        for (name, header) in context.scopeHeaders
        where key.callerSettable.contains(header.dimension) {
            if let value = head.headers.first(name: name) { values[header.dimension] = value }
        }
        for dimension in key.callerSettable {
            guard let value = values[dimension] else { continue }
            guard (1...Limits.scopeValueByteCountMax).contains(value.utf8.count) else {
                throw .badScope(dimension)
            }
        }
        for (dimension, value) in key.fixed { values[dimension] = value }
        return values
    }
}

extension EdgeSettings.Provider {
    /// A price must hold until the response is complete.
    static let priceHorizonSeconds: Int64 = 3_600

    /// - Parameter model: as callers name it.
    func quote(for model: String, in prices: PriceBook, now: UnixTime) -> PriceQuote? {
        let model = models[model] ?? model
        func quote(_ provider: String) -> PriceQuote? {
            prices.quote(
                provider: provider, model: model, from: now, lasting: Self.priceHorizonSeconds)
        }
        // The operator may have a price of its own for another account.
        return quote(name) ?? (name == priceProvider ? nil : quote(priceProvider))
    }
}

/// Which header sets which scope value.
struct ScopeHeader: Sendable {
    let dimension: ScopeDimension

    static func all(
        _ renamed: [ScopeDimension: String]
    ) -> [(name: String, dimension: ScopeHeader)] {
        ScopeDimension.allCases.filter(\.isCallerSettable).map { dimension in
            (
                renamed[dimension]?.lowercased() ?? "x-holdfast-\(dimension.name)",
                ScopeHeader(dimension: dimension)
            )
        }
    }
}
