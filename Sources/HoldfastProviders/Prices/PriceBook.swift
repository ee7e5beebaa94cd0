public import HoldfastCore

/// Why a price table was refused. Nothing of a refused table is used.
public enum PriceBookError: Error, Hashable, Sendable, CustomStringConvertible {
    case notUTF8
    case noHeader
    /// The line's number, counted from one, and what is wrong with it.
    case line(Int, String)

    public var description: String {
        switch self {
        case .notUTF8: "the price table is not UTF-8 text"
        case .noHeader: "the price table has no line with the names of its columns"
        case .line(let number, let problem): "price table, line \(number): \(problem)"
        }
    }
}

/// What models cost, and from when.
///
/// A table of tab-separated columns with a header line; lines that start with `#` are comments. The
/// header of `prices.tsv` explains the columns. Only `provider`, `model`, `input` and `output` are
/// required; an empty field is unknown, and a zero is refused: unknown must never read as free.
public struct PriceBook: Hashable, Sendable {
    /// One model and the names that it goes by.
    public struct Model: Hashable, Sendable {
        public let provider: String
        public let model: String
        public fileprivate(set) var aliases: [String]
        /// In the order of the table, at least one of them confirmed.
        fileprivate var rows: [PriceRow]
    }

    private struct Name: Hashable {
        let provider: String
        let name: String
    }

    /// In the order of the table.
    public let models: [Model]
    /// From every name, exact or alias, to the position in `models`.
    private let positions: [Name: Int]

    /// The prices that this release was built with.
    public static let builtIn: PriceBook = {
        do {
            return try PriceBook(tsv: PackageResources.prices_tsv)
        } catch {
            preconditionFailure("the built-in price table: \(error)")
        }
    }()

    public init(tsv: some Sequence<UInt8>) throws(PriceBookError) {
        let bytes = Array(tsv)
        guard String(validating: bytes, as: UTF8.self) != nil else { throw .notUTF8 }
        var reader = TableReader()
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            do {
                try reader.read(line.last == UInt8(ascii: "\r") ? line.dropLast() : line)
            } catch {
                throw .line(index + 1, error.text)
            }
            reader.lineNumber += 1
        }
        guard reader.columns != nil else { throw .noHeader }
        for (model, line) in zip(reader.models, reader.firstLines)
        where !model.rows.contains(where: { $0.listed.certainty == .confirmed }) {
            throw .line(line, "\(model.model) has a possible price and no confirmed one")
        }
        self.init(models: reader.models, positions: reader.positions)
    }

    public init(tsv: String) throws(PriceBookError) {
        try self.init(tsv: tsv.utf8)
    }

    private init(models: [Model], positions: [Name: Int]) {
        self.models = models
        self.positions = positions
    }

    /// The whole book as a table that makes an equal book when it is read.
    public var tsv: String {
        var lines = [PriceColumn.allCases.map(\.rawValue).joined(separator: "\t")]
        for model in models {
            for row in model.rows {
                let fields = row.fields(
                    provider: model.provider, model: model.model, aliases: model.aliases)
                lines.append(fields.joined(separator: "\t"))
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// This book with the operator's prices instead of its own for every model that `other` names.
    ///
    /// A name means what `other` says it means: it is taken away from this book's aliases, and a
    /// replaced model's remaining aliases follow it to the new prices.
    public func overriding(with other: PriceBook) -> PriceBook {
        var merged = other.models
        var places = other.positions
        for var model in models {
            model.aliases.removeAll {
                other.positions[Name(provider: model.provider, name: $0)] != nil
            }
            let name = Name(provider: model.provider, name: model.model)
            if let position = other.positions[name] {
                // An alias of another model replaces the name alone, not what else it was called.
                guard merged[position].model == model.model else { continue }
                merged[position].aliases += model.aliases
                for alias in model.aliases {
                    places[Name(provider: model.provider, name: alias)] = position
                }
            } else {
                for known in [model.model] + model.aliases {
                    places[Name(provider: model.provider, name: known)] = merged.count
                }
                merged.append(model)
            }
        }
        return PriceBook(models: merged, positions: places)
    }
}

extension PriceBook {
    /// A published date names no zone. A row can start when the day does in the first zone to see
    /// it, and the row before can last until the day starts in the last one.
    private static let secondsAheadOfUTC: Int64 = 14 * 3_600
    private static let secondsBehindUTC: Int64 = 12 * 3_600

    /// The prices that a request can meet that starts at `now` and ends within `seconds`.
    ///
    /// The name must be one that the table lists, exactly. There is no matching by prefix: the
    /// model that a guess would find can be cheaper than the one that is billed.
    ///
    /// - Returns: `nil` for a model without a known price, which must be refused.
    public func quote(
        provider: String, model: String, from now: UnixTime, lasting seconds: Int64
    ) -> PriceQuote? {
        guard let position = positions[Name(provider: provider, name: model)] else { return nil }
        let found = models[position]
        let rows = PriceBook.rows(of: found, from: now, lasting: seconds)
        guard !rows.isEmpty else { return nil }
        return PriceQuote(provider: provider, model: found.model, rows: rows)
    }

    private static func rows(
        of model: Model, from now: UnixTime, lasting seconds: Int64
    ) -> [PriceRow] {
        if model.rows.count == 1, model.rows[0].listed.from == nil { return model.rows }
        let first = now.advanced(by: -secondsBehindUTC)
        let last = now.advanced(by: max(0, seconds)).advanced(by: secondsAheadOfUTC)
        let confirmed = model.rows.filter { $0.listed.certainty == .confirmed }
        guard confirmed.contains(where: { $0.starts(by: now) }) else { return [] }
        let settled = confirmed.filter { $0.starts(by: first) }.max(by: PriceRow.startsEarlier)
        var rows = settled.map { [$0] } ?? []
        rows += confirmed.filter { !$0.starts(by: first) && $0.starts(by: last) }
        rows += model.rows.filter { row in
            guard row.listed.certainty == .possible, row.starts(by: last) else { return false }
            // A confirmed price from the same day or later has answered the question.
            guard let settled else { return true }
            return PriceRow.startsEarlier(settled, row)
        }
        return rows
    }
}

extension PriceRow {
    fileprivate static func startsEarlier(_ lhs: PriceRow, _ rhs: PriceRow) -> Bool {
        guard let right = rhs.listed.from else { return false }
        guard let left = lhs.listed.from else { return true }
        return left < right
    }
}

extension UnixTime {
    fileprivate func advanced(by delta: Int64) -> UnixTime {
        let (sum, overflow) = seconds.addingReportingOverflow(delta)
        guard overflow else { return UnixTime(sum) }
        return UnixTime(delta < 0 ? .min : .max)
    }
}

extension PriceBook {
    /// Reads a table line by line and keeps names apart.
    private struct TableReader {
        var lineNumber = 1
        private(set) var columns: [PriceColumn]?
        private(set) var models: [Model] = []
        /// Of each model, for problems that show only at the end.
        private(set) var firstLines: [Int] = []
        private(set) var positions: [Name: Int] = [:]

        mutating func read(_ line: ArraySlice<UInt8>) throws(LineProblem) {
            guard let first = line.first, first != UInt8(ascii: "#") else { return }
            let fields = line.split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false)
                .map { String(decoding: $0, as: UTF8.self) }
            guard let columns else {
                columns = try PriceLine.columns(ofHeader: fields)
                return
            }
            let parsed = try PriceLine(columns: columns, fields: fields)
            let provider = try parsed.name(.provider)
            let model = try parsed.name(.model)
            let position = try position(ofModel: Name(provider: provider, name: model))
            for alias in try parsed.aliases() {
                let name = Name(provider: provider, name: alias)
                if positions[name] == position, models[position].aliases.contains(alias) {
                    continue
                }
                guard positions[name] == nil else {
                    throw LineProblem("alias \(alias) already names another model")
                }
                positions[name] = position
                models[position].aliases.append(alias)
            }
            try append(try parsed.row(), to: position)
        }

        private mutating func position(ofModel name: Name) throws(LineProblem) -> Int {
            guard let position = positions[name] else {
                positions[name] = models.count
                models.append(
                    Model(provider: name.provider, model: name.name, aliases: [], rows: []))
                firstLines.append(lineNumber)
                return models.count - 1
            }
            guard models[position].model == name.name else {
                throw LineProblem("\(name.name) is already an alias of \(models[position].model)")
            }
            return position
        }

        private mutating func append(
            _ row: PriceRow, to position: Int
        ) throws(LineProblem) {
            let isKnown = models[position].rows.contains {
                $0.listed.from == row.listed.from && $0.listed.certainty == row.listed.certainty
            }
            guard !isKnown else {
                let day = row.listed.from.map { " from \($0.rfc3339.prefix(10))" } ?? ""
                throw LineProblem("a second price for \(models[position].model)\(day)")
            }
            models[position].rows.append(row)
        }
    }
}
