import HoldfastCore

extension EdgeLedger {
    /// One account as this edge holds it.
    ///
    ///     available = granted − released − spent − held, never below zero
    ///
    /// An overrun makes `spent` larger than what was granted for it; it draws on the rest of the
    /// slice first, and `overrun` says how much nothing was left for.
    struct Slot: Sendable {
        let key: AccountKey
        /// Names the account on the wire. Never used again for another one.
        let reference: UInt32
        var isEnforced: Bool

        var granted: Amount = .zero
        var released: Amount = .zero
        var spent: Amount = .zero
        var held: Amount = .zero
        var overrun: Amount = .zero

        /// Requests that wait on this account, in order, and the sum of what they need here.
        var waiters: [WaiterID] = []
        var waiting: Amount = .zero

        /// The newest that the counter said.
        var standing: LeaseGrant?
        var isCentral = false

        var wish: LeaseWish?
        /// Of the newest wish ever, also across connections.
        var wishNumber: UInt64 = 0
        var wishTick: UInt64 = 0
        var recallEpoch: UInt64 = 0
        var answeredRecallEpoch: UInt64 = 0

        var isDirty = false
        var isAwake = false
        var lastUseTick: UInt64
        var admittedThisTick: Amount = .zero
        /// Admitted per tick, slowly moving mean.
        var rate: UInt64 = 0

        init(key: AccountKey, reference: UInt32, isEnforced: Bool, tick: UInt64) {
            self.key = key
            self.reference = reference
            self.isEnforced = isEnforced
            lastUseTick = tick
        }

        var committed: Amount { released.saturatingAdd(spent).saturatingAdd(held) }
        var available: Amount { granted.excess(over: committed) }

        func canPay(_ amount: Amount) -> Bool { !isEnforced || available >= amount }

        mutating func settle(held amount: Amount, actual: Amount) {
            precondition(amount <= held, "settled more than was held")
            held -= amount
            spent += actual
            // What not even the rest of the slice pays for.
            overrun += released.saturatingAdd(spent)
                .excess(over: granted.saturatingAdd(overrun))
        }

        /// Takes what the counter says, in any order and however often.
        mutating func take(_ grant: LeaseGrant) {
            granted = max(granted, grant.granted)
            // Larger than ours only for an account that was forgotten and comes back. It was
            // forgotten when the counter knew all of it, so it goes on from what is stored.
            released = max(released, grant.released)
            spent = max(spent, grant.spent)
            overrun = max(overrun, released.saturatingAdd(spent).excess(over: granted))
            isCentral = grant.isCentral
            standing = grant
        }

        mutating func moveRate() {
            let admitted = admittedThisTick.rawValue
            // The mean would never reach zero by division alone.
            rate = admitted == 0 && rate < 16 ? 0 : rate - rate / 16 + admitted / 16
            admittedThisTick = .zero
        }

        /// Gives back so much of what is idle, for ever.
        mutating func release(_ amount: Amount) {
            precondition(amount <= available, "released money that is in use")
            released += amount
            isDirty = true
        }

        /// What the counter has not acknowledged yet.
        var isAcknowledged: Bool {
            guard let standing else { return granted == .zero && spent == .zero }
            return standing.released >= released && standing.spent >= spent
        }
    }
}
