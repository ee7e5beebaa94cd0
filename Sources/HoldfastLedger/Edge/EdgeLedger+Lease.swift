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
        var reconsider: [SlotID] = []
        for (reference, grant) in grants {
            // A reference that is not known any more belongs to an account that was forgotten.
            guard let id = references[reference] else { continue }
            let index = Int(id.rawValue)
            slots[index].take(grant)
            touched.append(id)
            let isAnswered =
                slots[index].wish.map { $0.need > .zero && grant.unmetWish >= $0.number } ?? false
            if isAnswered || grant.isClosed || grant.isFrozen { reconsider.append(id) }
        }
        var wakeups = serveWaiters(on: touched)
        for id in reconsider {
            for waiter in slots[Int(id.rawValue)].waiters
            where !wakeups.contains(.reconsider(waiter)) {
                wakeups.append(.reconsider(waiter))
            }
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
        wake(slot)
        isUrgent = true
    }

    /// A new connection: the counter has to hear everything again, also what it may have missed.
    public mutating func reconnected() {
        for (_, id) in slotIndex {
            let index = Int(id.rawValue)
            slots[index].wish = nil
            slots[index].recallEpoch = 0
            slots[index].answeredRecallEpoch = 0
            if slots[index].granted > .zero || slots[index].spent > .zero
                || !slots[index].waiters.isEmpty
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
        for (position, id) in awake.enumerated() {
            guard reports.count < max else {
                stillAwake += awake[position...]
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
        awake = stillAwake
        return reports
    }

    private mutating func collect(_ id: SlotID) -> Report? {
        let index = Int(id.rawValue)
        let wish = nextWish(index)
        slots[index].releaseIdle(tick: tickNumber, target: target(index))
        guard slots[index].isDirty || wish != nil else { return nil }
        if let wish {
            slots[index].wish = wish
            slots[index].wishNumber = wish.number
            slots[index].wishTick = tickNumber
        }
        slots[index].isDirty = false
        slots[index].answeredRecallEpoch = slots[index].recallEpoch
        let slot = slots[index]
        return Report(
            reference: slot.reference, key: slot.key,
            report: LeaseReport(
                granted: slot.granted, released: slot.released, spent: slot.spent,
                held: slot.held, overrun: slot.overrun, wish: wish,
                recallEpoch: slot.answeredRecallEpoch))
    }

    private func target(_ index: Int) -> Amount {
        let (target, overflow) = slots[index].rate.multipliedReportingOverflow(
            by: Self.targetTicks)
        return Amount(overflow ? Limits.amountMax / 4 : min(target, Limits.amountMax / 4))
    }

    /// `nil` when there is nothing new to wish for. Also what is about to be released is part of it:
    /// a need is stated on top of everything that is committed.
    private mutating func nextWish(_ index: Int) -> LeaseWish? {
        let slot = slots[index]
        guard slot.isEnforced else { return nil }
        // Idle money that goes back because of a recall has to be asked for again.
        let willRelease = slot.recallEpoch > slot.answeredRecallEpoch ? slot.available : .zero
        let committed = slot.committed.saturatingAdd(willRelease)
        let need = firstDemand(of: slot).map { committed.saturatingAdd($0) } ?? .zero
        let isShort = need > slot.granted
        let target = target(index)
        let wantsMore =
            !slot.isCentral && target > .zero
            && slot.available.rawValue < target.rawValue / 10 * 3
            && tickNumber - slot.wishTick >= Self.prefetchPauseTicks
        guard isShort || wantsMore else {
            // A need that no longer exists must not keep its place in the counter's queue.
            guard let old = slot.wish, old.need > slot.granted else { return nil }
            return LeaseWish(number: slot.wishNumber + 1, need: .zero, ceiling: .zero)
        }
        let ceiling = Swift.max(
            need,
            committed.saturatingAdd(slot.waiting)
                .saturatingAdd(slot.isCentral ? .zero : target))
        let bounded = Swift.min(ceiling, Amount(Limits.amountMax))
        let wish = LeaseWish(
            number: slot.wishNumber + 1, need: isShort ? need : .zero, ceiling: bounded)
        if let old = slot.wish, old.need == wish.need, old.ceiling == wish.ceiling { return nil }
        return wish
    }

    private func firstDemand(of slot: Slot) -> Amount? {
        for id in slot.waiters {
            guard let waiter = waiters[id] else { continue }
            return waiter.demands.first { slots[Int($0.slot.rawValue)].key == slot.key }?.amount
        }
        return nil
    }

    /// Forgets accounts that nobody has used for long and of which the counter knows everything.
    public mutating func forgetUnused() {
        for (key, id) in slotIndex {
            let slot = slots[Int(id.rawValue)]
            let isUnused =
                !slot.isAwake && slot.held == .zero && slot.waiters.isEmpty
                && slot.available == .zero && slot.isAcknowledged
                && tickNumber - slot.lastUseTick > Self.forgetTicks
            guard isUnused else { continue }
            slotIndex[key] = nil
            vacantSlots.append(id)
            references[slot.reference] = nil
        }
    }

    /// Gives everything back that is not in a hold: the edge is draining.
    public mutating func releaseAll() {
        for (_, id) in slotIndex {
            let index = Int(id.rawValue)
            slots[index].release(slots[index].available)
            wake(id)
        }
        isUrgent = true
    }
}

extension EdgeLedger.Slot {
    /// Something is still to be done at a later tick.
    fileprivate var needsAttention: Bool {
        isDirty || held > .zero || available > .zero || !waiters.isEmpty || rate > 0
            || !isAcknowledged
    }

    fileprivate mutating func releaseIdle(tick: UInt64, target: Amount) {
        guard available > .zero else { return }
        if recallEpoch > answeredRecallEpoch {
            release(available)
        } else if waiters.isEmpty {
            if isCentral || tick - lastUseTick > EdgeLedger.idleTicks {
                release(available)
            } else if lastUseTick < tick, available.rawValue / 4 > target.rawValue {
                release(available - target)
            }
        }
    }
}
