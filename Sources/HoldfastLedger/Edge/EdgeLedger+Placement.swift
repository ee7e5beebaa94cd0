import HoldfastCore

/// Several counters: each account is reported to one of them, and moves when they come and go.
extension EdgeLedger {
    /// A report that is due at a counter that does not serve the account.
    struct Errand: Sendable {
        let link: EdgeSession.LinkID
        let slot: SlotID
        let reference: UInt32
        /// A withdrawal, for a counter that served the account.
        var wish: LeaseWish?
        /// For a counter that asked.
        var recallEpoch: UInt64 = 0
    }

    /// The counters that are connected now. Accounts that move say everything again where they go;
    /// where they come from, what they wished for is withdrawn.
    ///
    /// - Parameter reachable: all connections, also those on which no account is placed.
    mutating func place(on placement: Placement, reachable: [EdgeSession.LinkID]) {
        errands.removeAll { !reachable.contains($0.link) }
        // Without any counter the routes stay: the next one to come is another connection.
        guard !placement.isEmpty else { return }
        self.placement = placement
        for id in liveSlots {
            let index = Int(id.rawValue)
            let route = placement.link(for: slots[index].hash)
            guard route != slots[index].route else { continue }
            if let left = slots[index].route, reachable.contains(left) { withdraw(id, at: left) }
            slots[index].route = route
            sayAgain(id)
        }
        isUrgent = true
    }

    /// A number below those that the next counter will hear: an answer to it is none to them.
    private mutating func withdraw(_ id: SlotID, at link: EdgeSession.LinkID) {
        let slot = slots[Int(id.rawValue)]
        guard let wish = slot.wish, !wish.isWithdrawal else { return }
        errands.append(
            Errand(
                link: link, slot: id, reference: slot.reference,
                wish: LeaseWish(number: nextWishNumber, need: .zero, ceiling: .zero)))
        nextWishNumber += 1
    }

    /// The counter of this account has to hear everything again, also what it may have missed.
    mutating func sayAgain(_ id: SlotID) {
        let index = Int(id.rawValue)
        slots[index].wish = nil
        slots[index].recallEpoch = 0
        slots[index].answeredRecallEpoch = 0
        // Also where nothing was granted as far as known here: the answer to a wish may be lost.
        if slots[index].wishNumber > 0 || slots[index].spent > .zero || slots[index].waiterCount > 0
        {
            wake(id)
        }
    }

    /// After so long an account that a counter could not take is said again: 1 s.
    static let retryTicks: UInt64 = 20

    struct Retry: Sendable {
        let tick: UInt64
        let slot: SlotID
        let reference: UInt32
    }

    /// The counter could not take what was said of an account, a damaged one perhaps. It forgets what
    /// it cannot take, and nobody else knows it.
    mutating func sayAgainLater(reference: UInt32) {
        guard let id = references[reference], !retries.contains(where: { $0.slot == id })
        else { return }
        retries.append(
            Retry(tick: tickNumber + Self.retryTicks, slot: id, reference: reference))
    }

    mutating func retry() {
        while let first = retries.first, first.tick <= tickNumber {
            retries.removeFirst()
            if references[first.reference] == first.slot { sayAgain(first.slot) }
        }
    }

    /// At most `max` of the reports that are due at counters that do not serve the account.
    mutating func runErrands(max: Int) -> [Report] {
        guard !errands.isEmpty else { return [] }
        let now = errands.prefix(max)
        errands.removeFirst(now.count)
        return now.map { errand in
            // It is awake or has a wish to withdraw until the errand is run, and is kept till then.
            precondition(
                references[errand.reference] == errand.slot, "forgotten with an errand due")
            let index = Int(errand.slot.rawValue)
            if errand.recallEpoch > 0, slots[index].spare > .zero {
                slots[index].release(slots[index].spare)
            }
            var report = slots[index].report(wish: errand.wish)
            report.recallEpoch = errand.recallEpoch
            return Report(
                reference: errand.reference, key: slots[index].key, route: errand.link,
                report: report)
        }
    }
}
