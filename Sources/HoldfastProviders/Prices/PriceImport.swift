internal import HoldfastCore

/// Why a price list was refused as a whole. Nothing of it is used.
public enum PriceImportError: Error, Hashable, Sendable, CustomStringConvertible {
    case notJSON(JSONError)
    /// JSON or text, but none of the formats that are known.
    case unknownFormat
    /// A table in our own format, with a mistake.
    case table(PriceBookError)
    /// How many rows were left out, and one of them.
    case noUsableRows(leftOutCount: Int, example: PriceImport.LeftOut?)

    public var description: String {
        switch self {
        case .notJSON(let error):
            return "the price list is broken JSON (\(error)): download it again"
        case .unknownFormat:
            return "the price list has none of the known formats: give LiteLLM's "
                + "model_prices_and_context_window.json, OpenRouter's /api/v1/models, or a table "
                + "like the built-in one"
        case .table(let error): return "\(error)"
        case .noUsableRows(0, _): return "the price list has no model of these providers"
        case .noUsableRows(let count, let example):
            let why = example.map { ", for example \($0.name): \($0.reason)" } ?? ""
            return "the price list has no usable price: \(count) rows were left out\(why)"
        }
    }
}

/// A price list of somebody else's as a price book of ours.
///
/// Pure and exact: prices are read digit by digit, and what is more precise than a nano-dollar per
/// million tokens is rounded up. A row that cannot be billed in full with our columns is left out:
/// its model is then refused, which is better than a price below the bill.
public struct PriceImport: Sendable {
    public enum Format: String, Sendable {
        case liteLLM = "LiteLLM"
        case openRouter = "OpenRouter"
        case table = "Holdfast"
    }

    /// Something that the source has and the book has not.
    public struct LeftOut: Hashable, Sendable {
        /// As the source spells it: a model, or a provider with all of its models.
        public let name: String
        public let reason: String
    }

    public let format: Format
    public let book: PriceBook
    /// In the order of the source.
    public let leftOut: [LeftOut]
    /// Models, as `provider/model`, of which a price was rounded up.
    public let rounded: [String]
    /// What was decided or completed, for people.
    public let notes: [String]

    /// The book as a table.
    public var tsv: String { book.tsv }

    /// - Parameter providers: whose prices to take; `nil`: those of all providers that Holdfast has
    ///   a name for.
    public init(_ bytes: [UInt8], providers: Set<String>? = nil) throws(PriceImportError) {
        var collector = PriceImportCollector()
        switch bytes.first(where: { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }) {
        case UInt8(ascii: "{"):
            format = try PriceImport.readJSON(bytes, providers: providers, into: &collector)
            book = try collector.book()
        default:
            guard PriceImport.looksLikeTable(bytes) else { throw .unknownFormat }
            format = .table
            book = try PriceImport.readTable(bytes, providers: providers)
        }
        leftOut = collector.leftOut
        rounded = collector.rounded
        notes = collector.notes
    }

    private static func readJSON(
        _ bytes: [UInt8], providers: Set<String>?, into collector: inout PriceImportCollector
    ) throws(PriceImportError) -> Format {
        do throws(JSONError) {
            let document = try JSONMembers(bytes, in: bytes.indices)
            if let data = document["data"], data.kind == .array {
                let reader = OpenRouterPrices(providers: providers)
                try reader.read(data, in: bytes, into: &collector)
                return .openRouter
            }
            if LiteLLMPrices.recognises(document) {
                LiteLLMPrices(providers: providers).read(document, into: &collector)
                return .liteLLM
            }
        } catch {
            throw .notJSON(error)
        }
        throw .unknownFormat
    }

    /// Whether the first line that is no comment has tabs, as our header does.
    private static func looksLikeTable(_ bytes: [UInt8]) -> Bool {
        let lines = bytes.split { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }
        let header = lines.first { $0.first != UInt8(ascii: "#") }
        return header?.contains(UInt8(ascii: "\t")) ?? false
    }

    private static func readTable(
        _ bytes: [UInt8], providers: Set<String>?
    ) throws(PriceImportError) -> PriceBook {
        do throws(PriceBookError) {
            var book = try PriceBook(tsv: bytes)
            if let providers {
                book = try PriceBook(
                    entries: book.entries.filter { providers.contains($0.provider) })
            }
            if !book.models.isEmpty { return book }
        } catch {
            throw .table(error)
        }
        throw .noUsableRows(leftOutCount: 0, example: nil)
    }
}

/// Why one row is left out. The same words for the same reason, so that they can be counted.
struct RowRefusal: Error {
    let reason: String

    init(_ reason: String) { self.reason = reason }
}

/// One row of a source, read.
struct PriceDraft {
    /// What the source calls the model.
    var key: String
    var provider: String
    var model: String
    var listed: PriceRow.Listed
    var isRounded: Bool
    /// What was completed; `nil`: nothing.
    var completed: String?
}

/// Gathers rows, and decides when two of them price the same model.
struct PriceImportCollector {
    private struct Name: Hashable {
        let provider: String
        let model: String
    }

    private struct Kept {
        var draft: PriceDraft
        var row: PriceRow
    }

    private(set) var leftOut: [PriceImport.LeftOut] = []
    private(set) var rounded: [String] = []
    private(set) var notes: [String] = []
    private var kept: [Kept] = []
    private var positions: [Name: Int] = [:]
    /// Priced twice, and neither price is the safe one.
    private var contested: Set<Name> = []

    mutating func leaveOut(_ name: String, _ reason: String) {
        leftOut.append(PriceImport.LeftOut(name: name, reason: reason))
    }

    mutating func add(_ draft: PriceDraft) {
        guard [draft.provider, draft.model].allSatisfy(Self.isName) else {
            leaveOut(draft.key, "its name is empty or holds a space or a control character")
            return
        }
        guard let row = PriceRow(draft.listed) else {
            leaveOut(draft.key, "its prices are too far apart to work out tier or audio prices")
            return
        }
        let name = Name(provider: draft.provider, model: draft.model)
        let new = Kept(draft: draft, row: row)
        guard let position = positions[name] else {
            positions[name] = kept.count
            kept.append(new)
            return
        }
        let old = kept[position]
        if old.row.costsAtLeast(row) {
            note(name, kept: old.draft.key, dropped: draft.key)
        } else if row.costsAtLeast(old.row) {
            note(name, kept: draft.key, dropped: old.draft.key)
            kept[position] = new
        } else {
            contested.insert(name)
            leaveOut(
                "\(old.draft.key) and \(draft.key)",
                "price the same model, and neither is the dearer in everything: list it by hand")
        }
    }

    /// Everything that was kept, and what there is to say about it.
    mutating func book() throws(PriceImportError) -> PriceBook {
        var entries: [PriceBook.Entry] = []
        for item in kept {
            let draft = item.draft
            let name = Name(provider: draft.provider, model: draft.model)
            guard !contested.contains(name) else { continue }
            let text = "\(draft.provider)/\(draft.model)"
            if draft.isRounded { rounded.append(text) }
            if let completed = draft.completed { notes.append("\(text): \(completed)") }
            entries.append(
                PriceBook.Entry(
                    provider: draft.provider, model: draft.model, aliases: [], row: item.row))
        }
        guard !entries.isEmpty else {
            throw .noUsableRows(leftOutCount: leftOut.count, example: leftOut.first)
        }
        do throws(PriceBookError) {
            return try PriceBook(entries: entries)
        } catch {
            throw .table(error)
        }
    }

    private mutating func note(_ name: Name, kept: String, dropped: String) {
        notes.append(
            "\(name.provider)/\(name.model): listed twice, took \(kept), which is at least as dear "
                + "as \(dropped)")
    }

    /// What the table takes for a name. A source's name also goes into no other column.
    private static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.unicodeScalars.allSatisfy { $0.value > 0x20 && $0.value != 0x7F }
    }
}

// MARK: - Dearer

extension PriceRow {
    /// Whether no request can cost more by the other row.
    func costsAtLeast(_ other: PriceRow) -> Bool {
        if let above = listed.long?.above, let otherAbove = other.listed.long?.above,
            above > otherAbove
        {
            return false
        }
        guard standard.costsAtLeast(other.standard) else { return false }
        // Flex is a discount: a row without it bills more.
        let hasEveryTier = other.tiers.filter { $0.name != "flex" }.allSatisfy { tier in
            tiers.contains { $0.name == tier.name && $0.costsAtLeast(tier) }
        }
        guard hasEveryTier else { return false }
        return tiers.filter { $0.name == "flex" }.allSatisfy { tier in
            tier.costsAtLeast(other.tiers.first { $0.name == "flex" } ?? other.standard)
        }
    }
}

extension Tariff {
    fileprivate func costsAtLeast(_ other: Tariff) -> Bool {
        guard text.costsAtLeast(other.text) else { return false }
        // A row without a price for audio refuses it.
        guard let audio, let otherAudio = other.audio else { return true }
        return audio.costsAtLeast(otherAudio)
    }
}

extension Tariff.ByLength {
    fileprivate func costsAtLeast(_ other: Tariff.ByLength) -> Bool {
        let atLength = long ?? short
        return short.isAtLeast(other.short) && atLength.isAtLeast(other.short)
            && atLength.isAtLeast(other.long ?? other.short)
    }
}

extension TokenRates {
    fileprivate func isAtLeast(_ other: TokenRates) -> Bool { dearest(other) == self }
}

// MARK: - Completing

extension TokenPrice {
    /// This price times `numerator` / `denominator`, rounded up.
    func inProportion(
        _ numerator: TokenPrice, to denominator: TokenPrice
    ) throws(RowRefusal) -> TokenPrice {
        precondition(denominator > .zero, "a price of zero is refused where it enters")
        let divisor = UInt128(denominator.nanoUSDPerMillionTokens)
        // Fits: both are at most `bookMax`, or small ratios.
        let product =
            UInt128(nanoUSDPerMillionTokens) * UInt128(numerator.nanoUSDPerMillionTokens)
        let (whole, rest) = product.quotientAndRemainder(dividingBy: divisor)
        let rounded = rest == 0 ? whole : whole + 1
        guard rounded <= UInt128(TokenPrice.bookMax.nanoUSDPerMillionTokens) else {
            throw RowRefusal("a price that follows from its prices is out of range")
        }
        return TokenPrice(nanoUSDPerMillionTokens: UInt64(rounded))
    }

    func times(_ numerator: UInt64, over denominator: UInt64) throws(RowRefusal) -> TokenPrice {
        try inProportion(
            TokenPrice(nanoUSDPerMillionTokens: numerator),
            to: TokenPrice(nanoUSDPerMillionTokens: denominator))
    }
}

/// Prices as a source lists them, where any can be missing.
struct PartialRates {
    var input: TokenPrice?
    var cacheRead: TokenPrice?
    var cacheWrite: TokenPrice?
    var cacheWriteLong: TokenPrice?
    var output: TokenPrice?

    /// `nil` without an input and an output price.
    var listed: ListedRates? {
        guard let input, let output else { return nil }
        return ListedRates(
            input: input, cacheRead: cacheRead, cacheWrite: cacheWrite,
            cacheWriteLong: cacheWriteLong, output: output)
    }
}

extension ListedRates {
    /// Where the source is silent on cache writes at length or of a tier, they keep the proportion
    /// that they have to the input price in `standard`: the book would take the input price for
    /// them, and writes cost more than that.
    func completingWrites(like standard: ListedRates) throws(RowRefusal) -> ListedRates {
        var rates = self
        if rates.cacheWrite == nil, let write = standard.cacheWrite {
            rates.cacheWrite = try write.inProportion(input, to: standard.input)
        }
        if rates.cacheWriteLong == nil, let write = standard.cacheWriteLong {
            rates.cacheWriteLong = try write.inProportion(input, to: standard.input)
        }
        return rates
    }

    /// A tier has no column for long writes: the book doubles the short one, which is raised here
    /// until that is enough.
    var withoutLongWrite: ListedRates {
        guard let long = cacheWriteLong else { return self }
        let half = TokenPrice(nanoUSDPerMillionTokens: (long.nanoUSDPerMillionTokens + 1) / 2)
        var rates = self
        rates.cacheWrite = max(cacheWrite ?? input, half)
        rates.cacheWriteLong = nil
        return rates
    }
}
