public import HoldfastCore

/// The prices that a request is held at.
public struct HoldRates: Hashable, Sendable {
    /// Of every prompt token: whether it will be fresh, read from a cache or written to one is not
    /// known before the call.
    public let input: TokenPrice
    public let output: TokenPrice
    /// On top of both prices, in thousandths; at least 1,000.
    public let multiplierThousandths: UInt64

    public init(input: TokenPrice, output: TokenPrice, multiplierThousandths: UInt64 = 1_000) {
        precondition(multiplierThousandths >= 1_000, "a multiplier that lowers the price")
        self.input = input
        self.output = output
        self.multiplierThousandths = multiplierThousandths
    }
}

/// The most that one request can use.
public struct Ceiling: Hashable, Sendable {
    public let usd: NanoUSD
    public let tokens: UInt64

    public init(usd: NanoUSD, tokens: UInt64) {
        self.usd = usd
        self.tokens = tokens
    }
}

/// The ceiling of one request as a function of its output limit, and the way back.
public struct CeilingFormula: Hashable, Sendable {
    private let promptTokens: UInt64
    private let choices: UInt64
    private let extraOutputTokens: UInt64
    private let rates: HoldRates

    /// - Parameters:
    ///   - promptTokens: upper bound of all prompt tokens.
    ///   - choices: how many answers are generated, each up to the output limit; zero counts as
    ///     one.
    ///   - extraOutputTokens: output that is billed beside the output limit.
    public init(
        promptTokens: UInt64, choices: UInt64, extraOutputTokens: UInt64, rates: HoldRates
    ) {
        self.promptTokens = promptTokens
        self.choices = max(1, choices)
        self.extraOutputTokens = extraOutputTokens
        self.rates = rates
    }

    /// The ceiling with such an output limit per choice; `nil` when its dollars or its tokens are
    /// above `Limits.amountMax`.
    public func ceiling(outputTokensPerChoice: UInt64) -> Ceiling? {
        let (generated, overflow) = UInt128(choices).multipliedReportingOverflow(
            by: UInt128(outputTokensPerChoice))
        guard !overflow, generated <= UInt128(Limits.amountMax) else { return nil }
        let output = generated + UInt128(extraOutputTokens)
        let tokens = UInt128(promptTokens) + output
        guard tokens <= UInt128(Limits.amountMax) else { return nil }
        // Fits: at most 2^60 tokens in all, times prices of 64 bits.
        let sum = UInt128(promptTokens) * rates.input.wide + output * rates.output.wide
        let nanos = Money.nanos(sum, multiplierThousandths: rates.multiplierThousandths)
        return nanos.map { Ceiling(usd: NanoUSD($0), tokens: UInt64(tokens)) }
    }

    /// The largest output limit per choice whose ceiling is within both bounds, `nil` standing for
    /// no bound. `nil` when not even a request without output fits.
    public func affordableOutput(usd: NanoUSD?, tokens: UInt64?) -> UInt64? {
        let tokenLimit = UInt128(min(tokens ?? Limits.amountMax, Limits.amountMax))
        let usdLimit = UInt128(min(usd?.rawValue ?? Limits.amountMax, Limits.amountMax))
        let fixedTokens = UInt128(promptTokens) + UInt128(extraOutputTokens)
        guard fixedTokens <= tokenLimit else { return nil }
        let byTokens = (tokenLimit - fixedTokens) / UInt128(choices)
        let sumLimit = usdLimit * Money.sumUnitsPerNano / UInt128(rates.multiplierThousandths)
        let fixedSum =
            UInt128(promptTokens) * rates.input.wide
            + UInt128(extraOutputTokens) * rates.output.wide
        guard fixedSum <= sumLimit else { return nil }
        guard rates.output > .zero else { return UInt64(byTokens) }
        let byUSD = (sumLimit - fixedSum) / (UInt128(choices) * rates.output.wide)
        return UInt64(min(byTokens, byUSD))
    }
}

/// The one division of money arithmetic.
enum Money {
    /// A sum of tokens times prices counts nano-dollars per million tokens, and its multiplier
    /// thousandths.
    static let sumUnitsPerNano: UInt128 = 1_000_000 * 1_000

    /// Nano-dollars, rounded up; `nil` above `Limits.amountMax`.
    static func nanos(_ sum: UInt128, multiplierThousandths: UInt64) -> UInt64? {
        let (scaled, overflow) = sum.multipliedReportingOverflow(
            by: UInt128(multiplierThousandths))
        guard !overflow else { return nil }
        let (whole, rest) = scaled.quotientAndRemainder(dividingBy: sumUnitsPerNano)
        let nanos = rest == 0 ? whole : whole + 1
        guard nanos <= UInt128(Limits.amountMax) else { return nil }
        return UInt64(nanos)
    }
}

extension TokenPrice {
    fileprivate var wide: UInt128 { UInt128(nanoUSDPerMillionTokens) }
}
