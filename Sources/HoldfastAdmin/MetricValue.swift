/// A sample's value. Integers only, so that what is exported is exactly what was counted.
package enum MetricValue: Hashable, Sendable {
    case count(UInt64)
    case signed(Int64)
    /// Billionths of what the metric's name says: nano-dollars in a `_usd` metric, nanoseconds in a
    /// `_seconds` metric.
    case nanos(UInt64)

    package static func flag(_ isSet: Bool) -> MetricValue { .count(isSet ? 1 : 0) }

    /// Exact decimal text: `nanos(37_500_000)` is `0.0375`.
    package var text: String {
        switch self {
        case .count(let value): String(value)
        case .signed(let value): String(value)
        case .nanos(let value): MetricScale.nano.text(value)
        }
    }
}

/// How the integers of a metric relate to the unit in its name.
package enum MetricScale: Hashable, Sendable {
    case one
    /// Millionths: microseconds in a `_seconds` metric.
    case micro
    /// Billionths: nanoseconds in a `_seconds` metric, nano-dollars in a `_usd` metric.
    case nano

    private var decimalCount: Int {
        switch self {
        case .one: 0
        case .micro: 6
        case .nano: 9
        }
    }

    /// Exact, without trailing zeros, and never in scientific notation.
    package func text(_ value: UInt64) -> String {
        var digits = String(value)
        if decimalCount == 0 { return digits }
        let missing = decimalCount + 1 - digits.utf8.count
        if missing > 0 { digits = String(repeating: "0", count: missing) + digits }
        let whole = digits.dropLast(decimalCount)
        var fraction = digits.suffix(decimalCount)
        while fraction.last == "0" { fraction.removeLast() }
        return fraction.isEmpty ? String(whole) : "\(whole).\(fraction)"
    }
}
