internal import HoldfastCore

/// OpenRouter's `GET /api/v1/models`: `{"data": […]}`, with prices in USD per token as strings.
///
/// `top_provider` is left alone: its output limit is that of one of the providers behind a model,
/// and another of them may write more.
struct OpenRouterPrices {
    /// `nil`: all.
    let providers: Set<String>?

    private static let provider = "openrouter"

    func read(
        _ data: JSONValue, in bytes: [UInt8], into collector: inout PriceImportCollector
    ) throws(JSONError) {
        if let providers, !providers.contains(Self.provider) { return }
        var scanner = JSONScanner(bytes, in: data.range)
        try scanner.enterArray()
        var number = 0
        while try scanner.nextElement() {
            let value = try scanner.skipValue()
            number += 1
            var key = "number \(number)"
            do throws(RowRefusal) {
                let members = try JSONMembers(row: value, in: bytes)
                guard let id = members.string("id") else { throw RowRefusal("it has no id") }
                key = id
                var row = OpenRouterRow(bytes)
                collector.add(
                    PriceDraft(
                        key: id, provider: Self.provider, model: id,
                        listed: try row.listed(id, members), isRounded: row.isRounded,
                        completed: nil))
            } catch {
                collector.leaveOut(key, error.reason)
            }
        }
    }
}

/// One model on its way to a draft.
private struct OpenRouterRow {
    private var numbers: RowNumbers
    private var audioInput: TokenPrice?
    private var audioOutput: TokenPrice?
    private var webSearch: NanoUSD?
    private var reasoning: TokenPrice?

    init(_ bytes: [UInt8]) {
        numbers = RowNumbers(bytes)
    }

    var isRounded: Bool { numbers.isRounded }

    mutating func listed(
        _ id: String, _ members: JSONMembers
    ) throws(RowRefusal) -> PriceRow.Listed {
        guard let pricing = members["pricing"] else { throw RowRefusal("it has no pricing") }
        let prices = try JSONMembers(row: pricing, in: members.bytes)
        let partial = try rates(prices)
        guard partial.input != nil else { throw RowRefusal(Self.missing("prompt", prices)) }
        guard let standard = partial.listed else {
            throw RowRefusal(Self.missing("completion", prices))
        }
        var long: PriceRow.Listed.Long?
        if let overrides = prices["overrides"] {
            long = try self.long(overrides, partial, standard)
        }
        return PriceRow.Listed(
            mode: "chat", from: nil, certainty: .confirmed, standard: standard,
            long: long, tiers: [], audioInput: audioInput,
            audioOutput: audioInput == nil ? nil : audioOutput,
            contextTokens: try numbers.count("context_length", members["context_length"]),
            maxOutputTokens: nil, fastMultiplierTenths: nil, geoUSMultiplierTenths: nil,
            webSearch: webSearch, source: "openrouter:\(id)")
    }

    private static func missing(_ field: String, _ prices: JSONMembers) -> String {
        prices.contains(field)
            ? "its \(field) price is zero, which stands for unknown"
            : "it has no \(field) price"
    }

    /// The text prices among the members. A member without a column must be zero.
    private mutating func rates(_ prices: JSONMembers) throws(RowRefusal) -> PartialRates {
        var rates = PartialRates()
        for (name, value) in prices.all where value.kind != .null {
            switch name {
            case "prompt": rates.input = try numbers.price(name, value)
            case "completion": rates.output = try numbers.price(name, value)
            case "input_cache_read": rates.cacheRead = try numbers.price(name, value)
            case "input_cache_write": rates.cacheWrite = try numbers.price(name, value)
            case "input_cache_write_1h": rates.cacheWriteLong = try numbers.price(name, value)
            case "internal_reasoning": reasoning = try numbers.price(name, value)
            case "audio": audioInput = try numbers.price(name, value)
            case "audio_output": audioOutput = try numbers.price(name, value)
            case "web_search": webSearch = try numbers.pricePerCall(name, value)
            // Reductions, of which nothing is expected.
            case "discount", "input_audio_cache": break
            case "overrides", "min_prompt_tokens": break
            default:
                guard try numbers.price(name, value) == nil else {
                    throw RowRefusal("it is also billed by \(name.prefix(60))")
                }
            }
        }
        if let output = rates.output, let reasoning { rates.output = max(output, reasoning) }
        try rates.addInputToSurcharges()
        return rates
    }

    /// Prices for long prompts. What an override does not name stays as it is.
    private mutating func long(
        _ value: JSONValue, _ base: PartialRates, _ standard: ListedRates
    ) throws(RowRefusal) -> PriceRow.Listed.Long? {
        let overrides = try elements(value)
        guard let only = overrides.first else { return nil }
        guard overrides.count == 1 else {
            throw RowRefusal("it has several price overrides, and the table has one threshold")
        }
        let prices = try JSONMembers(row: only, in: numbers.bytes)
        let field = "min_prompt_tokens"
        guard let first = try numbers.count(field, prices[field]), first > 1 else {
            throw RowRefusal("it has a price override without min_prompt_tokens")
        }
        if prices.contains("utc_start") || prices.contains("utc_end") {
            throw RowRefusal("its price depends on the time of day")
        }
        // Those of the short table must not be replaced.
        let (shortAudioInput, shortAudioOutput) = (audioInput, audioOutput)
        let shortWebSearch = webSearch
        var rates = try self.rates(prices)
        audioInput = [shortAudioInput, audioInput].compactMap { $0 }.max()
        audioOutput = [shortAudioOutput, audioOutput].compactMap { $0 }.max()
        webSearch = [shortWebSearch, webSearch].compactMap { $0 }.max()
        rates.input = rates.input ?? base.input
        rates.output = rates.output ?? base.output
        guard let listed = rates.listed else { return nil }
        return PriceRow.Listed.Long(
            above: first - 1, rates: try listed.completingWrites(like: standard))
    }

    private func elements(_ value: JSONValue) throws(RowRefusal) -> [JSONValue] {
        var elements: [JSONValue] = []
        do throws(JSONError) {
            var scanner = JSONScanner(numbers.bytes, in: value.range)
            try scanner.enterArray()
            while try scanner.nextElement() { elements.append(try scanner.skipValue()) }
        } catch {
            throw RowRefusal("its overrides are no list")
        }
        return elements
    }
}

extension PartialRates {
    /// A write below the price of fresh input is the storage alone, billed on top of the input.
    fileprivate mutating func addInputToSurcharges() throws(RowRefusal) {
        guard let input else { return }
        if let write = cacheWrite, write < input { cacheWrite = try write.plus(input) }
        if let write = cacheWriteLong, write < input { cacheWriteLong = try write.plus(input) }
    }
}

extension TokenPrice {
    /// Cannot overflow: both are at most `bookMax`.
    fileprivate func plus(_ other: TokenPrice) throws(RowRefusal) -> TokenPrice {
        let sum = TokenPrice(
            nanoUSDPerMillionTokens: nanoUSDPerMillionTokens + other.nanoUSDPerMillionTokens)
        guard sum <= .bookMax else { throw RowRefusal("its cache write price is out of range") }
        return sum
    }
}
