import HoldfastCore
import Testing

@Suite struct `Periods` {
    struct Row: Sendable, CustomTestStringConvertible {
        var kind: PeriodKind
        var at: Int64
        var starts: String
        var ends: String
        var zone = ZoneOffsets.utc

        var testDescription: String { "\(kind.name) at \(UnixTime(at).rfc3339)" }
    }

    private static let kolkata = ZoneOffsets(initialOffsetSeconds: 19_800, transitions: [])
    private static let newYork = ZoneOffsets(initialOffsetSeconds: -18_000, transitions: [])

    /// 2026-01-15T10:20:30Z, a Thursday.
    private static let thursday: Int64 = 1_768_472_430

    @Test(arguments: [
        Row(
            kind: .hour, at: thursday, starts: "2026-01-15T10:00:00Z",
            ends: "2026-01-15T11:00:00Z"),
        Row(kind: .day, at: thursday, starts: "2026-01-15T00:00:00Z", ends: "2026-01-16T00:00:00Z"),
        Row(
            kind: .week, at: thursday, starts: "2026-01-12T00:00:00Z",
            ends: "2026-01-19T00:00:00Z"),
        Row(
            kind: .month, at: thursday, starts: "2026-01-01T00:00:00Z",
            ends: "2026-02-01T00:00:00Z"),
    ])
    func `a period contains its time`(row: Row) {
        check(row)
    }

    @Test func `a week starts on Monday at midnight`() {
        let monday = "2026-01-12T00:00:00Z"
        let next = "2026-01-19T00:00:00Z"
        let start = seconds("2026-01-12")
        check(Row(kind: .week, at: start, starts: monday, ends: next))
        check(Row(kind: .week, at: start + 7 * 86_400 - 1, starts: monday, ends: next))
        check(
            Row(kind: .week, at: start - 1, starts: "2026-01-05T00:00:00Z", ends: monday))
        // Before 1970 too.
        check(
            Row(kind: .week, at: -1, starts: "1969-12-29T00:00:00Z", ends: "1970-01-05T00:00:00Z"))
    }

    @Test(arguments: [
        ("2026-01-31", "2026-01-01", "2026-02-01"), ("2026-02-28", "2026-02-01", "2026-03-01"),
        ("2028-02-29", "2028-02-01", "2028-03-01"), ("2000-02-29", "2000-02-01", "2000-03-01"),
        ("2100-02-28", "2100-02-01", "2100-03-01"), ("2026-04-30", "2026-04-01", "2026-05-01"),
        ("2026-12-31", "2026-12-01", "2027-01-01"), ("1969-12-31", "1969-12-01", "1970-01-01"),
    ])
    func `a month is as long as the calendar says`(date: String, starts: String, ends: String) {
        check(
            Row(
                kind: .month, at: seconds(date) + 86_399, starts: "\(starts)T00:00:00Z",
                ends: "\(ends)T00:00:00Z"))
    }

    @Test func `calendar periods start at local midnight`() {
        check(
            Row(
                kind: .day, at: seconds("2026-01-15") + 20 * 3_600, starts: "2026-01-15T18:30:00Z",
                ends: "2026-01-16T18:30:00Z", zone: Self.kolkata))
        check(
            Row(
                kind: .month, at: seconds("2026-02-01") + 4 * 3_600, starts: "2026-01-01T05:00:00Z",
                ends: "2026-02-01T05:00:00Z", zone: Self.newYork))
        check(
            Row(
                kind: .week, at: seconds("2026-01-12") + 4 * 3_600, starts: "2026-01-05T05:00:00Z",
                ends: "2026-01-12T05:00:00Z", zone: Self.newYork))
    }

    /// São Paulo in 2018: midnight came twice on 18 February, and not at all on 4 November.
    private static let saoPaulo = ZoneOffsets(
        initialOffsetSeconds: -7_200,
        transitions: [
            .init(at: UnixTime(1_518_919_200), offsetSeconds: -10_800),
            .init(at: UnixTime(1_541_300_400), offsetSeconds: -7_200),
        ])

    @Test(arguments: [
        ("2018-02-17", "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z"),
        ("2018-02-18", "2018-02-18T03:00:00Z", "2018-02-19T03:00:00Z"),
        ("2018-11-03", "2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z"),
        ("2018-11-04", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
    ])
    func `a day starts at its last midnight, or when clocks jump over it`(
        date: String, starts: String, ends: String
    ) {
        check(
            Row(
                kind: .day, at: seconds(date) + 15 * 3_600, starts: starts, ends: ends,
                zone: Self.saoPaulo))
    }

    /// 23:30 local time comes twice; the second time is still the day before.
    @Test func `a day does not begin before clocks have gone back across its midnight`() {
        let first = seconds("2018-02-18") + 5_400
        for time in [first, first + 3_600] {
            let window = PeriodKind.day.window(containing: UnixTime(time), in: Self.saoPaulo)
            #expect(window.startsAt.rfc3339 == "2018-02-17T02:00:00Z")
        }
    }

    @Test func `an empty period stops the process`() async {
        await #expect(processExitsWith: .failure) {
            _ = PeriodWindow(id: 1, startsAt: UnixTime(5), endsAt: UnixTime(5))
        }
    }

    @Test func `hours of a zone that is off by half an hour start at half past`() {
        check(
            Row(
                kind: .hour, at: seconds("2026-01-15") + 10 * 3_600 + 1_799,
                starts: "2026-01-15T09:30:00Z", ends: "2026-01-15T10:30:00Z", zone: Self.kolkata))
        check(
            Row(
                kind: .hour, at: seconds("2026-01-15") + 10 * 3_600 + 1_800,
                starts: "2026-01-15T10:30:00Z", ends: "2026-01-15T11:30:00Z", zone: Self.kolkata))
    }

    @Test func `a total never resets`() {
        let early = PeriodKind.total.window(containing: UnixTime(0), in: .utc)
        let late = PeriodKind.total.window(containing: UnixTime(1 << 40), in: Self.kolkata)
        #expect(early == late)
        #expect(early.contains(UnixTime(1 << 40)))
        #expect(early.endsAt == .distantFuture)
    }

    @Test func `ids follow each other without a gap`() {
        for kind in [PeriodKind.hour, .day, .week, .month] {
            for zone in [ZoneOffsets.utc, Self.kolkata, Self.newYork] {
                var window = kind.window(containing: UnixTime(Self.thursday), in: zone)
                for _ in 0..<200 {
                    let next = kind.window(containing: window.endsAt, in: zone)
                    #expect(next.id == window.id + 1)
                    #expect(next.startsAt == window.endsAt)
                    window = next
                }
            }
        }
    }

    @Test func `an end is not in the period that it ends`() {
        let window = PeriodWindow(id: 1, startsAt: UnixTime(10), endsAt: UnixTime(20))
        #expect(window.contains(UnixTime(10)))
        #expect(window.contains(UnixTime(19)))
        #expect(!window.contains(UnixTime(20)))
        #expect(!window.contains(UnixTime(9)))
    }

    @Test func `an offset holds from its transition on`() {
        let zone = ZoneOffsets(
            initialOffsetSeconds: 1,
            transitions: [
                .init(at: UnixTime(100), offsetSeconds: 2),
                .init(at: UnixTime(200), offsetSeconds: 3),
            ])
        #expect(
            [-5, 99, 100, 199, 200, 999].map { zone.offsetSeconds(at: UnixTime($0)) }
                == [1, 1, 2, 2, 3, 3])
    }

    @Test func `transitions out of order stop the process`() async {
        await #expect(processExitsWith: .failure) {
            _ = ZoneOffsets(
                initialOffsetSeconds: 0,
                transitions: [
                    .init(at: UnixTime(2), offsetSeconds: 0),
                    .init(at: UnixTime(1), offsetSeconds: 0),
                ])
        }
    }

    private func seconds(_ date: String) -> Int64 {
        UnixTime(date: date)?.seconds ?? .min
    }

    private func check(_ row: Row, sourceLocation: SourceLocation = #_sourceLocation) {
        let window = row.kind.window(containing: UnixTime(row.at), in: row.zone)
        #expect(window.startsAt.rfc3339 == row.starts, sourceLocation: sourceLocation)
        #expect(window.endsAt.rfc3339 == row.ends, sourceLocation: sourceLocation)
        #expect(window.contains(UnixTime(row.at)), sourceLocation: sourceLocation)
    }
}

@Suite struct `Dates` {
    @Test(
        arguments: [
            ("1970-01-01", 0), ("1969-12-31", -86_400), ("2000-02-29", 951_782_400),
            ("2026-01-15", 1_768_435_200), ("2100-03-01", 4_107_542_400),
            ("0001-01-01", -62_135_596_800),
            ("9999-12-31", 253_402_214_400),
        ] as [(String, Int64)])
    func `a date is midnight in UTC, and prints as itself`(text: String, seconds: Int64) {
        #expect(UnixTime(date: text) == UnixTime(seconds))
        #expect(UnixTime(seconds).rfc3339 == "\(text)T00:00:00Z")
        #expect(UnixTime(seconds + 86_399).rfc3339 == "\(text)T23:59:59Z")
    }

    @Test(arguments: [
        "", "2026", "2026-1-1", "2026-13-01", "2026-00-01", "2026-01-00", "2026-01-32",
        "2026-02-29", "2100-02-29", "2026-04-31", "2026-01-01T00:00:00Z", "-026-01-01",
        "2026--1-01",
        "+026-01-01", "2026-+1-01", "2026-01-+1", "２026-01-01", "2026-01-01-01",
    ])
    func `what is not a date is refused`(text: String) {
        #expect(UnixTime(date: text) == nil)
    }

    @Test func `every day of four centuries follows the one before`() throws {
        let first = try #require(UnixTime(date: "1900-01-01")).seconds
        let last = try #require(UnixTime(date: "2300-01-01")).seconds
        var previous = ""
        for seconds in stride(from: first, to: last, by: 86_400) {
            let date = String(UnixTime(seconds).rfc3339.prefix(10))
            try #require(UnixTime(date: date) == UnixTime(seconds))
            try #require(date > previous)
            previous = date
        }
        #expect(previous == "2299-12-31")
    }
}
