import HoldfastCore
import HoldfastTransport
import HoldfastWire

/// The policy in force, indexed for the core, with the periods that are open now.
struct CounterRules {
    let version: UInt64
    private let policy: CounterPolicy
    private let keys: [[UInt8]: KeyPolicy]
    private var capIndex: [String: Int] = [:]
    private var openWindows: [[PeriodWindow]] = []

    init(policy: CounterPolicy, version: UInt64, pepper: [UInt8], now: UnixTime) {
        self.policy = policy
        self.version = version
        var keys: [[UInt8]: KeyPolicy] = [:]
        for key in policy.keys {
            keys[KeyDigest.of(secret: key.secret, pepper: pepper)] = key.policy
        }
        self.keys = keys
        for (index, cap) in policy.caps.enumerated() { capIndex[cap.name] = index }
        openWindows = policy.caps.map { policy.windows(of: $0, at: now) }
    }

    var caps: [Cap] { policy.caps }

    func key(digest: [UInt8]) -> KeyPolicy? { keys[digest] }

    func cap(named name: String) -> Cap? { capIndex[name].map { policy.caps[$0] } }

    /// Each cap with its current period.
    var openAccounts: [(cap: Cap, window: PeriodWindow)] {
        zip(policy.caps, openWindows).compactMap { cap, windows in
            windows.first.map { (cap, $0) }
        }
    }

    func window(of key: AccountKey) -> PeriodWindow? {
        guard let index = capIndex[key.cap] else { return nil }
        return openWindows[index].first { $0.id == key.periodID }
    }

    /// The limit of an account and whether anything may be granted on it now.
    func standing(of key: AccountKey, now: UnixTime) -> (limit: Amount, isOpen: Bool) {
        guard let index = capIndex[key.cap] else { return (.zero, false) }
        let cap = policy.caps[index]
        guard cap.unit == key.unit, cap.period == key.period, cap.each.count == key.values.count
        else { return (.zero, false) }
        let isOpen = openWindows[index].contains { window in
            window.id == key.periodID
                && window.startsAt.seconds - now.seconds <= CounterCore.nextPeriodGraceSeconds
                && now < window.endsAt
        }
        return (cap.limit, isOpen)
    }

    /// Moves on to the periods that contain `now`; says whether any changed.
    mutating func roll(to now: UnixTime) -> Bool {
        guard openWindows.contains(where: { $0.first.map { $0.endsAt <= now } ?? false }) else {
            return false
        }
        openWindows = policy.caps.map { policy.windows(of: $0, at: now) }
        return true
    }

    func windows(at counterTimeMilliseconds: Int64) -> PolicyWindows {
        PolicyWindows(
            policyVersion: version, caps: openWindows,
            counterTimeMilliseconds: counterTimeMilliseconds)
    }

    func edgePolicy(at counterTimeMilliseconds: Int64) -> EdgePolicy {
        EdgePolicy(
            version: version, caps: policy.caps, prices: policy.prices,
            windows: windows(at: counterTimeMilliseconds))
    }
}
