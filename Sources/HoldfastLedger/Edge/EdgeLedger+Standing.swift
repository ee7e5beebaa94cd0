public import HoldfastCore

/// Reading the ledger: for refusals, the console and metrics.
extension EdgeLedger {
    public struct Standing: Equatable, Sendable {
        public let key: AccountKey
        public let granted: Amount
        public let released: Amount
        public let spent: Amount
        public let held: Amount
        public let available: Amount
        public let isEnforced: Bool
        /// The newest that the counter said; `nil` before its first answer.
        public let counter: LeaseGrant?

        /// What is not spent by anyone, as far as known here: all that a request could ever get.
        public var room: Amount? {
            guard let counter else { return nil }
            // Our own spending since the counter last heard of it is known here too.
            let unreported = spent.excess(over: counter.spent)
            return counter.limit.excess(over: counter.totalSpent.saturatingAdd(unreported))
        }

        /// What could be held right now: idle here, and free at the counter.
        public var payableNow: Amount {
            guard let counter else { return available }
            return available.saturatingAdd(counter.limit.excess(over: counter.exposure))
        }
    }

    /// `Standing.room` of one account, without the rest.
    public func room(of id: SlotID) -> Amount? {
        let index = Int(id.rawValue)
        guard let counter = slots[index].standing else { return nil }
        let unreported = slots[index].spent.excess(over: counter.spent)
        return counter.limit.excess(over: counter.totalSpent.saturatingAdd(unreported))
    }

    public func standing(of id: SlotID) -> Standing {
        let slot = slots[Int(id.rawValue)]
        return Standing(
            key: slot.key, granted: slot.granted, released: slot.released, spent: slot.spent,
            held: slot.held, available: slot.available, isEnforced: slot.isEnforced,
            counter: slot.standing)
    }

    public func demands(of waiter: WaiterID) -> [Demand]? {
        position(of: waiter).map { line[$0].demands }
    }

    public func reference(of id: SlotID) -> UInt32 { slots[Int(id.rawValue)].reference }
}
