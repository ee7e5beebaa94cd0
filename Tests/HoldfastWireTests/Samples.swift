import HoldfastCore
import HoldfastWire

/// One frame of every kind, with every field set to something that is not its default.
enum Samples {
    static let key = AccountKey(
        cap: "each-user", unit: .usd, period: .day, periodID: 20_778, values: ["a|b%", "zoë\n"])

    static let report = LeaseReport(
        granted: Amount(9_000), released: Amount(1_000), spent: Amount(2_000), held: Amount(3_000),
        overrun: Amount(40),
        wish: LeaseWish(number: 7, need: Amount(10_000), ceiling: Amount(20_000)), recallEpoch: 5,
        unlocked: Amount(6_000))

    static let grant = LeaseGrant(
        granted: Amount(9_000), released: Amount(1_000), spent: Amount(2_000),
        totalSpent: Amount(30_000), totalHeld: Amount(4_000), exposure: Amount(.max),
        limit: Amount(Limits.amountMax), isCentral: true, isFrozen: true, isClosed: true,
        isLearning: true, unmetWish: 6)

    /// Each flag alone, so that none can stand for another.
    static let flags: [GrantEntry] = [
        \LeaseGrant.isCentral, \.isFrozen, \.isClosed, \.isLearning,
    ].map { flag in
        var grant = LeaseGrant(granted: .zero, limit: .zero)
        grant[keyPath: flag] = true
        return GrantEntry(reference: 3, grant: grant)
    }

    static let windows = PolicyWindows(
        policyVersion: 8,
        caps: [
            [
                PeriodWindow(id: -1, startsAt: UnixTime(-86_400), endsAt: UnixTime(0)),
                PeriodWindow(id: 0, startsAt: UnixTime(0), endsAt: UnixTime(86_400)),
            ],
            [PeriodWindow(id: 0, startsAt: UnixTime(0), endsAt: .distantFuture)],
        ], counterTimeMilliseconds: 1_795_000_000_123)

    static let policy = EdgePolicy(
        version: 8,
        caps: [
            Cap(
                name: "each-user", unit: .usd, limit: Amount(3_000_000_000), period: .day,
                zone: "Europe/Tallinn", scope: [.tenant: "acme", .model: "gpt-4o-mini"],
                each: [.user, .session], mode: .observe),
            Cap(
                name: "all", unit: .tokens, limit: Amount(5), period: .total,
                fallback: "groq/llama"),
        ], prices: "provider\tmodel\n", windows: windows)

    static let edgeFrames: [EdgeFrame] = [
        .hello(.init(edgeName: "edge-1", session: SessionID(12))),
        .hello(.init(edgeName: "edge-1", session: SessionID(.max), isFinal: true)),
        .hello(.init(protocolVersion: 9, edgeName: "", session: nil)),
        .report([
            ReportEntry(reference: 1, key: key, report: report),
            ReportEntry(reference: 2, key: nil, report: LeaseReport()),
        ]),
        .report([]),
        .resolveKey(request: 3, digest: Array(0...31)),
        .closeSession([ReportEntry(reference: 1, key: nil, report: report)]),
        .ping(.max),
    ]

    static let counterFrames: [CounterFrame] =
        [
            .welcome(
                .init(
                    session: SessionID(12), keyPepper: [1, 2, 3],
                    counterTimeMilliseconds: 1_795_000_000_123, leaseTTLMilliseconds: 30_000,
                    counter: "counter-b")),
            .grants(
                [
                    GrantEntry(reference: 1, grant: grant),
                    GrantEntry(reference: 2, grant: LeaseGrant(granted: .zero, limit: .zero)),
                ] + flags, counterTimeMilliseconds: -1),
            .recall(reference: 1, epoch: 5),
            .policy(policy),
            .windows(windows),
            .keyAnswer(
                request: 3,
                policy: KeyPolicy(
                    name: "support", fixed: [.tenant: "acme"], callerSettable: [.user, .session])),
            .keyAnswer(request: 4, policy: nil),
            .keysChanged,
            .sessionClosed,
            .pong(4, counterTimeMilliseconds: 5),
            .counters([
                CounterNode(name: "counter-b:7070", address: "[::1]:7070"),
                CounterNode(name: "c", address: "10.0.0.7:7071"),
            ]),
            .counters([]),
        ]
        + Rejection.Reason.allCases.map {
            .rejected(Rejection(reason: $0, message: "why", reference: 3))
        }
}

extension EdgeFrame {
    /// Without the length header.
    var payload: [UInt8] { Array(FrameCodec.encode(self).dropFirst(FrameCodec.headerByteCount)) }
}

extension CounterFrame {
    var payload: [UInt8] { Array(FrameCodec.encode(self).dropFirst(FrameCodec.headerByteCount)) }
}

/// The error of decoding; `nil` when it succeeds.
func wireError<Value>(of body: () throws(WireError) -> Value) -> WireError? {
    do {
        _ = try body()
        return nil
    } catch {
        return error
    }
}
