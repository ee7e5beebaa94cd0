import HoldfastCore
import HoldfastProviders
import Testing

/// The same numbers in every run, so that a failure can be looked at again.
private struct Dice {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state >> 33
    }

    mutating func below(_ bound: UInt64) -> UInt64 { next() % bound }

    /// Small and large numbers alike.
    mutating func magnitude(bits: UInt64) -> UInt64 {
        let width = below(bits + 1)
        let wide = next() << 31 | next()
        return width == 0 ? 0 : wide & (UInt64.max >> (64 - width))
    }

    mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[Int(below(UInt64(elements.count)))]
    }
}

@Suite struct `Ceiling formula` {
    struct Row: Sendable, CustomTestStringConvertible {
        var prompt: UInt64 = 0
        var choices: UInt64 = 1
        var extra: UInt64 = 0
        var input: UInt64 = 1_000_000
        var output: UInt64 = 1_000_000
        var thousandths: UInt64 = 1_000
        var limit: UInt64 = 0
        /// `nil` when the ceiling is out of range.
        var ceiling: Ceiling?

        var formula: CeilingFormula {
            let rates = HoldRates(
                input: TokenPrice(nanoUSDPerMillionTokens: input),
                output: TokenPrice(nanoUSDPerMillionTokens: output),
                multiplierThousandths: thousandths)
            return CeilingFormula(
                promptTokens: prompt, choices: choices, extraOutputTokens: extra, rates: rates)
        }

        var testDescription: String { "\(prompt) in, \(choices) x \(limit) + \(extra) out" }
    }

    private static func ceiling(_ usd: UInt64, _ tokens: UInt64) -> Ceiling {
        Ceiling(usd: NanoUSD(usd), tokens: tokens)
    }

    @Test(arguments: [
        Row(ceiling: ceiling(0, 0)),
        Row(prompt: 10, limit: 5, ceiling: ceiling(15, 15)),
        Row(prompt: 10, choices: 3, extra: 7, limit: 5, ceiling: ceiling(32, 32)),
        Row(prompt: 10, choices: 0, limit: 5, ceiling: ceiling(15, 15)),
        // Two halves make one nano-dollar: rounded once, not per line.
        Row(prompt: 1, input: 500_000, output: 500_000, limit: 1, ceiling: ceiling(1, 2)),
        Row(prompt: 1, input: 1, output: 1, limit: 0, ceiling: ceiling(1, 1)),
        Row(prompt: 10, thousandths: 1_100, ceiling: ceiling(11, 10)),
        Row(prompt: 1, thousandths: 1_001, ceiling: ceiling(2, 1)),
        Row(prompt: Limits.amountMax, ceiling: ceiling(Limits.amountMax, Limits.amountMax)),
        Row(prompt: Limits.amountMax, limit: 1, ceiling: nil),
        Row(prompt: Limits.amountMax, input: 1_000_001, ceiling: nil),
        Row(prompt: Limits.amountMax, thousandths: 1_001, ceiling: nil),
        Row(prompt: .max, ceiling: nil),
        Row(prompt: .max, choices: .max, extra: .max, limit: .max, ceiling: nil),
        Row(
            prompt: Limits.amountMax, input: .max, output: .max, thousandths: .max, ceiling: nil),
    ])
    func `a ceiling is exact, rounded up once, and bounded`(row: Row) {
        #expect(row.formula.ceiling(outputTokensPerChoice: row.limit) == row.ceiling)
    }

    @Test func `nothing is affordable when the prompt alone does not fit`() {
        let row = Row(prompt: 10, extra: 5)
        #expect(row.formula.affordableOutput(usd: NanoUSD(14), tokens: nil) == nil)
        #expect(row.formula.affordableOutput(usd: NanoUSD(15), tokens: nil) == 0)
        #expect(row.formula.affordableOutput(usd: nil, tokens: 14) == nil)
        #expect(row.formula.affordableOutput(usd: nil, tokens: 15) == 0)
        #expect(row.formula.affordableOutput(usd: NanoUSD(20), tokens: 18) == 3)
        #expect(row.formula.affordableOutput(usd: NanoUSD(18), tokens: 20) == 3)
        #expect(Row(prompt: .max).formula.affordableOutput(usd: nil, tokens: nil) == nil)
        #expect(row.formula.affordableOutput(usd: nil, tokens: nil) == Limits.amountMax - 15)
        let free = Row(output: 0).formula
        #expect(free.affordableOutput(usd: .zero, tokens: 100) == 100)
    }

    @Test func `the affordable output fits, and one token more does not`() {
        var dice = Dice(seed: 42)
        var fitting = 0
        for _ in 0..<20_000 {
            let row = Row(
                prompt: dice.magnitude(bits: 30), choices: dice.below(5),
                extra: dice.magnitude(bits: 20), input: dice.magnitude(bits: 40),
                output: dice.magnitude(bits: 40), thousandths: 1_000 + dice.below(9_000))
            let usd = dice.below(4) == 0 ? nil : NanoUSD(dice.magnitude(bits: 60))
            let tokens = dice.below(4) == 0 ? nil : dice.magnitude(bits: 60)
            guard let affordable = row.formula.affordableOutput(usd: usd, tokens: tokens) else {
                let least = row.formula.ceiling(outputTokensPerChoice: 0)
                #expect(!fits(least, usd: usd, tokens: tokens), "\(row)")
                continue
            }
            fitting += 1
            let most = row.formula.ceiling(outputTokensPerChoice: affordable)
            #expect(fits(most, usd: usd, tokens: tokens), "\(row)")
            let more = row.formula.ceiling(outputTokensPerChoice: affordable + 1)
            #expect(!fits(more, usd: usd, tokens: tokens), "\(row)")
        }
        #expect(fitting > 5_000)
    }

    private func fits(_ ceiling: Ceiling?, usd: NanoUSD?, tokens: UInt64?) -> Bool {
        guard let ceiling else { return false }
        return ceiling.usd <= usd ?? ceiling.usd && ceiling.tokens <= tokens ?? ceiling.tokens
    }
}

@Suite struct `Hold and charge of every price` {
    /// What a tier that is asked for can be served as.
    private static func served(asFor requested: String?) -> [String?] {
        switch requested {
        case nil, "auto": [nil, "default", "flex"]
        case "default": [nil, "default", "standard"]
        case "priority": [nil, "default", "priority", "fast"]
        case let name?: [nil, "default", name]
        }
    }

    private static let instants = ["2026-11-20", "2026-11-30", "2026-12-01", "2027-01-01"]

    @Test func `no usage within the bound costs more than the ceiling`() throws {
        var dice = Dice(seed: 7)
        var count = 0
        for model in PriceBook.builtIn.models {
            for day in Self.instants {
                let now = UnixTime(try #require(UnixTime(date: day)).seconds + 43_200)
                let quote = try #require(
                    PriceBook.builtIn.quote(
                        provider: model.provider, model: model.model, from: now, lasting: 600))
                for requested in [nil, "auto", "default", "flex"] + quote.serviceTiers {
                    for _ in 0..<8 {
                        count += try checkOne(quote, requested: requested, &dice) ? 1 : 0
                    }
                }
            }
        }
        #expect(count >= 10_000)
    }

    /// Whether the request had a price at all.
    private func checkOne(
        _ quote: PriceQuote, requested: String?, _ dice: inout Dice
    ) throws -> Bool {
        var terms = PriceTerms(requested: requested)
        terms.served = dice.pick(Self.served(asFor: requested))
        if requested == nil, quote.provider == "openai", quote.serviceTiers.contains("priority") {
            terms.served = dice.pick(["priority", "fast", nil])
        }
        terms.longCacheWrite = dice.below(2) == 0
        terms.fast = dice.below(8) == 0
        terms.geoUS = dice.below(8) == 0
        terms.audio = dice.below(8) == 0
        terms.multiplierTenths = dice.pick([10, 11, 12, 25])
        let prompt = dice.magnitude(bits: 20)
        let choices = 1 + dice.below(3)
        let output = dice.magnitude(bits: 17)
        let rates: HoldRates
        do {
            rates = try quote.holdRates(promptTokensMax: prompt, terms)
        } catch {
            #expect(terms.fast || terms.geoUS || terms.audio, "\(quote.model): \(error)")
            return false
        }
        let formula = CeilingFormula(
            promptTokens: prompt, choices: choices, extraOutputTokens: 0, rates: rates)
        let ceiling = try #require(formula.ceiling(outputTokensPerChoice: output))
        for usage in usages(prompt: prompt, output: choices * output, terms, &dice) {
            let cost = try #require(quote.cost(of: usage, terms))
            #expect(cost <= ceiling.usd, "\(quote.model) \(terms) \(usage)")
            #expect(usage.total <= ceiling.tokens)
        }
        return true
    }

    /// All of the bound in one bucket, and a random split below it.
    private func usages(
        prompt: UInt64, output: UInt64, _ terms: PriceTerms, _ dice: inout Dice
    ) -> [TokenUsage] {
        var split = TokenUsage(output: dice.below(output + 1))
        split.uncachedInput = dice.below(prompt + 1)
        split.cacheRead = dice.below(prompt - split.uncachedInput + 1)
        split.cacheWrite = dice.below(prompt - split.uncachedInput - split.cacheRead + 1)
        var full = [
            TokenUsage(uncachedInput: prompt, output: output),
            TokenUsage(cacheRead: prompt, output: output),
            TokenUsage(cacheWrite: prompt, output: output), split,
        ]
        if terms.longCacheWrite {
            full.append(TokenUsage(cacheWriteLong: prompt, output: output))
            split.cacheWriteLong = prompt - split.prompt
            full.append(split)
        }
        return full
    }

    /// Reads the table by itself, so that it does not repeat a mistake of the book.
    @Test func `a charge is never below the exact cost and less than one unit above`() throws {
        var dice = Dice(seed: 11)
        let lines = PriceBook.builtIn.tsv.split(separator: "\n")
        let names = lines[0].split(separator: "\t", omittingEmptySubsequences: false)
        let now = try #require(UnixTime(date: "2026-11-20"))
        var count = 0
        for line in lines.dropFirst() {
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
            let row = Dictionary(uniqueKeysWithValues: zip(names, fields))
            guard row["from"] == "" else { continue }
            let found = PriceBook.builtIn.quote(
                provider: String(try #require(row["provider"])),
                model: String(try #require(row["model"])), from: now, lasting: 60)
            let quote = try #require(found)
            for _ in 0..<80 {
                count += 1
                try checkExact(quote, row, &dice)
            }
        }
        #expect(count >= 10_000)
    }

    private func checkExact(
        _ quote: PriceQuote, _ row: [Substring: Substring], _ dice: inout Dice
    ) throws {
        var usage = TokenUsage.zero
        let buckets: [(Substring, WritableKeyPath<TokenUsage, UInt64>)] = [
            ("input", \.uncachedInput), ("cache_read", \.cacheRead),
            ("cache_write", \.cacheWrite), ("cache_write_long", \.cacheWriteLong),
            ("output", \.output),
        ]
        // Buckets without a price have no exact cost.
        for (name, bucket) in buckets where row[name] != "" {
            usage[keyPath: bucket] = dice.magnitude(bits: 19)
        }
        let above = row["long_above"].flatMap { UInt64($0) }
        let isLong = above.map { usage.prompt > $0 } ?? false
        var sum: UInt128 = 0
        for (name, bucket) in buckets where usage[keyPath: bucket] > 0 {
            let text = try #require(row[isLong ? "long_" + name : name])
            let price = try #require(UInt128(text), "\(quote.model) \(name)")
            sum += UInt128(usage[keyPath: bucket]) * price
        }
        let tenths = dice.pick([10, 11, 13]) as UInt64
        let cost = try #require(quote.cost(of: usage, PriceTerms(multiplierTenths: tenths)))
        let exact = sum * UInt128(tenths)
        let charged = UInt128(cost.rawValue) * 10_000_000
        #expect(charged >= exact, "\(quote.model) \(usage)")
        #expect(charged < exact + 10_000_000, "\(quote.model) \(usage)")
    }
}
