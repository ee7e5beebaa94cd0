/// Seconds since 1970-01-01T00:00:00Z, leap seconds ignored.
public struct UnixTime: Hashable, Comparable, Sendable {
    public let seconds: Int64

    public init(_ seconds: Int64) {
        self.seconds = seconds
    }

    /// For `total` caps, which never reset.
    public static let distantFuture = UnixTime(Int64.max / 4)

    public static func < (lhs: UnixTime, rhs: UnixTime) -> Bool { lhs.seconds < rhs.seconds }
}

/// How often a cap starts again from zero.
public enum PeriodKind: UInt8, Hashable, Sendable, CaseIterable {
    case hour = 0
    case day = 1
    /// Starts on Monday.
    case week = 2
    case month = 3
    /// Never resets.
    case total = 4

    public var name: String {
        switch self {
        case .hour: "hour"
        case .day: "day"
        case .week: "week"
        case .month: "month"
        case .total: "total"
        }
    }
}

/// One period of one cap: `[startsAt, endsAt)`.
///
/// The id is part of the account's key, so a reset is a new account and needs no job. Ids grow with
/// time; day, week and month ids count calendar units in the cap's own zone, so that a correction of
/// the zone's rules does not open a second account for a day that has already begun.
public struct PeriodWindow: Hashable, Sendable {
    public let id: Int64
    public let startsAt: UnixTime
    public let endsAt: UnixTime

    public init(id: Int64, startsAt: UnixTime, endsAt: UnixTime) {
        precondition(startsAt < endsAt, "an empty period")
        self.id = id
        self.startsAt = startsAt
        self.endsAt = endsAt
    }

    public func contains(_ time: UnixTime) -> Bool { startsAt <= time && time < endsAt }
}

/// The offsets from UTC of one time zone, as plain data: the shells read them from the system's zone
/// rules, so that no engine has to.
public struct ZoneOffsets: Hashable, Sendable {
    public struct Transition: Hashable, Sendable {
        public let at: UnixTime
        /// Seconds east of UTC from `at` on.
        public let offsetSeconds: Int64

        public init(at: UnixTime, offsetSeconds: Int64) {
            self.at = at
            self.offsetSeconds = offsetSeconds
        }
    }

    public static let utc = ZoneOffsets(initialOffsetSeconds: 0, transitions: [])

    private let initialOffsetSeconds: Int64
    private let transitions: [Transition]

    public init(initialOffsetSeconds: Int64, transitions: [Transition]) {
        precondition(
            zip(transitions, transitions.dropFirst()).allSatisfy { $0.at < $1.at },
            "zone transitions are not in order")
        self.initialOffsetSeconds = initialOffsetSeconds
        self.transitions = transitions
    }

    public func offsetSeconds(at time: UnixTime) -> Int64 {
        let count = transitionCount(upTo: time)
        return count == 0 ? initialOffsetSeconds : transitions[count - 1].offsetSeconds
    }

    /// Of the transitions at or before `time`; also the index of the first one after it.
    private func transitionCount(upTo time: UnixTime) -> Int {
        var low = 0
        var high = transitions.count
        while low < high {
            let middle = (low + high) / 2
            if transitions[middle].at <= time { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// How far the zone's hours start before those of UTC.
    ///
    /// One value for all times: where clocks change by half an hour (Lord Howe Island), hours that
    /// followed them would overlap, and two of them would have the same id. There, hours start at
    /// half past during a part of the year.
    var hourShiftSeconds: Int64 {
        (transitions.last?.offsetSeconds ?? initialOffsetSeconds).modulo(3_600)
    }

    /// The instant from which on every local time is on or after midnight of local day `day` (days
    /// since 1970-01-01).
    ///
    /// Midnight can be missing (clocks jump over it) or come twice (clocks go back across it). The
    /// last crossing is the one after which the day can no longer go back, so a period never reopens.
    func start(ofLocalDay day: Int64) -> UnixTime {
        let midnight = day * 86_400
        let reach: Int64 = 16 * 3_600
        var crossings: [Int64] = []
        let first = transitionCount(upTo: UnixTime(midnight - 2 * reach))
        let nearby = transitions[first..<transitionCount(upTo: UnixTime(midnight + 2 * reach))]
        let offsets =
            [offsetSeconds(at: UnixTime(midnight - 2 * reach))] + nearby.map(\.offsetSeconds)
        for offset in offsets {
            let candidate = midnight - offset
            if offsetSeconds(at: UnixTime(candidate)) == offset { crossings.append(candidate) }
        }
        for transition in nearby {
            let before = transition.at.seconds - 1
            let wasBefore = before + offsetSeconds(at: UnixTime(before)) < midnight
            let isAfter = transition.at.seconds + transition.offsetSeconds >= midnight
            if wasBefore && isAfter { crossings.append(transition.at.seconds) }
        }
        guard let last = crossings.max() else {
            preconditionFailure("local day \(day) has no start")
        }
        return UnixTime(last)
    }
}

extension PeriodKind {
    /// The period that contains `time` in `zone`.
    public func window(containing time: UnixTime, in zone: ZoneOffsets) -> PeriodWindow {
        switch self {
        case .total:
            return PeriodWindow(id: 0, startsAt: UnixTime(0), endsAt: .distantFuture)
        case .hour:
            // Zones that are off by half an hour start their hours at half past in UTC.
            let shift = zone.hourShiftSeconds
            let id = (time.seconds + shift).floorDivided(by: 3_600)
            return PeriodWindow(
                id: id, startsAt: UnixTime(id * 3_600 - shift),
                endsAt: UnixTime((id + 1) * 3_600 - shift))
        case .day, .week, .month:
            return calendarWindow(containing: time, in: zone)
        }
    }

    private func calendarWindow(containing time: UnixTime, in zone: ZoneOffsets) -> PeriodWindow {
        let localSeconds = time.seconds + zone.offsetSeconds(at: time)
        let guess = unit(ofLocalDay: localSeconds.floorDivided(by: 86_400))
        // Where clocks go back across midnight the local day can be ahead of the period.
        for id in [guess + 1, guess, guess - 1] {
            let start = zone.start(ofLocalDay: firstLocalDay(ofUnit: id))
            if start <= time {
                let end = zone.start(ofLocalDay: firstLocalDay(ofUnit: id + 1))
                return PeriodWindow(id: id, startsAt: start, endsAt: end)
            }
        }
        preconditionFailure("no \(name) contains \(time.seconds)")
    }

    private func unit(ofLocalDay day: Int64) -> Int64 {
        switch self {
        case .week: return (day + 3).floorDivided(by: 7)  // 1970-01-01 was a Thursday.
        case .month:
            let (year, month) = CivilDate.yearAndMonth(ofDay: day)
            return year * 12 + (month - 1)
        case .day, .hour, .total: return day
        }
    }

    private func firstLocalDay(ofUnit id: Int64) -> Int64 {
        switch self {
        case .week: id * 7 - 3
        case .month: CivilDate.day(year: id.floorDivided(by: 12), month: id.modulo(12) + 1, day: 1)
        case .day, .hour, .total: id
        }
    }
}

extension Int64 {
    func floorDivided(by divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }

    func modulo(_ divisor: Int64) -> Int64 { self - floorDivided(by: divisor) * divisor }
}
