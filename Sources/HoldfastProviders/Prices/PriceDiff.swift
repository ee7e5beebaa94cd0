public import HoldfastCore

/// One row of a book, for people.
public struct PriceListing: Hashable, Sendable {
    public let provider: String
    public let model: String
    public let aliases: [String]
    /// The first day of the price, `YYYY-MM-DD`; `nil`: since ever.
    public let from: String?
    /// `false`: reported, not announced; applies where it is dearer.
    public let isConfirmed: Bool
    public let input: TokenPrice
    /// `nil`: unknown, and billed like input.
    public let cacheRead: TokenPrice?
    /// `nil`: unknown, and billed like input or the long write, whichever is dearer.
    public let cacheWrite: TokenPrice?
    public let output: TokenPrice
    public let source: String
}

/// What changes for requests when one book takes the place of another.
///
/// Names are compared, not rows: a model that was an alias before has changed, not come.
public struct PriceDiff: Hashable, Sendable {
    /// One name with a price from one day on.
    public struct Item: Hashable, Sendable {
        public let provider: String
        public let name: String
        /// `YYYY-MM-DD`; `nil`: since ever.
        public let from: String?
        public let isConfirmed: Bool
        public let input: TokenPrice
        public let output: TokenPrice
    }

    public enum Unit: Hashable, Sendable {
        case nanoUSDPerMillionTokens
        case nanoUSDPerCall
        case tokens
        case tenths
    }

    /// A quantity of a row that is another one now.
    public struct Bucket: Hashable, Sendable {
        public let name: String
        public let unit: Unit
        /// `nil`: unknown.
        public let old: UInt64?
        public let new: UInt64?

        /// By how many thousandths of the old quantity the new one differs, cut off towards zero;
        /// `nil` when either is unknown.
        public var thousandths: Int64? {
            guard let old, let new, old > 0 else { return nil }
            return Int64(clamping: (Int128(new) - Int128(old)) * 1_000 / Int128(old))
        }
    }

    public struct Change: Hashable, Sendable {
        /// At the new prices.
        public let item: Item
        /// Never empty.
        public let buckets: [Bucket]
    }

    /// In the order of the new book.
    public let added: [Item]
    /// In the order of the new book.
    public let changed: [Change]
    /// In the order of the old book.
    public let removed: [Item]

    public var isEmpty: Bool { added.isEmpty && changed.isEmpty && removed.isEmpty }

    public init(from old: PriceBook, to new: PriceBook) {
        let before = NamedRows(old)
        let after = NamedRows(new)
        var added: [Item] = []
        var changed: [Change] = []
        for row in after.all {
            guard let other = before[row.key] else {
                // An alias comes and goes with its model, whose line says it.
                if !row.isAlias || before[row.modelKey] != nil { added.append(row.item) }
                continue
            }
            if row.isAlias, other.isAlias, row.model == other.model { continue }
            let buckets = PriceDiff.buckets(from: other.row, to: row.row)
            if !buckets.isEmpty { changed.append(Change(item: row.item, buckets: buckets)) }
        }
        self.added = added
        self.changed = changed
        removed = before.all.filter { row in
            after[row.key] == nil && (!row.isAlias || after[row.modelKey] != nil)
        }.map(\.item)
    }

    private static func buckets(from old: PriceRow, to new: PriceRow) -> [Bucket] {
        let before = old.quantities
        let after = new.quantities
        var buckets: [Bucket] = []
        for quantity in before {
            let value = after.first { $0.name == quantity.name }?.value
            if value != quantity.value {
                buckets.append(
                    Bucket(
                        name: quantity.name, unit: quantity.unit, old: quantity.value, new: value))
            }
        }
        for quantity in after where !before.contains(where: { $0.name == quantity.name }) {
            buckets.append(
                Bucket(name: quantity.name, unit: quantity.unit, old: nil, new: quantity.value))
        }
        return buckets
    }
}

/// The rows of a book by every name that they go by.
private struct NamedRows {
    struct Key: Hashable {
        let provider: String
        let name: String
        let from: UnixTime?
        let certainty: PriceRow.Certainty
    }

    struct Named {
        let key: Key
        let model: String
        let row: PriceRow

        var isAlias: Bool { key.name != model }

        var modelKey: Key {
            Key(
                provider: key.provider, name: model, from: key.from, certainty: key.certainty)
        }

        var item: PriceDiff.Item {
            PriceDiff.Item(
                provider: key.provider, name: key.name, from: row.day,
                isConfirmed: key.certainty == .confirmed, input: row.listed.standard.input,
                output: row.listed.standard.output)
        }
    }

    private(set) var all: [Named] = []
    private var positions: [Key: Int] = [:]

    init(_ book: PriceBook) {
        for entry in book.entries {
            for name in [entry.model] + entry.aliases {
                let key = Key(
                    provider: entry.provider, name: name, from: entry.row.listed.from,
                    certainty: entry.row.listed.certainty)
                positions[key] = all.count
                all.append(Named(key: key, model: entry.model, row: entry.row))
            }
        }
    }

    subscript(key: Key) -> Named? { positions[key].map { all[$0] } }
}

/// Everything that a row says in numbers.
private struct Quantity {
    let name: String
    let unit: PriceDiff.Unit
    let value: UInt64
}

extension PriceRow {
    fileprivate var day: String? { listed.from.map { String($0.rfc3339.prefix(10)) } }

    /// Those that are known.
    fileprivate var quantities: [Quantity] {
        var known = PriceRow.quantities(of: listed.standard, prefix: "")
        func add(_ name: String, _ unit: PriceDiff.Unit, _ value: UInt64?) {
            if let value { known.append(Quantity(name: name, unit: unit, value: value)) }
        }
        add("long above", .tokens, listed.long?.above)
        if let long = listed.long {
            known += PriceRow.quantities(of: long.rates, prefix: "long ")
        }
        for tier in listed.tiers {
            known += PriceRow.quantities(of: tier.rates, prefix: "\(tier.name) ")
        }
        let perToken = PriceDiff.Unit.nanoUSDPerMillionTokens
        add("audio input", perToken, listed.audioInput?.nanoUSDPerMillionTokens)
        add("audio output", perToken, listed.audioOutput?.nanoUSDPerMillionTokens)
        add("web search", .nanoUSDPerCall, listed.webSearch?.rawValue)
        add("fast multiplier", .tenths, listed.fastMultiplierTenths)
        add("US multiplier", .tenths, listed.geoUSMultiplierTenths)
        add("context", .tokens, listed.contextTokens)
        add("max output", .tokens, listed.maxOutputTokens)
        return known
    }

    private static func quantities(of rates: ListedRates, prefix: String) -> [Quantity] {
        let named: [(String, TokenPrice?)] = [
            ("input", rates.input), ("cache read", rates.cacheRead),
            ("cache write", rates.cacheWrite), ("cache write long", rates.cacheWriteLong),
            ("output", rates.output),
        ]
        return named.compactMap { name, price in
            price.map {
                Quantity(
                    name: prefix + name, unit: .nanoUSDPerMillionTokens,
                    value: $0.nanoUSDPerMillionTokens)
            }
        }
    }
}

// MARK: - Walking a book

extension PriceBook {
    /// One row of the table.
    struct Entry {
        let provider: String
        let model: String
        let aliases: [String]
        let row: PriceRow
    }

    /// By way of the table, which says everything that a book knows.
    var entries: [Entry] {
        let lines = Array(tsv.utf8).split(separator: UInt8(ascii: "\n")).dropFirst()
        return lines.map { line -> Entry in
            let fields = line.split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false)
                .map { String(decoding: $0, as: UTF8.self) }
            do throws(LineProblem) {
                let parsed = try PriceLine(columns: PriceColumn.allCases, fields: fields)
                return Entry(
                    provider: try parsed.name(.provider), model: try parsed.name(.model),
                    aliases: try parsed.aliases(), row: try parsed.row())
            } catch {
                preconditionFailure("a book that cannot read its own table: \(error.text)")
            }
        }
    }

    init(entries: [Entry]) throws(PriceBookError) {
        var lines = [PriceColumn.allCases.map(\.rawValue).joined(separator: "\t")]
        for entry in entries {
            let fields = entry.row.fields(
                provider: entry.provider, model: entry.model, aliases: entry.aliases)
            lines.append(fields.joined(separator: "\t"))
        }
        try self.init(tsv: lines.joined(separator: "\n"))
    }

    /// Every row, in the order of the table.
    public var listings: [PriceListing] {
        entries.map { entry in
            let listed = entry.row.listed
            return PriceListing(
                provider: entry.provider, model: entry.model, aliases: entry.aliases,
                from: entry.row.day, isConfirmed: listed.certainty == .confirmed,
                input: listed.standard.input, cacheRead: listed.standard.cacheRead,
                cacheWrite: listed.standard.cacheWrite, output: listed.standard.output,
                source: listed.source)
        }
    }

    /// The other book, and of this one the providers that the other does not price at all: a list
    /// of one provider's prices says nothing about the rest.
    public func replacingProviders(of other: PriceBook) throws(PriceBookError) -> PriceBook {
        let replaced = Set(other.models.map(\.provider))
        let kept = entries.filter { !replaced.contains($0.provider) }
        return try PriceBook(entries: kept + other.entries)
    }
}
