public import HoldfastCore

/// The rules a counter enforces and hands to its edges, indexed, with the periods that are open
/// now.
public struct CounterRules: Sendable {
    public let version: UInt64
    public let caps: [Cap]
    /// By the digest of their secrets.
    private let keys: [[UInt8]: KeyPolicy]
    /// The price book, in the format of prices.tsv.
    private let prices: String
    /// The rules of every zone that a cap names.
    private let zones: [String: ZoneOffsets]
    private var capIndex: [String: Int] = [:]
    private var openWindows: [[PeriodWindow]] = []

    /// An account of the next period may be asked for so long before it starts.
    static let nextPeriodGraceSeconds: Int64 = 15

    public init(
        version: UInt64, caps: [Cap], keys: [[UInt8]: KeyPolicy], prices: String,
        zones: [String: ZoneOffsets], now: UnixTime
    ) {
        self.version = version
        self.caps = caps
        self.keys = keys
        self.prices = prices
        self.zones = zones
        for (index, cap) in caps.enumerated() {
            precondition(zones[cap.zone] != nil, "no zone rules for \(cap.zone)")
            capIndex[cap.name] = index
        }
        openWindows = caps.map { windows(of: $0, at: now) }
    }

    public func key(digest: [UInt8]) -> KeyPolicy? { keys[digest] }

    public func cap(named name: String) -> Cap? { capIndex[name].map { caps[$0] } }

    /// Each cap with its current period.
    public var openAccounts: [(cap: Cap, window: PeriodWindow)] {
        zip(caps, openWindows).map { cap, windows in (cap, windows[0]) }
    }

    public func window(of key: AccountKey) -> PeriodWindow? {
        guard let index = capIndex[key.cap] else { return nil }
        return openWindows[index].first { $0.id == key.periodID }
    }

    /// The limit of an account and whether anything may be granted on it now.
    func standing(of key: AccountKey, now: UnixTime) -> (limit: Amount, isOpen: Bool) {
        guard let index = capIndex[key.cap] else { return (.zero, false) }
        let cap = caps[index]
        guard cap.unit == key.unit, cap.period == key.period, cap.each.count == key.values.count
        else { return (.zero, false) }
        let isOpen = openWindows[index].contains { window in
            window.id == key.periodID
                && window.startsAt.seconds - now.seconds <= Self.nextPeriodGraceSeconds
                && now < window.endsAt
        }
        return (cap.limit, isOpen)
    }

    /// Moves on to the periods that contain `now`; says whether any changed.
    mutating func roll(to now: UnixTime) -> Bool {
        guard now >= nextRoll else { return false }
        openWindows = caps.map { windows(of: $0, at: now) }
        return true
    }

    /// When the first of the open periods ends.
    var nextRoll: UnixTime {
        openWindows.lazy.map { $0[0].endsAt }.min() ?? .distantFuture
    }

    /// The current period of a cap and the one after it.
    private func windows(of cap: Cap, at now: UnixTime) -> [PeriodWindow] {
        guard let zone = zones[cap.zone] else { preconditionFailure("checked by init") }
        let current = cap.period.window(containing: now, in: zone)
        guard cap.period != .total else { return [current] }
        return [current, cap.period.window(containing: current.endsAt, in: zone)]
    }

    func policyWindows(at counterTimeMilliseconds: Int64) -> PolicyWindows {
        PolicyWindows(
            policyVersion: version, caps: openWindows,
            counterTimeMilliseconds: counterTimeMilliseconds)
    }

    func edgePolicy(at counterTimeMilliseconds: Int64) -> EdgePolicy {
        EdgePolicy(
            version: version, caps: caps, prices: prices,
            windows: policyWindows(at: counterTimeMilliseconds))
    }
}
