import HoldfastCore
import HoldfastProviders

/// Phase 3: the ceiling, the most that the request can cost.
extension Exchange {
    func bound() throws(Refusal) {
        guard let facts, let quote else { preconditionFailure("bound before resolved") }
        let prompt = try promptTokens(facts, quote)
        let rates = try holdRates(facts, quote, prompt)
        promptBound = prompt
        try limitPrices(facts, quote)
        // A limit for another model may be beyond what this one takes.
        let limit = fallenBackFrom == nil ? nil : quote.maxOutputTokens
        guard
            let wanted = facts.outputLimit.map({ min($0, limit ?? .max) }) ?? quote.maxOutputTokens
        else {
            throw .request(
                .unboundable(
                    param: "max_tokens",
                    because: "the model's largest output is not known, so the limit must be given"))
        }
        guard fallenBackFrom == nil || wanted >= facts.outputLimitMin else {
            throw .request(
                .unboundable(
                    param: "max_tokens",
                    because: "the other model's largest output is less than the request needs"))
        }
        outputWanted = wanted
        let formula = CeilingFormula(
            promptTokens: prompt, choices: facts.choices,
            extraOutputTokens: facts.extraOutputTokens, rates: rates)
        guard formula.ceiling(outputTokensPerChoice: wanted) != nil else {
            throw .request(
                .unboundable(
                    param: "max_tokens", because: "it could cost more than can be counted"))
        }
        self.formula = formula
    }

    private func limitPrices(_ facts: RequestFacts, _ quote: PriceQuote) throws(Refusal) {
        guard provider?.api.takesPriceLimit == true else { return }
        guard !facts.hasProviderMember else {
            throw .request(
                .unboundable(
                    param: "provider", because: "it is where the highest price is said"))
        }
        self.facts?.limitPrices(to: quote.listedRates(promptTokensMax: promptBound))
    }

    private func holdRates(
        _ facts: RequestFacts, _ quote: PriceQuote, _ prompt: UInt64
    ) throws(Refusal) -> HoldRates {
        func rates(geoUS: Bool) throws(PriceError) -> HoldRates {
            try quote.holdRates(
                promptTokensMax: prompt, serviceTier: facts.serviceTier,
                longCacheWrite: facts.usesLongCacheWrite, fast: facts.isFast, geoUS: geoUS,
                audio: false, multiplierTenths: facts.rateMultiplierTenths)
        }
        do throws(PriceError) {
            // Where a request does not say where it runs, the workspace's default does, and that may
            // be the dearer place. A multiplier above one says that the request named it.
            return try rates(geoUS: quote.hasUSGeoPrice && facts.rateMultiplierTenths == 10)
        } catch {
            throw .unpriceable(error)
        }
    }

    /// What the bytes allow, but never more than the model can read: a longer prompt is refused by
    /// the provider before it costs anything.
    private func promptTokens(
        _ facts: RequestFacts, _ quote: PriceQuote
    ) throws(Refusal) -> UInt64 {
        if facts.contextTokensAsked > 0, facts.contextTokensAsked > quote.contextTokens ?? 0 {
            throw .request(
                .unboundable(
                    param: "anthropic-beta",
                    because: "it asks for a larger context than the one that the model's price is "
                        + "known for"))
        }
        if facts.promptIsUnboundedByBytes {
            guard let context = quote.contextTokens else {
                throw .request(
                    .unboundable(
                        param: "messages",
                        because: "it has parts other than text and the model's context is "
                            + "not known"))
            }
            return context
        }
        // Each of separate prompts may be as long as the context.
        if facts.promptsAreSeparate { return facts.promptTokensMax }
        return min(facts.promptTokensMax, quote.contextTokens ?? .max)
    }
}
