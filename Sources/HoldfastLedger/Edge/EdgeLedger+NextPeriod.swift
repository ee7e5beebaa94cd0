import HoldfastCore

/// The next period's slices, fetched shortly before it starts: otherwise every account of every edge
/// would be short in the same second.
extension EdgeLedger {
    /// An account of a period that has not started: what its predecessor uses is asked for now, and
    /// kept until it has been idle for the usual time after the start.
    ///
    /// - Parameter ticks: until the start.
    mutating func prepare(_ key: AccountKey, like older: SlotID, startsInTicks ticks: UInt64) {
        let predecessor = Int(older.rawValue)
        slots[predecessor].hasSuccessor = true
        guard slotIndex[key] == nil else { return }
        let id = slot(for: key, isEnforced: slots[predecessor].isEnforced)
        let index = Int(id.rawValue)
        slots[index].rate = slots[predecessor].rate
        slots[index].startTick = tickNumber + ticks
        slots[index].lastUseTick = slots[index].startTick
        attend(id)
        isUrgent = true
    }

    /// Accounts that were used a moment ago and have no successor yet.
    var busySlots: [SlotID] {
        awake.filter { id in
            let slot = slots[Int(id.rawValue)]
            return slot.rate > 0 && slot.isEnforced && !slot.hasSuccessor
                && slot.startTick <= tickNumber && slot.key.period != .total
        }
    }
}
