public import HoldfastCore

/// What a provider said that a response used, in a form that is safe to charge.
///
/// Where a provider's numbers contradict each other, this is the dearest reading of them.
public struct MeteredUsage: Hashable, Sendable {
    public var usage: TokenUsage
    /// The tier that was billed, which need not be the one asked for; `nil` when not reported.
    public var serviceTier: String?
    /// Whether the fast mode was billed; `nil` when not reported.
    public var isFast: Bool?
    /// Whether a surcharge for the place of inference was billed.
    public var inferenceGeoUS: Bool
    /// The model that answered; `nil` when not reported.
    public var model: String?
    /// Searches, which are billed per call on top of tokens.
    public var webSearchRequests: UInt64

    public init(
        usage: TokenUsage, serviceTier: String? = nil, isFast: Bool? = nil,
        inferenceGeoUS: Bool = false, model: String? = nil, webSearchRequests: UInt64 = 0
    ) {
        self.usage = usage
        self.serviceTier = serviceTier
        self.isFast = isFast
        self.inferenceGeoUS = inferenceGeoUS
        self.model = model
        self.webSearchRequests = webSearchRequests
    }
}

/// Writes to the provider's cache, split by lifetime.
struct CacheWrites: Hashable, Sendable {
    var short: UInt64
    var long: UInt64

    /// Without a split, everything is long when the request asked for the long lifetime. With one
    /// that does not add up to the total, what is missing is long: the dearer reading.
    init(total: UInt64?, short: UInt64?, long: UInt64?, usesLongCacheWrite: Bool) {
        let total = total ?? 0
        if short == nil, long == nil {
            self.short = usesLongCacheWrite ? 0 : total
            self.long = usesLongCacheWrite ? total : 0
            return
        }
        self.short = short ?? 0
        self.long = long ?? 0
        let sum = self.short + self.long
        if total > sum { self.long += total - sum }
    }

    var total: UInt64 { short + long }
}

/// Reads numbers of tokens from a usage object.
///
/// A number that is not one, or cannot be, makes everything beside it untrustworthy.
struct TokenCountReader: Hashable, Sendable {
    /// No response comes near it, and sums of a dozen such numbers fit with room to spare.
    private static let tokenCountMax: UInt64 = 1 << 40

    private(set) var isTrusted = true

    mutating func distrust() {
        isTrusted = false
    }

    /// `nil` for `null`, and when it cannot be trusted.
    mutating func read(_ scanner: inout JSONScanner) throws(JSONError) -> UInt64? {
        let value = try scanner.skipValue()
        if value.kind == .null { return nil }
        guard value.kind == .number, let count = JSON.unsigned(value.range, in: scanner.bytes),
            count <= Self.tokenCountMax
        else {
            isTrusted = false
            return nil
        }
        return count
    }

    /// The string that comes next; `nil` for anything else.
    mutating func string(_ scanner: inout JSONScanner) throws(JSONError) -> String? {
        let value = try scanner.skipValue()
        guard value.kind == .string else { return nil }
        return JSON.string(value.range, in: scanner.bytes)
    }

    /// Enters an object; `false` for `null`, and when it is something else.
    mutating func enterObject(_ scanner: inout JSONScanner) throws(JSONError) -> Bool {
        switch try scanner.peekKind() {
        case .object:
            try scanner.enterObject()
            return true
        case .null: break
        case .array, .string, .number, .true, .false: isTrusted = false
        }
        try scanner.skipValue()
        return false
    }

    mutating func check<Key>(_ keys: KnownKeys<Key>) {
        if keys.duplicate != nil { isTrusted = false }
    }
}
