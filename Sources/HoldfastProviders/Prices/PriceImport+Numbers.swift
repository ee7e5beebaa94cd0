internal import HoldfastCore

/// A decimal number as it is written, without a loss.
struct DecimalText {
    enum Whole: Hashable {
        case exactly(UInt64)
        /// The next whole number above.
        case rounded(UInt64)
        /// Below zero; minus zero is not.
        case negative
        /// Above the largest number that was asked for.
        case outOfRange
    }

    private let isNegative: Bool
    /// Values from 0 to 9 without zeros at either end; none for zero.
    private let digits: ArraySlice<UInt8>
    /// The number is 0.DIGITS times ten to the power of this.
    private let point: Int

    /// Beyond every number of digits that fits in memory, so that nothing overflows.
    private static let exponentMax = 1 << 40

    /// `nil` for anything but a number as JSON writes it (RFC 8259, section 6); leading zeros are
    /// let pass.
    init?(_ text: ArraySlice<UInt8>) {
        var rest = text
        isNegative = rest.first == UInt8(ascii: "-")
        if isNegative { rest = rest.dropFirst() }
        let whole = rest.prefix(while: Self.isDigit)
        rest = rest.dropFirst(whole.count)
        var fraction: ArraySlice<UInt8> = []
        if rest.first == UInt8(ascii: ".") {
            fraction = rest.dropFirst().prefix(while: Self.isDigit)
            rest = rest.dropFirst(1 + fraction.count)
            guard !fraction.isEmpty else { return nil }
        }
        guard !whole.isEmpty, let exponent = Self.exponent(rest) else { return nil }
        let all = (Array(whole) + Array(fraction)).map { $0 - UInt8(ascii: "0") }
        let significant = all.drop { $0 == 0 }
        let zeros = significant.reversed().prefix { $0 == 0 }.count
        digits = significant.dropLast(zeros)
        point = whole.count - (all.count - significant.count) + exponent
    }

    /// The number times a power of ten, as a whole number of at most `max`, rounded up.
    func scaled(byPowerOfTen shift: Int, max: UInt64) -> Whole {
        guard !digits.isEmpty else { return .exactly(0) }
        guard !isNegative else { return .negative }
        let wholeCount = point + shift
        // Nineteen digits always fit in 64 bits, and `max` never has more.
        guard wholeCount <= 19 else { return .outOfRange }
        let kept = digits.prefix(Swift.max(0, wholeCount))
        var value = kept.reduce(0) { $0 * 10 + UInt64($1) }
        for _ in kept.count..<Swift.max(kept.count, wholeCount) { value *= 10 }
        let isExact = kept.count == digits.count
        if !isExact { value += 1 }
        guard value <= max else { return .outOfRange }
        return isExact ? .exactly(value) : .rounded(value)
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
    }

    /// Of `e-07`; zero when there is none, `nil` when it is something else.
    private static func exponent(_ text: ArraySlice<UInt8>) -> Int? {
        guard let first = text.first else { return 0 }
        guard first | 0x20 == UInt8(ascii: "e") else { return nil }
        var rest = text.dropFirst()
        let isNegative = rest.first == UInt8(ascii: "-")
        if isNegative || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
        guard !rest.isEmpty, rest.allSatisfy(isDigit) else { return nil }
        let size = rest.reduce(0) { min(exponentMax, $0 * 10 + Int($1 - UInt8(ascii: "0"))) }
        return isNegative ? -size : size
    }
}

/// The members of one JSON object in their order, nested values unread.
struct JSONMembers {
    let bytes: [UInt8]
    /// Those with a name that comes twice included.
    private(set) var all: [(name: String, value: JSONValue)] = []
    /// Parsers disagree on which one counts.
    private(set) var duplicate: String?
    private var positions: [String: Int] = [:]

    init(_ bytes: [UInt8], in range: Range<Int>) throws(JSONError) {
        self.bytes = bytes
        var scanner = JSONScanner(bytes, in: range)
        try scanner.enterObject()
        while let key = try scanner.nextKey() {
            let value = try scanner.skipValue()
            // A lone surrogate is in no name that is known here.
            guard let name = key.text else { continue }
            if positions[name] == nil {
                positions[name] = all.count
            } else if duplicate == nil {
                duplicate = name
            }
            all.append((name, value))
        }
        try scanner.finish()
    }

    /// An object within a row, whose names must be unique.
    init(row value: JSONValue, in bytes: [UInt8]) throws(RowRefusal) {
        guard value.kind == .object else { throw RowRefusal("it is not an object") }
        do throws(JSONError) {
            try self.init(bytes, in: value.range)
        } catch {
            throw RowRefusal("it is not an object")
        }
        if let duplicate { throw RowRefusal("\(duplicate.prefix(60)) is there twice") }
    }

    /// `nil` also for null.
    subscript(name: String) -> JSONValue? {
        guard let position = positions[name] else { return nil }
        let value = all[position].value
        return value.kind == .null ? nil : value
    }

    /// `nil` also for a value that is no string.
    func string(_ name: String) -> String? {
        guard let value = self[name], value.kind == .string else { return nil }
        return JSON.string(value.range, in: bytes)
    }

    func contains(_ name: String) -> Bool { self[name] != nil }
}

/// Reads the numbers of one row, and remembers whether one was rounded.
struct RowNumbers {
    let bytes: [UInt8]
    private(set) var isRounded = false

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// A price in USD per token, as a number or a string. `nil` for zero: that stands for unknown
    /// as often as for free.
    mutating func price(_ name: String, _ value: JSONValue) throws(RowRefusal) -> TokenPrice? {
        let max = TokenPrice.bookMax.nanoUSDPerMillionTokens
        // Nano-dollars per million tokens: 10^9 times 10^6.
        let nanos = try whole(name, value, shift: 15, max: max)
        return nanos == 0 ? nil : TokenPrice(nanoUSDPerMillionTokens: nanos)
    }

    /// A price in USD per call. `nil` for zero.
    mutating func pricePerCall(_ name: String, _ value: JSONValue) throws(RowRefusal) -> NanoUSD? {
        let nanos = try whole(name, value, shift: 9, max: Limits.amountMax)
        return nanos == 0 ? nil : NanoUSD(nanos)
    }

    /// A multiplier in tenths; `nil` where it is none that the book takes.
    mutating func tenths(_ name: String, _ value: JSONValue?) throws(RowRefusal) -> UInt64? {
        guard let value else { return nil }
        let tenths = try whole(name, value, shift: 1, max: Limits.amountMax)
        return PriceQuote.multiplierTenthsRange.contains(tenths) ? tenths : nil
    }

    /// A number of tokens; `nil` where the source has none, zero, or a remark instead.
    mutating func count(_ name: String, _ value: JSONValue?) throws(RowRefusal) -> UInt64? {
        guard let value, value.kind == .number else { return nil }
        let count = try whole(name, value, shift: 0, max: Limits.amountMax)
        return count == 0 ? nil : count
    }

    private mutating func whole(
        _ name: String, _ value: JSONValue, shift: Int, max: UInt64
    ) throws(RowRefusal) -> UInt64 {
        var range = value.range
        if value.kind == .string { range = range.lowerBound + 1..<range.upperBound - 1 }
        guard value.kind == .string || value.kind == .number,
            let number = DecimalText(bytes[range])
        else { throw RowRefusal("\(name.prefix(60)) is not a number") }
        switch number.scaled(byPowerOfTen: shift, max: max) {
        case .exactly(let whole): return whole
        case .rounded(let whole):
            isRounded = true
            return whole
        case .negative:
            throw RowRefusal("\(name.prefix(60)) is negative: the price varies or is unknown")
        case .outOfRange: throw RowRefusal("\(name.prefix(60)) is out of range")
        }
    }
}
