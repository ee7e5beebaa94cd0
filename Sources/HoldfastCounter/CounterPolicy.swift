import Crypto
public import HoldfastCore
import HoldfastLedger
import HoldfastTransport
import HoldfastWire

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

    /// The rules as the engine wants them: with digests where the secrets were.
    func rules(pepper: [UInt8], now: UnixTime) -> CounterRules {
        var digests: [[UInt8]: KeyPolicy] = [:]
        for key in keys { digests[KeyDigest.of(secret: key.secret, pepper: pepper)] = key.policy }
        return CounterRules(
            version: version(digests), caps: caps, keys: digests, prices: prices, zones: zones,
            now: now)
    }

    /// Made from the content, so that counters which were given the same file agree on it without
    /// having met.
    private func version(_ digests: [[UInt8]: KeyPolicy]) -> UInt64 {
        var hash = SHA256()
        let windows = PolicyWindows(policyVersion: 0, caps: [], counterTimeMilliseconds: 0)
        let policy = EdgePolicy(version: 0, caps: caps, prices: prices, windows: windows)
        hash.update(data: FrameCodec.encode(.policy(policy)))
        for (digest, key) in digests.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            hash.update(data: digest)
            hash.update(data: FrameCodec.encode(.keyAnswer(request: 0, policy: key)))
        }
        return hash.finalize().prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }
}
