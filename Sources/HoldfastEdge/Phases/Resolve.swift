import HoldfastAdmin
import HoldfastCore
import HoldfastProviders
import NIOHTTP1

/// Phase 2: provider, model, price, scope values, and the caps that apply.
extension Exchange {
    /// A price must hold until the response is complete.
    static let priceHorizonSeconds: Int64 = 3_600

    func resolve() throws(Refusal) {
        guard
            let adapter = context.catalog.adapter(
                method: head.method.rawValue, path: String(path))
        else {
            throw .unknownRoute(
                method: head.method.rawValue, path: String(path.prefix(128)).headerSafe,
                routes: context.catalog.adapters.map { "\($0.route.method) \($0.route.path)" })
        }
        self.adapter = adapter
        dialect = adapter.dialect
        guard let provider = context.settings.providers[adapter.id.name] else {
            throw .providerNotConfigured(adapter.id.name)
        }
        self.provider = provider
        var facts: RequestFacts
        do {
            try checkBodyIsPlain()
            facts = try adapter.facts(of: body)
            try adapter.read(headers: { head.headers[$0] }, into: &facts)
        } catch {
            throw .request(error)
        }
        facts.rateMultiplierTenths = max(
            facts.rateMultiplierTenths, adapter.multiplierTenths(baseURL: provider.baseURL))
        if let tier = provider.serviceTier { facts.pinServiceTier(tier) }
        self.facts = facts
        guard let policy = context.policy.policy, let now = context.clock.now() else {
            throw .counterUnavailable("no counter has sent its policy yet")
        }
        guard
            let quote = policy.prices.quote(
                provider: adapter.id.name, model: facts.model, from: now,
                lasting: Self.priceHorizonSeconds)
        else {
            context.metrics.priceMissing.increment()
            throw .unknownModel(provider: adapter.id.name, model: facts.model)
        }
        self.quote = quote
        scopes = try scopeValues(provider: adapter.id.name, model: quote.model, facts)
        try resolveTargets()
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
