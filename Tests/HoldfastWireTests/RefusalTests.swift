import HoldfastCore
import HoldfastWire
import Testing

/// Frames as another program could write them: each is a good one with one field said again, and of
/// two the last one counts.
@Suite struct `What does not get past the codec` {
    private func checkEdge(
        _ payload: [UInt8], _ error: WireError?, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let found = wireError { () throws(WireError) in try FrameCodec.decodeEdgeFrame(payload) }
        #expect(found == error, sourceLocation: sourceLocation)
    }

    private func checkCounter(
        _ payload: [UInt8], _ error: WireError?, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let found = wireError { () throws(WireError) in
            try FrameCodec.decodeCounterFrame(payload)
        }
        #expect(found == error, sourceLocation: sourceLocation)
    }

    private static let longName = String(repeating: "n", count: Limits.capNameByteCountMax)
    private static let longValue = String(repeating: "ü", count: Limits.scopeValueByteCountMax / 2)
    private static let timeMax = UnixTime.distantFuture.seconds

    // MARK: - From edges

    private func hello(_ more: [UInt8]...) -> [UInt8] {
        Protobuf.bytes(1, Protobuf.number(1, UInt64(1)) + more.joined())
    }

    @Test func `a hello that cannot be kept`() {
        let name = String(repeating: "e", count: Limits.edgeNameByteCountMax)
        checkEdge(hello(Protobuf.text(2, name)), nil)
        checkEdge(hello(Protobuf.text(2, name + "e")), .malformed(field: "edge_name"))
        checkEdge(hello(Protobuf.bytes(2, [0xC3])), .notAFrame)
        let final = Protobuf.number(4, UInt64(1))
        checkEdge(hello(final), .malformed(field: "is_final"))
        checkEdge(hello(final, Protobuf.number(3, UInt64(5))), nil)
    }

    @Test(arguments: [0, 1, 31, 32, 33, 4_096])
    func `a digest of another length`(count: Int) {
        checkEdge(
            Protobuf.bytes(3, Protobuf.bytes(2, Array(repeating: 7, count: count))),
            count == 32 ? nil : .malformed(field: "digest"))
    }

    private func report(_ more: [UInt8], in field: UInt64 = 2) -> [UInt8] {
        Protobuf.bytes(field, Protobuf.bytes(1, Protobuf.number(7, UInt64(1)) + more))
    }

    @Test(
        arguments: [
            (2, "granted"), (3, "released"), (4, "spent"), (5, "held"), (6, "overrun"),
            (8, "need"), (9, "ceiling"), (11, "unlocked"),
        ] as [(UInt64, String)])
    func `an amount above the bound in a report`(field: UInt64, name: String) {
        for frame: UInt64 in [2, 4] {
            checkEdge(report(Protobuf.number(field, Limits.amountMax), in: frame), nil)
            for amount in [Limits.amountMax + 1, 1 << 63, .max - 1, .max] {
                checkEdge(
                    report(Protobuf.number(field, amount), in: frame),
                    .amountOutOfBounds(field: name))
            }
        }
    }

    @Test func `numbers that are no amounts may be anything`() {
        checkEdge(report(Protobuf.number(10, UInt64.max)), nil)
        checkEdge(report(Protobuf.number(7, UInt64.max)), nil)
        checkEdge(report(Protobuf.number(1, UInt64(UInt32.max))), nil)
    }

    @Test(
        arguments: [
            ("c|usd|day|1", true), ("\(longName)|usd|day|1|\(longValue)", true),
            ("c|usd|day|1" + String(repeating: "|\(longValue)", count: 8), true),
            ("c|usd|day|\(Int64.min)", true), ("c|usd|day|\(Int64.max)|", true),
            ("c", false), ("c|usd|day|1|%", false), ("|usd|day|1", false),
            ("c|eur|day|1", false), ("c|usd|year|1", false), ("c|usd|day|+1", false),
            ("c|usd|day|1|%41", false), ("c|usd|day|9223372036854775808", false),
            ("n\(longName)|usd|day|1", false), ("c|usd|day|1|v\(longValue)", false),
            ("c|usd|day|1" + String(repeating: "|", count: 9), false),
        ])
    func `a key that no cap can have`(key: String, isTaken: Bool) {
        checkEdge(report(Protobuf.text(15, key)), isTaken ? nil : .malformed(field: "key"))
    }

    @Test(arguments: [2, 4] as [UInt64])
    func `more entries than one report may have`(field: UInt64) {
        func frame(_ count: Int) -> [UInt8] {
            let entry = Protobuf.bytes(1, [])
            return Protobuf.bytes(field, Array(repeatElement(entry, count: count).joined()))
        }
        checkEdge(frame(Limits.reportEntryCountMax), nil)
        let over = Limits.reportEntryCountMax + 1
        checkEdge(frame(over), .tooManyEntries(over))
    }

    @Test func `entries are counted before they are decoded`() {
        let entry = Protobuf.bytes(1, [])
        func entries(_ count: Int) -> [UInt8] {
            Array(repeatElement(entry, count: count).joined())
        }
        let half = Limits.reportEntryCountMax / 2
        let first = Protobuf.bytes(2, entries(half))
        checkEdge(first + first, nil)
        // Said in two parts, which the decoder joins, or after fields of other types.
        checkEdge(first + Protobuf.bytes(2, entries(half + 1)), .tooManyEntries(half * 2 + 1))
        let others: [[UInt8]] = [
            Protobuf.number(900, UInt64.max), Protobuf.bytes(900, [1, 2, 3]),
            Protobuf.varint(900 << 3 | 1) + Array(repeating: 9, count: 8),
            Protobuf.varint(900 << 3 | 5) + Array(repeating: 9, count: 4),
            Protobuf.varint(900 << 3 | 3) + Protobuf.varint(900 << 3 | 4),
        ]
        for other in others {
            checkEdge(other + Protobuf.bytes(2, other + entries(2 * half)), nil)
            checkEdge(
                other + Protobuf.bytes(2, other + entries(2 * half + 1)),
                .tooManyEntries(half * 2 + 1))
        }
        // A tag in more bytes than it needs is the same tag.
        let long = [0x92, 0x80, 0x00] + Protobuf.bytes(2, entries(2 * half + 1)).dropFirst()
        checkEdge(long, .tooManyEntries(half * 2 + 1))
    }

    @Test(
        arguments: [
            [0x08], [0x09, 1, 2], [0x0D, 1], [0x12], [0x12, 5, 1], [0x80],
            [0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
            Array(repeating: 0x80, count: 11), Array(repeating: 0xFF, count: 40), [0x0F],
        ] as [[UInt8]])
    func `bytes that are no protobuf`(payload: [UInt8]) {
        checkEdge(payload, .notAFrame)
        checkCounter(payload, .notAFrame)
        // The entries before the damage are counted; that it is damaged is said first by neither.
        checkEdge(Protobuf.bytes(2, payload), .notAFrame)
    }

    // MARK: - From counters

    @Test func `a welcome without a session or with an impossible time`() {
        func welcome(_ more: [UInt8]...) -> [UInt8] {
            Protobuf.bytes(1, Protobuf.number(2, UInt64(1)) + more.joined())
        }
        checkCounter(welcome(), nil)
        checkCounter(welcome(Protobuf.number(2, UInt64(0))), .malformed(field: "session"))
        checkTimes("counter_time_ms") { welcome(Protobuf.number(4, $0)) }
    }

    /// A clock that is added to such a time would stop the process.
    private func checkTimes(
        _ field: String, sourceLocation: SourceLocation = #_sourceLocation,
        _ frame: (Int64) -> [UInt8]
    ) {
        for good in [-Self.timeMax, -1, 0, Self.timeMax] {
            checkCounter(frame(good), nil, sourceLocation: sourceLocation)
        }
        for bad in [Int64.min, -Self.timeMax - 1, Self.timeMax + 1, Int64.max] {
            checkCounter(frame(bad), .malformed(field: field), sourceLocation: sourceLocation)
        }
    }

    @Test func `an impossible time in any frame`() {
        checkTimes("counter_time_ms") { Protobuf.bytes(2, Protobuf.number(2, $0)) }
        checkTimes("counter_time_ms") { Protobuf.bytes(5, Protobuf.number(3, $0)) }
        checkTimes("counter_time_ms") { Protobuf.bytes(9, Protobuf.number(2, $0)) }
    }

    private func grant(_ more: [UInt8]) -> [UInt8] { Protobuf.bytes(2, Protobuf.bytes(1, more)) }

    @Test(
        arguments: [
            (2, "granted"), (3, "released"), (4, "spent"), (8, "limit"),
        ] as [(UInt64, String)])
    func `an amount above the bound in a grant`(field: UInt64, name: String) {
        checkCounter(grant(Protobuf.number(field, Limits.amountMax)), nil)
        for amount in [Limits.amountMax + 1, 1 << 63, .max - 1, .max] {
            checkCounter(
                grant(Protobuf.number(field, amount)), .amountOutOfBounds(field: name))
        }
    }

    @Test func `a flag that this version does not know`() {
        checkCounter(grant(Protobuf.number(10, UInt64(15))), nil)
        for bit in 4..<32 {
            checkCounter(
                grant(Protobuf.number(10, UInt64(1) << bit)), .malformed(field: "flags"))
        }
    }

    @Test func `more grants than one frame may have`() {
        func frame(_ count: Int) -> [UInt8] {
            Protobuf.bytes(2, Array(repeatElement(Protobuf.bytes(1, []), count: count).joined()))
        }
        checkCounter(frame(Limits.reportEntryCountMax), nil)
        let over = Limits.reportEntryCountMax + 1
        checkCounter(frame(over), .tooManyEntries(over))
    }

    @Test func `counters that cannot be connected to`() {
        func frame(_ nodes: [[UInt8]]) -> [UInt8] {
            Protobuf.bytes(11, Array(nodes.map { Protobuf.bytes(1, $0) }.joined()))
        }
        let name = String(repeating: "c", count: Limits.edgeNameByteCountMax)
        let address = String(repeating: "a", count: Limits.counterAddressByteCountMax)
        checkCounter(frame([Protobuf.text(1, name) + Protobuf.text(2, address)]), nil)
        checkCounter(frame([Protobuf.text(1, name + "c")]), .malformed(field: "name"))
        checkCounter(frame([Protobuf.text(2, address + "a")]), .malformed(field: "address"))
        checkCounter(frame(Array(repeating: [], count: Limits.counterCountMax)), nil)
        let over = Limits.counterCountMax + 1
        checkCounter(frame(Array(repeating: [], count: over)), .tooManyEntries(over))
    }

    @Test func `a reason that this version does not know`() {
        func rejected(_ reason: Int64) -> [UInt8] {
            Protobuf.bytes(8, Protobuf.number(1, reason))
        }
        for reason in 0...6 { checkCounter(rejected(Int64(reason)), nil) }
        for reason in [-1, 7, 8, Int64(Int32.max), Int64(Int32.min)] {
            checkCounter(rejected(reason), .malformed(field: "reason"))
        }
    }

    // MARK: - Policy

    /// A policy of one cap, with the cap's rule and the policy itself said further.
    private func policy(rule: [UInt8] = [], _ more: [UInt8]...) -> [UInt8] {
        let cap = Protobuf.text(1, "c") + rule
        let windows = Protobuf.number(1, UInt64(3)) + Protobuf.bytes(2, [])
        return Protobuf.bytes(
            4,
            Protobuf.number(1, UInt64(3)) + Protobuf.bytes(2, cap) + Protobuf.bytes(4, windows)
                + more.joined())
    }

    @Test(
        arguments: [
            (2, "unit", 2), (4, "period", 5), (8, "mode", 2), (7, "dimension", 8),
        ] as [(UInt64, String, UInt64)])
    func `a number in a rule that this version does not know`(
        field: UInt64, name: String, firstUnknown: UInt64
    ) {
        for number in 0..<firstUnknown {
            checkCounter(policy(rule: Protobuf.number(field, number)), nil)
        }
        for number in [firstUnknown, 127, 255, 256, 257, UInt64(UInt32.max)] {
            checkCounter(
                policy(rule: Protobuf.number(field, number)), .malformed(field: name))
        }
    }

    private func value(_ dimension: UInt64, _ text: String) -> [UInt8] {
        Protobuf.number(1, dimension) + Protobuf.text(2, text)
    }

    @Test func `a rule that no account can be counted under`() {
        checkCounter(policy(), nil)
        checkCounter(policy(rule: Protobuf.text(1, Self.longName)), nil)
        checkCounter(policy(rule: Protobuf.text(1, "")), .malformed(field: "name"))
        checkCounter(
            policy(rule: Protobuf.text(1, Self.longName + "n")), .malformed(field: "name"))
        checkCounter(policy(rule: Protobuf.number(3, Limits.amountMax)), nil)
        for limit in [Limits.amountMax + 1, .max] {
            checkCounter(
                policy(rule: Protobuf.number(3, limit)), .amountOutOfBounds(field: "limit"))
        }
        let scope = Protobuf.bytes(6, value(2, Self.longValue))
        checkCounter(policy(rule: scope), nil)
        checkCounter(policy(rule: scope + scope), .malformed(field: "scope"))
        checkCounter(
            policy(rule: Protobuf.bytes(6, value(2, Self.longValue + "v"))),
            .malformed(field: "value"))
        checkCounter(
            policy(rule: Protobuf.bytes(6, value(8, ""))), .malformed(field: "dimension"))
        let each = Protobuf.number(7, UInt64(3))
        checkCounter(policy(rule: each), nil)
        checkCounter(policy(rule: each + each), .malformed(field: "each"))
    }

    @Test func `a policy whose parts do not belong together`() {
        let another = Protobuf.bytes(2, Protobuf.text(1, "d"))
        let window = Protobuf.bytes(4, Protobuf.bytes(2, []))
        checkCounter(policy(another), .malformed(field: "windows"))
        checkCounter(policy(another, window), nil)
        checkCounter(policy(window), .malformed(field: "windows"))
        checkCounter(
            policy(Protobuf.bytes(2, Protobuf.text(1, "c")), window), .malformed(field: "name"))
        checkCounter(policy(Protobuf.number(1, UInt64(4))), .malformed(field: "windows"))
    }

    @Test func `a period that is empty or outside of time`() {
        func span(_ start: Int64, _ end: Int64) -> [UInt8] {
            Protobuf.bytes(
                5,
                Protobuf.bytes(
                    2, Protobuf.bytes(1, Protobuf.number(2, start) + Protobuf.number(3, end))))
        }
        checkCounter(span(-Self.timeMax, Self.timeMax), nil)
        checkCounter(span(5, 5), .malformed(field: "window"))
        checkCounter(span(6, 5), .malformed(field: "window"))
        for bad in [Int64.min, -Self.timeMax - 1] {
            checkCounter(span(bad, 0), .malformed(field: "starts_at"))
        }
        for bad in [Int64.max, Self.timeMax + 1] {
            checkCounter(span(0, bad), .malformed(field: "ends_at"))
        }
    }

    // MARK: - Keys

    @Test func `a key that would let callers choose who pays`() {
        func answer(_ more: [UInt8]...) -> [UInt8] {
            Protobuf.bytes(6, Protobuf.number(2, UInt64(1)) + more.joined())
        }
        for dimension in ScopeDimension.allCases {
            checkCounter(
                answer(Protobuf.number(5, UInt64(dimension.rawValue))),
                dimension.isCallerSettable ? nil : .malformed(field: "caller_settable"))
        }
        let user = Protobuf.number(5, UInt64(3))
        checkCounter(answer(user, user), .malformed(field: "caller_settable"))
        checkCounter(answer(Protobuf.number(5, UInt64(8))), .malformed(field: "dimension"))
        checkCounter(answer(Protobuf.bytes(4, value(0, ""))), nil)
        checkCounter(answer(Protobuf.bytes(4, value(8, ""))), .malformed(field: "dimension"))
        let tenant = Protobuf.bytes(4, value(2, "acme"))
        checkCounter(answer(tenant, tenant), .malformed(field: "fixed"))
        checkCounter(answer(Protobuf.text(3, Self.longValue)), nil)
        checkCounter(answer(Protobuf.text(3, Self.longValue + "n")), .malformed(field: "name"))
        checkCounter(
            answer(Protobuf.bytes(4, value(2, Self.longValue + "v"))), .malformed(field: "value"))
    }

    @Test func `a key that was not found has no policy whatever else is said`() throws {
        let payload = Protobuf.bytes(6, Protobuf.number(1, UInt64(9)) + Protobuf.text(3, "key"))
        #expect(
            try FrameCodec.decodeCounterFrame(payload) == .keyAnswer(request: 9, policy: nil))
    }

    // MARK: - Newer versions

    @Test func `a kind of frame that this version does not know`() {
        for kind: UInt64 in [6, 15, 16, 1_000] {
            checkEdge(Protobuf.bytes(kind, []), .unknownFrame)
        }
        for kind: UInt64 in [12, 15, 16, 1_000] {
            checkCounter(Protobuf.bytes(kind, Protobuf.number(1, UInt64(1))), .unknownFrame)
        }
        checkEdge([], .unknownFrame)
        checkCounter([], .unknownFrame)
    }

    @Test func `a field that this version does not know is passed over`() throws {
        let more =
            Protobuf.number(1_000, UInt64.max) + Protobuf.bytes(1_001, [1, 2])
            + Protobuf.varint(1_002 << 3 | 5) + [1, 2, 3, 4]
        for frame in Samples.edgeFrames {
            #expect(try FrameCodec.decodeEdgeFrame(frame.payload + more) == frame)
        }
        for frame in Samples.counterFrames {
            #expect(try FrameCodec.decodeCounterFrame(frame.payload + more) == frame)
        }
        let inner = Protobuf.number(1, UInt64(4)) + more
        #expect(
            try FrameCodec.decodeEdgeFrame(Protobuf.bytes(2, Protobuf.bytes(1, inner) + more))
                == .report([ReportEntry(reference: 4, key: nil, report: LeaseReport())]))
    }

    /// A number sent where a message belongs is another field of the same number.
    @Test func `a field of another type is no frame of ours`() {
        for kind: UInt64 in 1...5 { checkEdge(Protobuf.number(kind, UInt64(1)), .unknownFrame) }
        for kind: UInt64 in 1...10 {
            checkCounter(Protobuf.number(kind, UInt64(1)), .unknownFrame)
        }
    }
}
