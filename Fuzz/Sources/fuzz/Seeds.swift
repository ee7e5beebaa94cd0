import HoldfastCore
import HoldfastWire

/// What the fuzzer starts from: one real input of every kind, so that it need not find the format.
enum Seeds {
    static var all: [(name: String, bytes: [UInt8])] {
        let edge = (Samples.edgeFrames + edgeLimits).map { (Decoder.edgeFrame, $0.payload) }
        let counter = (Samples.counterFrames + counterLimits).map {
            (Decoder.counterFrame, $0.payload)
        }
        let accounts = AccountSamples.all.flatMap {
            [(Decoder.sealedAccount, $0), (Decoder.account, $0)]
        }
        let inputs = edge + counter + accounts + streams.map { (Decoder.stream, $0) }
        return inputs.enumerated().map { index, input in
            (name: "seed-\(index)", bytes: [input.0.rawValue] + input.1)
        }
    }

    // MARK: - Up to what is refused, and one step further

    private static var edgeLimits: [EdgeFrame] {
        let most = Amount(Limits.amountMax)
        let report = LeaseReport(
            granted: most, released: most, spent: most, held: most, overrun: most,
            wish: LeaseWish(number: .max, need: most, ceiling: most), recallEpoch: .max,
            unlocked: most)
        let empty = ReportEntry(reference: 0, key: nil, report: LeaseReport())
        return [
            .report([ReportEntry(reference: .max, key: nil, report: report)]),
            .report(Array(repeating: empty, count: Limits.reportEntryCountMax)),
            .report(Array(repeating: empty, count: Limits.reportEntryCountMax + 1)),
            .hello(.init(edgeName: "edge", session: nil, isFinal: true)),
        ]
    }

    private static var counterLimits: [CounterFrame] {
        let most = Amount(Limits.amountMax)
        let grant = LeaseGrant(granted: most, released: most, spent: most, limit: most)
        let latest = UnixTime.distantFuture.seconds
        return [
            .grants([GrantEntry(reference: .max, grant: grant)], counterTimeMilliseconds: latest),
            .grants([], counterTimeMilliseconds: latest + 1),
            .pong(.max, counterTimeMilliseconds: -latest),
            .pong(.max, counterTimeMilliseconds: .min),
        ]
    }

    /// Connections: the first byte chooses where the reads are cut.
    private static var streams: [[UInt8]] {
        let edge = Samples.edgeFrames.flatMap { FrameCodec.encode($0) }
        let counter = [
            CounterFrame.sessionClosed, .keysChanged, .pong(1, counterTimeMilliseconds: 2),
        ].flatMap { FrameCodec.encode($0) }
        return [
            [0] + edge, [7] + counter, [1] + edge.dropLast(), [2] + counter + [0, 0, 0, 0],
            [3] + counter + [0, 0x40, 0, 1],
        ]
    }
}
