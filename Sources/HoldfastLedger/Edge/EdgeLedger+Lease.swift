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
        public let report: LeaseReport
    }

    // MARK: - Facts in

    /// What the counter granted. Anything may come twice, late or in another order.
    public mutating func apply(
        _ grants: [(reference: UInt32, grant: LeaseGrant)]
    ) -> [Wakeup] {
        var touched: [SlotID] = []
        var unmet: Set<SlotID> = []
        for (reference, grant) in grants {
            // A reference that is not known any more belongs to an account that was forgotten.
            guard let id = references[reference] else { continue }
            let index = Int(id.rawValue)
            slots[index].take(grant)
            touched.append(id)
            let isAnswered =
                slots[index].hasOpenNeed && !slots[index].isWishOutdated
                && grant.unmetWish >= slots[index].wishNumber
            if isAnswered || grant.isClosed || grant.isFrozen { unmet.insert(id) }
        }
        let isWaitedFor = touched.contains { slots[Int($0.rawValue)].waiterCount > 0 }
        var wakeups = isWaitedFor ? serveLine() : []
        // What was granted to a request that is gone has to go back at a later tick.
        for id in touched where slots[Int(id.rawValue)].needsAttention { attend(id) }
        guard !unmet.isEmpty else { return wakeups }
        for waiter in line where waiter.demands.contains(where: { unmet.contains($0.slot) }) {
            wakeups.append(.reconsider(waiter.id))
        }
        return wakeups
    }

    /// The counter asks for what is idle on one account. Answered with the next report.
    public mutating func recall(reference: UInt32, epoch: UInt64) {
        guard let slot = references[reference] else { return }
        let index = Int(slot.rawValue)
        slots[index].recallEpoch = max(slots[index].recallEpoch, epoch)
        // Somebody else is short: from now on what comes free goes back at once.
        slots[index].isCentral = true
        slots[index].recallTick = tickNumber
        wake(slot)
        isUrgent = true
    }

    /// A new connection: the counter has to hear everything again, also what it may have missed.
    public mutating func reconnected() {
        for id in liveSlots {
            let index = Int(id.rawValue)
            slots[index].wish = nil
            slots[index].recallEpoch = 0
            slots[index].answeredRecallEpoch = 0
            // Also where nothing was granted as far as known here: the answer to a wish may be
            // lost.
            if slots[index].wishNumber > 0 || slots[index].spent > .zero
                || slots[index].waiterCount > 0
            {
                wake(id)
            }
        }
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
        for id in awake {
            let index = Int(id.rawValue)
            slots[index].moveRate()
        }
    }

    /// Everything that the counter has not heard yet, at most `max` accounts; releases what is idle
    /// on the way.
    public mutating func collectReports(
        max: Int = Limits.reportEntryCountMax
    ) -> [Report] {
        var reports: [Report] = []
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
            reference: slots[index].reference, key: slots[index].key,
            report: slots[index].report(wish: wish))
    }

    /// What is to go back now.
    private func idleAmount(_ id: SlotID) -> Amount {
        let slot = slots[Int(id.rawValue)]
        guard slot.available > .zero else { return .zero }
        if slot.recallEpoch > slot.answeredRecallEpoch { return slot.spare }
        if slot.isCentral {
            // What a request waits for may be on its way. Giving back so much that it would be too
            // little when it arrives would make both sides do the same again for ever.
            guard let need = slot.unmetNeed(tick: tickNumber), slot.hasOpenNeed,
                let wish = slot.wish
            else { return slot.spare }
            return Swift.min(slot.spare, wish.need.excess(over: need))
        }
        guard slot.waiterCount == 0 else { return .zero }
        if tickNumber - slot.lastUseTick > Self.idleTicks { return slot.available }
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
        let need = slot.unmetNeed(tick: tickNumber)
        let isUnused = tickNumber - slot.lastUseTick > Self.idleTicks
        let target = target(Int(id.rawValue))
        let wantsMore =
            slot.isEnforced && !slot.isCentral && !isUnused && target > .zero
            && slot.available.rawValue < target.rawValue / 10 * 3
            && tickNumber - slot.wishTick >= Self.prefetchPauseTicks
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

    private func isLeaving(_ slot: Slot) -> Bool {
        slot.wishNumber > 0 && slot.openHoldCount == 0 && slot.waiterCount == 0
            && slot.available == .zero && tickNumber - slot.lastUseTick > Self.forgetTicks
    }

    /// Forgets accounts that nobody has used for long and of which the counter knows everything.
    /// What was ever wished for is first withdrawn, so that it takes one more exchange of messages.
    public mutating func forgetUnused() {
        for id in liveSlots {
            let slot = slots[Int(id.rawValue)]
            let isUnused =
                !slot.isAwake && slot.openHoldCount == 0 && slot.waiterCount == 0
                && slot.available == .zero && slot.isAcknowledged
                && tickNumber - slot.lastUseTick > Self.forgetTicks
            guard isUnused else { continue }
            guard slot.isQuiet else {
                attend(id)
                continue
            }
            hasForgotten = true
            slotIndex[slot.key] = nil
            vacantSlots.append(id)
            references[slot.reference] = nil
        }
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

    /// In the order in which they were made: hash order would differ from run to run.
    private var liveSlots: [SlotID] {
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
