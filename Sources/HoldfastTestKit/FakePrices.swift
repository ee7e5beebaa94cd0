/// Prices in picoUSD per token (1 USD = 1_000_000_000_000 picoUSD): a published price of $0.15 per
/// million tokens is 150_000.
struct FakeRates: Sendable {
    let input: UInt64
    let cacheRead: UInt64
    /// `nil` where the provider has no cache writes to bill.
    let cacheWrite: UInt64?
    let cacheWriteLong: UInt64?
    let output: UInt64

    func picoUSD(_ tokens: BilledTokens) -> UInt128 {
        // Writes without a price of their own are never counted, see FakeGeneration.
        UInt128(tokens.uncachedInput) * UInt128(input)
            + UInt128(tokens.cacheRead) * UInt128(cacheRead)
            + UInt128(tokens.cacheWrite) * UInt128(cacheWrite ?? input)
            + UInt128(tokens.cacheWriteLong) * UInt128(cacheWriteLong ?? input)
            + UInt128(tokens.output) * UInt128(output)
    }
}

/// The fake provider's own price list, apart from the product's, so that a mistake in one of them
/// shows as a difference.
///
/// Sources, as of 2026-11-21: LiteLLM 1.109.1 and genai-prices 0.2.3 agree on every number here.
struct FakeModel: Sendable {
    let name: String
    let aliases: [String]
    /// The vendor's: see `FakeDialect.vendor`.
    let dialect: FakeDialect
    let outputTokensMax: Int
    /// OpenAI's newer models refuse `max_tokens` and want `max_completion_tokens`.
    let refusesMaxTokens: Bool
    private let rates: FakeRates
    private let longPrompt: (aboveTokens: UInt64, rates: FakeRates)?

    /// The rates for a whole request with so many prompt tokens, cached ones included.
    func rates(promptTokens: UInt64) -> FakeRates {
        if let longPrompt, promptTokens > longPrompt.aboveTokens { return longPrompt.rates }
        return rates
    }

    static func named(_ name: String, dialect: FakeDialect) -> FakeModel? {
        all.first { $0.dialect == dialect.vendor && ($0.name == name || $0.aliases.contains(name)) }
    }

    static let all: [FakeModel] = openAI + anthropic + cohere + gemini + bedrock

    private static let openAI: [FakeModel] = [
        FakeModel(
            name: "gpt-4o-mini", aliases: ["gpt-4o-mini-2024-07-18"], dialect: .openAI,
            outputTokensMax: 16_384, refusesMaxTokens: false,
            rates: FakeRates(
                input: 150_000, cacheRead: 75_000, cacheWrite: nil, cacheWriteLong: nil,
                output: 600_000),
            longPrompt: nil),
        FakeModel(
            name: "gpt-4o", aliases: ["gpt-4o-2024-08-06", "gpt-4o-2024-11-20"], dialect: .openAI,
            outputTokensMax: 16_384, refusesMaxTokens: false,
            rates: FakeRates(
                input: 2_500_000, cacheRead: 1_250_000, cacheWrite: nil, cacheWriteLong: nil,
                output: 10_000_000),
            longPrompt: nil),
        FakeModel(
            name: "gpt-5-mini", aliases: ["gpt-5-mini-2025-08-07"], dialect: .openAI,
            outputTokensMax: 128_000, refusesMaxTokens: true,
            rates: FakeRates(
                input: 250_000, cacheRead: 25_000, cacheWrite: nil, cacheWriteLong: nil,
                output: 2_000_000),
            longPrompt: nil),
        FakeModel(
            name: "gpt-6-sol", aliases: [], dialect: .openAI,
            outputTokensMax: 128_000, refusesMaxTokens: true,
            rates: FakeRates(
                input: 2_000_000, cacheRead: 200_000, cacheWrite: 2_500_000,
                cacheWriteLong: nil, output: 10_000_000),
            longPrompt: (
                272_000,
                FakeRates(
                    input: 4_000_000, cacheRead: 400_000, cacheWrite: 5_000_000,
                    cacheWriteLong: nil, output: 15_000_000)
            )),
        FakeModel(
            name: "gpt-6-luna", aliases: [], dialect: .openAI,
            outputTokensMax: 128_000, refusesMaxTokens: true,
            rates: FakeRates(
                input: 100_000, cacheRead: 10_000, cacheWrite: 125_000,
                cacheWriteLong: nil, output: 500_000),
            longPrompt: (
                272_000,
                FakeRates(
                    input: 200_000, cacheRead: 20_000, cacheWrite: 250_000,
                    cacheWriteLong: nil, output: 750_000)
            )),
    ]

    private static let anthropic: [FakeModel] = [
        FakeModel(
            name: "claude-haiku-4-5", aliases: ["claude-haiku-4-5-20251001"], dialect: .anthropic,
            outputTokensMax: 64_000, refusesMaxTokens: false,
            rates: FakeRates(
                input: 1_000_000, cacheRead: 100_000, cacheWrite: 1_250_000,
                cacheWriteLong: 2_000_000, output: 5_000_000),
            longPrompt: nil),
        FakeModel(
            name: "claude-sonnet-5-5", aliases: [], dialect: .anthropic,
            outputTokensMax: 128_000, refusesMaxTokens: false,
            rates: FakeRates(
                input: 2_000_000, cacheRead: 100_000, cacheWrite: 2_500_000,
                cacheWriteLong: 4_000_000, output: 10_000_000),
            longPrompt: nil),
        FakeModel(
            name: "claude-opus-5-5", aliases: [], dialect: .anthropic,
            outputTokensMax: 128_000, refusesMaxTokens: false,
            rates: FakeRates(
                input: 4_000_000, cacheRead: 200_000, cacheWrite: 5_000_000,
                cacheWriteLong: 8_000_000, output: 20_000_000),
            longPrompt: nil),
    ]

    /// Cohere counts cached tokens and gives no discount for them.
    private static let cohere: [FakeModel] = [
        FakeModel(
            name: "command-a-03-2025", aliases: [], dialect: .cohere,
            outputTokensMax: 8_000, refusesMaxTokens: false,
            rates: FakeRates(
                input: 2_500_000, cacheRead: 2_500_000, cacheWrite: nil,
                cacheWriteLong: nil, output: 10_000_000),
            longPrompt: nil),
        FakeModel(
            name: "command-r-08-2024", aliases: [], dialect: .cohere,
            outputTokensMax: 4_096, refusesMaxTokens: false,
            rates: FakeRates(
                input: 150_000, cacheRead: 150_000, cacheWrite: nil,
                cacheWriteLong: nil, output: 600_000),
            longPrompt: nil),
    ]

    private static let gemini: [FakeModel] = [
        FakeModel(
            name: "gemini-2.5-flash", aliases: [], dialect: .gemini,
            outputTokensMax: 65_536, refusesMaxTokens: false,
            rates: FakeRates(
                input: 300_000, cacheRead: 30_000, cacheWrite: nil,
                cacheWriteLong: nil, output: 2_500_000),
            longPrompt: nil),
        FakeModel(
            name: "gemini-2.5-flash-lite", aliases: [], dialect: .gemini,
            outputTokensMax: 65_536, refusesMaxTokens: false,
            rates: FakeRates(
                input: 100_000, cacheRead: 10_000, cacheWrite: nil,
                cacheWriteLong: nil, output: 400_000),
            longPrompt: nil),
        FakeModel(
            name: "gemini-2.5-pro", aliases: [], dialect: .gemini,
            outputTokensMax: 65_536, refusesMaxTokens: false,
            rates: FakeRates(
                input: 1_250_000, cacheRead: 125_000, cacheWrite: nil,
                cacheWriteLong: nil, output: 10_000_000),
            longPrompt: (
                200_000,
                FakeRates(
                    input: 2_500_000, cacheRead: 250_000, cacheWrite: nil,
                    cacheWriteLong: nil, output: 15_000_000)
            )),
    ]

    private static let bedrock: [FakeModel] = [
        FakeModel(
            name: "global.anthropic.claude-haiku-4-5-20251001-v1:0", aliases: [], dialect: .bedrock,
            outputTokensMax: 64_000, refusesMaxTokens: false,
            rates: FakeRates(
                input: 1_000_000, cacheRead: 100_000, cacheWrite: 1_250_000,
                cacheWriteLong: 2_000_000, output: 5_000_000),
            longPrompt: nil),
        FakeModel(
            name: "us.anthropic.claude-haiku-4-5-20251001-v1:0", aliases: [], dialect: .bedrock,
            outputTokensMax: 64_000, refusesMaxTokens: false,
            rates: FakeRates(
                input: 1_100_000, cacheRead: 110_000, cacheWrite: 1_375_000,
                cacheWriteLong: 2_200_000, output: 5_500_000),
            longPrompt: nil),
        FakeModel(
            name: "amazon.nova-lite-v1:0", aliases: [], dialect: .bedrock,
            outputTokensMax: 10_000, refusesMaxTokens: false,
            rates: FakeRates(
                input: 60_000, cacheRead: 15_000, cacheWrite: nil,
                cacheWriteLong: nil, output: 240_000),
            longPrompt: nil),
        FakeModel(
            name: "amazon.nova-pro-v1:0", aliases: [], dialect: .bedrock,
            outputTokensMax: 10_000, refusesMaxTokens: false,
            rates: FakeRates(
                input: 800_000, cacheRead: 200_000, cacheWrite: nil,
                cacheWriteLong: nil, output: 3_200_000),
            longPrompt: nil),
    ]
}
