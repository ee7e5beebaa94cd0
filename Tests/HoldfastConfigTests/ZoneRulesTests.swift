import Foundation
import HoldfastConfig
import HoldfastCore
import Testing

@Suite struct `Zone rules` {
    /// The offset of a zone from an instant on, and just before it.
    private func check(
        _ identifier: String, at time: Int64, before: Int64, after: Int64,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let zone = try #require(zoneOffsets(identifier), sourceLocation: sourceLocation)
        #expect(
            zone.offsetSeconds(at: UnixTime(time - 1)) == before, sourceLocation: sourceLocation)
        #expect(zone.offsetSeconds(at: UnixTime(time)) == after, sourceLocation: sourceLocation)
    }

    private func start(_ date: String, _ hour: Int64, _ minute: Int64 = 0) throws -> Int64 {
        try #require(UnixTime(date: date)).seconds + hour * 3_600 + minute * 60
    }

    @Test func `clocks change when the zone says`() throws {
        let spring = try start("2026-03-29", 1)
        let autumn = try start("2026-10-25", 1)
        try check("Europe/Tallinn", at: spring, before: 7_200, after: 10_800)
        try check("Europe/Tallinn", at: autumn, before: 10_800, after: 7_200)
        try check("Asia/Kolkata", at: spring, before: 19_800, after: 19_800)
        try check(
            "Australia/Lord_Howe", at: start("2026-04-04", 15), before: 39_600, after: 37_800)
        try check(
            "Australia/Lord_Howe", at: start("2026-10-03", 15, 30), before: 37_800, after: 39_600)
        try check(
            "America/Sao_Paulo", at: start("2018-11-04", 3), before: -10_800, after: -7_200)
        // Changes of the standard time itself, without daylight saving.
        try check(
            "Asia/Pyongyang", at: start("2015-08-14", 15), before: 32_400, after: 30_600)
        try check("Pacific/Apia", at: start("2011-12-30", 10), before: -36_000, after: 50_400)
    }

    @Test(arguments: ["", "Europe/Talinn", "europe/tallinn", "Mars/Olympus", "+02:00"])
    func `a zone that does not exist has no offsets`(identifier: String) {
        #expect(zoneOffsets(identifier) == nil)
    }

    @Test func `the rules do not depend on being asked before`() {
        #expect(zoneOffsets("UTC") == .utc)
        #expect(zoneOffsets("Europe/Tallinn") == zoneOffsets("Europe/Tallinn"))
        #expect(zoneOffsets("Europe/Tallinn") != zoneOffsets("Asia/Kolkata"))
    }

    struct Window: Sendable, CustomTestStringConvertible {
        var zone: String
        var kind: PeriodKind
        var at: String
        var starts: String
        var ends: String

        var testDescription: String { "\(kind.name) in \(zone) at \(at)" }
    }

    @Test(arguments: [
        // 23 and 25 hours.
        Window(
            zone: "Europe/Tallinn", kind: .day, at: "2026-03-29", starts: "2026-03-28T22:00:00Z",
            ends: "2026-03-29T21:00:00Z"),
        Window(
            zone: "Europe/Tallinn", kind: .day, at: "2026-10-25", starts: "2026-10-24T21:00:00Z",
            ends: "2026-10-25T22:00:00Z"),
        Window(
            zone: "Europe/Tallinn", kind: .week, at: "2026-03-29", starts: "2026-03-22T22:00:00Z",
            ends: "2026-03-29T21:00:00Z"),
        Window(
            zone: "Europe/Tallinn", kind: .month, at: "2026-10-25", starts: "2026-09-30T21:00:00Z",
            ends: "2026-10-31T22:00:00Z"),
        Window(
            zone: "Australia/Lord_Howe", kind: .day, at: "2026-04-05",
            starts: "2026-04-04T13:00:00Z", ends: "2026-04-05T13:30:00Z"),
        // Midnight does not exist on 4 November, and came twice on 18 February.
        Window(
            zone: "America/Sao_Paulo", kind: .day, at: "2018-11-04", starts: "2018-11-04T03:00:00Z",
            ends: "2018-11-05T02:00:00Z"),
        Window(
            zone: "America/Sao_Paulo", kind: .day, at: "2018-02-17", starts: "2018-02-17T02:00:00Z",
            ends: "2018-02-18T03:00:00Z"),
        // The day that Samoa left out.
        Window(
            zone: "Pacific/Apia", kind: .day, at: "2011-12-31", starts: "2011-12-30T10:00:00Z",
            ends: "2011-12-31T10:00:00Z"),
    ])
    func `a period spans a change of clocks`(row: Window) throws {
        let zone = try #require(zoneOffsets(row.zone))
        // Noon by that day's own clock is on that day whatever the clocks do at its ends.
        let noonUTC = try start(row.at, 12)
        let noon = UnixTime(noonUTC - zone.offsetSeconds(at: UnixTime(noonUTC)))
        let window = row.kind.window(containing: noon, in: zone)
        #expect(window.startsAt.rfc3339 == row.starts)
        #expect(window.endsAt.rfc3339 == row.ends)
    }

    @Test func `the hour that clocks repeat is two periods`() throws {
        let zone = try #require(zoneOffsets("Europe/Tallinn"))
        let first = PeriodKind.hour.window(
            containing: UnixTime(try start("2026-10-25", 0, 30)), in: zone)
        let second = PeriodKind.hour.window(
            containing: UnixTime(try start("2026-10-25", 1, 30)), in: zone)
        #expect(second.id == first.id + 1)
        #expect(second.startsAt == first.endsAt)
    }

    /// The one property that safety rests on: at no time, in no zone, do two periods of a kind
    /// overlap, share an id or leave a gap. Looked at around every change of clocks of 70 years.
    @Test func `in every zone, periods cover all time exactly once`() throws {
        var seen: Set<ZoneOffsets> = []
        for identifier in TimeZone.knownTimeZoneIdentifiers {
            let zone = try #require(zoneOffsets(identifier))
            guard seen.insert(zone).inserted else { continue }
            for change in changes(of: zone) {
                for kind in [PeriodKind.hour, .day] {
                    checkCover(kind, around: change, in: zone, named: identifier)
                }
            }
        }
        #expect(seen.count > 100)
    }

    /// The instants from which on another offset holds. Looks once a week and then closer: no zone
    /// has ever undone a change within a week.
    private func changes(of zone: ZoneOffsets) -> [Int64] {
        let step: Int64 = 7 * 86_400
        var changes: [Int64] = []
        for time in stride(from: Int64(0), to: 70 * 365 * 86_400, by: Int(step)) {
            let before = zone.offsetSeconds(at: UnixTime(time))
            guard zone.offsetSeconds(at: UnixTime(time + step)) != before else { continue }
            var (low, high) = (time, time + step)
            while high - low > 1 {
                let middle = (low + high) / 2
                if zone.offsetSeconds(at: UnixTime(middle)) == before {
                    low = middle
                } else {
                    high = middle
                }
            }
            changes.append(high)
        }
        return changes
    }

    private func checkCover(
        _ kind: PeriodKind, around change: Int64, in zone: ZoneOffsets, named identifier: String
    ) {
        let reach: Int64 = kind == .hour ? 3 * 3_600 : 2 * 86_400
        var window = kind.window(containing: UnixTime(change - reach), in: zone)
        while window.startsAt.seconds < change + reach {
            let last = kind.window(containing: UnixTime(window.endsAt.seconds - 1), in: zone)
            let next = kind.window(containing: window.endsAt, in: zone)
            let isCovered = last == window && next.startsAt == window.endsAt && next.id > window.id
            if !isCovered {
                Issue.record("\(identifier), \(kind.name) from \(window.startsAt.rfc3339)")
                return
            }
            window = next
        }
    }
}
