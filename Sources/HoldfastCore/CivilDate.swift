/// The proleptic Gregorian calendar, in days since 1970-01-01.
///
/// Howard Hinnant's era method: a year starts in March, so that the leap day comes last.
enum CivilDate {
    static func day(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted.floorDivided(by: 400)
        let yearOfEra = shifted - era * 400
        let monthFromMarch = (month + 9) % 12
        let dayOfYear = (153 * monthFromMarch + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    static func yearAndMonth(ofDay day: Int64) -> (year: Int64, month: Int64) {
        let (year, month, _) = date(ofDay: day)
        return (year, month)
    }

    static func date(ofDay day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = day + 719_468
        let era = shifted.floorDivided(by: 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }
}

extension UnixTime {
    /// RFC 3339 in UTC, for example `2026-12-01T00:00:00Z`.
    public var rfc3339: String {
        let days = seconds.floorDivided(by: 86_400)
        let (year, month, day) = CivilDate.date(ofDay: days)
        let second = seconds.modulo(86_400)
        return "\(year.padded(4))-\(month.padded(2))-\(day.padded(2))T"
            + "\((second / 3_600).padded(2)):\((second / 60 % 60).padded(2)):"
            + "\((second % 60).padded(2))Z"
    }

    /// Midnight UTC of a date written `YYYY-MM-DD`; `nil` for anything else.
    public init?(date text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].utf8.count == 4, parts[1].utf8.count == 2,
            parts[2].utf8.count == 2,
            // `Int64` would also take a sign.
            parts.allSatisfy({ part in
                part.utf8.allSatisfy { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }
            }),
            let year = Int64(parts[0]), let month = Int64(parts[1]),
            let day = Int64(parts[2]), (1...12).contains(month), (1...31).contains(day)
        else { return nil }
        let days = CivilDate.day(year: year, month: month, day: day)
        guard CivilDate.date(ofDay: days) == (year, month, day) else { return nil }
        self.init(days * 86_400)
    }
}

extension Int64 {
    fileprivate func padded(_ width: Int) -> String {
        let digits = String(self)
        return String(repeating: "0", count: Swift.max(0, width - digits.utf8.count)) + digits
    }
}
