public import HoldfastCore

/// Why a request cannot be priced. Each means: refuse.
public enum PriceError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The service tier that the request asks for has no price.
    case unknownTier(String)
    /// Fast mode on a model without a price for it.
    case noFastPrice
    /// Inference in the US only, on a model without a price for it.
    case noUSGeoPrice
    /// Audio on a model without a price for it.
    case noAudioPrice
    /// Not within `PriceQuote.multiplierTenthsRange`.
    case multiplierOutOfRange(tenths: UInt64)

    public var description: String {
        switch self {
        case .unknownTier(let name):
            "service tier \"\(name.prefix(40))\" has no known price for this model; "
                + "use \"default\", or list its price in the operator's price table"
        case .noFastPrice: "fast mode has no known price for this model"
        case .noUSGeoPrice: "US-only inference has no known price for this model"
        case .noAudioPrice: "audio has no known price for this model"
        case .multiplierOutOfRange(let tenths):
            "a price multiplier of \(tenths) tenths is not between "
                + "\(PriceQuote.multiplierTenthsRange.lowerBound) and "
                + "\(PriceQuote.multiplierTenthsRange.upperBound)"
        }
    }
}

/// Every price that one request to one model can meet.
///
/// Near a date on which prices change, and while a change is only reported, several rows apply and
/// the dearest of each bucket counts, for holds and for charges.
public struct PriceQuote: Hashable, Sendable {
    /// Price multipliers in tenths: from 1.0 to 100.0. Never below one: a discount that turns out
    /// not to apply would be an overspend.
    public static let multiplierTenthsRange: ClosedRange<UInt64> = 10...1_000

    /// Requests without a service tier are standard there. Everywhere else the tier of the account
    /// or the deployment applies, and that can be the priority tier.
    private static let providersWithStandardDefault: Set<String> = ["bedrock", "gemini"]

    public let provider: String
    /// As the table names it, also when the request used an alias.
    public let model: String
    /// Largest prompt; `nil` when unknown.
    public let contextTokens: UInt64?
    /// Largest output; `nil` when unknown.
    public let maxOutputTokens: UInt64?
    /// Price of one web search call; `nil` when unknown.
    public let webSearch: NanoUSD?
    /// Service tiers with prices of their own, besides standard.
    public let serviceTiers: [String]

    /// Whether inference in the US has a price of its own.
    public var hasUSGeoPrice: Bool { geoUSMultiplierTenths != nil }

    /// `gpt-5-search-api`, `gpt-4o-search-preview`: whether or not they are asked to, and no usage
    /// record says how often.
    public var searchesTheWeb: Bool { model.contains("search") }

    /// The listed prices, which a charge for uncached tokens rests on: at most these may be billed.
    public func listedRates(promptTokensMax: UInt64) -> HoldRates {
        var dearest: TokenRates?
        for row in rows {
            let text = row.standard.text
            let rates = text.longRates(promptTokens: promptTokensMax, in: row) ?? text.short
            dearest = rates.dearest(dearest ?? rates)
        }
        guard let dearest else { preconditionFailure("a quote without prices") }
        return HoldRates(input: dearest.input, output: dearest.output)
    }

    /// Never empty.
    private let rows: [PriceRow]
    private let fastMultiplierTenths: UInt64?
    private let geoUSMultiplierTenths: UInt64?

    init(provider: String, model: String, rows: [PriceRow]) {
        precondition(!rows.isEmpty, "a quote without prices")
        self.provider = provider
        self.model = model
        self.rows = rows
        contextTokens = rows.largest(\.contextTokens)
        maxOutputTokens = rows.largest(\.maxOutputTokens)
        webSearch = rows.largest(\.webSearch)
        fastMultiplierTenths = rows.largest(\.fastMultiplierTenths)
        geoUSMultiplierTenths = rows.largest(\.geoUSMultiplierTenths)
        serviceTiers = rows[0].listed.tiers.map(\.name)
    }

    /// The prices that the request must be held at: the dearest that it can be billed at.
    ///
    /// - Parameters:
    ///   - promptTokensMax: upper bound of all prompt tokens, cached or not; decides whether
    ///     long-context prices are possible.
    ///   - serviceTier: as the caller asks for it; `nil` when the request names none.
    ///   - longCacheWrite: whether the request asks for the long cache lifetime.
    ///   - geoUS: whether the request asks for inference in the US only, at the model's own
    ///     surcharge. Leave it out where `multiplierTenths` already has that surcharge.
    ///   - audio: whether the request carries audio or asks for it.
    ///   - multiplierTenths: surcharges that the table does not know, for example 11 on a regional
    ///     endpoint; 10 for none.
    public func holdRates(
        promptTokensMax: UInt64, serviceTier: String?, longCacheWrite: Bool, fast: Bool,
        geoUS: Bool = false, audio: Bool = false, multiplierTenths: UInt64
    ) throws(PriceError) -> HoldRates {
        let thousandths = try multiplierThousandths(
            fast: fast, geoUS: geoUS, multiplierTenths: multiplierTenths)
        var worst: TokenRates?
        for row in rows {
            let tariffs = row.tariffs(
                requesting: serviceTier, defaultMayBePriority: defaultMayBePriority)
            guard let tariffs else { throw .unknownTier(serviceTier ?? "") }
            for tariff in tariffs {
                guard let rates = audio ? tariff.audio : tariff.text else {
                    throw .noAudioPrice
                }
                worst = rates.short.dearest(worst ?? rates.short)
                // A prompt below its bound can still be billed at the short prices.
                if let long = rates.longRates(promptTokens: promptTokensMax, in: row) {
                    worst = long.dearest(worst ?? long)
                }
            }
        }
        guard let worst else { preconditionFailure("a row without a standard tariff") }
        var input = max(worst.input, worst.cacheRead, worst.cacheWrite)
        if longCacheWrite { input = max(input, worst.cacheWriteLong) }
        return HoldRates(
            input: input, output: worst.output, multiplierThousandths: thousandths)
    }

    /// The cost of what was used: never less than the exact cost, and less than one nano-dollar
    /// more where the table holds one certain price for it.
    ///
    /// - Parameters:
    ///   - serviceTier: as the response says; `nil` when it says nothing, which means the dearest
    ///     that `requestedTier` allows. A name without a price means the dearest of all tiers.
    ///   - geoUS: whether the response says that it was served in the US only.
    ///   - multiplierTenths: as for the hold, without the surcharge that `geoUS` stands for.
    ///   - webSearchCalls: calls of the provider's web search tool, which cost a fixed price each.
    /// - Returns: `nil` when a price is unknown or the cost is above `Limits.amountMax`: the caller
    ///   then charges the ceiling.
    public func cost(
        of usage: TokenUsage, serviceTier: String?, requestedTier: String?, fast: Bool,
        geoUS: Bool, audio: Bool = false, multiplierTenths: UInt64, webSearchCalls: UInt64
    ) -> NanoUSD? {
        // Bounded before they are added up, because a provider's numbers can be anything.
        let counts = [
            usage.uncachedInput, usage.cacheRead, usage.cacheWrite, usage.cacheWriteLong,
            usage.output,
        ]
        guard counts.allSatisfy({ $0 <= Limits.amountMax }) else { return nil }
        let thousandths: UInt64
        do {
            thousandths = try multiplierThousandths(
                fast: fast, geoUS: geoUS, multiplierTenths: multiplierTenths)
        } catch {
            return nil
        }
        let rates = dearestRates(
            promptTokens: usage.prompt, serviceTier: serviceTier, requestedTier: requestedTier,
            audio: audio)
        guard let rates,
            let tokens = Money.nanos(rates.sum(of: usage), multiplierThousandths: thousandths),
            let searches = searchCost(calls: webSearchCalls)
        else { return nil }
        let (total, overflow) = tokens.addingReportingOverflow(searches)
        guard !overflow, total <= Limits.amountMax else { return nil }
        return NanoUSD(total)
    }

    private var defaultMayBePriority: Bool {
        !PriceQuote.providersWithStandardDefault.contains(provider)
    }

    private func dearestRates(
        promptTokens: UInt64, serviceTier: String?, requestedTier: String?, audio: Bool
    ) -> TokenRates? {
        var dearest: TokenRates?
        for row in rows {
            let tariffs = row.tariffs(
                serving: serviceTier, requested: requestedTier,
                defaultMayBePriority: defaultMayBePriority)
            for tariff in tariffs {
                guard let byLength = audio ? tariff.audio : tariff.text else { return nil }
                let rates =
                    byLength.longRates(promptTokens: promptTokens, in: row) ?? byLength.short
                dearest = rates.dearest(dearest ?? rates)
            }
        }
        return dearest
    }

    private func searchCost(calls: UInt64) -> UInt64? {
        guard calls > 0 else { return 0 }
        guard let webSearch else { return nil }
        let (product, overflow) = webSearch.rawValue.multipliedReportingOverflow(by: calls)
        return overflow ? nil : product
    }

    /// Three multipliers in tenths, each at most 1,000: the product fits easily.
    private func multiplierThousandths(
        fast: Bool, geoUS: Bool, multiplierTenths: UInt64
    ) throws(PriceError) -> UInt64 {
        guard PriceQuote.multiplierTenthsRange.contains(multiplierTenths) else {
            throw .multiplierOutOfRange(tenths: multiplierTenths)
        }
        var product = multiplierTenths
        if fast {
            guard let fastMultiplierTenths else { throw .noFastPrice }
            product *= fastMultiplierTenths
        } else {
            product *= 10
        }
        if geoUS {
            guard let geoUSMultiplierTenths else { throw .noUSGeoPrice }
            product *= geoUSMultiplierTenths
        } else {
            product *= 10
        }
        return product
    }
}

extension Tariff.ByLength {
    fileprivate func longRates(promptTokens: UInt64, in row: PriceRow) -> TokenRates? {
        guard let above = row.listed.long?.above, promptTokens > above else { return nil }
        return long
    }
}

extension TokenRates {
    /// In nano-dollars per million. Fits: token counts are at most 2^60 and prices below 2^51.
    fileprivate func sum(of usage: TokenUsage) -> UInt128 {
        let terms: [(UInt64, TokenPrice)] = [
            (usage.uncachedInput, input), (usage.cacheRead, cacheRead),
            (usage.cacheWrite, cacheWrite), (usage.cacheWriteLong, cacheWriteLong),
            (usage.output, output),
        ]
        return terms.reduce(0) { sum, term in
            sum + UInt128(term.0) * UInt128(term.1.nanoUSDPerMillionTokens)
        }
    }
}

extension [PriceRow] {
    /// The largest value among the rows; `nil`, unknown, as soon as one row does not know it.
    fileprivate func largest<Value: Comparable>(
        _ field: KeyPath<PriceRow.Listed, Value?>
    ) -> Value? {
        var largest: Value?
        for row in self {
            guard let value = row.listed[keyPath: field] else { return nil }
            largest = Swift.max(value, largest ?? value)
        }
        return largest
    }
}
