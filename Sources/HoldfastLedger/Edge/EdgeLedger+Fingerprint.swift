package import HoldfastCore

/// What tells two ledgers apart, for the exhaustive model: two that encode alike behave alike.
///
/// What grows for ever is written relative to now, or as a rank among the numbers in use, or left
/// out where nothing compares it.
extension EdgeLedger {
    /// Marks the wish numbers that this ledger compares others with. Below 64 in a small model.
    package func markWishNumbers(of key: AccountKey, canForget: Bool, in mask: inout UInt64) {
        guard let id = slotIndex[key] else { return }
        let slot = slots[Int(id.rawValue)]
        mask.mark(slot.wishNumber)
        mask.mark(slot.wish?.number ?? 0)
        if canForget { mask.mark(slot.standing?.unmetWish ?? 0) }
    }

    /// Left out is what only tells the shell something: that it is urgent, and how others stand.
    ///
    /// - Parameters:
    ///   - masks: the wish numbers in use, one mask for each account.
    ///   - canForget: `forgetUnused` may be called, which asks whether wishes were answered.
    ///   - canWait: there may be requests that wait, now or later.
    package func encode(
        _ accounts: [AccountKey], wishNumbers masks: [UInt64], canForget: Bool, canWait: Bool,
        into bytes: inout [UInt8]
    ) {
        bytes.append((hasForgotten ? 1 : 0) | (isDraining ? 2 : 0))
        for (key, mask) in zip(accounts, masks) {
            guard let id = slotIndex[key] else {
                bytes.append(255)
                continue
            }
            encode(slots[Int(id.rawValue)], mask, canForget, into: &bytes)
            if canWait {
                bytes.append(slots[Int(id.rawValue)].reportedKept)
                bytes.append(slots[Int(id.rawValue)].reportedSpare)
            }
            // Who needs one account alone asks for no other ahead of its turn.
            if accounts.count > 1 { bytes.append(contention(slots[Int(id.rawValue)])) }
        }
        bytes.append(UInt8(line.count))
        for waiter in line {
            for demand in waiter.demands {
                let key = slots[Int(demand.slot.rawValue)].key
                bytes.append(UInt8(accounts.firstIndex(of: key) ?? 254))
                bytes.append(demand.amount)
            }
        }
        bytes.append(UInt8(journalWrites.count))
        for write in journalWrites { bytes.append(write.unlocked) }
    }

    private func encode(
        _ slot: Slot, _ mask: UInt64, _ canForget: Bool, into bytes: inout [UInt8]
    ) {
        // With amounts this small there is no rate, so its past does not count either.
        precondition(slot.rate == 0, "the model is meant for small amounts")
        bytes.append(
            (slot.isDirty ? 1 : 0) | (slot.isAwake ? 2 : 0) | (slot.isCentral ? 4 : 0)
                | (slot.isWishOutdated ? 8 : 0) | (slot.mayBeStored ? 16 : 0)
                | (slot.isJournalDue ? 32 : 0) | (slot.isEnforced ? 64 : 0))
        for amount in [
            slot.granted, slot.released, slot.spent, slot.held, slot.overrun, slot.unlocked,
            slot.unlockedAhead,
        ] {
            bytes.append(amount)
        }
        if slot.waiterCount > 0 {
            bytes.append(slot.unkept)
            bytes.append(slot.unkeptUnlocked)
            bytes.append(slot.firstInLine)
            bytes.append(slot.firstAfterLine)
        }
        bytes.append(UInt8(slot.openHoldCount))
        bytes.append(slot.wish, mask)
        bytes.append(mask.rank(of: slot.wishNumber))
        bytes.append(UInt8(slot.recallEpoch))
        bytes.append(UInt8(slot.answeredRecallEpoch))
        bytes.append(ageClass(slot))
        if let standing = slot.standing {
            bytes.append(1)
            bytes.append(standing.granted)
            bytes.append(standing.released)
            bytes.append(standing.spent)
            if canForget { bytes.append(mask.rank(of: standing.unmetWish)) }
        } else {
            bytes.append(0)
        }
    }

    /// Ages only count by the thresholds that they have passed.
    private func ageClass(_ slot: Slot) -> UInt8 {
        let unused = tickNumber.elapsed(since: slot.lastUseTick)
        return unused > Self.forgetTicks ? 2 : unused > Self.idleTicks ? 1 : 0
    }

    private func contention(_ slot: Slot) -> UInt8 {
        guard let recallTick = slot.recallTick else { return 0 }
        let recalled = tickNumber.elapsed(since: recallTick)
        return recalled >= Self.contentionTicks ? 0 : recalled > Self.idleTicks ? 1 : 2
    }

    /// Whether what this ledger says of the account goes on from what is stored: not so after it
    /// was forgotten, until the counter has answered.
    package func isReconciled(_ id: SlotID) -> Bool {
        let slot = slots[Int(id.rawValue)]
        return !slot.mayBeStored || slot.standing != nil
    }

    /// Neither wants anything any more nor asks for more: as at the end of a session.
    package mutating func beginDraining() { drain() }
}

extension UInt64 {
    /// A set of small numbers; zero stands for none of them.
    package mutating func mark(_ number: UInt64) {
        precondition(number < 64, "the model is meant for few wishes")
        if number > 0 { self |= 1 << number }
    }

    /// How many marked numbers are not above this one: only the order of wish numbers counts.
    package func rank(of number: UInt64) -> UInt8 {
        number == 0 ? 0 : UInt8((self & ((2 << number) &- 1)).nonzeroBitCount)
    }
}

extension [UInt8] {
    package mutating func append(_ amount: Amount) {
        // Without a journal what may be used is beyond any amount, and stays there.
        append(UInt8(Swift.min(amount.rawValue, 255)))
    }

    package mutating func append(_ wish: LeaseWish?, _ mask: UInt64) {
        guard let wish else { return append(UInt8(0)) }
        append(mask.rank(of: wish.number))
        append(wish.need)
        append(wish.ceiling)
    }
}
