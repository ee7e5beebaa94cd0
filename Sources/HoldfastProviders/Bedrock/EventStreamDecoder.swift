/// Splits an `application/vnd.amazon.eventstream` into messages, whatever pieces it arrives in.
///
/// `append` bytes, then call `next` until it is `nil`. A frame is found by the length in the frame
/// before it, so one that is damaged leaves nothing to go by: the decoder says so once and stops.
struct EventStreamDecoder: Sendable {
    enum Piece: Equatable, Sendable {
        case message(EventStreamMessage)
        /// Reported once; nothing comes after it.
        case damaged(EventStreamDamage)
    }

    /// What the decoder must know of a frame before it has all of it.
    private struct Prelude {
        let messageByteCount: Int
        let headersByteCount: Int
    }

    static let messageByteCountMaxDefault = 16 << 20
    /// An idle decoder does not keep the memory that one huge message took.
    private static let idleByteCountMax = 256 << 10

    private let messageByteCountMax: Int
    private var buffer: [UInt8] = []
    /// Where in `buffer` the message begins that was not returned yet.
    private var start = 0
    /// That of the message at `start`, once it is here and checked.
    private var prelude: Prelude?
    /// Whether the stream could not be read on, so that the rest is not looked at.
    private(set) var isDamaged = false
    private var isFinished = false

    /// `messageByteCountMax` counts all bytes of a message, its headers and checksums, too.
    init(messageByteCountMax: Int = EventStreamDecoder.messageByteCountMaxDefault) {
        precondition(
            (Frame.overhead...Frame.byteCountMax).contains(messageByteCountMax),
            "no message is as short, or may be as long")
        self.messageByteCountMax = messageByteCountMax
    }

    /// Whether everything so far was complete messages.
    var isBetweenMessages: Bool { !isDamaged && start == buffer.count }

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        precondition(!isFinished, "bytes after the end")
        guard !isDamaged else { return }
        discardReturned()
        buffer.append(contentsOf: bytes)
    }

    mutating func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { append($0) }
    }

    /// Says that nothing more comes: a message that is not complete by now is damage.
    mutating func finish() {
        isFinished = true
    }

    mutating func next() -> Piece? {
        guard !isDamaged else { return nil }
        do throws(EventStreamDamage) {
            if let message = try nextMessage() { return .message(message) }
            guard isFinished, start < buffer.count else { return nil }
            throw EventStreamDamage.truncated
        } catch {
            isDamaged = true
            buffer = []
            start = 0
            return .damaged(error)
        }
    }

    // MARK: - Messages

    private mutating func nextMessage() throws(EventStreamDamage) -> EventStreamMessage? {
        if prelude == nil { prelude = try nextPrelude() }
        guard let prelude, buffer.count - start >= prelude.messageByteCount else { return nil }
        let headersStart = start + Frame.preludeByteCount
        let payloadStart = headersStart + prelude.headersByteCount
        let end = start + prelude.messageByteCount
        let payloadEnd = end - Frame.checksumByteCount
        guard checksum(of: start..<payloadEnd) == bigEndian(payloadEnd..<end) else {
            throw .messageChecksum
        }
        let message = try EventStreamMessage(
            headers: buffer[headersStart..<payloadStart],
            payload: Array(buffer[payloadStart..<payloadEnd]))
        start = end
        self.prelude = nil
        return message
    }

    /// Has a checksum of its own, so that a damaged length is not waited for.
    private func nextPrelude() throws(EventStreamDamage) -> Prelude? {
        guard buffer.count - start >= Frame.preludeByteCount else { return nil }
        guard checksum(of: start..<start + 8) == bigEndian(start + 8..<start + 12) else {
            throw .preludeChecksum
        }
        let messageByteCount = Int(bigEndian(start..<start + 4))
        let headersByteCount = Int(bigEndian(start + 4..<start + 8))
        let payloadByteCount = messageByteCount - headersByteCount - Frame.overhead
        guard payloadByteCount >= 0 else { throw .impossibleLengths }
        guard messageByteCount <= messageByteCountMax,
            headersByteCount <= Frame.headersByteCountMax,
            payloadByteCount <= Frame.payloadByteCountMax
        else { throw .tooLong }
        return Prelude(messageByteCount: messageByteCount, headersByteCount: headersByteCount)
    }

    private func checksum(of range: Range<Int>) -> UInt32 {
        buffer.withUnsafeBytes { CRC32.of(UnsafeRawBufferPointer(rebasing: $0[range])) }
    }

    private func bigEndian(_ range: Range<Int>) -> UInt32 {
        buffer[range].reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Drops what `next` has returned. Never moves more bytes than it drops, so that all the moves
    /// together are no more than the stream.
    private mutating func discardReturned() {
        if start == buffer.count {
            buffer.removeAll(keepingCapacity: buffer.capacity <= Self.idleByteCountMax)
            start = 0
        } else if start > buffer.count / 2 {
            buffer.removeFirst(start)
            start = 0
        }
    }
}

/// Why an event stream cannot be read on.
enum EventStreamDamage: Error, Equatable, Sendable {
    case preludeChecksum
    case messageChecksum
    /// The headers are longer than the message.
    case impossibleLengths
    case tooLong
    case malformedHeader
    /// The stream ended within a message.
    case truncated
}

/// A message of an AWS event stream: the headers that say what it is, and its payload.
package struct EventStreamMessage: Equatable, Sendable {
    /// `event`, `exception` or `error`.
    var messageType: String?
    var eventType: String?
    var exceptionType: String?
    var contentType: String?
    var errorCode: String?
    var payload: [UInt8]
}

extension EventStreamMessage {
    /// Headers by other names, or that are no strings, are stepped over.
    fileprivate init(
        headers: ArraySlice<UInt8>, payload: [UInt8]
    ) throws(EventStreamDamage) {
        self.init(payload: payload)
        var reader = HeaderReader(rest: headers)
        while let (name, value) = try reader.next() {
            guard let value, let field = Self.field(named: name) else { continue }
            // Two answers to what a message is are none; AWS's own decoders refuse it as well.
            guard self[keyPath: field] == nil else { throw .malformedHeader }
            self[keyPath: field] = value
        }
    }

    private static func field(
        named name: String
    ) -> WritableKeyPath<EventStreamMessage, String?>? {
        switch name {
        case ":message-type": \EventStreamMessage.messageType
        case ":event-type": \EventStreamMessage.eventType
        case ":exception-type": \EventStreamMessage.exceptionType
        case ":content-type": \EventStreamMessage.contentType
        case ":error-code": \EventStreamMessage.errorCode
        default: nil
        }
    }

    /// A message as it goes over the wire. The headers are strings, in the order given.
    package static func encoded(
        headers: [(name: String, value: String)], payload: [UInt8]
    ) -> [UInt8] {
        var block: [UInt8] = []
        for (name, value) in headers {
            precondition((1...255).contains(name.utf8.count), "a header name of a wrong length")
            precondition(value.utf8.count <= Int16.max, "a header value that is too long")
            block.append(UInt8(name.utf8.count))
            block += name.utf8
            block.append(HeaderType.string)
            block.append(bigEndian: UInt16(value.utf8.count))
            block += value.utf8
        }
        precondition(block.count <= Frame.headersByteCountMax, "the headers are too long")
        precondition(payload.count <= Frame.payloadByteCountMax, "the payload is too long")
        let messageByteCount = block.count + payload.count + Frame.overhead
        var bytes: [UInt8] = []
        bytes.reserveCapacity(messageByteCount)
        bytes.append(bigEndian: UInt32(messageByteCount))
        bytes.append(bigEndian: UInt32(block.count))
        bytes.append(bigEndian: bytes.withUnsafeBytes { CRC32.of($0) })
        bytes += block
        bytes += payload
        bytes.append(bigEndian: bytes.withUnsafeBytes { CRC32.of($0) })
        return bytes
    }
}

/// The sizes of what a frame is made of, and the limits that AWS's own decoders have.
private enum Frame {
    static let checksumByteCount = 4
    /// Two lengths and their checksum.
    static let preludeByteCount = 12
    static let overhead = preludeByteCount + checksumByteCount
    static let headersByteCountMax = 128 << 10
    static let payloadByteCountMax = 24 << 20
    static let byteCountMax = overhead + headersByteCountMax + payloadByteCountMax
}

private enum HeaderType {
    static let string: UInt8 = 7
}

/// Walks over the headers of one message.
private struct HeaderReader {
    var rest: ArraySlice<UInt8>

    /// The value is `nil` when it is no string.
    mutating func next() throws(EventStreamDamage) -> (name: String, value: String?)? {
        guard !rest.isEmpty else { return nil }
        let name = try takeString(lengthByteCount: 1)
        switch try takeInteger(byteCount: 1) {
        case 0, 1: break  // true, false
        case 2: _ = try take(1)
        case 3: _ = try take(2)
        case 4: _ = try take(4)
        case 5, 8: _ = try take(8)  // a number, a timestamp
        case 6:
            let byteCount = try takeInteger(byteCount: 2)
            _ = try take(byteCount)
        case Int(HeaderType.string): return (name, try takeString(lengthByteCount: 2))
        case 9: _ = try take(16)  // a UUID
        default: throw .malformedHeader
        }
        return (name, nil)
    }

    private mutating func takeString(lengthByteCount: Int) throws(EventStreamDamage) -> String {
        let byteCount = try takeInteger(byteCount: lengthByteCount)
        let bytes = try take(byteCount)
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .malformedHeader }
        return text
    }

    private mutating func takeInteger(byteCount: Int) throws(EventStreamDamage) -> Int {
        try take(byteCount).reduce(0) { $0 << 8 | Int($1) }
    }

    private mutating func take(_ byteCount: Int) throws(EventStreamDamage) -> ArraySlice<UInt8> {
        guard byteCount <= rest.count else { throw .malformedHeader }
        let taken = rest.prefix(byteCount)
        rest = rest.dropFirst(byteCount)
        return taken
    }
}

extension [UInt8] {
    fileprivate mutating func append(bigEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { self += $0 }
    }
}
