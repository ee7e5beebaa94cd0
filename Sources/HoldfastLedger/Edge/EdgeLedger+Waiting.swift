import HoldfastCore

/// Requests that wait: first come first served on each account.
///
/// A request that touches several accounts needs all of them at once, and each may be short. So
/// that two requests never keep from each other what the other needs, here or on another edge, all
/// gather their accounts in one order, the same everywhere: the bytes of the key. A request keeps
/// what it needs on the accounts before the first that it lacks; there it waits *in line* and keeps
/// those behind it from passing; on the accounts after that one it holds nobody up. A part of what
/// it needs on one account is never kept when others are short of it.
extension EdgeLedger {
    // MARK: - Coming and going

    /// Queues a request that `admit` found short. `nil` when too many wait already.
    public mutating func wait(for demands: [Demand]) -> WaiterID? {
        guard line.count < Limits.waiterCountMax else { return nil }
        let id = WaiterID(rawValue: nextWaiter)
        nextWaiter += 1
        let waiter = Waiter(id: id, demands: demands, order: gatheringOrder(of: demands))
        line.append(waiter)
        for demand in demands {
            let index = Int(demand.slot.rawValue)
            if slots[index].waiterCount == 0 { slots[index].startLine() }
            slots[index].waiterCount += 1
            slots[index].waiting = slots[index].waiting.saturatingAdd(demand.amount)
            slots[index].used(tick: tickNumber)
            wake(demand.slot)
        }
        if isJournaled { for demand in demands { watchJournal(demand.slot) } }
        _ = gather(waiter)
        isUrgent = true
        return id
    }

    /// The same request for less, at the same place in the queue. The demands name the same slots.
    public mutating func reduce(_ id: WaiterID, to demands: [Demand]) -> [Wakeup] {
        guard let position = position(of: id) else { return [] }
        let old = line[position].demands
        precondition(old.map(\.slot) == demands.map(\.slot), "a waiter keeps its accounts")
        for (old, new) in zip(old, demands) {
            let index = Int(old.slot.rawValue)
            slots[index].waiting = slots[index].waiting.excess(over: old.amount)
                .saturatingAdd(new.amount)
            slots[index].isWishOutdated = true
        }
        line[position].demands = demands
        isUrgent = true
        return serveLine()
    }

    /// The request no longer waits: refused, timed out, or its caller is gone. What it leaves
    /// behind may serve those after it.
    public mutating func withdraw(_ id: WaiterID) -> [Wakeup] {
        guard let position = position(of: id) else { return [] }
        leave(line.remove(at: position))
        isUrgent = true
        return serveLine()
    }

    private mutating func leave(_ waiter: Waiter) {
        for demand in waiter.demands {
            let index = Int(demand.slot.rawValue)
            slots[index].waiterCount -= 1
            slots[index].waiting = slots[index].waiting.excess(over: demand.amount)
            slots[index].isWishOutdated = true
            wake(demand.slot)
        }
    }

    /// Numbers grow, so the line is sorted by them.
    func position(of id: WaiterID) -> Int? {
        var low = 0
        var high = line.count
        while low < high {
            let middle = (low + high) / 2
            if line[middle].id.rawValue < id.rawValue { low = middle + 1 } else { high = middle }
        }
        return low < line.count && line[low].id == id ? low : nil
    }

    private func gatheringOrder(of demands: [Demand]) -> [Int] {
        guard demands.count > 1 else { return Array(demands.indices) }
        return demands.indices.sorted {
            slots[Int(demands[$0].slot.rawValue)].place
                .lexicographicallyPrecedes(slots[Int(demands[$1].slot.rawValue)].place)
        }
    }

    // MARK: - Turns

    /// Serves who can be served now, and works out what the others keep.
    mutating func serveLine() -> [Wakeup] {
        var wakeups: [Wakeup] = []
        for waiter in line {
            for demand in waiter.demands { slots[Int(demand.slot.rawValue)].startLine() }
        }
        var stillWaiting: [Waiter] = []
        stillWaiting.reserveCapacity(line.count)
        for waiter in line {
            if gather(waiter) && holdCount < Limits.holdCountMax {
                leave(waiter)
                wakeups.append(.held(waiter.id, open(waiter.demands)))
            } else {
                stillWaiting.append(waiter)
            }
        }
        line = stillWaiting
        return wakeups
    }

    /// Keeps for a waiter what is there for it, up to the first account that it lacks. True when it
    /// lacks none. Who lacks only the journal's word keeps what it needs: the disk is on its way.
    private mutating func gather(_ waiter: Waiter) -> Bool {
        var isInLine = true
        var isUnlocked = true
        for position in waiter.order {
            let demand = waiter.demands[position]
            let index = Int(demand.slot.rawValue)
            guard slots[index].isEnforced, demand.amount > .zero else { continue }
            if !isInLine {
                if slots[index].firstAfterLine == .zero {
                    slots[index].firstAfterLine = demand.amount
                }
            } else if slots[index].firstInLine > .zero || slots[index].unkept < demand.amount {
                isInLine = false
                if slots[index].firstInLine == .zero { slots[index].firstInLine = demand.amount }
            } else {
                slots[index].unkept -= demand.amount
                if slots[index].unkeptUnlocked < demand.amount { isUnlocked = false }
                // Nobody behind may use up what the first one waits for.
                slots[index].unkeptUnlocked = slots[index].unkeptUnlocked
                    .excess(over: demand.amount)
            }
        }
        return isInLine && isUnlocked
    }
}

extension EdgeLedger.Slot {
    /// Whether a newcomer can be paid without taking from those who wait.
    ///
    /// Changes nothing. `mutating`, because the compiler would copy the whole slot to ask it.
    mutating func canPayNewcomer(_ amount: Amount) -> Bool {
        if waiterCount == 0 || !isEnforced || amount == .zero { return canPay(amount) }
        return firstInLine == .zero && unkept >= amount && unkeptUnlocked >= amount
    }

    fileprivate mutating func startLine() {
        unkept = available
        unkeptUnlocked = unlockedAvailable
        firstInLine = .zero
        firstAfterLine = .zero
    }

    /// Total granted that the first waiting request needs which the slice does not pay for.
    /// Requests before it may wait for other accounts; what they keep is part of it.
    func unmetNeed(tick: UInt64) -> Amount? {
        guard waiterCount > 0, isEnforced else { return nil }
        if firstInLine > .zero {
            return committed.saturatingAdd(kept).saturatingAdd(firstInLine)
        }
        // Asking for all accounts at once saves time. Where others are short, they could use what
        // this request could not keep.
        guard firstAfterLine > unkept, !isContended(tick: tick) else { return nil }
        return committed.saturatingAdd(kept).saturatingAdd(firstAfterLine)
    }
}
