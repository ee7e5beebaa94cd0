public import HoldfastCore

/// The edge's side of the lease protocol: what to report, and what grants and recalls change.
extension EdgeLedger {
    /// Ticks of 50 ms, driven by the shell.
    public static let tickMilliseconds: UInt64 = 50
    /// Without a use for so long, idle budget goes back: 500 ms.
    static let idleTicks: UInt64 = 10
    /// A slice should last this long at the recent rate: 5 s.
    static let targetTicks: UInt64 = 100
    /// Asking ahead of need again at the earliest after so long: 100 ms.
    static let prefetchPauseTicks: UInt64 = 2
    /// So long after a recall an account counts as contended: 1 s.
    static let contentionTicks: UInt64 = 20
    /// An account without use for so long is forgotten: 5 min.
    static let forgetTicks: UInt64 = 6_000

    public struct Report: Equatable, Sendable {
        public let reference: UInt32
        public let key: AccountKey
        /// The connection that it is for; `nil` in a ledger that was told of none.
        public let route: EdgeSession.LinkID?
        public let report: LeaseReport
    }

    // MARK: - Facts in

    /// What a counter granted. Anything may come twice, late, in another order, or from a counter
    /// that does not serve the account any more.
    ///
    /// - Parameter link: where it came from; `nil` for the counter that serves each account.
    public mutating func apply(
        _ grants: [(reference: UInt32, grant: LeaseGrant)], from link: EdgeSession.LinkID? = nil
    ) -> [Wakeup] {
        var touched: [SlotID] = []
        var unmet: Set<SlotID> = []
        for (reference, grant) in grants {
            // A reference that is not known any more belongs to an account that was forgotten.
            guard let id = references[reference] else { continue }
            let index = Int(id.rawValue)
            touched.append(id)
            guard link == nil || link == slots[index].route else {
                slots[index].takeTotals(grant)
                continue
            }
            slots[index].take(grant)
            // A counter that only listens as yet cannot tell what can be met.
            let isAnswered =
                slots[index].hasOpenNeed && !slots[index].isWishOutdated && !grant.isLearning
                && grant.unmetWish >= slots[index].wishNumber
            if isAnswered || grant.isClosed || grant.isFrozen { unmet.insert(id) }
        }
        let isWaitedFor = touched.contains { slots[Int($0.rawValue)].waiterCount > 0 }
        var wakeups = isWaitedFor ? serveLine() : []
        for id in touched {
            if isJournaled { watchJournal(id) }
            // What was granted to a request that is gone has to go back at a later tick.
            if slots[Int(id.rawValue)].needsAttention { attend(id) }
        }
        guard !unmet.isEmpty else { return wakeups }
        for waiter in line where waiter.demands.contains(where: { unmet.contains($0.slot) }) {
            wakeups.append(.reconsider(waiter.id))
        }
        return wakeups
    }

    /// A counter asks for what is idle on one account. Answered with the next report.
    ///
    /// - Parameter link: where it came from; `nil` for the counter that serves the account. Each
    ///   counter has epochs of its own.
    public mutating func recall(
        reference: UInt32, epoch: UInt64, from link: EdgeSession.LinkID? = nil
    ) {
        guard let slot = references[reference] else { return }
        let index = Int(slot.rawValue)
        if let link, link != slots[index].route {
            errands.append(
                Errand(link: link, slot: slot, reference: reference, recallEpoch: epoch))
        } else {
            slots[index].recallEpoch = max(slots[index].recallEpoch, epoch)
        }
        // Somebody else is short: from now on what comes free goes back at once.
        slots[index].isCentral = true
        slots[index].recallTick = tickNumber
        wake(slot)
        isUrgent = true
    }

    /// A new connection: the counter has to hear everything again, also what it may have missed.
    public mutating func reconnected() {
        for id in liveSlots { sayAgain(id) }
        isUrgent = true
    }

    // MARK: - Reports out

    /// Whether the counter should hear now rather than at the next tick. Reading it clears it.
    public mutating func takeUrgency() -> Bool {
        defer { isUrgent = false }
        return isUrgent
    }

    /// A tick of the clock: rates move, idle budget goes back.
    public mutating func tick() {
        tickNumber += 1
        if !retries.isEmpty { retry() }
        for id in awake {
            let index = Int(id.rawValue)
            slots[index].moveRate(tick: tickNumber)
        }
    }

    /// So many ticks at once, with nothing else between them. While the ledger is asleep it makes no
    /// difference how many.
    public mutating func tick(count: UInt64) {
        guard !awake.isEmpty || !retries.isEmpty else {
            tickNumber += count
            return
        }
        for _ in 0..<count { tick() }
    }

    /// Whether ticks alone change nothing: no rate moves, nothing is idle, nothing to be reported or
    /// written.
    public var isAsleep: Bool {
        awake.isEmpty && errands.isEmpty && retries.isEmpty && !isUrgent && journalDue.isEmpty
    }

    /// Everything that the counter has not heard yet, at most `max` accounts; releases what is idle
    /// on the way.
    public mutating func collectReports(
        max: Int = Limits.reportEntryCountMax
    ) -> [Report] {
        var reports = runErrands(max: max)
        if !errands.isEmpty { isUrgent = true }
        var stillAwake: [SlotID] = []
        var unheard: ArraySlice<SlotID> = []
        for (position, id) in awake.enumerated() {
            guard reports.count < max else {
                unheard = awake[position...]
                isUrgent = true
                break
            }
            if let report = collect(id) { reports.append(report) }
            if slots[Int(id.rawValue)].needsAttention {
                stillAwake.append(id)
            } else {
                slots[Int(id.rawValue)].isAwake = false
            }
        }
        // Those for whom there was no place come first next time.
        awake = unheard + stillAwake
        return reports
    }

    private mutating func collect(_ id: SlotID) -> Report? {
        let index = Int(id.rawValue)
        let idle = idleAmount(id)
        if idle > .zero { slots[index].release(idle) }
        let wish = nextWish(id)
        guard slots[index].isDirty || wish != nil || slots[index].isDivisionNew else { return nil }
        slots[index].reportedKept = slots[index].kept
        slots[index].reportedSpare = slots[index].spare
        if let wish {
            nextWishNumber = wish.number + 1
            slots[index].wish = wish
            slots[index].wishNumber = wish.number
            slots[index].wishTick = tickNumber
        }
        slots[index].isDirty = false
        slots[index].isWishOutdated = false
        slots[index].answeredRecallEpoch = slots[index].recallEpoch
        return Report(
            reference: slots[index].reference, key: slots[index].key, route: slots[index].route,
            report: slots[index].report(wish: wish))
    }

    /// What is to go back now.
    private func idleAmount(_ id: SlotID) -> Amount {
        let slot = slots[Int(id.rawValue)]
        guard slot.available > .zero else { return .zero }
        if slot.recallEpoch > slot.answeredRecallEpoch || isDraining { return slot.spare }
        if slot.isCentral {
            // What a request waits for may be on its way. Giving back so much that it would be too
            // little when it arrives would make both sides do the same again for ever.
            guard let need = slot.unmetNeed(tick: tickNumber), slot.hasOpenNeed,
                let wish = slot.wish
            else { return slot.spare }
            return Swift.min(slot.spare, wish.need.excess(over: need))
        }
        guard slot.waiterCount == 0 else { return .zero }
        if tickNumber.elapsed(since: slot.lastUseTick) > Self.idleTicks { return slot.available }
        let target = target(Int(id.rawValue))
        let isFarTooMuch =
            slot.lastUseTick < tickNumber && slot.available.rawValue / 4 > target.rawValue
        return isFarTooMuch ? slot.available - target : .zero
    }

    private func target(_ index: Int) -> Amount {
        let (target, overflow) = slots[index].rate.multipliedReportingOverflow(
            by: Self.targetTicks)
        return Amount(overflow ? Limits.amountMax / 4 : min(target, Limits.amountMax / 4))
    }

    /// `nil` when there is nothing new to wish for.
    private func nextWish(_ id: SlotID) -> LeaseWish? {
        let slot = slots[Int(id.rawValue)]
        let need = isDraining ? nil : slot.unmetNeed(tick: tickNumber)
        let target = target(Int(id.rawValue))
        let wantsMore = wantsMore(slot, target: target)
        guard need != nil || wantsMore else {
            // A need that no longer exists must not keep its place in the counter's queue, and an
            // account that is about to be forgotten must not be granted anything any more.
            guard slot.hasOpenNeed || isLeaving(slot), !(slot.wish?.isWithdrawal ?? false)
            else { return nil }
            return LeaseWish(number: nextWishNumber, need: .zero, ceiling: .zero)
        }
        let most = Amount(Limits.amountMax)
        let forAll = Swift.min(
            Swift.max(need ?? .zero, slot.committed.saturatingAdd(slot.waiting)), most)
        let ceiling = slot.isCentral ? forAll : Swift.min(forAll.saturatingAdd(target), most)
        let wish = LeaseWish(
            number: nextWishNumber, need: Swift.min(need ?? .zero, most), ceiling: ceiling)
        guard let old = slot.wish, old.need == wish.need, !slot.isWishOutdated else { return wish }
        // The rate moves with every tick; that alone is no news while a request waits.
        let isCovered =
            need == nil ? old.ceiling == ceiling : slot.isCentral || old.ceiling >= forAll
        return isCovered ? nil : wish
    }

    private func wantsMore(_ slot: Slot, target: Amount) -> Bool {
        guard slot.isEnforced, !slot.isCentral, !isDraining, target > .zero,
            slot.available.rawValue < target.rawValue / 10 * 3,
            tickNumber.elapsed(since: slot.lastUseTick) <= Self.idleTicks
        else { return false }
        // Before its period starts an account asks once: all edges are about to.
        guard slot.startTick <= tickNumber else { return slot.wish == nil }
        return tickNumber.elapsed(since: slot.wishTick) >= Self.prefetchPauseTicks
    }

    private func isLeaving(_ slot: Slot) -> Bool {
        if isDraining { return slot.wishNumber > 0 }
        return slot.wishNumber > 0 && slot.openHoldCount == 0 && slot.waiterCount == 0
            && slot.available == .zero
            && tickNumber.elapsed(since: slot.lastUseTick) > Self.forgetTicks
    }

    /// Forgets accounts that nobody has used for long and of which the counter knows everything.
    /// What was ever wished for is first withdrawn, so that it takes one more exchange of messages.
    ///
    /// - Returns: the references of those that were forgotten, which are never used again.
    @discardableResult
    public mutating func forgetUnused() -> [UInt32] {
        var forgotten: [UInt32] = []
        for id in liveSlots {
            let slot = slots[Int(id.rawValue)]
            let isUnused =
                !slot.isAwake && slot.openHoldCount == 0 && slot.waiterCount == 0
                && slot.available == .zero && slot.isAcknowledged
                && tickNumber.elapsed(since: slot.lastUseTick) > Self.forgetTicks
            guard isUnused else { continue }
            guard slot.isQuiet else {
                attend(id)
                continue
            }
            hasForgotten = true
            slotIndex[slot.key] = nil
            vacantSlots.append(id)
            references[slot.reference] = nil
            forgotten.append(slot.reference)
        }
        return forgotten
    }

    /// Gives everything back that is not in a hold: the edge is draining.
    public mutating func releaseAll() {
        for id in liveSlots {
            let index = Int(id.rawValue)
            slots[index].release(slots[index].available)
            wake(id)
        }
        isUrgent = true
    }

    /// As `releaseAll`, from now on: what holds leave goes back too, and what was wished for is
    /// withdrawn.
    mutating func drain() {
        isDraining = true
        releaseAll()
    }

    /// Accounts whose counter may not have heard yet that nothing is idle and nothing is wished for.
    /// What is in holds is no concern: it stays charged.
    var unreturned: [SlotID] {
        liveSlots.filter { id in
            let slot = slots[Int(id.rawValue)]
            return slot.available > .zero || !slot.isAcknowledged || !slot.isQuiet
        }
    }

    /// Everything that is still to be said goes to one counter.
    mutating func gather(on link: EdgeSession.LinkID) {
        errands = []
        for id in unreturned {
            let index = Int(id.rawValue)
            slots[index].route = link
            slots[index].release(slots[index].available)
            sayAgain(id)
            wake(id)
        }
    }

    /// In the order in which they were made: hash order would differ from run to run.
    var liveSlots: [SlotID] {
        slots.indices.lazy.map { SlotID(rawValue: UInt32($0)) }
            .filter { references[slots[Int($0.rawValue)].reference] == $0 }
    }
}

extension EdgeLedger.Slot {
    /// Something is still to be done at a later tick.
    fileprivate var needsAttention: Bool {
        isDirty || held > .zero || available > .zero || waiterCount > 0 || rate > 0
            || !isAcknowledged
    }
}
