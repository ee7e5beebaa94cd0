import HoldfastCore
import HoldfastWire
import Testing

@Suite struct FrameCodecTests {
    @Test func `every frame comes back as it was sent`() throws {
        for frame in Samples.edgeFrames {
            #expect(try FrameCodec.decodeEdgeFrame(frame.payload) == frame)
        }
        for frame in Samples.counterFrames {
            #expect(try FrameCodec.decodeCounterFrame(frame.payload) == frame)
        }
    }

    @Test func `the header says how long the payload is`() {
        for bytes in Samples.edgeFrames.map({ FrameCodec.encode($0) })
            + Samples.counterFrames.map({ FrameCodec.encode($0) })
        {
            let length = bytes.prefix(FrameCodec.headerByteCount)
                .reduce(0) { $0 << 8 | Int($1) }
            #expect(length == bytes.count - FrameCodec.headerByteCount)
            #expect(length > 0)
        }
    }

    @Test func `a frame that is cut anywhere is not a frame`() {
        for payload in Samples.edgeFrames.map(\.payload) {
            for count in 0..<payload.count {
                let error = wireError { () throws(WireError) in
                    try FrameCodec.decodeEdgeFrame(Array(payload.prefix(count)))
                }
                #expect(error == (count == 0 ? .unknownFrame : .notAFrame))
            }
        }
        for payload in Samples.counterFrames.map(\.payload) {
            for count in 0..<payload.count {
                let error = wireError { () throws(WireError) in
                    try FrameCodec.decodeCounterFrame(Array(payload.prefix(count)))
                }
                #expect(error == (count == 0 ? .unknownFrame : .notAFrame))
            }
        }
    }

    /// What it decodes to may be wrong: TCP and TLS have checksums. It must not stop the process, and
    /// must be a frame that we could send ourselves.
    @Test func `one flipped bit is an error or another frame`() throws {
        var frameCount = 0
        var errorCount = 0
        for payload in Samples.edgeFrames.map(\.payload) {
            for damaged in flips(of: payload) {
                let frame: EdgeFrame
                do {
                    frame = try FrameCodec.decodeEdgeFrame(damaged)
                } catch {
                    errorCount += 1
                    continue
                }
                frameCount += 1
                #expect(try FrameCodec.decodeEdgeFrame(frame.payload) == frame)
            }
        }
        for payload in Samples.counterFrames.map(\.payload) {
            for damaged in flips(of: payload) {
                let frame: CounterFrame
                do {
                    frame = try FrameCodec.decodeCounterFrame(damaged)
                } catch {
                    errorCount += 1
                    continue
                }
                frameCount += 1
                #expect(try FrameCodec.decodeCounterFrame(frame.payload) == frame)
            }
        }
        #expect(frameCount > 1_000)
        #expect(errorCount > 1_000)
    }

    private func flips(of payload: [UInt8]) -> [[UInt8]] {
        (0..<payload.count * 8).map { bit in
            var damaged = payload
            damaged[bit / 8] ^= 1 << (bit % 8)
            return damaged
        }
    }

    @Test func `a frame of the other direction is not taken for one of ours`() {
        // A field that this direction does not have leaves nothing that is known.
        let pong = CounterFrame.pong(1, counterTimeMilliseconds: 2).payload
        #expect(
            wireError { () throws(WireError) in try FrameCodec.decodeEdgeFrame(pong) }
                == .unknownFrame)
    }
}

@Suite struct ReportEntryTests {
    /// An entry as it is most of the time: the key is known, nothing is wished.
    private func steady(_ amount: UInt64, reference: UInt32) -> ReportEntry {
        ReportEntry(
            reference: reference, key: nil,
            report: LeaseReport(
                granted: Amount(amount), released: Amount(amount), spent: Amount(amount),
                held: Amount(amount)))
    }

    private func byteCount(_ entry: ReportEntry) -> Int {
        let two = EdgeFrame.report([entry, entry]).payload.count
        let one = EdgeFrame.report([entry]).payload.count
        // Its tag and its length are the list's.
        return two - one - 2
    }

    @Test(arguments: [
        (amount: UInt64(0), reference: UInt32(1)),
        (amount: 30_000_000_000, reference: 1),
        (amount: 4_000_000_000_000, reference: 16_000),
    ])
    func `a steady entry has at most 32 bytes`(_ row: (amount: UInt64, reference: UInt32)) {
        #expect(byteCount(steady(row.amount, reference: row.reference)) <= 32)
    }

    @Test func `a key is sent once and left out afterwards`() throws {
        let first = ReportEntry(reference: 5, key: Samples.key, report: Samples.report)
        let later = ReportEntry(reference: 5, key: nil, report: Samples.report)
        #expect(byteCount(first) - byteCount(later) >= Samples.key.text.utf8.count)
        guard
            case .report(let entries) = try FrameCodec.decodeEdgeFrame(
                EdgeFrame.report([first, later]).payload)
        else {
            Issue.record("not a report")
            return
        }
        #expect(entries.map(\.key) == [Samples.key, nil])
        #expect(entries.map(\.reference) == [5, 5])
    }

    @Test func `as many entries as one frame may have fit into it and one more is refused`() {
        // The longest key that one caller-chosen value gives, every byte of it escaped.
        let key = AccountKey(
            cap: String(repeating: "c", count: Limits.capNameByteCountMax), unit: .tokens,
            period: .total, periodID: 0,
            values: [String(repeating: "|", count: Limits.scopeValueByteCountMax)])
        let entry = ReportEntry(reference: .max, key: key, report: Samples.report)
        let full = EdgeFrame.report(
            Array(repeating: entry, count: Limits.reportEntryCountMax)
        ).payload
        #expect(full.count <= Limits.frameByteCountMax)
        #expect(
            wireError { () throws(WireError) in try FrameCodec.decodeEdgeFrame(full) } == nil)
        let count = Limits.reportEntryCountMax + 1
        let over = EdgeFrame.report(Array(repeating: steady(1, reference: 1), count: count)).payload
        #expect(
            wireError { () throws(WireError) in try FrameCodec.decodeEdgeFrame(over) }
                == .tooManyEntries(count))
    }

    @Test(arguments: [
        "granted", "released", "spent", "held", "overrun", "need", "ceiling", "unlocked",
    ])
    func `an amount out of bounds is refused by its name`(_ field: String) {
        func report(_ amount: UInt64) -> [UInt8] {
            var report = LeaseReport(wish: LeaseWish(number: 1, need: .zero, ceiling: .zero))
            switch field {
            case "granted": report.granted = Amount(amount)
            case "released": report.released = Amount(amount)
            case "spent": report.spent = Amount(amount)
            case "held": report.held = Amount(amount)
            case "overrun": report.overrun = Amount(amount)
            case "unlocked": report.unlocked = Amount(amount)
            case "need": report.wish?.need = Amount(amount)
            default: report.wish?.ceiling = Amount(amount)
            }
            return EdgeFrame.report([ReportEntry(reference: 1, key: nil, report: report)]).payload
        }
        func error(_ amount: UInt64) -> WireError? {
            wireError { () throws(WireError) in try FrameCodec.decodeEdgeFrame(report(amount)) }
        }
        #expect(error(Limits.amountMax) == nil)
        #expect(error(Limits.amountMax + 1) == .amountOutOfBounds(field: field))
        #expect(error(.max) == .amountOutOfBounds(field: field))
    }

    @Test(arguments: ["granted", "released", "spent", "limit"])
    func `a grant out of bounds is refused by its name`(_ field: String) {
        func error(_ amount: UInt64) -> WireError? {
            var grant = Samples.grant
            switch field {
            case "granted": grant.granted = Amount(amount)
            case "released": grant.released = Amount(amount)
            case "spent": grant.spent = Amount(amount)
            default: grant.limit = Amount(amount)
            }
            let payload = CounterFrame.grants(
                [GrantEntry(reference: 1, grant: grant)], counterTimeMilliseconds: 0
            ).payload
            return wireError { () throws(WireError) in
                try FrameCodec.decodeCounterFrame(payload)
            }
        }
        #expect(error(Limits.amountMax) == nil)
        #expect(error(Limits.amountMax + 1) == .amountOutOfBounds(field: field))
    }

    @Test func `a wish without a number is no wish`() throws {
        let report = LeaseReport(
            wish: LeaseWish(number: 0, need: Amount(5), ceiling: Amount(6)))
        let frame = EdgeFrame.report([ReportEntry(reference: 1, key: nil, report: report)])
        guard case .report(let entries) = try FrameCodec.decodeEdgeFrame(frame.payload) else {
            Issue.record("not a report")
            return
        }
        #expect(entries.map(\.report.wish) == [nil])
    }
}
