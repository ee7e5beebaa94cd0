import Hummingbird
import NIOCore

/// How the events of a stream go over the wire.
enum FakeFraming: Sendable {
    /// Server-sent events, as the replies write them.
    case events
    /// An AWS event stream: the name of an event becomes its type, its data the payload.
    case messages
    /// One JSON array of the data, which is what Gemini sends without `alt=sse`.
    case array

    var contentType: String {
        switch self {
        case .events: "text/event-stream; charset=utf-8"
        case .messages: "application/vnd.amazon.eventstream"
        case .array: "application/json"
        }
    }
}

/// Writes events in their framing, compressed where the fault `gzip` wants it.
struct FakeEventWriter {
    private var writer: any ResponseBodyWriter
    private let framing: FakeFraming
    private var frames: GzipFrames?
    private var isArrayOpen = false

    init(writer: any ResponseBodyWriter, framing: FakeFraming, isCompressed: Bool) {
        self.writer = writer
        self.framing = framing
        frames = isCompressed ? GzipFrames() : nil
    }

    /// - Parameter events: server-sent events with one line of data each, and perhaps a name before
    ///   it.
    mutating func write(_ events: String) async throws {
        switch framing {
        case .events: try await writeUnframed(events)
        case .messages:
            var messages: [UInt8] = []
            for event in Self.split(events) {
                messages += FakeEventStream.message(event.name, payload: event.data)
            }
            try await write(messages)
        case .array:
            for event in Self.split(events) {
                try await write(Array((isArrayOpen ? ",\r\n" : "[").utf8) + event.data)
                isArrayOpen = true
            }
        }
    }

    mutating func writeUnframed(_ text: String) async throws {
        if frames == nil {
            try await writer.write(ByteBuffer(string: text))
        } else {
            try await write(Array(text.utf8))
        }
    }

    mutating func finish() async throws {
        if isArrayOpen { try await write(Array("]\n".utf8)) }
        if let bytes = frames?.finish() { try await writer.write(ByteBuffer(bytes: bytes)) }
        try await writer.finish(nil)
    }

    private mutating func write(_ bytes: [UInt8]) async throws {
        let encoded = frames?.encode(bytes) ?? bytes
        try await writer.write(ByteBuffer(bytes: encoded))
    }

    private static func split(_ events: String) -> [(name: String, data: [UInt8])] {
        var found: [(name: String, data: [UInt8])] = []
        var name = ""
        for line in events.utf8.split(separator: UInt8(ascii: "\n")) {
            if line.starts(with: "event: ".utf8) {
                name = String(decoding: line.dropFirst("event: ".utf8.count), as: UTF8.self)
            } else {
                found.append((name, Array(line.dropFirst("data: ".utf8.count))))
            }
        }
        return found
    }
}
