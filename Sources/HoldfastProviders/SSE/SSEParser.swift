/// One server-sent event, or a group of lines that is none (comments, extra blank lines).
public struct SSEEvent: Sendable {
    /// Holds the event and perhaps its neighbours: use `raw`.
    public let bytes: [UInt8]
    /// The event exactly as it came, with the blank line that ends it.
    public let raw: Range<Int>
    /// Where `data` is in `dataBytes`; `nil` when the group has no data line.
    public let dataRange: Range<Int>?
    /// The bytes that `dataRange` refers to: those of the event for a single data line, else a copy
    /// in which the lines are joined by line feeds.
    public let dataBytes: [UInt8]
    private let nameRange: Range<Int>?
    /// Whether `dataRange` is also a range of `bytes`.
    public let isDataInPlace: Bool

    fileprivate init(
        bytes: [UInt8], raw: Range<Int>, dataBytes: [UInt8], dataRange: Range<Int>?,
        isDataInPlace: Bool, nameRange: Range<Int>?
    ) {
        self.bytes = bytes
        self.raw = raw
        self.dataBytes = dataBytes
        self.dataRange = dataRange
        self.isDataInPlace = isDataInPlace
        self.nameRange = nameRange
    }

    /// The value of the last `event` line; `nil` without one.
    public var name: String? { nameRange.map { String(decoding: bytes[$0], as: UTF8.self) } }
    public var rawBytes: ArraySlice<UInt8> { bytes[raw] }
    public var data: ArraySlice<UInt8>? { dataRange.map { dataBytes[$0] } }
}

/// Splits a `text/event-stream` into events, whatever pieces it arrives in.
///
/// `append` bytes, then call `next` until it is `nil`. The raw bytes of all pieces, one after the
/// other, are the stream, and where it was cut into pieces makes no difference to them. That is why
/// a carriage return at the very end is left until the next byte is known: a line feed after it
/// still belongs to its line.
public struct SSEParser: Sendable {
    public enum Piece: Sendable {
        case event(SSEEvent)
        /// An event was larger than allowed. This is what came of it; reported once.
        case overlong(ArraySlice<UInt8>)
        /// Bytes after an overlong event, no longer looked at.
        case uninspected(ArraySlice<UInt8>)
    }

    public static let eventByteCountMaxDefault = 4 << 20

    private let eventByteCountMax: Int
    private var buffer: [UInt8] = []
    private var eventStart = 0
    private var lineStart = 0
    /// Before it there is no line end that was not handled, so no byte is looked at twice.
    private var scanIndex = 0
    /// Almost every event has exactly one data line: the array is only for the others.
    private var firstData: Range<Int>?
    private var moreData: [Range<Int>] = []
    private var name: Range<Int>?
    private var isFirstLine = true
    /// Whether an event was larger than allowed, so that the rest is not looked at.
    public private(set) var isOverlong = false
    private var isFinished = false

    public init(eventByteCountMax: Int = SSEParser.eventByteCountMaxDefault) {
        self.eventByteCountMax = eventByteCountMax
    }

    /// Whether everything so far was complete events.
    public var isBetweenEvents: Bool { !isOverlong && eventStart == buffer.count }

    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        precondition(!isFinished, "bytes after the end")
        discardReturned()
        buffer.append(contentsOf: bytes)
    }

    public mutating func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { append($0) }
    }

    /// Says that nothing more comes: `next` then also returns what is left, as an event if it is
    /// one but for the blank line at its end.
    public mutating func finish() {
        isFinished = true
    }

    public mutating func next() -> Piece? {
        guard !isOverlong else { return takeRest().map { .uninspected($0) } }
        while let terminator = nextLineEnd() {
            var next = terminator + 1
            if buffer[terminator] == UInt8(ascii: "\r") {
                guard next < buffer.count || isFinished else { break }
                if next < buffer.count, buffer[next] == UInt8(ascii: "\n") { next += 1 }
            }
            let line = lineStart..<terminator
            lineStart = next
            scanIndex = next
            if readLine(line) { return take(upTo: next) }
        }
        if buffer.count - eventStart > eventByteCountMax { return takeOverlong() }
        guard isFinished, eventStart < buffer.count else { return nil }
        if lineStart < buffer.count { _ = readLine(lineStart..<buffer.count) }
        lineStart = buffer.count
        scanIndex = buffer.count
        return take(upTo: buffer.count)
    }

    // MARK: - Lines

    private mutating func nextLineEnd() -> Int? {
        let found = buffer.withUnsafeBufferPointer { bytes in
            var index = scanIndex
            while index < bytes.count, bytes[index] != 0x0A, bytes[index] != 0x0D { index += 1 }
            return index
        }
        scanIndex = found
        return found < buffer.count ? found : nil
    }

    /// Returns whether the line is the blank one that ends an event.
    private mutating func readLine(_ whole: Range<Int>) -> Bool {
        var line = whole
        if isFirstLine {
            isFirstLine = false
            if buffer[line].starts(with: [0xEF, 0xBB, 0xBF]) {
                line = line.lowerBound + 3..<line.upperBound
            }
        }
        if line.isEmpty { return true }
        let colon = buffer[line].firstIndex(of: UInt8(ascii: ":")) ?? line.upperBound
        var value = min(colon + 1, line.upperBound)..<line.upperBound
        if !value.isEmpty, buffer[value.lowerBound] == UInt8(ascii: " ") {
            value = value.lowerBound + 1..<value.upperBound
        }
        let field = buffer[line.lowerBound..<colon]
        if field.elementsEqual("data".utf8) {
            if firstData == nil { firstData = value } else { moreData.append(value) }
        } else if field.elementsEqual("event".utf8) {
            name = value
        }
        return false
    }

    // MARK: - Pieces

    private mutating func take(upTo end: Int) -> Piece {
        guard end - eventStart <= eventByteCountMax else { return takeOverlong() }
        var dataBytes = buffer
        var dataRange = firstData
        if let firstData, !moreData.isEmpty {
            dataBytes = Array(buffer[firstData])
            for range in moreData {
                dataBytes.append(UInt8(ascii: "\n"))
                dataBytes.append(contentsOf: buffer[range])
            }
            dataRange = 0..<dataBytes.count
        }
        let event = SSEEvent(
            bytes: buffer, raw: eventStart..<end, dataBytes: dataBytes, dataRange: dataRange,
            isDataInPlace: moreData.isEmpty, nameRange: name)
        eventStart = end
        forgetLines()
        return .event(event)
    }

    private mutating func takeOverlong() -> Piece {
        isOverlong = true
        forgetLines()
        return .overlong(takeRest() ?? [])
    }

    private mutating func takeRest() -> ArraySlice<UInt8>? {
        guard eventStart < buffer.count else { return nil }
        let rest = buffer[eventStart...]
        eventStart = buffer.count
        return rest
    }

    private mutating func forgetLines() {
        firstData = nil
        moreData.removeAll(keepingCapacity: true)
        name = nil
    }

    /// Drops what `next` has returned, keeping the memory for the next events.
    private mutating func discardReturned() {
        guard eventStart > 0 else { return }
        let shift = eventStart
        if shift == buffer.count {
            buffer.removeAll(keepingCapacity: true)
        } else {
            buffer.removeFirst(shift)
        }
        lineStart -= shift
        scanIndex -= shift
        firstData = firstData?.shifted(by: shift)
        moreData = moreData.map { $0.shifted(by: shift) }
        name = name?.shifted(by: shift)
        eventStart = 0
    }
}

extension Range<Int> {
    fileprivate func shifted(by count: Int) -> Range<Int> {
        lowerBound - count..<upperBound - count
    }
}
