public import HoldfastCore

/// The rules a counter enforces and hands to its edges.
public struct CounterPolicy: Sendable {
    public struct Key: Sendable {
        public var policy: KeyPolicy
        /// The secret callers send. Only its HMAC leaves this process.
        public var secret: String

        public init(policy: KeyPolicy, secret: String) {
            self.policy = policy
            self.secret = secret
        }
    }

    public var caps: [Cap]
    public var keys: [Key]
    /// The price book, in the format of prices.tsv.
    public var prices: String
    /// The rules of every zone that a cap names.
    public var zones: [String: ZoneOffsets]

    public init(caps: [Cap], keys: [Key], prices: String, zones: [String: ZoneOffsets]) {
        for cap in caps {
            precondition(zones[cap.zone] != nil, "no zone rules for \(cap.zone)")
        }
        self.caps = caps
        self.keys = keys
        self.prices = prices
        self.zones = zones
    }

    /// The current period of a cap and the one after it.
    func windows(of cap: Cap, at now: UnixTime) -> [PeriodWindow] {
        guard let zone = zones[cap.zone] else { return [] }
        let current = cap.period.window(containing: now, in: zone)
        guard cap.period != .total else { return [current] }
        return [current, cap.period.window(containing: current.endsAt, in: zone)]
    }
}
