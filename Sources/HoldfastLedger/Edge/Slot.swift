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
        /// The key's bytes: its place in the order in which requests gather accounts.
        let place: [UInt8]
        /// Of those bytes.
        let hash: UInt64
        /// The connection to the counter that serves the account; `nil` before there is any.
        var route: EdgeSession.LinkID?
        /// The counter may have this account from earlier in our session: accounts have been
        /// forgotten.
        let mayBeStored: Bool
        var isEnforced: Bool

        var granted: Amount = .zero
        var released: Amount = .zero
        var spent: Amount = .zero
        var held: Amount = .zero
        var overrun: Amount = .zero
        /// With a journal: the most that `used` may become, as confirmed by the disk. Beyond any
        /// amount without one.
        var unlocked: Amount
        /// The most that the journal was asked to write, confirmed or not.
        var unlockedAhead: Amount = .zero
        var isJournalDue = false
        /// Also of holds of nothing, which `held` does not show.
        var openHoldCount = 0

        /// Requests that wait, and the sum of what they need here.
        var waiterCount = 0
        var waiting: Amount = .zero
        /// What `serveLine` has found, up to date whenever somebody waits: the part of `available`
        /// that nobody keeps; what the first request lacks that waits in line here; and what the
        /// first one needs that waits for an earlier account.
        var unkept: Amount = .zero
        /// The part of what the journal lets be used that nobody keeps.
        var unkeptUnlocked: Amount = .zero
        var firstInLine: Amount = .zero
        var firstAfterLine: Amount = .zero

        /// The newest that the counter said.
        var standing: LeaseGrant?
        var isCentral = false

        /// The newest that this connection has carried.
        var wish: LeaseWish?
        /// Of the newest wish ever, also across connections; zero when there was none.
        var wishNumber: UInt64 = 0
        var wishTick: UInt64 = 0
        /// Another request is now the first to wait: the answer to the newest wish was not for it.
        var isWishOutdated = false
        var recallEpoch: UInt64 = 0
        var answeredRecallEpoch: UInt64 = 0
        var recallTick: UInt64?

        /// As in the last report.
        var reportedKept: Amount = .zero
        var reportedSpare: Amount = .zero
        var isDirty = false
        var isAwake = false
        var lastUseTick: UInt64
        /// In the future for an account of the next period. Its rate stands still until then.
        var startTick: UInt64
        /// The account of the next period has been made.
        var hasSuccessor = false
        var admittedThisTick: Amount = .zero
        /// Admitted per tick, slowly moving mean.
        var rate: UInt64 = 0

        init(
            key: AccountKey, reference: UInt32, isEnforced: Bool, mayBeStored: Bool,
            isJournaled: Bool, tick: UInt64
        ) {
            self.key = key
            self.reference = reference
            place = Array(key.text.utf8)
            hash = Placement.hash(of: place)
            self.mayBeStored = mayBeStored
            self.isEnforced = isEnforced
            unlocked = isJournaled ? .zero : Amount(.max)
            lastUseTick = tick
            startTick = tick
        }

        var committed: Amount { released.saturatingAdd(spent).saturatingAdd(held) }
        var available: Amount { granted.excess(over: committed) }

        /// What the journal has to cover before it happens.
        var used: Amount { spent.saturatingAdd(held) }
        var unlockedAvailable: Amount { unlocked.excess(over: used) }

        func canPay(_ amount: Amount) -> Bool {
            !isEnforced || available >= amount && unlockedAvailable >= amount
        }

        /// The part of `available` that nobody keeps, and the part that requests in line keep.
        var spare: Amount { waiterCount == 0 ? available : unkept }
        var kept: Amount { available.excess(over: spare) }

        /// While somebody waits the counter has to know what a recall would bring back. Also a
        /// grant that turned out too little is that.
        var isDivisionNew: Bool {
            waiterCount > 0 && (kept != reportedKept || spare != reportedSpare)
        }

        /// Others are short of this account, or were a moment ago.
        func isContended(tick: UInt64) -> Bool {
            isCentral
                || recallTick.map { tick.elapsed(since: $0) < EdgeLedger.contentionTicks } ?? false
        }

        /// Whether the counter still has to meet the newest wish.
        var hasOpenNeed: Bool { wish.map { $0.need > granted } ?? false }

        /// A request uses the account. Requests find their accounts by the counter's time, so a period
        /// that is used has started, whatever was thought before.
        mutating func used(tick: UInt64) {
            lastUseTick = tick
            if startTick > tick { startTick = tick }
        }

        mutating func hold(_ amount: Amount, tick: UInt64) {
            held += amount
            openHoldCount += 1
            admittedThisTick = admittedThisTick.saturatingAdd(amount)
            used(tick: tick)
        }

        /// There is something new to report. True when it was asleep.
        mutating func wake() -> Bool {
            isDirty = true
            guard !isAwake else { return false }
            isAwake = true
            return true
        }

        mutating func settle(held amount: Amount, actual: Amount) {
            precondition(amount <= held, "settled more than was held")
            held -= amount
            openHoldCount -= 1
            spent += actual
            // What not even the rest of the slice pays for.
            overrun += released.saturatingAdd(spent)
                .excess(over: granted.saturatingAdd(overrun))
        }

        /// What a counter says that does not serve the account any more. What it granted is there;
        /// how things stand is known better by the one that does.
        mutating func takeTotals(_ grant: LeaseGrant) {
            guard standing != nil else { return take(grant) }
            granted = max(granted, grant.granted)
        }

        /// Takes what the counter says, in any order and however often.
        mutating func take(_ grant: LeaseGrant) {
            granted = max(granted, grant.granted)
            if let standing {
                let isOlder =
                    grant.granted < standing.granted || grant.released < standing.released
                    || grant.spent < standing.spent
                if isOlder { return }
            } else if mayBeStored {
                // The account goes on from what is stored. Nothing was reported of what was spent
                // since it came back, so that is not in there yet.
                isDirty = isDirty || spent > .zero
                released = grant.released
                spent += grant.spent
                overrun = released.saturatingAdd(spent).excess(over: granted)
            }
            isCentral = grant.isCentral
            standing = grant
        }

        mutating func moveRate(tick: UInt64) {
            guard tick >= startTick else { return }
            let admitted = admittedThisTick.rawValue
            // The mean would never reach zero by division alone.
            rate = admitted == 0 && rate < 16 ? 0 : rate - rate / 16 + admitted / 16
            admittedThisTick = .zero
        }

        /// Gives back so much of what is idle, for ever.
        mutating func release(_ amount: Amount) {
            precondition(amount <= available, "released money that is in use")
            released += amount
            unkept = unkept.excess(over: amount)
            isDirty = true
        }

        /// The counter knows all that was released and spent here.
        var isAcknowledged: Bool {
            guard let standing else { return spent == .zero }
            return standing.released >= released && standing.spent >= spent
        }

        /// No grant can be on its way: there was never a wish, or the counter has said that it has
        /// heard the last one withdrawn. Before that the account must not be forgotten, or what was
        /// granted for it would be idle where nobody can ask for it back.
        var isQuiet: Bool {
            guard wishNumber > 0 else { return true }
            guard let wish, let standing else { return false }
            return wish.isWithdrawal && standing.unmetWish >= wish.number
        }

        /// What goes to the counter. Of an account that may be stored from earlier nothing is said
        /// before its first answer: the maximum of the old and the new total would swallow the
        /// smaller.
        func report(wish: LeaseWish?) -> LeaseReport {
            if mayBeStored && standing == nil {
                return LeaseReport(
                    held: held, wish: wish, recallEpoch: answeredRecallEpoch,
                    unlocked: reportedUnlocked)
            }
            return LeaseReport(
                granted: granted, released: released, spent: spent, held: held + kept,
                overrun: overrun, wish: wish, recallEpoch: answeredRecallEpoch,
                unlocked: reportedUnlocked)
        }

        private var reportedUnlocked: Amount {
            unlocked.rawValue == .max ? .zero : unlocked
        }
    }
}

extension UInt64 {
    /// Zero where `tick` is in the future.
    func elapsed(since tick: UInt64) -> UInt64 { self > tick ? self - tick : 0 }
}
