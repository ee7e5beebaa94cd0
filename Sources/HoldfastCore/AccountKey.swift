/// Names one account: one cap × one combination of scope values × one period.
public struct AccountKey: Hashable, Sendable, CustomStringConvertible {
    /// Shared by all copies, with its hash: a counter has each key in several tables, and looks it
    /// up a dozen times for every report.
    private final class Parts: Sendable {
        let cap: String
        let unit: CapUnit
        let period: PeriodKind
        let periodID: Int64
        let values: [String]
        let hash: Int

        init(
            _ cap: String, _ unit: CapUnit, _ period: PeriodKind, _ periodID: Int64,
            _ values: [String]
        ) {
            self.cap = cap
            self.unit = unit
            self.period = period
            self.periodID = periodID
            self.values = values
            var hasher = Hasher()
            hasher.combine(periodID)
            AccountKey.combine(cap, into: &hasher)
            for value in values { AccountKey.combine(value, into: &hasher) }
            hash = hasher.finalize()
        }
    }

    private let parts: Parts

    public init(
        cap: String, unit: CapUnit, period: PeriodKind, periodID: Int64, values: [String]
    ) {
        parts = Parts(cap, unit, period, periodID, values)
    }

    public var cap: String { parts.cap }
    public var unit: CapUnit { parts.unit }
    public var period: PeriodKind { parts.period }
    public var periodID: Int64 { parts.periodID }
    public var values: [String] { parts.values }

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

    public var description: String { text }

    public init?(text: String) {
        // By bytes: as characters, a value that begins with a combining mark would swallow the bar.
        let parts = text.utf8.split(separator: UInt8(ascii: "|"), omittingEmptySubsequences: false)
            .map { Substring($0) }
        guard parts.count >= 4, let cap = PercentEncoding.decode(parts[0]), !cap.isEmpty,
            let unit = CapUnit.allCases.first(where: { $0.name == parts[1] }),
            let period = PeriodKind.allCases.first(where: { $0.name == parts[2] }),
            let periodID = Int64(parts[3])
        else { return nil }
        var values: [String] = []
        for part in parts.dropFirst(4) {
            guard let value = PercentEncoding.decode(part) else { return nil }
            values.append(value)
        }
        self.init(cap: cap, unit: unit, period: period, periodID: periodID, values: values)
        // An account has one text: another spelling (`+5`, `%7c`) would be a second row of the
        // store.
        guard textBytes.elementsEqual(text.utf8) else { return nil }
    }

    // Compared byte by byte. Swift's own comparison takes `é` and `e` + accent for equal, while the
    // store and the other processes see two texts: one account here would be two there.

    public static func == (left: AccountKey, right: AccountKey) -> Bool {
        left.parts === right.parts
            || left.parts.hash == right.parts.hash && left.periodID == right.periodID
                && left.unit == right.unit && left.period == right.period
                && left.values.count == right.values.count && areSameBytes(left.cap, right.cap)
                && zip(left.values, right.values).allSatisfy(areSameBytes)
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(parts.hash)
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
        guard text.utf8.contains(where: isEscaped) else {
            out += text.utf8
            return
        }
        for byte in text.utf8 {
            if isEscaped(byte) {
                out += [
                    UInt8(ascii: "%"), hexDigits[Int(byte >> 4)], hexDigits[Int(byte & 15)],
                ]
            } else {
                out.append(byte)
            }
        }
    }

    private static func isEscaped(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == 0x7F || byte == UInt8(ascii: "%") || byte == UInt8(ascii: "|")
    }
}
