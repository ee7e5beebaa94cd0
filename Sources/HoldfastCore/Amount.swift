/// What caps are counted in.
public enum CapUnit: UInt8, Hashable, Sendable, CaseIterable {
    case usd = 0
    case tokens = 1

    public var name: String {
        switch self {
        case .usd: "usd"
        case .tokens: "tokens"
        }
    }
}

/// A quantity in the unit of the cap it is counted against: nano-dollars or tokens.
///
/// The engines do the same arithmetic for both, so the unit lives in the cap and not in each number.
public struct Amount: Hashable, Comparable, Sendable {
    public let rawValue: UInt64

    public static let zero = Amount(0)

    @inlinable
    public init(_ rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// Traps on overflow, see `NanoUSD.+`.
    @inlinable
    public static func + (lhs: Amount, rhs: Amount) -> Amount {
        Amount(lhs.rawValue + rhs.rawValue)
    }

    @inlinable
    public static func += (lhs: inout Amount, rhs: Amount) {
        lhs = lhs + rhs
    }

    /// Traps below zero: the caller has proved that it cannot happen.
    @inlinable
    public static func - (lhs: Amount, rhs: Amount) -> Amount {
        Amount(lhs.rawValue - rhs.rawValue)
    }

    @inlinable
    public static func -= (lhs: inout Amount, rhs: Amount) {
        lhs = lhs - rhs
    }

    /// How much larger this is than `other`; zero when it is not larger.
    @inlinable
    public func excess(over other: Amount) -> Amount {
        rawValue > other.rawValue ? Amount(rawValue - other.rawValue) : .zero
    }

    /// So many hundredths of it, rounded down; all of it from 100 on.
    public func percent(_ percent: UInt64) -> Amount {
        guard percent < 100 else { return self }
        let (high, low) = rawValue.multipliedFullWidth(by: percent)
        return Amount(UInt64(100).dividingFullWidth((high, low)).quotient)
    }

    /// The sum, or the largest amount when it does not fit. Only for sums where too much is the safe
    /// side (exposure): what does not fit then refuses everything instead of stopping the process on
    /// numbers that another process reported.
    @inlinable
    public func saturatingAdd(_ other: Amount) -> Amount {
        let (sum, overflow) = rawValue.addingReportingOverflow(other.rawValue)
        return overflow ? Amount(.max) : Amount(sum)
    }

    @inlinable
    public static func < (lhs: Amount, rhs: Amount) -> Bool {
        lhs.rawValue < rhs.rawValue
    }
}

extension Amount {
    /// For people: `$0.50`, `12,000 tokens`.
    public func formatted(_ unit: CapUnit) -> String {
        switch unit {
        case .usd:
            return "$\(NanoUSD(rawValue).dollars)"
        case .tokens:
            return "\(rawValue.groupedByThousands) tokens"
        }
    }
}

extension Amount {
    /// For programs: decimal dollars `0.50`, or a count of tokens `1200`.
    public func plain(_ unit: CapUnit) -> String {
        switch unit {
        case .usd: NanoUSD(rawValue).dollars
        case .tokens: String(rawValue)
        }
    }
}

extension UInt64 {
    fileprivate var groupedByThousands: String {
        var out: [Character] = []
        for (index, digit) in String(self).reversed().enumerated() {
            if index > 0, index.isMultiple(of: 3) { out.append(",") }
            out.append(digit)
        }
        return String(out.reversed())
    }
}
