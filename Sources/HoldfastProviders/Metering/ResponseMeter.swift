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
        /// One JSON text, read at the end.
        case document
    }

    public static let documentByteCountMaxDefault = 16 << 20

    /// Whether anything that was generated has come.
    public private(set) var sawOutputEvents = false
    /// Whether the response came to its regular end.
    public private(set) var sawTerminalEvent = false

    private let dialect: Dialect
    private let hidesUsage: Bool
    private let usesLongCacheWrite: Bool
    private let documentByteCountMax: Int
    private var mode = Mode.opaque
    private var parser: SSEParser
    private var document: [UInt8] = []
    private var openAI = OpenAITracker()
    private var anthropic = AnthropicTracker()

    /// - Parameters:
    ///   - hidesUsage: the stream reports usage only because we asked for it.
    ///   - usesLongCacheWrite: the request asked for the provider's long cache lifetime.
    public init(
        dialect: Dialect, hidesUsage: Bool, usesLongCacheWrite: Bool,
        eventByteCountMax: Int = SSEParser.eventByteCountMaxDefault,
        documentByteCountMax: Int = ResponseMeter.documentByteCountMaxDefault
    ) {
        self.dialect = dialect
        self.hidesUsage = hidesUsage
        self.usesLongCacheWrite = usesLongCacheWrite
        self.documentByteCountMax = documentByteCountMax
        parser = SSEParser(eventByteCountMax: eventByteCountMax)
    }

    /// Whether an event of our own may follow what was forwarded so far. In the middle of an event
    /// it would become part of that one.
    public var isBetweenEvents: Bool {
        mode == .stream && (hidesUsage ? !parser.isOverlong : parser.isBetweenEvents)
    }

    /// The head of the response. Header values as they came; `nil` where there is none.
    public mutating func start(status: Int, contentType: String?, contentEncoding: String?) {
        let encoding = contentEncoding.map { $0.filter { $0 != " " }.lowercased() } ?? ""
        guard (200..<300).contains(status), encoding.isEmpty || encoding == "identity",
            let type = contentType?.lowercased()
        else { return }
        if type.hasPrefix("text/event-stream") {
            mode = .stream
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
        case .document:
            readDocument()
            document = []
        }
        switch dialect {
        case .openai:
            return openAI.result(
                isComplete: sawTerminalEvent, usesLongCacheWrite: usesLongCacheWrite)
        case .anthropic:
            return anthropic.result(usesLongCacheWrite: usesLongCacheWrite)
        }
    }

    // MARK: - Streams

    private mutating func readPieces(forward: (UnsafeRawBufferPointer) -> Void) {
        while let piece = parser.next() {
            switch piece {
            case .event(let event):
                switch dialect {
                case .openai: readOpenAI(event, forward: forward)
                case .anthropic: readAnthropic(event, forward: forward)
                }
            case .overlong(let bytes), .uninspected(let bytes):
                openAI.distrust()
                anthropic.distrust()
                pass(bytes, to: forward)
            }
        }
    }

    private mutating func readOpenAI(
        _ event: SSEEvent, forward: (UnsafeRawBufferPointer) -> Void
    ) {
        guard let range = event.dataRange else { return pass(event.rawBytes, to: forward) }
        if event.dataBytes[range].elementsEqual("[DONE]".utf8) {
            sawTerminalEvent = true
            return pass(event.rawBytes, to: forward)
        }
        let chunk: OpenAIChunk
        do throws(JSONError) {
            chunk = try OpenAIChunk(event.dataBytes, in: range)
        } catch {
            openAI.forgetUsage()
            return pass(event.rawBytes, to: forward)
        }
        if chunk.hasChoices { sawOutputEvents = true }
        openAI.observe(chunk)
        if hidesUsage, chunk.isUsageOnly { return }
        if hidesUsage, let member = chunk.nullUsageMember, event.isDataInPlace {
            pass(event.bytes[event.raw.lowerBound..<member.lowerBound], to: forward)
            pass(event.bytes[member.upperBound..<event.raw.upperBound], to: forward)
        } else {
            pass(event.rawBytes, to: forward)
        }
    }

    private mutating func readAnthropic(
        _ event: SSEEvent, forward: (UnsafeRawBufferPointer) -> Void
    ) {
        if let range = event.dataRange {
            anthropic.observe(event.dataBytes, in: range)
            sawOutputEvents = anthropic.sawOutput
            sawTerminalEvent = anthropic.sawStop
        }
        pass(event.rawBytes, to: forward)
    }

    /// Forwards bytes that were held back; the others are on their way already.
    private func pass(_ bytes: ArraySlice<UInt8>, to forward: (UnsafeRawBufferPointer) -> Void) {
        guard hidesUsage, !bytes.isEmpty else { return }
        bytes.withUnsafeBytes(forward)
    }

    // MARK: - Documents

    private mutating func readDocument() {
        switch dialect {
        case .openai:
            do throws(JSONError) {
                let response = try OpenAIChunk(document, in: 0..<document.count)
                openAI.observe(response)
                sawOutputEvents = response.hasChoices
                sawTerminalEvent = !response.hasError
            } catch {
                openAI.distrust()
            }
        case .anthropic:
            anthropic.observeDocument(document)
            sawOutputEvents = anthropic.sawOutput
            sawTerminalEvent = anthropic.sawStop
        }
    }
}
