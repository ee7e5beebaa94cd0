package import HoldfastCore
package import HoldfastLedger

/// What operators look at.
extension CounterCore {
    /// The accounts of open periods that `isSelected`, most spent first, at most `limit`.
    package func accountViews(
        limit: Int, where isSelected: @Sendable (AccountView) -> Bool = { _ in true }
    ) async throws(StoreError) -> AccountsView {
        let accounts = try await openAccounts()
        let rules = try await inspect { $0.currentRules }
        var views: [AccountView] = []
        for (key, ledger) in accounts.ledgers {
            guard let cap = rules.cap(named: key.cap), let window = rules.window(of: key),
                window.contains(accounts.view.clock)
            else { continue }
            let view = AccountView(key: key, cap: cap, window: window, ledger: ledger)
            if isSelected(view) { views.append(view) }
        }
        views.sort { ($0.spent.rawValue, $1.key.text) > ($1.spent.rawValue, $0.key.text) }
        return AccountsView(
            accounts: Array(views.prefix(limit)), selectedCount: views.count,
            readCount: accounts.readCount, isComplete: accounts.isComplete)
    }
}

package struct AccountsView: Sendable {
    package let accounts: [AccountView]
    /// With those that did not fit.
    package let selectedCount: Int
    package let readCount: Int
    /// False when the store has more accounts than are read for one answer.
    package let isComplete: Bool
}

/// One account, for operators.
package struct AccountView: Sendable {
    package enum Status: String, Sendable, CaseIterable {
        case ok
        /// Nothing is left.
        case spent
        /// The limit was lowered below what edges may still spend. Nothing is granted until it
        /// fits.
        case pending
        /// An operator has to look: the store has lost a write.
        case frozen
        case observe
    }

    package let key: AccountKey
    package let cap: Cap
    package let window: PeriodWindow
    package let spent: Amount
    /// What edges may still spend of what was granted, or are presumed to have spent.
    package let outstanding: Amount
    package let isFrozen: Bool

    init(key: AccountKey, cap: Cap, window: PeriodWindow, ledger: AccountLedger) {
        self.key = key
        self.cap = cap
        self.window = window
        spent = ledger.totalSpent
        outstanding = ledger.exposure.excess(over: ledger.totalSpent)
        isFrozen = ledger.isFrozen
    }

    package var status: Status {
        if isFrozen { return .frozen }
        if cap.mode == .observe { return .observe }
        if spent >= cap.limit { return .spent }
        return spent.saturatingAdd(outstanding) > cap.limit ? .pending : .ok
    }
}
