import HoldfastCore
import SwiftProtobuf
import Testing

@testable import HoldfastWire

/// Reports and grants are written and read by hand. SwiftProtobuf must not be able to tell.
@Suite struct `Entries by hand` {
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func `have the bytes that SwiftProtobuf writes`(seed: UInt64) throws {
        var frames = RandomFrames(seed: seed)
        for _ in 0..<500 {
            let report = EdgeFrame.report(frames.entries())
            let reportBytes: [UInt8] = try report.message.serializedBytes()
            try #require(report.payload == reportBytes)
            let grants = CounterFrame.grants(
                frames.grants(), counterTimeMilliseconds: frames.time())
            let grantBytes: [UInt8] = try grants.message.serializedBytes()
            try #require(grants.payload == grantBytes)
        }
    }

    @Test(arguments: [5, 6, 7, 8] as [UInt64])
    func `are what SwiftProtobuf reads, whatever was changed`(seed: UInt64) throws {
        var frames = RandomFrames(seed: seed)
        var readCount = 0
        for _ in 0..<5_000 {
            let report = frames.damaged(EdgeFrame.report(frames.entries()).payload)
            if let found = EntryCodec.decode(Holdfast_Lease_V1_ReportEntry.self, report) {
                let expected = try EdgeMessage(serializedBytes: report)
                try #require(expected.report.entries.count == found.entries.count)
                try #require(expected.report.entries == found.entries)
                readCount += 1
            }
            let grants = frames.damaged(
                CounterFrame.grants(frames.grants(), counterTimeMilliseconds: frames.time())
                    .payload)
            if let found = EntryCodec.decode(Holdfast_Lease_V1_GrantEntry.self, grants) {
                let expected = try CounterMessage(serializedBytes: grants)
                try #require(expected.grants.entries == found.entries)
                try #require(expected.grants.counterTimeMs == found.time)
                readCount += 1
            }
        }
        #expect(readCount > 1_000)
    }

    /// As soon as a frame has what we do not send.
    @Test func `are left to SwiftProtobuf when they are not as we write them`() throws {
        let number = Protobuf.number(2, UInt64(7))
        let entries: [[UInt8]] = [
            Protobuf.number(1, UInt64(1) << 32), Protobuf.number(12, UInt64(1)),
            Protobuf.number(2, UInt64.max), Protobuf.bytes(2, [1]), Protobuf.bytes(15, [0xFF]),
            [0x10], [0x10, 0x80], [0x7A, 9, 1], Protobuf.number(16, UInt64(1)), [0, 0],
        ]
        for entry in entries {
            expectNoReport(Protobuf.bytes(2, Protobuf.bytes(1, number + entry)))
        }
        let report = Protobuf.bytes(1, number)
        let bodies: [[UInt8]] = [
            report + Protobuf.number(2, UInt64(1)), report + [0x0A], report + [0x0A, 200],
            // The last field reaches beyond its entry.
            [0x0A, 2, 0x10, 0x80, 1],
            [[UInt8]](repeating: [0x0A, 0], count: Limits.reportEntryCountMax + 1).flatMap { $0 },
        ]
        for body in bodies { expectNoReport(Protobuf.bytes(2, body)) }
        let frame = Protobuf.bytes(2, report)
        let payloads: [[UInt8]] = [
            [], [0x12], frame + Protobuf.number(5, UInt64(1)), Array(frame.dropLast()),
            Protobuf.bytes(4, report),
        ]
        for payload in payloads { expectNoReport(payload) }
        let grants: [[UInt8]] = [
            Protobuf.number(1, UInt64(1) << 32), Protobuf.number(10, UInt64(1) << 32),
            Protobuf.number(11, UInt64(1)), Protobuf.bytes(15, [65]),
        ]
        for entry in grants {
            let payload = Protobuf.bytes(2, Protobuf.bytes(1, number + entry))
            #expect(EntryCodec.decode(Holdfast_Lease_V1_GrantEntry.self, payload) == nil)
        }
        let cut = Protobuf.bytes(2, [2 << 3])
        #expect(EntryCodec.decode(Holdfast_Lease_V1_GrantEntry.self, cut) == nil)
    }

    private func expectNoReport(_ payload: [UInt8]) {
        #expect(
            EntryCodec.decode(Holdfast_Lease_V1_ReportEntry.self, payload) == nil, "\(payload)")
    }
}

extension RandomFrames {
    fileprivate mutating func entries() -> [ReportEntry] { list(atMost: 4) { $0.entry() } }

    fileprivate mutating func grants() -> [GrantEntry] { list(atMost: 4) { $0.grant() } }

    /// Sometimes as it was.
    fileprivate mutating func damaged(_ payload: [UInt8]) -> [UInt8] {
        var payload = payload
        for _ in 0..<below(3) where !payload.isEmpty {
            let position = below(payload.count)
            switch below(3) {
            case 0: payload[position] = UInt8(below(256))
            case 1: payload.remove(at: position)
            default: payload.insert(UInt8(below(256)), at: position)
            }
        }
        return payload
    }
}
