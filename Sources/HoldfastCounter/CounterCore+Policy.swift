package import HoldfastCore
import HoldfastLedger
import HoldfastStore
import HoldfastWire
import Logging

/// Changes of the rules, and what operators look at.
extension CounterCore {
    /// Takes a new policy and hands it on. Raised limits are granted from with the next decision;
    /// lowered ones are called in from whoever holds idle budget.
    func adopt(_ policy: CounterPolicy) {
        let old = rules
        let version = max(old.version + 1, UInt64(clock.nowMilliseconds()))
        rules = CounterRules(policy: policy, version: version, pepper: pepper, now: clock.now())
        let frame = CounterFrame.policy(rules.edgePolicy(at: clock.nowMilliseconds()))
        for peer in peers.values where peer.session != nil {
            peer.connection.send(frame)
            peer.connection.send(.keysChanged)
        }
        for key in accounts.keys {
            let before = old.cap(named: key.cap)?.limit
            let after = rules.cap(named: key.cap)?.limit
            guard before != after else { continue }
            touch(key)
            // Everybody who has an account of it should know the new limit at once.
            batch.reporters[key, default: []] += accounts[key]?.ledger.sessions ?? []
            if (after ?? .zero) < (before ?? .zero) { batch.recallAll.insert(key) }
        }
        logger.info(
            "policy changed",
            metadata: ["version": "\(version)", "caps": "\(policy.caps.count)"])
    }

    func views(limit: Int) -> Result<[AccountView], StoreError> {
        var byKey: [AccountKey: AccountLedger] = [:]
        do {
            for (cap, window) in rules.openAccounts {
                let found = try store.scan(
                    .period(
                        cap: cap.name, unit: cap.unit, period: cap.period, periodID: window.id),
                    limit: limit, after: nil)
                for account in found {
                    byKey[account.key] = AccountLedger(account.stored.account)
                }
            }
        } catch {
            return .failure(error)
        }
        for (key, cached) in accounts { byKey[key] = cached.ledger }
        let now = clock.now()
        var views: [AccountView] = []
        for (key, ledger) in byKey {
            guard let cap = rules.cap(named: key.cap), let window = rules.window(of: key),
                window.contains(now)
            else { continue }
            views.append(AccountView(key: key, cap: cap, window: window, ledger: ledger))
        }
        views.sort { ($0.spent.rawValue, $1.key.text) > ($1.spent.rawValue, $0.key.text) }
        return .success(Array(views.prefix(limit)))
    }
}

/// One account, for operators.
package struct AccountView: Sendable {
    package let key: AccountKey
    package let cap: Cap
    package let window: PeriodWindow
    package let spent: Amount
    /// In open holds or leased to edges.
    package let reserved: Amount
    package let isFrozen: Bool

    init(key: AccountKey, cap: Cap, window: PeriodWindow, ledger: AccountLedger) {
        self.key = key
        self.cap = cap
        self.window = window
        spent = ledger.totalSpent
        reserved = ledger.exposure.excess(over: ledger.totalSpent)
        isFrozen = ledger.isFrozen
    }

    /// `blocked` when nothing is left, `frozen` when an operator has to look.
    package var status: String {
        if isFrozen { return "frozen" }
        if cap.mode == .observe { return "observe" }
        return spent >= cap.limit ? "spent" : "ok"
    }
}
