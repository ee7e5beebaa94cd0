/// A published token price.
///
/// Kept per million tokens, as providers publish it: $0.0375 per million is 37.5 nano-dollars per
/// thousand tokens, which a per-token integer could not hold.
public struct TokenPrice: Hashable, Comparable, Sendable {
    public let nanoUSDPerMillionTokens: UInt64

    public static let zero = TokenPrice(nanoUSDPerMillionTokens: 0)

    public init(nanoUSDPerMillionTokens: UInt64) {
        self.nanoUSDPerMillionTokens = nanoUSDPerMillionTokens
    }

    public static func < (lhs: TokenPrice, rhs: TokenPrice) -> Bool {
        lhs.nanoUSDPerMillionTokens < rhs.nanoUSDPerMillionTokens
    }
}

/// What one request used, in buckets that never overlap, so that cost is a plain sum of products.
///
/// Providers disagree on whether "input tokens" includes cached ones. That difference stops in the
/// adapter: nothing past this type may know which provider an amount came from.
public struct TokenUsage: Hashable, Sendable {
    public var uncachedInput: UInt64
    public var cacheRead: UInt64
    /// Written to the provider's cache at its short lifetime.
    public var cacheWrite: UInt64
    /// Written to the provider's cache at its long lifetime (1 h, 12 h).
    public var cacheWriteLong: UInt64
    /// Includes reasoning.
    public var output: UInt64

    public static let zero = TokenUsage()

    public init(
        uncachedInput: UInt64 = 0, cacheRead: UInt64 = 0, cacheWrite: UInt64 = 0,
        cacheWriteLong: UInt64 = 0, output: UInt64 = 0
    ) {
        self.uncachedInput = uncachedInput
        self.cacheRead = cacheRead
        self.cacheWrite = cacheWrite
        self.cacheWriteLong = cacheWriteLong
        self.output = output
    }

    /// All prompt tokens, cached or not: what long-context thresholds are compared with.
    public var prompt: UInt64 { uncachedInput + cacheRead + cacheWrite + cacheWriteLong }
    public var total: UInt64 { prompt + output }
}

/// One price per bucket of `TokenUsage`.
public struct TokenRates: Hashable, Sendable {
    public var input: TokenPrice
    public var cacheRead: TokenPrice
    public var cacheWrite: TokenPrice
    public var cacheWriteLong: TokenPrice
    public var output: TokenPrice

    public init(
        input: TokenPrice, cacheRead: TokenPrice, cacheWrite: TokenPrice,
        cacheWriteLong: TokenPrice, output: TokenPrice
    ) {
        self.input = input
        self.cacheRead = cacheRead
        self.cacheWrite = cacheWrite
        self.cacheWriteLong = cacheWriteLong
        self.output = output
    }

    /// Rounds up, once for the whole request: a hard cap may over-charge by less than a nano-dollar,
    /// never under-count by one. `nil` when the cost is above `Limits.amountMax`.
    public func cost(of usage: TokenUsage) -> NanoUSD? {
        let terms: [(UInt64, TokenPrice)] = [
            (usage.uncachedInput, input), (usage.cacheRead, cacheRead),
            (usage.cacheWrite, cacheWrite), (usage.cacheWriteLong, cacheWriteLong),
            (usage.output, output),
        ]
        // Five products of two 64-bit numbers fit only because tokens are bounded first.
        var sum: UInt128 = 0
        for (tokens, price) in terms {
            guard tokens <= Limits.amountMax else { return nil }
            sum += UInt128(tokens) * UInt128(price.nanoUSDPerMillionTokens)
        }
        let nanos = (sum + 999_999) / 1_000_000
        guard nanos <= UInt128(Limits.amountMax) else { return nil }
        return NanoUSD(UInt64(nanos))
    }

    /// The dearer of both in every bucket: what a hold takes when it cannot tell which will apply.
    public func dearest(_ other: TokenRates) -> TokenRates {
        TokenRates(
            input: max(input, other.input), cacheRead: max(cacheRead, other.cacheRead),
            cacheWrite: max(cacheWrite, other.cacheWrite),
            cacheWriteLong: max(cacheWriteLong, other.cacheWriteLong),
            output: max(output, other.output))
    }
}
