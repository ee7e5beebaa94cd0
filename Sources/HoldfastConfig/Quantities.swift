public import HoldfastCore

/// What a cap is limited to, as people write it: `$0.50`, `$1,000`, `2M tokens`, `500k tokens`.
public struct CapLimit: Hashable, Sendable {
    public let unit: CapUnit
    public let amount: Amount

    public init(_ text: String) throws(ValueError) {
        let example = "write it as $500 or 2M tokens"
        if text.hasPrefix("$") {
            unit = .usd
            amount = Amount(try parseDollars(String(text.dropFirst())).rawValue)
        } else if text.hasSuffix("tokens") || text.hasSuffix("token") {
            unit = .tokens
            amount = Amount(try parseTokens(text))
        } else if text.utf8.first?.isDigit == true {
            throw ValueError("does not say of what", suggestion: example)
        } else {
            throw ValueError("is not an amount", suggestion: example)
        }
    }
}

/// Dollars, with or without a leading `$`; at most nine decimals.
func parseDollars(_ text: String) throws(ValueError) -> NanoUSD {
    let number = text.hasPrefix("$") ? text.dropFirst() : Substring(text)
    switch scaledDecimal(number, decimals: 9) {
    case .value(let nanos): return NanoUSD(nanos)
    case .malformed:
        throw ValueError("is not an amount of dollars", suggestion: "write it as $1,000.50")
    case .tooPrecise: throw ValueError("has more than nine decimals")
    case .tooLarge:
        throw ValueError("is more than \(Amount(Limits.amountMax).formatted(.usd)), the largest")
    }
}

/// `16`, `1,000,000 tokens`, `500k tokens`, `1.5M`: exact, so `1.5 tokens` is refused.
func parseTokens(_ text: String) throws(ValueError) -> UInt64 {
    var number = Substring(text)
    for word in ["tokens", "token"] where number.hasSuffix(word) {
        number = number.dropLast(word.count)
        break
    }
    while number.last == " " { number = number.dropLast() }
    var decimals = 0
    switch number.last {
    case "k", "K": decimals = 3
    case "M": decimals = 6
    case "B": decimals = 9
    case "m": throw ValueError("ends in a small m", suggestion: "write millions with a capital M")
    default: break
    }
    if decimals > 0 { number = number.dropLast() }
    switch scaledDecimal(number, decimals: decimals) {
    case .value(let tokens): return tokens
    case .malformed:
        throw ValueError(
            "is not a number of tokens", suggestion: "write it as 2M tokens or 500,000 tokens")
    case .tooPrecise: throw ValueError("is not a whole number of tokens")
    case .tooLarge:
        throw ValueError("is more than \(Amount(Limits.amountMax).formatted(.tokens)), the largest")
    }
}

/// `250ms`, `2s`, `5m`, `1h`.
func parseDuration(_ text: String) throws(ValueError) -> Duration {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let count = Int64(digits), count <= 1_000_000_000 else {
        throw ValueError("is not a duration", suggestion: "write it as 250ms, 2s or 5m")
    }
    switch text.dropFirst(digits.count) {
    case "ms": return .milliseconds(count)
    case "s": return .seconds(count)
    case "m": return .seconds(count * 60)
    case "h": return .seconds(count * 3_600)
    case "": throw ValueError("has no unit", suggestion: "write it as \(count)ms or \(count)s")
    default: throw ValueError("is not a duration", suggestion: "write it as 250ms, 2s or 5m")
    }
}

/// `512B`, `64KiB`, `32MiB`, `1GiB`.
func parseByteCount(_ text: String) throws(ValueError) -> Int {
    let example = "write it as 64KiB or 32MiB"
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let count = Int(digits), count <= 1 << 30 else {
        throw ValueError("is not a size", suggestion: example)
    }
    switch text.dropFirst(digits.count) {
    case "B": return count
    case "KiB": return count << 10
    case "MiB": return count << 20
    case "GiB": return count << 30
    case "KB", "kB", "K", "k": throw ValueError("is not a size", suggestion: "write \(count)KiB")
    case "MB", "M": throw ValueError("is not a size", suggestion: "write \(count)MiB")
    case "GB", "G": throw ValueError("is not a size", suggestion: "write \(count)GiB")
    case "": throw ValueError("has no unit", suggestion: example)
    default: throw ValueError("is not a size", suggestion: example)
    }
}

private enum ScaledDecimal {
    case value(UInt64)
    case malformed
    case tooPrecise
    /// Above `Limits.amountMax`.
    case tooLarge
}

/// A decimal number times ten to the power of `decimals`, without floating point.
///
/// Commas are taken only where they separate thousands: `1,50` means one and a half to half of the
/// world, and must not become 150.
private func scaledDecimal(_ text: Substring, decimals: Int) -> ScaledDecimal {
    let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    let groups = parts[0].split(
        omittingEmptySubsequences: false, whereSeparator: { $0 == "," || $0 == "_" })
    let isGrouped =
        groups.count == 1
        || ((1...3).contains(groups[0].utf8.count)
            && groups.dropFirst().allSatisfy { $0.utf8.count == 3 })
    let whole = groups.joined()
    let fraction = parts.count == 2 ? String(parts[1]) : ""
    guard isGrouped, !whole.isEmpty, parts.count == 1 || !fraction.isEmpty,
        (whole + fraction).utf8.allSatisfy(\.isDigit)
    else { return .malformed }
    guard fraction.utf8.count <= decimals else { return .tooPrecise }
    let digits = whole + fraction + String(repeating: "0", count: decimals - fraction.utf8.count)
    guard let value = UInt64(digits), value <= Limits.amountMax else { return .tooLarge }
    return .value(value)
}
