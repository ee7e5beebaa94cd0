public import HoldfastCore
internal import SwiftProtobuf

/// Bytes ⇄ frames.
///
///     OFFSET  SIZE  MEANING
///     0       4     length of what follows, big endian, 1 … Limits.frameByteCountMax
///     4       n     protobuf: EdgeFrame or CounterFrame of protos/lease.proto
public enum FrameCodec {
    public static let headerByteCount = 4

    public static func encode(_ frame: EdgeFrame) -> [UInt8] {
        guard case .report(let entries) = frame else { return seal(frame.message) }
        return EntryCodec.encode(entries.map(\.message))
    }

    public static func encode(_ frame: CounterFrame) -> [UInt8] {
        guard case .grants(let entries, let time) = frame else { return seal(frame.message) }
        return EntryCodec.encode(entries.map(\.message), time: time)
    }

    /// `payload` is one frame without its length header.
    public static func decodeEdgeFrame(_ payload: [UInt8]) throws(WireError) -> EdgeFrame {
        if let (entries, _) = EntryCodec.decode(Holdfast_Lease_V1_ReportEntry.self, payload) {
            return .report(try EdgeFrame.entries(entries))
        }
        // Report and CloseSession have entries.
        try checkEntryCount(FieldScan.entryCount(in: payload, ofFields: [2, 4]))
        return try EdgeFrame(parse(payload))
    }

    public static func decodeCounterFrame(_ payload: [UInt8]) throws(WireError) -> CounterFrame {
        if let (entries, time) = EntryCodec.decode(Holdfast_Lease_V1_GrantEntry.self, payload) {
            return try CounterFrame(grants: entries, time: time)
        }
        // Grants has entries.
        try checkEntryCount(FieldScan.entryCount(in: payload, ofFields: [2]))
        return try CounterFrame(parse(payload))
    }

    private static func parse<M: Message>(_ payload: [UInt8]) throws(WireError) -> M {
        do {
            return try M(serializedBytes: payload)
        } catch {
            throw .notAFrame
        }
    }

    private static func seal(_ message: some Message) -> [UInt8] {
        let payload: [UInt8]
        do {
            payload = try message.serializedBytes()
        } catch {
            // Only proto2 required fields and invalid UTF-8 can fail, and we have neither.
            preconditionFailure("a frame of our own does not encode: \(error)")
        }
        let length = UInt32(payload.count)
        return [
            UInt8(length >> 24), UInt8(length >> 16 & 0xFF), UInt8(length >> 8 & 0xFF),
            UInt8(length & 0xFF),
        ] + payload
    }
}
