/// Follows the usage through one response, in the format of one API.
protocol UsageTracker: Sendable {
    /// Whether anything that was generated has come.
    var sawOutput: Bool { get }
    /// Whether the response came to its regular end.
    var sawEnd: Bool { get }

    /// One event of a stream.
    ///
    /// - Returns: what of it is there when the caller has not asked for usage. Not looked at where it
    ///   has, or where there is no way to ask.
    mutating func observe(_ event: SSEEvent) -> Passage

    /// One message of a stream in Amazon's framing.
    mutating func observe(message: EventStreamMessage)

    /// A whole response that was not streamed.
    mutating func observe(document: [UInt8])

    /// Something could not be read that may have been the numbers.
    mutating func distrust()

    /// `nil` when the provider did not say, or not in a way that can be trusted.
    func result(usesLongCacheWrite: Bool) -> MeteredUsage?
}

extension UsageTracker {
    /// No other provider sends such messages.
    mutating func observe(message: EventStreamMessage) { distrust() }
}

/// What of an event goes to a caller that has not asked for usage.
enum Passage: Hashable, Sendable {
    case whole
    case nothing
    /// All but this range of the event's bytes.
    case without(Range<Int>)
}
