import HoldfastCore
import HoldfastWire
import Testing

/// Frames with any values that may be sent, extremes more often than others.
@Suite struct `Any frame` {
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func `comes back as it was sent`(seed: UInt64) throws {
        var frames = RandomFrames(seed: seed)
        for _ in 0..<1_000 {
            let edge = frames.edgeFrame()
            try #require(try FrameCodec.decodeEdgeFrame(edge.payload) == edge)
            let counter = frames.counterFrame()
            try #require(try FrameCodec.decodeCounterFrame(counter.payload) == counter)
        }
    }
}

/// SplitMix64: the same frames for the same seed, everywhere.
struct RandomFrames {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    private mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    private mutating func isTrue() -> Bool { next() & 1 == 1 }

    private mutating func number() -> UInt64 {
        switch below(4) {
        case 0: 0
        case 1: .max - UInt64(below(2))
        default: next() >> UInt64(below(64))
        }
    }

    private mutating func small() -> UInt32 { UInt32(truncatingIfNeeded: number()) }

    private mutating func amount() -> Amount {
        below(4) == 0
            ? Amount(Limits.amountMax - UInt64(below(2)))
            : Amount(min(number(), Limits.amountMax))
    }

    mutating func time() -> Int64 {
        let latest = UnixTime.distantFuture.seconds
        switch below(4) {
        case 0: return latest
        case 1: return -latest
        default: return Int64(truncatingIfNeeded: number()) % latest
        }
    }

    private mutating func text(atMost byteCountMax: Int = 64) -> String {
        switch below(5) {
        case 0: return ""
        case 1: return String(repeating: "x", count: byteCountMax)
        case 2: return "caf\u{E9} %|\u{0}\u{7F}🧾"
        case 3: return "\u{301}|cafe\u{301}%7C"
        default: return "v\(below(1_000))"
        }
    }

    private mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
    }

    mutating func list<Element>(
        atMost countMax: Int, _ element: (inout RandomFrames) -> Element
    ) -> [Element] {
        (0..<below(countMax + 1)).map { _ in element(&self) }
    }

    private mutating func pick<Value>(_ values: [Value]) -> Value { values[below(values.count)] }

    // MARK: - Parts

    private mutating func key() -> AccountKey {
        AccountKey(
            cap: "c" + text(atMost: Limits.capNameByteCountMax - 1),
            unit: pick(CapUnit.allCases), period: pick(PeriodKind.allCases),
            periodID: Int64(bitPattern: number()),
            values: list(atMost: ScopeDimension.allCases.count) {
                $0.text(atMost: Limits.scopeValueByteCountMax)
            })
    }

    mutating func entry() -> ReportEntry {
        let wish = LeaseWish(number: max(1, number()), need: amount(), ceiling: amount())
        return ReportEntry(
            reference: small(), key: isTrue() ? key() : nil,
            report: LeaseReport(
                granted: amount(), released: amount(), spent: amount(), held: amount(),
                overrun: amount(), wish: isTrue() ? wish : nil, recallEpoch: number(),
                unlocked: amount()))
    }

    mutating func grant() -> GrantEntry {
        GrantEntry(
            reference: small(),
            grant: LeaseGrant(
                granted: amount(), released: amount(), spent: amount(),
                totalSpent: Amount(number()), totalHeld: Amount(number()),
                exposure: Amount(number()), limit: amount(), isCentral: isTrue(),
                isFrozen: isTrue(), isClosed: isTrue(), isLearning: isTrue(),
                unmetWish: number()))
    }

    private mutating func dimensions(_ all: [ScopeDimension]) -> [ScopeDimension] {
        all.filter { _ in isTrue() }
    }

    private mutating func scope() -> [ScopeDimension: String] {
        var scope: [ScopeDimension: String] = [:]
        for dimension in dimensions(ScopeDimension.allCases) {
            scope[dimension] = text(atMost: Limits.scopeValueByteCountMax)
        }
        return scope
    }

    private mutating func cap(_ index: Int) -> Cap {
        Cap(
            name: "cap-\(index)", unit: pick(CapUnit.allCases), limit: amount(),
            period: pick(PeriodKind.allCases), zone: text(), scope: scope(),
            each: dimensions(ScopeDimension.allCases.reversed()),
            mode: pick([.enforce, .observe]), fallback: pick([nil, "m", "p/m"]))
    }

    private mutating func spans() -> [PeriodWindow] {
        list(atMost: 2) { frames in
            let times = [frames.time(), frames.time()].sorted()
            // The latest time ends a period and starts none.
            let start = min(times[0], UnixTime.distantFuture.seconds - 1)
            return PeriodWindow(
                id: Int64(bitPattern: frames.number()), startsAt: UnixTime(start),
                endsAt: UnixTime(max(times[1], start + 1)))
        }
    }

    private mutating func windows(version: UInt64, capCount: Int) -> PolicyWindows {
        PolicyWindows(
            policyVersion: version, caps: (0..<capCount).map { _ in spans() },
            counterTimeMilliseconds: time())
    }

    private mutating func policy() -> EdgePolicy {
        let caps = (0..<below(4)).map { cap($0) }
        let version = number()
        return EdgePolicy(
            version: version, caps: caps, prices: text(),
            windows: windows(version: version, capCount: caps.count))
    }

    private mutating func keyPolicy() -> KeyPolicy {
        KeyPolicy(
            name: text(atMost: Limits.scopeValueByteCountMax), fixed: scope(),
            callerSettable: Set(dimensions(ScopeDimension.allCases.filter(\.isCallerSettable))))
    }

    // MARK: - Frames

    mutating func edgeFrame() -> EdgeFrame {
        switch below(5) {
        case 0:
            let session = isTrue() ? SessionID(max(1, number())) : nil
            return .hello(
                .init(
                    protocolVersion: small(), edgeName: text(atMost: Limits.edgeNameByteCountMax),
                    session: session, isFinal: session != nil && isTrue()))
        case 1: return .report(list(atMost: 4) { $0.entry() })
        case 2: return .resolveKey(request: number(), digest: bytes(32))
        case 3: return .closeSession(list(atMost: 4) { $0.entry() })
        default: return .ping(number())
        }
    }

    mutating func counterFrame() -> CounterFrame {
        switch below(11) {
        case 0:
            return .welcome(
                .init(
                    protocolVersion: small(), session: SessionID(max(1, number())),
                    keyPepper: bytes(below(65)), counterTimeMilliseconds: time(),
                    leaseTTLMilliseconds: small(), counter: text()))
        case 1: return .grants(list(atMost: 4) { $0.grant() }, counterTimeMilliseconds: time())
        case 2: return .recall(reference: small(), epoch: number())
        case 3: return .policy(policy())
        case 4: return .windows(windows(version: number(), capCount: below(4)))
        case 5: return .keyAnswer(request: number(), policy: isTrue() ? keyPolicy() : nil)
        case 6: return .keysChanged
        case 7: return .sessionClosed
        case 8:
            return .rejected(
                Rejection(
                    reason: pick(Rejection.Reason.allCases), message: text(), reference: small()))
        case 9:
            return .counters(
                list(atMost: 4) {
                    CounterNode(
                        name: $0.text(atMost: Limits.edgeNameByteCountMax),
                        address: $0.text(atMost: Limits.counterAddressByteCountMax))
                })
        default: return .pong(number(), counterTimeMilliseconds: time())
        }
    }
}
