public enum CapMode: UInt8, Hashable, Sendable {
    case enforce = 0
    /// Decides, counts and labels; never refuses.
    case observe = 1

    public var name: String {
        switch self {
        case .enforce: "enforce"
        case .observe: "observe"
        }
    }
}

/// A rule: at most `limit` per period, for the requests that its scope selects.
public struct Cap: Hashable, Sendable {
    /// Unique, chosen by the operator; also the identity under which spending is kept, so a cap that
    /// is deleted and made again within its period does not start from zero.
    public var name: String
    public var unit: CapUnit
    public var limit: Amount
    public var period: PeriodKind
    /// IANA name of the zone its periods start in.
    public var zone: String
    /// Requests must have exactly these values. Empty: every request.
    public var scope: [ScopeDimension: String]
    /// One account for each combination of values of these dimensions; requests that lack one of
    /// them are not counted. Empty: one account for all.
    public var each: [ScopeDimension]
    public var mode: CapMode

    public init(
        name: String, unit: CapUnit, limit: Amount, period: PeriodKind, zone: String = "UTC",
        scope: [ScopeDimension: String] = [:], each: [ScopeDimension] = [],
        mode: CapMode = .enforce
    ) {
        precondition(limit.rawValue <= Limits.amountMax, "a limit above Limits.amountMax")
        self.name = name
        self.unit = unit
        self.limit = limit
        self.period = period
        self.zone = zone
        self.scope = scope
        self.each = each
        self.mode = mode
    }

    /// The values that tell this cap's accounts apart for such a request, or `nil` when the cap does
    /// not apply to it.
    public func accountValues(for request: ScopeValues) -> [String]? {
        guard scope.allSatisfy({ dimension, value in request[dimension] == value }) else {
            return nil
        }
        var values: [String] = []
        for dimension in each {
            guard let value = request[dimension] else { return nil }
            values.append(value)
        }
        return values
    }

    /// What the cap is counted against, for people: `tenant=acme`, `each user`, `global`.
    public var scopeDescription: String { describe(each.map { "each \($0.name)" }) }

    /// What one of its accounts is counted against: `tenant=acme, user=u-17`.
    public func scopeDescription(of account: AccountKey) -> String {
        describe(zip(each, account.values).map { "\($0.name)=\($1)" })
    }

    private func describe(_ varying: [String]) -> String {
        let fixed = ScopeDimension.allCases.compactMap { dimension in
            scope[dimension].map { "\(dimension.name)=\($0)" }
        }
        let parts = fixed + varying
        return parts.isEmpty ? "global" : parts.joined(separator: ", ")
    }
}

/// Names one account: one cap × one combination of scope values × one period.
public struct AccountKey: Hashable, Sendable {
    public let cap: String
    public let unit: CapUnit
    public let period: PeriodKind
    public let periodID: Int64
    public let values: [String]
    /// Made once: a counter looks an account up a dozen times for each report.
    private let hash: Int

    public init(
        cap: String, unit: CapUnit, period: PeriodKind, periodID: Int64, values: [String]
    ) {
        self.cap = cap
        self.unit = unit
        self.period = period
        self.periodID = periodID
        self.values = values
        var hasher = Hasher()
        hasher.combine(periodID)
        Self.combine(cap, into: &hasher)
        for value in values { Self.combine(value, into: &hasher) }
        hash = hasher.finalize()
    }

    /// `cap|usd|day|20778|value|…`, with `%`, `|` and control characters percent-encoded: the form
    /// in which the key is stored and sent.
    public var text: String {
        String(decoding: textBytes, as: UTF8.self)
    }

    /// The UTF-8 of `text`.
    public var textBytes: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(
            40 + cap.utf8.count + values.reduce(0) { $0 + $1.utf8.count + 1 })
        Self.appendEscaped(cap, to: &out)
        for part in [unit.name, period.name, String(periodID)] {
            out.append(UInt8(ascii: "|"))
            out += part.utf8
        }
        for value in values {
            out.append(UInt8(ascii: "|"))
            Self.appendEscaped(value, to: &out)
        }
        return out
    }

    public init?(text: String) {
        // By bytes: as characters, a value that begins with a combining mark would swallow the bar.
        let parts = text.utf8.split(separator: UInt8(ascii: "|"), omittingEmptySubsequences: false)
            .map { Substring($0) }
        guard parts.count >= 4, let cap = Self.unescape(parts[0]), !cap.isEmpty,
            let unit = CapUnit.allCases.first(where: { $0.name == parts[1] }),
            let period = PeriodKind.allCases.first(where: { $0.name == parts[2] }),
            let periodID = Int64(parts[3])
        else { return nil }
        var values: [String] = []
        for part in parts.dropFirst(4) {
            guard let value = Self.unescape(part) else { return nil }
            values.append(value)
        }
        self.init(cap: cap, unit: unit, period: period, periodID: periodID, values: values)
        // An account has one text: another spelling (`+5`, `%7c`) would be a second row of the
        // store.
        guard Self.areSameBytes(self.text, text) else { return nil }
    }

    // Texts are compared byte by byte. Swift's own comparison takes `é` and `e` + accent for equal,
    // while the store and the other processes see two texts: one account here would be two there.

    public static func == (left: AccountKey, right: AccountKey) -> Bool {
        left.hash == right.hash && left.periodID == right.periodID && left.unit == right.unit
            && left.period == right.period
            && left.values.count == right.values.count && areSameBytes(left.cap, right.cap)
            && zip(left.values, right.values).allSatisfy(areSameBytes)
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(hash)
    }

    private static func areSameBytes(_ left: String, _ right: String) -> Bool {
        var left = left
        var right = right
        return left.withUTF8 { left in right.withUTF8 { left.elementsEqual($0) } }
    }

    private static func combine(_ text: String, into hasher: inout Hasher) {
        hasher.combine(text.utf8.count)
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }

    private static let hexDigits = Array("0123456789ABCDEF".utf8)

    private static func appendEscaped(_ text: String, to out: inout [UInt8]) {
        for byte in text.utf8 {
            if byte < 0x20 || byte == 0x7F || byte == UInt8(ascii: "%")
                || byte == UInt8(ascii: "|")
            {
                out += [
                    UInt8(ascii: "%"), hexDigits[Int(byte >> 4)], hexDigits[Int(byte & 15)],
                ]
            } else {
                out.append(byte)
            }
        }
    }

    private static func unescape(_ text: Substring) -> String? {
        var out: [UInt8] = []
        var bytes = ArraySlice(text.utf8)
        while let byte = bytes.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                out.append(byte)
                continue
            }
            guard bytes.count >= 2,
                let value = UInt8(String(decoding: bytes.prefix(2), as: UTF8.self), radix: 16)
            else { return nil }
            out.append(value)
            bytes = bytes.dropFirst(2)
        }
        return String(validating: out, as: UTF8.self)
    }
}
