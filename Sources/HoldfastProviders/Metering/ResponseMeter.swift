/// Watches one response on its way to the caller, and says at the end what it used.
///
/// What the caller gets are the provider's bytes, at once. The one exception is a stream that
/// reports usage only because we asked for it: there, bytes go on in whole events, without the
/// extra chunk at the end and without `"usage":null` in the others, so that the caller cannot tell
/// the difference.
///
/// `start` once, `consume` for every piece, `finish` once, whether or not the response was
/// complete. `nil` from `finish` means that the provider did not say, or not in a way that can be
/// trusted: the ceiling is charged then, never nothing. That includes error responses (the status
/// tells the caller of this type that they are free), compressed ones, and streams that were cut
/// off.
public struct ResponseMeter: Sendable {
    private enum Mode {
        /// Bytes pass, unread.
        case opaque
        case stream
        /// Amazon's framing.
        case messages
        /// One JSON text, read at the end.
        case document
    }

    public static let documentByteCountMaxDefault = 16 << 20

    /// Of what costs nothing: everything passes, unread.
    static var passing: ResponseMeter {
        var meter = ResponseMeter(OpenAITracker(), hidesUsage: false, usesLongCacheWrite: false)
        meter.isReading = false
        return meter
    }

    private let hidesUsage: Bool
    private let usesLongCacheWrite: Bool
    private let documentByteCountMax: Int
    private var isReading = true
    private var mode = Mode.opaque
    private var parser: SSEParser
    private var decoder = EventStreamDecoder()
    private var document: [UInt8] = []
    private var tracker: any UsageTracker

    /// - Parameters:
    ///   - hidesUsage: the stream reports usage only because we asked for it.
    ///   - usesLongCacheWrite: the request asked for the provider's long cache lifetime.
    init(
        _ tracker: any UsageTracker, hidesUsage: Bool, usesLongCacheWrite: Bool,
        eventByteCountMax: Int = SSEParser.eventByteCountMaxDefault,
        documentByteCountMax: Int = ResponseMeter.documentByteCountMaxDefault
    ) {
        self.tracker = tracker
        self.hidesUsage = hidesUsage
        self.usesLongCacheWrite = usesLongCacheWrite
        self.documentByteCountMax = documentByteCountMax
        parser = SSEParser(eventByteCountMax: eventByteCountMax)
    }

    /// Whether anything that was generated has come.
    public var sawOutputEvents: Bool { tracker.sawOutput }

    /// Whether the response came to its regular end.
    public var sawTerminalEvent: Bool { tracker.sawEnd }

    /// Whether an event of our own may follow what was forwarded so far. In the middle of an event
    /// it would become part of that one.
    public var isBetweenEvents: Bool {
        switch mode {
        case .stream: hidesUsage ? !parser.isOverlong : parser.isBetweenEvents
        case .messages: decoder.isBetweenMessages
        case .opaque, .document: false
        }
    }

    /// The head of the response. Header values as they came; `nil` where there is none.
    public mutating func start(status: Int, contentType: String?, contentEncoding: String?) {
        let encoding = contentEncoding.map { $0.filter { $0 != " " }.lowercased() } ?? ""
        guard isReading, (200..<300).contains(status), encoding.isEmpty || encoding == "identity",
            let type = contentType?.lowercased()
        else { return }
        if type.hasPrefix("text/event-stream") {
            mode = .stream
        } else if type.hasPrefix("application/vnd.amazon.eventstream") {
            mode = .messages
        } else if type.hasPrefix("application/json") {
            mode = .document
        }
    }

    /// A piece of the body. `forward` is called with what goes to the caller, any number of times;
    /// its buffer is valid only during the call.
    public mutating func consume(
        _ bytes: UnsafeRawBufferPointer, forward: (UnsafeRawBufferPointer) -> Void
    ) {
        switch mode {
        case .opaque:
            forward(bytes)
        case .document:
            forward(bytes)
            if document.count + bytes.count > documentByteCountMax {
                mode = .opaque
                document = []
            } else {
                document.append(contentsOf: bytes)
            }
        case .messages:
            forward(bytes)
            decoder.append(bytes)
            readMessages()
        case .stream:
            if !hidesUsage { forward(bytes) }
            parser.append(bytes)
            readPieces(forward: forward)
        }
    }

    public mutating func consume(
        _ bytes: [UInt8], forward: (UnsafeRawBufferPointer) -> Void
    ) {
        bytes.withUnsafeBytes { consume($0, forward: forward) }
    }

    /// The end of the body, regular or not. Forwards what was still held back.
    public mutating func finish(forward: (UnsafeRawBufferPointer) -> Void) -> MeteredUsage? {
        switch mode {
        case .opaque: return nil
        case .stream:
            parser.finish()
            readPieces(forward: forward)
        case .messages:
            decoder.finish()
            readMessages()
        case .document:
            tracker.observe(document: document)
            document = []
        }
        return tracker.result(usesLongCacheWrite: usesLongCacheWrite)
    }

    private mutating func readMessages() {
        while let piece = decoder.next() {
            switch piece {
            case .message(let message): tracker.observe(message: message)
            case .damaged: tracker.distrust()
            }
        }
    }

    private mutating func readPieces(forward: (UnsafeRawBufferPointer) -> Void) {
        while let piece = parser.next() {
            switch piece {
            case .event(let event):
                let passage = tracker.observe(event)
                if hidesUsage { pass(event, passage, to: forward) }
            case .overlong(let bytes), .uninspected(let bytes):
                tracker.distrust()
                if hidesUsage { pass(bytes, to: forward) }
            }
        }
    }

    /// Forwards what was held back. Where usage is not hidden the bytes are on their way already.
    private func pass(
        _ event: SSEEvent, _ passage: Passage, to forward: (UnsafeRawBufferPointer) -> Void
    ) {
        switch passage {
        case .whole: pass(event.rawBytes, to: forward)
        case .nothing: break
        case .without(let member):
            pass(event.bytes[event.raw.lowerBound..<member.lowerBound], to: forward)
            pass(event.bytes[member.upperBound..<event.raw.upperBound], to: forward)
        }
    }

    private func pass(_ bytes: ArraySlice<UInt8>, to forward: (UnsafeRawBufferPointer) -> Void) {
        guard !bytes.isEmpty else { return }
        bytes.withUnsafeBytes(forward)
    }
}
