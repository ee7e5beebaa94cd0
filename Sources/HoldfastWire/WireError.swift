/// Why bytes were not taken as a frame. The connection they came on is closed.
public enum WireError: Error, Sendable, Equatable {
    case frameTooLarge(byteCount: Int)
    case notAFrame
    case unknownFrame
    case amountOutOfBounds(field: String)
    case malformed(field: String)
    case tooManyEntries(Int)
}
