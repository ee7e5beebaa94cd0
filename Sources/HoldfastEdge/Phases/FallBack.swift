import HoldfastAdmin
import HoldfastCore
import HoldfastProviders
import Logging

/// Between admit and admit: another model, where a cap cannot pay for the one that was asked for and
/// names one.
extension Exchange {
    struct Fallback: Sendable {
        /// What the caller asked for.
        let model: String
        /// Whose fallback was taken last.
        let cap: String
        /// Tried, as provider and model: none twice.
        let tried: Set<[String]>
    }

    /// Caps name models, and those models have caps: the chain must end.
    private static let fallbackCountMax = 4

    /// Makes it a request for the fallback of the cap that has refused.
    ///
    /// - Returns: `false` when there is none that could be used: the refusal stands.
    func fallBack(from refusal: AdmissionRefusal) -> Bool {
        let cap = refusal.target.cap
        switch refusal.reason {
        case .capSpent, .exceedsCap: break
        // Budget comes back in a moment, or nobody may spend.
        case .inFlight, .frozen: return false
        }
        guard let name = cap.fallback, let endpoint, let provider, let facts,
            let policy = context.policy.policy, let now = context.clock.now()
        else { return false }
        guard facts.isModelInBody else {
            return fallbackFailed(cap, "the path of such a request names its model")
        }
        let before = fallenBackFrom?.tried ?? [[provider.name, facts.model]]
        guard before.count <= Self.fallbackCountMax,
            let (destination, model) = context.routing.fallback(
                name, from: provider, endpoint.route,
                isPriced: { $0.quote(for: $1, in: policy.prices, now: now) != nil })
        else { return fallbackFailed(cap, "no configured provider has a price for it") }
        let tried = before.union([[destination.provider.name, model]])
        guard tried.count > before.count else { return false }
        let aim = aim
        do {
            let first = fallenBackFrom?.model ?? quote?.model ?? facts.model
            fallenBackFrom = Fallback(model: first, cap: cap.name, tried: tried)
            try resolve(destination, model: model)
            try bound()
        } catch {
            // The refusal is for what was asked before.
            self.aim = aim
            return fallbackFailed(cap, error.code)
        }
        context.metrics.fallbacks.with(cap.name).increment()
        return true
    }

    /// What resolve and bound have found out.
    private struct Aim {
        let endpoint: (any Endpoint)?
        let provider: EdgeSettings.Provider?
        let upstreamPath: String
        let facts: RequestFacts?
        let quote: PriceQuote?
        let scopes: ScopeValues
        let targets: [AccountTarget]
        let policyGeneration: UInt64
        let formula: CeilingFormula?
        let promptBound: UInt64
        let outputWanted: UInt64
        let fallenBackFrom: Fallback?
    }

    private var aim: Aim {
        get {
            Aim(
                endpoint: endpoint, provider: provider, upstreamPath: upstreamPath, facts: facts,
                quote: quote, scopes: scopes, targets: targets,
                policyGeneration: policyGeneration, formula: formula, promptBound: promptBound,
                outputWanted: outputWanted, fallenBackFrom: fallenBackFrom)
        }
        set {
            endpoint = newValue.endpoint
            provider = newValue.provider
            upstreamPath = newValue.upstreamPath
            facts = newValue.facts
            quote = newValue.quote
            scopes = newValue.scopes
            targets = newValue.targets
            policyGeneration = newValue.policyGeneration
            formula = newValue.formula
            promptBound = newValue.promptBound
            outputWanted = newValue.outputWanted
            fallenBackFrom = newValue.fallenBackFrom
        }
    }

    private func fallbackFailed(_ cap: Cap, _ reason: String) -> Bool {
        context.logger.warning(
            "fallback not used",
            metadata: [
                "request_id": "\(requestID)", "cap": "\(cap.name)",
                "fallback": "\(cap.fallback ?? "")", "reason": "\(reason)",
            ])
        return false
    }
}
