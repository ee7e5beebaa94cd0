/// A non-negative amount of US dollars in whole nano-dollars (1 USD = 1_000_000_000 nano-dollars).
///
/// Unsigned, because "negative spend" is not a state a cap can be in. There is no `Double`
/// initializer; docs/adr/0003-integer-money.md says why.
public struct NanoUSD: Hashable, Comparable, Sendable {
    public let rawValue: UInt64

    public static let zero = NanoUSD(0)
    public static let perDollar: UInt64 = 1_000_000_000

    public init(_ rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// Traps on overflow. Amounts are bounded where they enter the process (`Limits.amountMax`), so
    /// an overflow in here is our bug, and a wrapped sum would be a broken cap.
    public static func + (lhs: NanoUSD, rhs: NanoUSD) -> NanoUSD {
        NanoUSD(lhs.rawValue + rhs.rawValue)
    }

    public static func < (lhs: NanoUSD, rhs: NanoUSD) -> Bool {
        lhs.rawValue < rhs.rawValue
    }
}

extension NanoUSD {
    /// Reads a decimal amount of dollars, for example `500`, `0.25`, `1,000.50`; a leading `$` is
    /// allowed. `nil` for anything else, for more than nine decimals, and above `Limits.amountMax`.
    public init?(dollars text: String) {
        var body = Substring(text)
        if body.hasPrefix("$") { body = body.dropFirst() }
        let parts = body.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        // Separators are taken only between thousands: `1,50` is one and a half to half of the
        // world, and must not become 150.
        let groups = parts[0].split(
            omittingEmptySubsequences: false, whereSeparator: { $0 == "," || $0 == "_" })
        let isGrouped =
            groups.count == 1
            || ((1...3).contains(groups[0].utf8.count)
                && groups.dropFirst().allSatisfy { $0.utf8.count == 3 })
        let whole = groups.joined()
        let fraction = parts.count == 2 ? String(parts[1]) : ""
        guard isGrouped, !whole.isEmpty, parts.count == 1 || !fraction.isEmpty,
            fraction.utf8.count <= 9,
            (whole + fraction).utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }),
            let dollars = UInt64(whole)
        else { return nil }
        let padded = fraction + String(repeating: "0", count: 9 - fraction.utf8.count)
        let (scaled, overflow) = dollars.multipliedReportingOverflow(by: NanoUSD.perDollar)
        guard !overflow, let nanos = UInt64(padded) else { return nil }
        let (total, carried) = scaled.addingReportingOverflow(nanos)
        guard !carried, total <= Limits.amountMax else { return nil }
        self.init(total)
    }

    /// Decimal dollars without rounding: at least two decimals, at most nine: `500.00`, `0.0375`.
    public var dollars: String {
        let whole = rawValue / NanoUSD.perDollar
        var digits = String(rawValue % NanoUSD.perDollar)
        digits = String(repeating: "0", count: 9 - digits.utf8.count) + digits
        while digits.utf8.count > 2, digits.hasSuffix("0") { digits.removeLast() }
        return "\(whole).\(digits)"
    }
}
