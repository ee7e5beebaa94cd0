import HoldfastCore
import HoldfastProviders
import Testing

/// What decides the price of a request besides its tokens.
struct PriceTerms: Sendable {
    var requested: String? = "default"
    var served: String? = "default"
    var longCacheWrite = false
    var fast = false
    var geoUS = false
    var audio = false
    var multiplierTenths: UInt64 = 10
    var webSearchCalls: UInt64 = 0
}

extension PriceQuote {
    func holdRates(promptTokensMax: UInt64, _ terms: PriceTerms) throws(PriceError) -> HoldRates {
        try holdRates(
            promptTokensMax: promptTokensMax, serviceTier: terms.requested,
            longCacheWrite: terms.longCacheWrite, fast: terms.fast, geoUS: terms.geoUS,
            audio: terms.audio, multiplierTenths: terms.multiplierTenths)
    }

    func cost(of usage: TokenUsage, _ terms: PriceTerms) -> NanoUSD? {
        cost(
            of: usage, serviceTier: terms.served, requestedTier: terms.requested,
            fast: terms.fast, geoUS: terms.geoUS, audio: terms.audio,
            multiplierTenths: terms.multiplierTenths, webSearchCalls: terms.webSearchCalls)
    }
}

private func builtInQuote(
    _ provider: String, _ model: String, at time: String = "2026-11-20", lasting: Int64 = 600
) throws -> PriceQuote {
    let start = try #require(UnixTime(date: time))
    return try #require(
        PriceBook.builtIn.quote(provider: provider, model: model, from: start, lasting: lasting))
}

/// A quote for `acme/m` with one row.
private func acmeQuote(_ columns: String, _ fields: String) throws -> PriceQuote {
    let table = priceTable("provider model " + columns, "acme m " + fields)
    return try #require(
        PriceBook(tsv: table).quote(provider: "acme", model: "m", from: UnixTime(0), lasting: 0))
}

@Suite struct `Cost of usage` {
    struct Example: Sendable, CustomTestStringConvertible {
        var provider: String
        var model: String
        var usage: TokenUsage
        var terms = PriceTerms()
        var nanoUSD: UInt64?

        var testDescription: String { "\(model): \(nanoUSD.map(String.init) ?? "unknown")" }
    }

    static let opusUsage = TokenUsage(
        uncachedInput: 1_000, cacheRead: 10_000, cacheWrite: 2_000, cacheWriteLong: 3_000,
        output: 500)
    static let solUsage = TokenUsage(
        uncachedInput: 150_000, cacheRead: 100_000, cacheWrite: 50_000, output: 2_000)

    @Test(arguments: [
        Example(
            provider: "anthropic", model: "claude-opus-5-5", usage: opusUsage,
            nanoUSD: 50_000_000),
        Example(
            provider: "anthropic", model: "claude-opus-5-5", usage: opusUsage,
            terms: PriceTerms(webSearchCalls: 1), nanoUSD: 60_000_000),
        Example(
            provider: "anthropic", model: "claude-opus-5-5", usage: opusUsage,
            terms: PriceTerms(fast: true), nanoUSD: 100_000_000),
        Example(
            provider: "anthropic", model: "claude-opus-5-5", usage: opusUsage,
            terms: PriceTerms(geoUS: true), nanoUSD: 55_000_000),
        Example(
            provider: "anthropic", model: "claude-opus-5-5", usage: opusUsage,
            terms: PriceTerms(fast: true, geoUS: true, multiplierTenths: 11, webSearchCalls: 2),
            nanoUSD: 141_000_000),
        Example(
            provider: "anthropic", model: "claude-opus-5-5", usage: opusUsage,
            terms: PriceTerms(requested: nil, served: "priority"), nanoUSD: 50_000_000),
        Example(
            provider: "openai", model: "gpt-6-sol", usage: solUsage, nanoUSD: 920_000_000),
        // Exactly at the threshold the short prices hold; one token more re-prices everything.
        Example(
            provider: "openai", model: "gpt-6-sol",
            usage: TokenUsage(uncachedInput: 272_000), nanoUSD: 544_000_000),
        Example(
            provider: "openai", model: "gpt-6-sol",
            usage: TokenUsage(uncachedInput: 272_001), nanoUSD: 1_088_004_000),
        Example(
            provider: "openai", model: "gpt-6-sol",
            usage: TokenUsage(cacheRead: 272_001), nanoUSD: 108_800_400),
        Example(
            provider: "anthropic", model: "claude-haiku-5-5",
            usage: TokenUsage(uncachedInput: 90_000, cacheRead: 20_000, output: 1_000),
            nanoUSD: 48_500_000),
        // 5 x the base price of 0.2, as every category of a long request on this model.
        Example(
            provider: "anthropic", model: "claude-haiku-5-5",
            usage: TokenUsage(cacheWriteLong: 200_000), nanoUSD: 200_000_000),
        // The threshold of xAI is part of the long range.
        Example(
            provider: "xai", model: "grok-4.7", usage: TokenUsage(uncachedInput: 199_999),
            nanoUSD: 399_998_000),
        Example(
            provider: "xai", model: "grok-4.7", usage: TokenUsage(uncachedInput: 200_000),
            nanoUSD: 800_000_000),
        // One token at $0.0375 per million is 37.5 nano-dollars.
        Example(
            provider: "cohere", model: "command-r7b-12-2024",
            usage: TokenUsage(uncachedInput: 1), nanoUSD: 38),
        Example(
            provider: "cohere", model: "command-r7b-12-2024",
            usage: TokenUsage(uncachedInput: 1, output: 1), nanoUSD: 188),
        Example(provider: "openai", model: "gpt-6-sol", usage: .zero, nanoUSD: 0),
    ])
    func `worked examples come out to the nano-dollar`(example: Example) throws {
        try check(example)
    }

    @Test(
        arguments: [
            ("default", nil, 2_000), ("standard", nil, 2_000), ("priority", nil, 4_000),
            ("fast", nil, 4_000), ("FAST", nil, 4_000), ("flex", nil, 1_000),
            ("ultrafast", nil, 12_000), ("batch", nil, 12_000), ("scale", "default", 12_000),
            (nil, nil, 4_000), (nil, "auto", 4_000), (nil, "default", 2_000), (nil, "flex", 2_000),
            (nil, "priority", 4_000), (nil, "ultrafast", 12_000), (nil, "unheard-of", 12_000),
        ] as [(String?, String?, UInt64)])
    func `the tier that served is billed, the dearest when unclear`(
        served: String?, requested: String?, nanoUSDPerToken: UInt64
    ) throws {
        try check(
            Example(
                provider: "openai", model: "gpt-6.1-sol",
                usage: TokenUsage(uncachedInput: 1_000),
                terms: PriceTerms(requested: requested, served: served),
                nanoUSD: nanoUSDPerToken * 1_000))
    }

    @Test func `a tier without long prices is charged the dearest reading of them`() throws {
        let usage = TokenUsage(uncachedInput: 300_000)
        for (tier, nanoUSDPerToken) in [("priority", 8_000), ("flex", 4_000)] as [(String, UInt64)]
        {
            try check(
                Example(
                    provider: "openai", model: "gpt-6-sol", usage: usage,
                    terms: PriceTerms(served: tier), nanoUSD: nanoUSDPerToken * 300_000))
        }
    }

    @Test(arguments: [
        Example(
            provider: "openai", model: "gpt-4o", usage: TokenUsage(output: 1),
            terms: PriceTerms(webSearchCalls: 1)),
        Example(
            provider: "openai", model: "gpt-4o", usage: TokenUsage(output: 1),
            terms: PriceTerms(fast: true)),
        Example(
            provider: "openai", model: "gpt-4o", usage: TokenUsage(output: 1),
            terms: PriceTerms(geoUS: true)),
        Example(
            provider: "openai", model: "gpt-4o", usage: TokenUsage(output: 1),
            terms: PriceTerms(audio: true)),
        Example(
            provider: "openai", model: "gpt-4o", usage: TokenUsage(output: 1),
            terms: PriceTerms(multiplierTenths: 9)),
        Example(provider: "openai", model: "gpt-4o", usage: TokenUsage(output: .max)),
        Example(
            provider: "openai", model: "gpt-4o",
            usage: TokenUsage(uncachedInput: .max, cacheRead: .max)),
        Example(
            provider: "openai", model: "gpt-4o", usage: TokenUsage(output: Limits.amountMax)),
        Example(
            provider: "openai", model: "gpt-6-sol", usage: .zero,
            terms: PriceTerms(webSearchCalls: .max)),
        Example(
            provider: "openai", model: "gpt-6-sol", usage: .zero,
            terms: PriceTerms(webSearchCalls: Limits.amountMax / 10_000_000 + 1)),
    ])
    func `what has no known price has no cost`(example: Example) throws {
        try check(example)
    }

    @Test func `unknown cache prices are on the dear side`() throws {
        let buckets = [
            TokenUsage(cacheRead: 1_000_000), TokenUsage(cacheWrite: 1_000_000),
            TokenUsage(cacheWriteLong: 1_000_000),
        ]
        let table: [(String, String, [UInt64])] = [
            ("input output", "100 7", [100, 100, 100]),
            ("input cache_write output", "100 125 7", [100, 125, 250]),
            ("input cache_write output", "100 20 7", [100, 20, 100]),
            ("input cache_write_long output", "100 200 7", [100, 200, 200]),
            ("input cache_write_long output", "100 20 7", [100, 100, 20]),
            ("input cache_read cache_write cache_write_long output", "9 1 2 3 7", [1, 2, 3]),
        ]
        for (columns, fields, expected) in table {
            let quote = try acmeQuote(columns, fields)
            #expect(buckets.map { quote.cost(of: $0, PriceTerms())?.rawValue } == expected)
        }
    }

    @Test func `audio is charged at the audio price of every bucket`() throws {
        let quote = try builtInQuote("openai", "gpt-audio-mini")
        let usage = TokenUsage(uncachedInput: 1_000, cacheRead: 1_000, output: 1_000)
        #expect(quote.cost(of: usage, PriceTerms())?.rawValue == 3_600_000)
        #expect(quote.cost(of: usage, PriceTerms(audio: true))?.rawValue == 40_000_000)
    }

    private func check(_ example: Example) throws {
        let quote = try builtInQuote(example.provider, example.model)
        #expect(quote.cost(of: example.usage, example.terms)?.rawValue == example.nanoUSD)
    }
}

@Suite struct `Rates of a hold` {
    struct Row: Sendable, CustomTestStringConvertible {
        var provider = "openai"
        var model = "gpt-6.1-sol"
        var terms: PriceTerms
        var prompt: UInt64 = 1_000
        /// Nano-dollars per token; `nil` when the request must be refused.
        var input: UInt64?
        var output: UInt64?
        var thousandths: UInt64 = 1_000

        var testDescription: String { "\(model) \(terms.requested ?? "no tier"), \(prompt)" }
    }

    /// gpt-6.1-sol costs 2,000 in, 2,500 to write, 5,000 to write for long, 10,000 out.
    @Test(arguments: [
        Row(terms: PriceTerms(), input: 2_500, output: 10_000),
        Row(terms: PriceTerms(requested: "standard"), input: 2_500, output: 10_000),
        Row(terms: PriceTerms(requested: "standard_only"), input: 2_500, output: 10_000),
        Row(terms: PriceTerms(longCacheWrite: true), input: 5_000, output: 10_000),
        Row(terms: PriceTerms(requested: nil), input: 5_000, output: 20_000),
        Row(terms: PriceTerms(requested: "auto"), input: 5_000, output: 20_000),
        Row(terms: PriceTerms(requested: "priority"), input: 5_000, output: 20_000),
        Row(terms: PriceTerms(requested: "fast"), input: 5_000, output: 20_000),
        Row(terms: PriceTerms(requested: "flex"), input: 2_500, output: 10_000),
        Row(terms: PriceTerms(requested: "ultrafast"), input: 15_000, output: 60_000),
        Row(
            terms: PriceTerms(requested: "priority", longCacheWrite: true), input: 10_000,
            output: 20_000),
        Row(terms: PriceTerms(), prompt: 272_000, input: 2_500, output: 10_000),
        Row(terms: PriceTerms(), prompt: 272_001, input: 5_000, output: 15_000),
        Row(
            terms: PriceTerms(requested: "priority"), prompt: 272_001, input: 10_000,
            output: 30_000),
        Row(terms: PriceTerms(requested: "flex"), prompt: 272_001, input: 5_000, output: 15_000),
        Row(
            terms: PriceTerms(multiplierTenths: 11), input: 2_500, output: 10_000,
            thousandths: 1_100),
        Row(
            provider: "anthropic", model: "claude-opus-5-5", terms: PriceTerms(requested: nil),
            input: 5_000, output: 20_000),
        Row(
            provider: "anthropic", model: "claude-opus-5-5",
            terms: PriceTerms(
                requested: "auto", longCacheWrite: true, fast: true, geoUS: true,
                multiplierTenths: 11),
            input: 8_000, output: 20_000, thousandths: 2_420),
        // There the tier is the request's own, never the account's.
        Row(
            provider: "gemini", model: "gemini-4-argon", terms: PriceTerms(requested: nil),
            input: 2_000, output: 10_000),
        Row(
            provider: "gemini", model: "gemini-4-argon", terms: PriceTerms(requested: "priority"),
            input: 3_600, output: 18_000),
        Row(
            provider: "openai", model: "gpt-audio-mini", terms: PriceTerms(audio: true),
            input: 10_000, output: 20_000),
        // Audio costs 1.0 against 0.3 for text, and priority 1.8 times as much.
        Row(
            provider: "gemini", model: "gemini-2.5-flash",
            terms: PriceTerms(requested: "priority", audio: true), input: 1_800, output: 4_500),
    ])
    func `a hold takes the dearest price that the request can meet`(row: Row) throws {
        try check(row)
    }

    @Test(
        arguments: [
            (Row(terms: PriceTerms(requested: "scale")), PriceError.unknownTier("scale")),
            (Row(terms: PriceTerms(requested: "")), .unknownTier("")),
            (
                Row(model: "gpt-6-sol", terms: PriceTerms(requested: "ultrafast")),
                .unknownTier("ultrafast")
            ),
            (
                Row(model: "gpt-5.4-nano", terms: PriceTerms(requested: "priority")),
                .unknownTier("priority")
            ),
            (
                Row(
                    provider: "anthropic", model: "claude-opus-5-5",
                    terms: PriceTerms(requested: "priority")),
                .unknownTier("priority")
            ),
            (Row(terms: PriceTerms(fast: true)), .noFastPrice),
            (
                Row(
                    provider: "anthropic", model: "claude-haiku-4-5",
                    terms: PriceTerms(geoUS: true)),
                .noUSGeoPrice
            ),
            (Row(terms: PriceTerms(audio: true)), .noAudioPrice),
            (Row(terms: PriceTerms(multiplierTenths: 9)), .multiplierOutOfRange(tenths: 9)),
            (Row(terms: PriceTerms(multiplierTenths: 1_001)), .multiplierOutOfRange(tenths: 1_001)),
        ] as [(Row, PriceError)])
    func `a request without a known price is refused`(row: Row, error: PriceError) throws {
        let quote = try builtInQuote(row.provider, row.model)
        #expect(throws: error) { try quote.holdRates(promptTokensMax: row.prompt, row.terms) }
        #expect(!error.description.isEmpty)
    }

    /// An operator's table may list what no provider does; the dear side must still be found.
    @Test(
        arguments: [
            ("long_above long_input long_output", "5 7 30", "default", 9, 10, 30),
            ("long_above long_input long_output", "5 7 30", "default", 5, 10, 20),
            ("tiers", "priority:8///25", "auto", 9, 10, 25),
            ("tiers", "priority:8///25", "priority", 9, 10, 25),
            ("tiers", "flex:11///15", "flex", 9, 11, 20),
            ("tiers", "custom:12///15", "custom", 9, 12, 20),
            // 11 x 15 / 10 and 21 x 25 / 20, both rounded up.
            (
                "long_above long_input long_output tiers", "5 15 25 priority:11///21", "priority",
                9,
                17, 27
            ),
            (
                "long_above long_input long_output tiers", "5 15 25 priority:11///21", "priority",
                5,
                11, 21
            ),
        ] as [(String, String, String, UInt64, UInt64, UInt64)])
    func `rates that invert the usual order are held at the dearer one`(
        columns: String, fields: String, tier: String, prompt: UInt64, input: UInt64,
        output: UInt64
    ) throws {
        let quote = try acmeQuote("input output " + columns, "10 20 " + fields)
        let rates = try quote.holdRates(
            promptTokensMax: prompt, PriceTerms(requested: tier))
        #expect(rates.input.nanoUSDPerMillionTokens == input)
        #expect(rates.output.nanoUSDPerMillionTokens == output)
    }

    @Test func `a quote knows the model's limits, or that they are unknown`() throws {
        let sol = try builtInQuote("openai", "gpt-6-sol")
        #expect(sol.contextTokens == 922_000)
        #expect(sol.maxOutputTokens == 128_000)
        #expect(sol.webSearch == NanoUSD(10_000_000))
        #expect(sol.serviceTiers == ["flex", "priority"])
        let cyber = try builtInQuote("openai", "gpt-6-cyber")
        #expect(cyber.contextTokens == nil)
        #expect(cyber.maxOutputTokens == nil)
    }

    private func check(_ row: Row) throws {
        let quote = try builtInQuote(row.provider, row.model)
        let rates = try quote.holdRates(promptTokensMax: row.prompt, row.terms)
        #expect(rates.input.nanoUSDPerMillionTokens == row.input.map { $0 * 1_000_000 })
        #expect(rates.output.nanoUSDPerMillionTokens == row.output.map { $0 * 1_000_000 })
        #expect(rates.multiplierThousandths == row.thousandths)
    }
}

@Suite struct `Prices with dates` {
    /// Rises on the first of December.
    static let rising = priceTable(
        "provider model from certainty input output", "acme m - - 2 10",
        "acme m 2026-12-01 - 4 20")
    static let falling = priceTable(
        "provider model from certainty input output", "acme m 2026-12-01 - 2 10",
        "acme m - - 4 20")
    static let rumour = priceTable(
        "provider model from certainty input output", "acme m - - 4 20",
        "acme m 2026-12-01 possible 5 10", "acme m 2027-01-01 - 4 21")

    struct Row: Sendable, CustomTestStringConvertible {
        var table: String
        var day: String
        var hour: Int64 = 0
        var lasting: Int64 = 600
        var input: UInt64
        var output: UInt64

        var testDescription: String { "\(day) +\(hour) h for \(lasting) s: \(input)/\(output)" }
    }

    @Test(arguments: [
        Row(table: rising, day: "2026-11-29", input: 2, output: 10),
        Row(table: rising, day: "2026-11-29", lasting: 2 * 86_400, input: 4, output: 20),
        Row(table: rising, day: "2026-11-30", hour: 9, input: 2, output: 10),
        // The day has begun in the first zone.
        Row(table: rising, day: "2026-11-30", hour: 10, lasting: 0, input: 4, output: 20),
        Row(table: rising, day: "2026-12-01", input: 4, output: 20),
        Row(table: rising, day: "2030-01-01", input: 4, output: 20),
        Row(table: falling, day: "2026-11-30", input: 4, output: 20),
        // And not yet in the last one.
        Row(table: falling, day: "2026-12-01", hour: 11, input: 4, output: 20),
        Row(table: falling, day: "2026-12-01", hour: 12, input: 2, output: 10),
        // A reported change counts bucket by bucket, where it is dearer, until it is answered.
        Row(table: rumour, day: "2026-11-20", input: 4, output: 20),
        Row(table: rumour, day: "2026-12-02", input: 5, output: 20),
        Row(table: rumour, day: "2026-12-31", hour: 12, input: 5, output: 21),
        Row(table: rumour, day: "2027-01-02", input: 4, output: 21),
        // A clock or a duration beyond all reason stays on the dear side.
        Row(table: rising, day: "2026-11-01", lasting: .max, input: 4, output: 20),
        Row(table: rising, day: "2026-11-01", lasting: -86_400, input: 2, output: 10),
    ])
    func `a request meets the dearest price of its time`(row: Row) throws {
        try check(row)
    }

    @Test(
        arguments: [
            ("gemini", "gemini-4-argon", "2026-11-25", 2_000, 10_000),
            ("gemini", "gemini-4-argon", "2026-12-02", 4_000, 20_000),
            ("gemini", "gemini-3.8-flash", "2026-12-30", 750, 3_750),
            ("gemini", "gemini-3.8-flash", "2027-01-02", 1_500, 7_500),
            ("openai", "gpt-5.6-sol", "2026-11-20", 5_000, 20_000),
            ("openai", "gpt-5.6-sol", "2026-11-23", 6_250, 30_000),
        ] as [(String, String, String, UInt64, UInt64)])
    func `announced and reported changes are built in`(
        provider: String, model: String, day: String, input: UInt64, output: UInt64
    ) throws {
        let quote = try builtInQuote(provider, model, at: day)
        let rates = try quote.holdRates(promptTokensMax: 1_000, PriceTerms())
        #expect(rates.input.nanoUSDPerMillionTokens == input * 1_000_000)
        #expect(rates.output.nanoUSDPerMillionTokens == output * 1_000_000)
    }

    @Test func `a changed standard price takes the other tiers along`() throws {
        let quote = try builtInQuote("gemini", "gemini-4-argon", at: "2026-12-02")
        let priority = PriceTerms(requested: "priority", served: "priority")
        let cost = quote.cost(of: TokenUsage(uncachedInput: 1_000, output: 1_000), priority)
        #expect(cost == NanoUSD(43_200_000))
    }

    private func check(_ row: Row) throws {
        let day = try #require(UnixTime(date: row.day))
        let now = UnixTime(day.seconds + row.hour * 3_600)
        let book = try PriceBook(tsv: row.table)
        let quote = try #require(
            book.quote(provider: "acme", model: "m", from: now, lasting: row.lasting))
        let rates = try quote.holdRates(promptTokensMax: 1, PriceTerms())
        #expect(rates.input.nanoUSDPerMillionTokens == row.input)
        #expect(rates.output.nanoUSDPerMillionTokens == row.output)
        let usage = TokenUsage(uncachedInput: 1_000_000, output: 1_000_000)
        #expect(quote.cost(of: usage, PriceTerms()) == NanoUSD(row.input + row.output))
    }
}
