internal import HoldfastCore

/// What is wrong with one line of a price table, for people.
struct LineProblem: Error {
    let text: String

    init(_ text: String) { self.text = text }
}

/// The columns of a price table, in the order in which they are written.
enum PriceColumn: String, CaseIterable, Sendable {
    case provider, model, aliases, mode, from, certainty
    case input
    case cacheRead = "cache_read"
    case cacheWrite = "cache_write"
    case cacheWriteLong = "cache_write_long"
    case output
    case context
    case maxOutput = "max_output"
    case longAbove = "long_above"
    case longInput = "long_input"
    case longCacheRead = "long_cache_read"
    case longCacheWrite = "long_cache_write"
    case longCacheWriteLong = "long_cache_write_long"
    case longOutput = "long_output"
    case tiers
    case audioInput = "audio_input"
    case audioOutput = "audio_output"
    case fastMultiplier = "fast_multiplier_tenths"
    case geoUSMultiplier = "geo_us_multiplier_tenths"
    case webSearch = "web_search_nano_usd_per_call"
    case source

    static let required: [PriceColumn] = [.provider, .model, .input, .output]
}

/// One line of a price table, its fields by column.
struct PriceLine {
    private let fields: [PriceColumn: String]

    init(columns: [PriceColumn], fields: [String]) throws(LineProblem) {
        guard columns.count == fields.count else {
            throw LineProblem(
                "\(fields.count) fields, but the header names \(columns.count) columns")
        }
        self.fields = Dictionary(uniqueKeysWithValues: zip(columns, fields))
    }

    static func columns(ofHeader names: [String]) throws(LineProblem) -> [PriceColumn] {
        var columns: [PriceColumn] = []
        for name in names {
            guard let column = PriceColumn(rawValue: name) else {
                throw LineProblem("unknown column \(quoted(name))")
            }
            guard !columns.contains(column) else { throw LineProblem("column \(name) twice") }
            columns.append(column)
        }
        for column in PriceColumn.required where !columns.contains(column) {
            throw LineProblem("the header lacks column \(column.rawValue)")
        }
        return columns
    }

    func name(_ column: PriceColumn) throws(LineProblem) -> String {
        let name = text(column)
        guard !name.isEmpty, name.unicodeScalars.allSatisfy({ $0.value > 0x20 }) else {
            throw LineProblem("\(column.rawValue) is empty or holds a space")
        }
        return name
    }

    func aliases() throws(LineProblem) -> [String] {
        let text = text(.aliases)
        guard !text.isEmpty else { return [] }
        let names = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        for name in names {
            guard !name.isEmpty, name.unicodeScalars.allSatisfy({ $0.value > 0x20 }),
                !name.hasSuffix("?")
            else { throw LineProblem("aliases: \(quoted(name)) is not a model name") }
        }
        return names
    }

    func row() throws(LineProblem) -> PriceRow {
        let listed = PriceRow.Listed(
            mode: text(.mode).isEmpty ? "chat" : text(.mode),
            from: try date(.from), certainty: try certainty(),
            standard: try requiredRates(
                .input, .cacheRead, .cacheWrite, .cacheWriteLong, .output),
            long: try long(), tiers: try tiers(), audioInput: try price(.audioInput),
            audioOutput: try price(.audioOutput), contextTokens: try count(.context),
            maxOutputTokens: try count(.maxOutput),
            fastMultiplierTenths: try multiplier(.fastMultiplier),
            geoUSMultiplierTenths: try multiplier(.geoUSMultiplier),
            webSearch: try count(.webSearch).map(NanoUSD.init), source: text(.source))
        guard listed.audioInput != nil || listed.audioOutput == nil else {
            throw LineProblem("audio_output without audio_input")
        }
        guard let row = PriceRow(listed) else {
            throw LineProblem("the prices are too far apart to work out tier or audio prices")
        }
        return row
    }

    private func text(_ column: PriceColumn) -> String { fields[column] ?? "" }

    private func certainty() throws(LineProblem) -> PriceRow.Certainty {
        let text = text(.certainty)
        guard !text.isEmpty else { return .confirmed }
        guard let certainty = PriceRow.Certainty(rawValue: text) else {
            throw LineProblem("certainty: \(quoted(text)) is neither confirmed nor possible")
        }
        return certainty
    }

    private func date(_ column: PriceColumn) throws(LineProblem) -> UnixTime? {
        let text = text(column)
        guard !text.isEmpty else { return nil }
        guard let date = UnixTime(date: text) else {
            throw LineProblem("\(column.rawValue): \(quoted(text)) is not a date YYYY-MM-DD")
        }
        return date
    }

    private func long() throws(LineProblem) -> PriceRow.Listed.Long? {
        let prices: [PriceColumn] = [
            .longInput, .longCacheRead, .longCacheWrite, .longCacheWriteLong, .longOutput,
        ]
        guard let above = try count(.longAbove) else {
            if let column = prices.first(where: { !text($0).isEmpty }) {
                throw LineProblem("\(column.rawValue) without long_above")
            }
            return nil
        }
        let rates = try requiredRates(prices[0], prices[1], prices[2], prices[3], prices[4])
        return PriceRow.Listed.Long(above: above, rates: rates)
    }

    private func requiredRates(
        _ input: PriceColumn, _ read: PriceColumn, _ write: PriceColumn, _ long: PriceColumn,
        _ output: PriceColumn
    ) throws(LineProblem) -> ListedRates {
        guard let inputPrice = try price(input) else {
            throw LineProblem("\(input.rawValue) is empty: leave out models without a price")
        }
        guard let outputPrice = try price(output) else {
            throw LineProblem("\(output.rawValue) is empty: leave out models without a price")
        }
        return ListedRates(
            input: inputPrice, cacheRead: try price(read), cacheWrite: try price(write),
            cacheWriteLong: try price(long), output: outputPrice)
    }

    private func tiers() throws(LineProblem) -> [PriceRow.Listed.Tier] {
        var tiers: [PriceRow.Listed.Tier] = []
        for part in text(.tiers).split(separator: ";") {
            let halves = part.split(separator: ":", omittingEmptySubsequences: false)
            let prices = (halves.last ?? "").split(separator: "/", omittingEmptySubsequences: false)
            guard halves.count == 2, prices.count == 4 else {
                throw LineProblem("tiers: \(quoted(part)) is not name:input/read/write/output")
            }
            let name = String(halves[0])
            guard !name.isEmpty, name.unicodeScalars.allSatisfy(Self.isTierNameScalar),
                !PriceRow.reservedTierNames.contains(name),
                !tiers.contains(where: { $0.name == name })
            else {
                throw LineProblem("tiers: \(quoted(name)) is reserved, used twice or malformed")
            }
            guard let input = try price(prices[0], "tiers"),
                let output = try price(prices[3], "tiers")
            else { throw LineProblem("tiers: \(name) lacks an input or output price") }
            let rates = ListedRates(
                input: input, cacheRead: try price(prices[1], "tiers"),
                cacheWrite: try price(prices[2], "tiers"), cacheWriteLong: nil, output: output)
            tiers.append(PriceRow.Listed.Tier(name: name, rates: rates))
        }
        return tiers
    }

    private static func isTierNameScalar(_ scalar: Unicode.Scalar) -> Bool {
        ("a"..."z").contains(scalar) || ("0"..."9").contains(scalar) || scalar == "_"
            || scalar == "-"
    }

    private func price(_ column: PriceColumn) throws(LineProblem) -> TokenPrice? {
        try price(Substring(text(column)), column.rawValue)
    }

    private func price(_ text: Substring, _ name: String) throws(LineProblem) -> TokenPrice? {
        let max = TokenPrice.bookMax.nanoUSDPerMillionTokens
        return try number(text, name, 1...max).map(TokenPrice.init(nanoUSDPerMillionTokens:))
    }

    private func count(_ column: PriceColumn) throws(LineProblem) -> UInt64? {
        try number(Substring(text(column)), column.rawValue, 1...Limits.amountMax)
    }

    private func multiplier(_ column: PriceColumn) throws(LineProblem) -> UInt64? {
        try number(Substring(text(column)), column.rawValue, PriceQuote.multiplierTenthsRange)
    }

    private func number(
        _ text: Substring, _ name: String, _ range: ClosedRange<UInt64>
    ) throws(LineProblem) -> UInt64? {
        guard !text.isEmpty else { return nil }
        guard text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }),
            let value = UInt64(text), range.contains(value)
        else {
            throw LineProblem(
                "\(name): \(quoted(text)) is not a whole number from \(range.lowerBound) to "
                    + "\(range.upperBound); leave the field empty when it is unknown")
        }
        return value
    }
}

extension PriceRow {
    /// The fields of the row in the order of `PriceColumn.allCases`.
    func fields(provider: String, model: String, aliases: [String]) -> [String] {
        let standard = listed.standard
        let long = listed.long?.rates
        return [
            provider, model, aliases.joined(separator: ","), listed.mode,
            listed.from.map { String($0.rfc3339.prefix(10)) } ?? "", listed.certainty.rawValue,
            field(standard.input), field(standard.cacheRead), field(standard.cacheWrite),
            field(standard.cacheWriteLong), field(standard.output), field(listed.contextTokens),
            field(listed.maxOutputTokens), field(listed.long?.above), field(long?.input),
            field(long?.cacheRead), field(long?.cacheWrite), field(long?.cacheWriteLong),
            field(long?.output), listed.tiers.map(field).joined(separator: ";"),
            field(listed.audioInput), field(listed.audioOutput),
            field(listed.fastMultiplierTenths), field(listed.geoUSMultiplierTenths),
            field(listed.webSearch?.rawValue), listed.source,
        ]
    }

    private func field(_ price: TokenPrice?) -> String { field(price?.nanoUSDPerMillionTokens) }

    private func field(_ number: UInt64?) -> String { number.map { String($0) } ?? "" }

    private func field(_ tier: Listed.Tier) -> String {
        let rates = tier.rates
        return "\(tier.name):\(field(rates.input))/\(field(rates.cacheRead))"
            + "/\(field(rates.cacheWrite))/\(field(rates.output))"
    }
}

/// Enough of a field to find it, and no more.
private func quoted(_ text: some StringProtocol) -> String {
    text.count > 40 ? "\"\(text.prefix(40))…\"" : "\"\(text)\""
}
