internal import HoldfastCore

/// LiteLLM's `model_prices_and_context_window.json`: an object from names to rows, with prices in
/// USD per token.
struct LiteLLMPrices {
    /// `nil`: those in `names`.
    let providers: Set<String>?

    /// From `litellm_provider` to our names.
    private static let names: [String: String] = [
        "anthropic": "anthropic", "azure": "azure", "bedrock": "bedrock",
        "bedrock_converse": "bedrock", "cohere": "cohere", "cohere_chat": "cohere",
        "deepseek": "deepseek", "gemini": "gemini", "groq": "groq", "mistral": "mistral",
        "openai": "openai", "openrouter": "openrouter", "xai": "xai",
    ]
    /// The example that explains the fields.
    private static let sample = "sample_spec"

    static func recognises(_ document: JSONMembers) -> Bool {
        document.all.contains { _, value in
            do throws(RowRefusal) {
                return try JSONMembers(row: value, in: document.bytes)
                    .contains("litellm_provider")
            } catch {
                return false
            }
        }
    }

    func read(_ document: JSONMembers, into collector: inout PriceImportCollector) {
        var otherProviders: [String: Int] = [:]
        for (key, value) in document.all where key != Self.sample {
            do throws(RowRefusal) {
                let members = try JSONMembers(row: value, in: document.bytes)
                guard let source = members.string("litellm_provider") else {
                    throw RowRefusal("it names no litellm_provider")
                }
                let provider = Self.names[source] ?? source
                if let providers {
                    guard providers.contains(provider) || providers.contains(source) else {
                        continue
                    }
                } else if Self.names[source] == nil {
                    otherProviders[source, default: 0] += 1
                    continue
                }
                var row = LiteLLMRow(
                    members: members, provider: provider,
                    model: try Self.model(key, source: source, provider: provider))
                collector.add(try row.draft(key: key))
            } catch {
                collector.leaveOut(key, error.reason)
            }
        }
        for (source, count) in otherProviders.sorted(by: { $0.key < $1.key }) {
            collector.leaveOut(
                "\(source) (\(count))",
                "a provider that Holdfast has no name for: take it with --provider")
        }
    }

    /// The name that the provider itself takes.
    private static func model(
        _ key: String, source: String, provider: String
    ) throws(RowRefusal) -> String {
        for prefix in [source + "/", provider + "/"] where key.hasPrefix(prefix) {
            let rest = String(key.dropFirst(prefix.count))
            // `bedrock/us-gov-west-1/…`: not the price of the name behind it.
            if provider == "bedrock", rest.contains("/") {
                throw RowRefusal("the price of one region, commitment or platform only")
            }
            return rest
        }
        return key
    }
}

/// One field's name, taken apart: `cache_read_input_token_cost_above_272k_tokens_priority`.
private enum LiteLLMField {
    enum Bucket {
        case input, cacheRead, cacheWrite, cacheWriteLong, output
    }

    /// Which of a row's price tables a price belongs to.
    struct Table: Hashable {
        /// Tokens; `nil` for the short one.
        var above: UInt64?
        /// `nil` for standard.
        var tier: String?
    }

    case price(Bucket, Table)
    /// Of tokens that are no text and arrive in the same counts.
    case mediaInput
    case mediaOutput
    case audioInput
    case audioOutput
    /// A discount, or a price of something that the proxy refuses.
    case ignored
    /// A price that no column has.
    case unknown

    private static let buckets: [(prefix: String, bucket: Bucket)] = [
        ("input_cost_per_token_cache_hit", .cacheRead),
        ("input_cost_per_token", .input),
        ("output_cost_per_token", .output),
        // Billed instead of the output price; the dearer one is taken for both.
        ("output_cost_per_reasoning_token", .output),
        ("cache_read_input_token_cost", .cacheRead),
        ("cache_creation_input_token_cost_above_1hr", .cacheWriteLong),
        ("cache_creation_input_token_cost_above_12hr", .cacheWriteLong),
        ("cache_creation_input_token_cost", .cacheWrite),
    ]
    private static let tiers: Set<Substring> = ["flex", "priority", "ultrafast"]
    /// Batch prices, and tiers that cannot be asked for through the proxy.
    private static let ignoredSuffixes = ["_batches", "_decisions"]

    /// `nil` for what is no price.
    init?(_ name: String) {
        if Self.ignoredSuffixes.contains(where: { name.hasSuffix($0) }) {
            self = .ignored
        } else if let (prefix, bucket) = Self.buckets.first(where: { name.hasPrefix($0.prefix) }) {
            guard let table = Self.table(name.dropFirst(prefix.count)) else {
                self = .unknown
                return
            }
            self = .price(bucket, table)
        } else if name.hasPrefix("input_cost_per_") {
            self = Self.input(name.dropFirst("input_cost_per_".count))
        } else if name.hasPrefix("output_cost_per_") {
            self = Self.output(name.dropFirst("output_cost_per_".count))
        } else if name == "tiered_pricing" {
            self = .unknown
        } else {
            return nil
        }
    }

    private static func input(_ unit: Substring) -> LiteLLMField {
        if unit == "audio_token" { return .audioInput }
        // The book works out audio prices of tiers by itself.
        if unit.hasPrefix("audio_token_") { return .ignored }
        let isMedia = unit.hasPrefix("image_token") || unit.hasPrefix("video_token")
        return isMedia ? .mediaInput : .unknown
    }

    private static func output(_ unit: Substring) -> LiteLLMField {
        if unit == "audio_token" { return .audioOutput }
        if unit.hasPrefix("audio_token_") { return .ignored }
        let isMedia = unit.hasPrefix("image_token") || unit.hasPrefix("video_token")
        return isMedia ? .mediaOutput : .unknown
    }

    /// Of `_above_272k_tokens_priority`, of either part, or of nothing.
    private static func table(_ suffix: Substring) -> Table? {
        var words = Array(suffix.split(separator: "_"))
        var table = Table()
        if words.count >= 3, words[0] == "above", words[2] == "tokens", words[1].last == "k" {
            guard let thousands = UInt64(words[1].dropLast()), (1...1_000_000).contains(thousands)
            else { return nil }
            table.above = thousands * 1_000
            words.removeFirst(3)
        }
        guard let tier = words.first else { return table }
        guard words.count == 1, tiers.contains(tier) else { return nil }
        table.tier = String(tier)
        return table
    }
}

/// One row on its way to a draft.
private struct LiteLLMRow {
    private typealias Table = LiteLLMField.Table

    let members: JSONMembers
    let provider: String
    let model: String
    private var numbers: RowNumbers
    private var tables: [Table: PartialRates] = [:]
    private var audioInput: TokenPrice?
    private var audioOutput: TokenPrice?
    private var mediaInput: TokenPrice?
    private var mediaOutput: TokenPrice?
    private var completed: [String] = []

    private static let modes: Set<String> = ["chat", "responses", "embedding", "completion"]
    /// These re-price prompts of exactly the published threshold, the others only longer ones.
    private static let providersWithThresholdIncluded: Set<String> = ["xai"]

    init(members: JSONMembers, provider: String, model: String) {
        self.members = members
        self.provider = provider
        self.model = model
        numbers = RowNumbers(members.bytes)
    }

    mutating func draft(key: String) throws(RowRefusal) -> PriceDraft {
        guard let mode = members.string("mode"), Self.modes.contains(mode) else {
            let mode = members.string("mode") ?? "none"
            throw RowRefusal("mode \(mode.prefix(40)) is not billed by Holdfast")
        }
        try readPrices()
        if mode == "embedding" { fillOutputs() }
        var standard = try standardRates()
        var long = try longRates(like: standard)
        try completeOpenAI(&standard, &long)
        let listed = PriceRow.Listed(
            mode: mode, from: nil, certainty: .confirmed, standard: standard, long: long,
            tiers: try tiers(like: standard), audioInput: audioInput,
            // Without a price for audio that comes in, audio is refused altogether.
            audioOutput: audioInput == nil ? nil : audioOutput,
            contextTokens: try numbers.count("max_input_tokens", members["max_input_tokens"]),
            maxOutputTokens: try numbers.count("max_output_tokens", members["max_output_tokens"]),
            fastMultiplierTenths: try multiplier("fast"),
            geoUSMultiplierTenths: try multiplier("us"), webSearch: try webSearch(),
            source: "litellm:\(key)")
        return PriceDraft(
            key: key, provider: provider, model: model, listed: listed,
            isRounded: numbers.isRounded,
            completed: completed.isEmpty ? nil : completed.joined(separator: "; "))
    }

    // MARK: - Reading

    private mutating func readPrices() throws(RowRefusal) {
        for (name, value) in members.all where value.kind != .null {
            switch LiteLLMField(name) {
            case nil, .ignored: break
            case .price(let bucket, let table):
                guard let price = try numbers.price(name, value) else { continue }
                tables[table, default: PartialRates()].raise(bucket, to: price)
            case .mediaInput:
                let price = try numbers.price(name, value)
                mediaInput = [mediaInput, price].compactMap { $0 }.max()
            case .mediaOutput:
                let price = try numbers.price(name, value)
                mediaOutput = [mediaOutput, price].compactMap { $0 }.max()
            case .audioInput: audioInput = try numbers.price(name, value)
            case .audioOutput: audioOutput = try numbers.price(name, value)
            case .unknown:
                let isNumber = value.kind == .number || value.kind == .string
                if isNumber, try numbers.price(name, value) == nil { continue }
                throw RowRefusal("it is also billed by \(name.prefix(60))")
            }
        }
    }

    /// Embeddings have no output. Their output price is zero in the source, and our table knows no
    /// zero: what cannot be used may cost as much as the input.
    private mutating func fillOutputs() {
        for (table, rates) in tables where rates.output == nil {
            tables[table]?.output = rates.input
        }
    }

    // MARK: - Tables

    private func standardRates() throws(RowRefusal) -> ListedRates {
        let partial = tables[Table()] ?? PartialRates()
        guard partial.input != nil else {
            throw RowRefusal(missing("input", field: "input_cost_per_token"))
        }
        guard var rates = partial.listed else {
            throw RowRefusal(missing("output", field: "output_cost_per_token"))
        }
        if let mediaInput, mediaInput > rates.input {
            throw RowRefusal("its images or videos cost more than text, and no column says that")
        }
        if let mediaOutput, mediaOutput > rates.output {
            throw RowRefusal("its images or videos cost more than text, and no column says that")
        }
        rates.dropImpossibleWrites()
        return rates
    }

    private func missing(_ bucket: String, field: String) -> String {
        members.contains(field)
            ? "its \(bucket) price is zero, which stands for unknown" : "it has no \(bucket) price"
    }

    private func longRates(
        like standard: ListedRates
    ) throws(RowRefusal) -> PriceRow.Listed.Long? {
        let thresholds = Set(tables.keys.compactMap(\.above))
        guard let threshold = thresholds.min() else { return nil }
        guard thresholds.count == 1 else {
            throw RowRefusal("it has several long-context thresholds, and the table has one")
        }
        guard var rates = tables[Table(above: threshold)]?.listed else {
            throw RowRefusal("its long-context prices lack an input or output price")
        }
        rates.dropImpossibleWrites()
        let isIncluded = Self.providersWithThresholdIncluded.contains(provider)
        return PriceRow.Listed.Long(
            above: isIncluded ? threshold - 1 : threshold,
            rates: try rates.completingWrites(like: standard))
    }

    /// Long-context prices of tiers are left to the book, which works them out on the dear side.
    private mutating func tiers(
        like standard: ListedRates
    ) throws(RowRefusal) -> [PriceRow.Listed.Tier] {
        var tiers: [PriceRow.Listed.Tier] = []
        for name in Set(tables.keys.compactMap(\.tier)).sorted() {
            guard var rates = tables[Table(tier: name)]?.listed else {
                completed.append("tier \(name) lacks an input or output price and was left out")
                continue
            }
            rates.dropImpossibleWrites()
            let complete = try rates.completingWrites(like: standard)
            tiers.append(PriceRow.Listed.Tier(name: name, rates: complete.withoutLongWrite))
        }
        return tiers
    }

    // MARK: - Beside the tables

    /// What one search costs at the largest context; requests do not always say which one they use.
    private mutating func webSearch() throws(RowRefusal) -> NanoUSD? {
        let field = "search_context_cost_per_query"
        guard let value = members[field], value.kind == .object else { return nil }
        let sizes = try JSONMembers(row: value, in: members.bytes)
        var dearest: NanoUSD?
        for (name, value) in sizes.all where value.kind != .null {
            guard let price = try numbers.pricePerCall("\(field).\(name)", value) else { continue }
            dearest = max(dearest ?? price, price)
        }
        return dearest
    }

    /// Anthropic's `{"us": 1.1, "fast": 2}`.
    private mutating func multiplier(_ name: String) throws(RowRefusal) -> UInt64? {
        let field = "provider_specific_entry"
        guard provider == "anthropic", let value = members[field], value.kind == .object
        else { return nil }
        let entry = try JSONMembers(row: value, in: members.bytes)
        return try numbers.tenths("\(field).\(name)", entry[name])
    }

    /// OpenAI charges for cache writes (1.25 times input, 2.5 times for the long lifetime) and
    /// re-prices prompts above 272,000 tokens (2 times, output 1.5 times) in every model from
    /// gpt-5.6 on. A source that is silent on either is completed, as `dev/convert-prices` does,
    /// because silence would price below the bill.
    private mutating func completeOpenAI(
        _ standard: inout ListedRates, _ long: inout PriceRow.Listed.Long?
    ) throws(RowRefusal) {
        guard provider == "openai", isOpenAIWithWriteFee else { return }
        var filled: [String] = []
        if standard.cacheWrite == nil {
            standard.cacheWrite = try standard.input.times(5, over: 4)
            filled.append("cache writes")
        }
        if standard.cacheWriteLong == nil {
            standard.cacheWriteLong = try standard.input.times(5, over: 2)
            filled.append("long cache writes")
        }
        if let listed = long {
            let rates = try listed.rates.completingWrites(like: standard)
            long = PriceRow.Listed.Long(above: listed.above, rates: rates)
        } else {
            var rates = standard
            rates.input = try standard.input.times(2, over: 1)
            rates.output = try standard.output.times(3, over: 2)
            rates.cacheRead = try standard.cacheRead?.times(2, over: 1)
            rates.cacheWrite = nil
            rates.cacheWriteLong = nil
            long = PriceRow.Listed.Long(
                above: 272_000, rates: try rates.completingWrites(like: standard))
            filled.append("long-context prices")
        }
        guard !filled.isEmpty else { return }
        completed.append(
            "the source is silent on \(filled.joined(separator: ", ")): completed by the ratios of "
                + "its generation")
    }

    private var isOpenAIWithWriteFee: Bool {
        guard model.hasPrefix("gpt-") else { return false }
        let numbers = model.dropFirst(4).prefix { ("0"..."9").contains($0) || $0 == "." }
            .split(separator: ".").map { Int($0) ?? 0 }
        guard let major = numbers.first else { return false }
        // `gpt-35-turbo` is 3.5.
        return (6..<30).contains(major) || (major == 5 && numbers.count > 1 && numbers[1] >= 6)
    }
}

extension PartialRates {
    fileprivate mutating func raise(_ bucket: LiteLLMField.Bucket, to price: TokenPrice) {
        switch bucket {
        case .input: input = max(input ?? price, price)
        case .cacheRead: cacheRead = max(cacheRead ?? price, price)
        case .cacheWrite: cacheWrite = max(cacheWrite ?? price, price)
        case .cacheWriteLong: cacheWriteLong = max(cacheWriteLong ?? price, price)
        case .output: output = max(output ?? price, price)
        }
    }
}

extension ListedRates {
    /// No provider of these writes to a cache for less than fresh input costs. Where the source
    /// says so it has put the price of a read there, and the write is unknown.
    fileprivate mutating func dropImpossibleWrites() {
        if let write = cacheWrite, write < input { cacheWrite = nil }
        if let write = cacheWriteLong, write < input { cacheWriteLong = nil }
    }
}
