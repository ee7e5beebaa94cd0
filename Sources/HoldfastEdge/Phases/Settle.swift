import HoldfastAdmin
import HoldfastCore
import HoldfastLedger
import HoldfastProviders
import Logging

/// Phase 7: replace the hold by the charge, exactly once on every path.
extension Exchange {
    func settle(_ charge: Charge) {
        guard let hold else { return }
        self.hold = nil
        let (usd, tokens, basis) = amounts(charge, hold)
        charged = usd
        chargedTokens = tokens
        chargeBasis = basis
        context.metrics.settlements.with(basis.rawValue).increment()
        switch context.table.settle(hold, usd: usd, tokens: tokens) {
        case .settled: break
        case .overran(let excess): overran(hold, usd, excess)
        case .unknownHold: preconditionFailure("a hold was settled twice")
        }
    }

    private func amounts(
        _ charge: Charge, _ hold: LeaseTable.Hold
    ) -> (NanoUSD, UInt64, ChargeBasis) {
        switch charge {
        case .nothing: return (.zero, 0, .nothing)
        case .ceiling: return (hold.ceiling.usd, hold.ceiling.tokens, .ceiling)
        case .metered(let usage):
            guard let facts, let quote,
                let cost = quote.cost(
                    of: usage.usage, serviceTier: usage.serviceTier,
                    requestedTier: facts.serviceTier, fast: usage.isFast ?? facts.isFast,
                    geoUS: usage.inferenceGeoUS && facts.rateMultiplierTenths == 10, audio: false,
                    multiplierTenths: facts.rateMultiplierTenths,
                    webSearchCalls: usage.webSearchRequests)
            else { return (hold.ceiling.usd, hold.ceiling.tokens, .ceiling) }
            return (cost, usage.usage.total, .usage)
        }
    }

    /// The provider's bill is a fact: it is counted in full, and somebody should look at why the
    /// ceiling was too low.
    private func overran(_ hold: LeaseTable.Hold, _ usd: NanoUSD, _ excess: Amount) {
        context.metrics.overruns.increment()
        if usd > hold.ceiling.usd {
            context.metrics.overrunUSD.increment(by: usd.rawValue - hold.ceiling.usd.rawValue)
        }
        context.logger.error(
            "a request cost more than its ceiling",
            metadata: [
                "request_id": "\(requestID)", "model": "\(quote?.model ?? "")",
                "charged_usd": "\(usd.dollars)", "ceiling_usd": "\(hold.ceiling.usd.dollars)",
            ])
    }
}
