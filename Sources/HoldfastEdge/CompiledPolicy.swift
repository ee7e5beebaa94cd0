import HoldfastCore
import HoldfastProviders

/// The counter's policy, indexed so that finding the caps of a request does not depend on how many
/// caps there are. Immutable: a change is a new one.
final class CompiledPolicy: Sendable {
    private struct Scope: Hashable {
        var dimension: ScopeDimension
        var value: String
    }

    let version: UInt64
    /// Grows with every policy that this edge takes. Versions are the counter's and may go back when
    /// another counter answers.
    let generation: UInt64
    let caps: [CapReference]
    let prices: PriceBook
    private let windows: [[PeriodWindow]]
    /// Caps without a fixed scope: candidates for every request.
    private let general: [Int]
    /// The others, under one of the values that they require.
    private let scoped: [Scope: [Int]]

    /// Throws when the price book cannot be read: an edge never guesses prices.
    init(_ policy: EdgePolicy, generation: UInt64 = 0) throws(PriceBookError) {
        version = policy.version
        self.generation = generation
        caps = policy.caps.map(CapReference.init)
        windows = policy.windows.caps
        prices = try PriceBook(tsv: policy.prices)
        var general: [Int] = []
        var scoped: [Scope: [Int]] = [:]
        for (index, cap) in policy.caps.enumerated() {
            if let (dimension, value) = cap.scope.min(by: { $0.key.rawValue < $1.key.rawValue }) {
                scoped[Scope(dimension: dimension, value: value), default: []].append(index)
            } else {
                general.append(index)
            }
        }
        self.general = general
        self.scoped = scoped
    }

    private init(_ older: CompiledPolicy, windows: [[PeriodWindow]]) {
        version = older.version
        generation = older.generation
        caps = older.caps
        prices = older.prices
        general = older.general
        scoped = older.scoped
        self.windows = windows
    }

    /// The same rules with newer periods; `nil` when they belong to another version.
    func with(_ update: PolicyWindows) -> CompiledPolicy? {
        guard update.policyVersion == version, update.caps.count == caps.count else { return nil }
        return CompiledPolicy(self, windows: update.caps)
    }

    /// Everything that a request is counted against. `nil` when the period of a cap is not known,
    /// which means that no counter has been heard for long.
    func targets(for scopes: ScopeValues, now: UnixTime) -> [AccountTarget]? {
        var targets: [AccountTarget] = []
        for index in general {
            guard append(index, scopes, now, to: &targets) else { return nil }
        }
        for dimension in ScopeDimension.allCases {
            guard let value = scopes[dimension],
                let indices = scoped[Scope(dimension: dimension, value: value)]
            else { continue }
            for index in indices {
                guard append(index, scopes, now, to: &targets) else { return nil }
            }
        }
        return targets
    }

    private func append(
        _ index: Int, _ scopes: ScopeValues, _ now: UnixTime, to targets: inout [AccountTarget]
    ) -> Bool {
        let reference = caps[index]
        guard let values = reference.cap.accountValues(for: scopes) else { return true }
        guard let window = windows[index].first(where: { $0.contains(now) }) else { return false }
        targets.append(
            AccountTarget(
                reference: reference, window: window,
                key: AccountKey(
                    cap: reference.cap.name, unit: reference.cap.unit,
                    period: reference.cap.period, periodID: window.id, values: values)))
        return true
    }
}

/// A cap that requests can refer to without copying it.
final class CapReference: Sendable {
    let cap: Cap

    init(_ cap: Cap) {
        self.cap = cap
    }
}

/// One account that a request is counted against.
struct AccountTarget: Sendable {
    let reference: CapReference
    let window: PeriodWindow
    let key: AccountKey

    var cap: Cap { reference.cap }

    var isEnforced: Bool { cap.mode == .enforce }
}
