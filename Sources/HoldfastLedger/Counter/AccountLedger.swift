public import HoldfastCore

/// One account at the counter: who holds how much of it, and who may have more.
///
/// The only safety check in here is *exposure after the grant ≤ limit*, with exposure = base + Σ
/// over sessions of max(granted − released, spent + held). Everything else, the queue, recalls,
/// central mode and the size of grants, is about never blocking while there is room, and could be
/// wrong without a cap being crossed.
///
/// Pure: `CounterEngine` calls `apply` for what happened, then `decide` once for the batch, commits
/// `stored`, and only then carries out the actions.
public struct AccountLedger: Sendable, Equatable {
    public struct Line: Sendable, Equatable {
        public let session: SessionID
        public internal(set) var granted: Amount = .zero
        public internal(set) var released: Amount = .zero
        public internal(set) var spent: Amount = .zero
        public internal(set) var overrun: Amount = .zero
        public internal(set) var held: Amount = .zero
        public internal(set) var unlocked: Amount = .zero
        var wish: LeaseWish?
        var unmetWish: UInt64 = 0
        /// Neither spent nor held, by the newest report: a recall would bring it back.
        var idle: Amount = .zero

        init(session: SessionID) { self.session = session }

        /// The most that this session can have spent. Holds count on top of what was spent: after
        /// an overrun they can be more than what is left of the slice.
        public var exposure: Amount {
            max(granted.excess(over: released), spent.saturatingAdd(held))
        }
        /// Nothing of it is stored.
        var isBlank: Bool {
            granted == .zero && released == .zero && spent == .zero && overrun == .zero
                && unlocked == .zero
        }
        /// Granted and neither released nor spent: in holds, or idle.
        var outstanding: Amount { outstanding(afterGranting: granted) }

        func outstanding(afterGranting total: Amount) -> Amount {
            max(total, granted).excess(over: released).excess(over: spent)
        }
    }

    /// What the account depends on besides itself, as of now.
    public struct Context: Sendable {
        public var limit: Amount
        /// The period is current (or about to start) and the cap exists.
        public var isOpen: Bool
        /// Sessions with a live connection, ascending.
        public var reachable: [SessionID]
        /// Sessions that are connected or were until a moment ago; `nil` when that cannot be told
        /// yet. What the others hold counts as spent when a request asks what is left: it may come
        /// back, but nobody should wait for it.
        public var living: Set<SessionID>?
        /// The store may have lost writes: edges say what they hold, and nothing is granted.
        public var isLearning: Bool
        /// The most that one session may have in its hands: granted, not released, not spent.
        public var sliceMax: Amount

        public init(
            limit: Amount, isOpen: Bool, reachable: [SessionID], living: Set<SessionID>? = nil,
            isLearning: Bool = false, sliceMax: Amount = Amount(.max)
        ) {
            self.limit = limit
            self.isOpen = isOpen
            self.reachable = reachable
            self.living = living
            self.isLearning = isLearning
            self.sliceMax = sliceMax
        }

        func isLost(_ session: SessionID) -> Bool {
            guard let living, !reaches(session) else { return false }
            return !living.contains(session)
        }

        func reaches(_ session: SessionID) -> Bool {
            var low = 0
            var high = reachable.count
            while low < high {
                let middle = (low + high) / 2
                if reachable[middle] < session { low = middle + 1 } else { high = middle }
            }
            return low < reachable.count && reachable[low] == session
        }
    }

    public enum Action: Sendable, Equatable {
        case tell(SessionID, LeaseGrant)
        case recall(SessionID, epoch: UInt64)
    }

    /// Something that happened to the account. All of them may be applied again after a conflict.
    public enum Fact: Sendable, Equatable {
        case report(SessionID, LeaseReport)
        /// The connection of a session is gone. Its slice stays charged: it may be spent.
        case disconnected(SessionID)
        /// Holders that have not answered by now count as unreachable for this round.
        case recallTimedOut(epoch: UInt64)
        /// The limit was lowered: everybody gives idle budget back.
        case limitLowered
        /// The session ends for good. What it did not release stays charged.
        case closed(SessionID)
        /// The last report of a session that ends or has ended, from a journal: nothing beyond its
        /// `unlocked` was ever used. It can only refund.
        case recovered(SessionID, LeaseReport)
        /// An operator gives back what a dead session did not report as spent.
        case refunded(SessionID)
        /// An operator has looked at a frozen account.
        case unfrozen
    }

    /// Why a report was not believed. Nothing of it is taken.
    public enum Refusal: Error, Sendable, Equatable {
        case amountOutOfBounds
        case releasedMoreThanGranted
        case spentMoreThanGranted
        /// The counter has heard of more use than the journal knows: it is an old copy.
        case journalTooOld
    }

    struct RecallRound: Sendable, Equatable {
        var epoch: UInt64
        var session: SessionID
        /// Asked for so much in total granted. A newer wish for no more needs no other round.
        var need: Amount
        var waitingFor: [SessionID]
    }

    /// Spent by sessions that are closed.
    public internal(set) var base: Amount
    /// The store has lost a write: an edge has seen more granted than is stored.
    public internal(set) var isFrozen: Bool
    /// Ascending by session. An array, so that no decision depends on hash order.
    public internal(set) var lines: [Line]

    /// Sessions whose first waiting request cannot be granted yet, first come first served.
    var queue: [SessionID] = []
    var recall: RecallRound?
    var recallEpoch: UInt64 = 0
    var isCentral = false
    /// Slowly falling maximum of what one request needs here.
    var typicalNeed: Amount = .zero
    /// With which `decide` has decided last.
    var lastLimit: Amount = .zero
    var lastTotalSpent: Amount = .zero
    var isRecallOfAllDue = false
    /// How often something was decided to be said that has to be true of the store too, not only of
    /// what this counter has in memory.
    public internal(set) var claimCount: UInt64 = 0

    public init() {
        base = .zero
        isFrozen = false
        lines = []
    }

    public var exposure: Amount {
        lines.reduce(base) { $0.saturatingAdd($1.exposure) }
    }

    public var totalSpent: Amount {
        lines.reduce(base) { $0.saturatingAdd($1.spent) }
    }

    public var totalHeld: Amount {
        lines.reduce(.zero) { $0.saturatingAdd($1.held) }
    }

    /// Spent, and what lost sessions are presumed to have spent.
    public func totalSpent(_ context: Context) -> Amount {
        lines.reduce(base) {
            $0.saturatingAdd(context.isLost($1.session) ? $1.exposure : $1.spent)
        }
    }

    /// In open holds of sessions that are not lost.
    public func totalHeld(_ context: Context) -> Amount {
        lines.reduce(.zero) {
            $0.saturatingAdd(context.isLost($1.session) ? .zero : $1.held)
        }
    }

    /// Everyone with a line here, ascending.
    public var sessions: [SessionID] { lines.map(\.session) }

    public var isWaitedFor: Bool { !queue.isEmpty }

    // MARK: - Facts in

    /// - Returns: by how much less a session is charged now that it has ended.
    @discardableResult
    public mutating func apply(_ fact: Fact, isLearning: Bool = false) throws(Refusal) -> Amount {
        switch fact {
        case .report(let session, let report):
            try take(report, from: session, isLearning: isLearning)
        case .disconnected(let session): disconnect(session)
        case .recallTimedOut(let epoch): recallTimedOut(epoch: epoch)
        case .limitLowered: isRecallOfAllDue = true
        case .closed(let session): close(session)
        case .recovered(let session, let report): return try recover(session, report)
        case .refunded(let session): return refund(session)
        case .unfrozen: isFrozen = false
        }
        return .zero
    }

    /// Takes what a session says. Idempotent, and indifferent to order and loss.
    private mutating func take(
        _ report: LeaseReport, from session: SessionID, isLearning: Bool
    ) throws(Refusal) {
        try check(report, from: session)
        let index = ensureLine(session)
        if report.granted > lines[index].granted {
            // A grant was seen that is not stored. What else was lost cannot be known from here,
            // unless the store has said itself that something may be lost: then everybody is heard.
            lines[index].granted = report.granted
            if !isLearning { isFrozen = true }
        }
        // The edge may have forgotten the account and go on from what it is told now: from less
        // than it has released, it would spend that a second time.
        if report.granted == .zero { claimCount += 1 }
        // What is held can go down, so an older report that comes late must not say it.
        let isNewest =
            report.released >= lines[index].released && report.spent >= lines[index].spent
        if isNewest {
            let used = report.released.saturatingAdd(report.spent).saturatingAdd(report.held)
            lines[index].held = report.held
            lines[index].idle = report.granted.excess(over: used)
        }
        lines[index].released = max(lines[index].released, report.released)
        lines[index].spent = max(lines[index].spent, report.spent)
        lines[index].overrun = max(lines[index].overrun, report.overrun)
        lines[index].unlocked = max(lines[index].unlocked, report.unlocked)
        if let wish = report.wish, wish.number > (lines[index].wish?.number ?? 0) {
            takeWish(wish, echoed: report.granted, at: index)
        }
        if report.recallEpoch != 0, let round = recall, report.recallEpoch >= round.epoch {
            recall?.waitingFor.removeAll { $0 == session }
        }
    }

    private func check(_ report: LeaseReport, from session: SessionID) throws(Refusal) {
        guard Self.isInBounds(report) else { throw .amountOutOfBounds }
        let known = line(of: session)
        // What would be stored is checked, not the report alone: of two reports that contradict
        // each other each may be possible by itself, and their maximum is not.
        let granted = max(known?.granted ?? .zero, report.granted)
        let released = max(known?.released ?? .zero, report.released)
        let spent = max(known?.spent ?? .zero, report.spent)
        let overrun = max(known?.overrun ?? .zero, report.overrun)
        guard released <= granted else { throw .releasedMoreThanGranted }
        // Four bounded amounts cannot overflow 64 bits.
        guard released + spent <= granted + overrun else { throw .spentMoreThanGranted }
    }

    private static func isInBounds(_ report: LeaseReport) -> Bool {
        let bound = Amount(Limits.amountMax)
        return report.granted <= bound && report.released <= bound && report.spent <= bound
            && report.held <= bound && report.overrun <= bound && report.unlocked <= bound
            && report.wish?.need ?? .zero <= bound && report.wish?.ceiling ?? .zero <= bound
    }

    private mutating func takeWish(_ wish: LeaseWish, echoed: Amount, at index: Int) {
        // The edge gave back a part while what it needed was on its way. It has had its turn:
        // behind the others, both would go on giving each other parts.
        let granted = lines[index].granted
        let isCrossing =
            lines[index].wish.map { echoed < $0.need && $0.need <= granted } ?? false
        lines[index].wish = wish
        // Tells the edge that nothing more will be granted.
        if wish.isWithdrawal { lines[index].unmetWish = wish.number }
        let session = lines[index].session
        if wish.need <= lines[index].granted {
            queue.removeAll { $0 == session }
            if recall?.session == session { recall = nil }
        } else if !queue.contains(session) {
            queue.insert(session, at: isCrossing ? 0 : queue.count)
        }
    }

    private mutating func disconnect(_ session: SessionID) {
        queue.removeAll { $0 == session }
        recall?.waitingFor.removeAll { $0 == session }
        if recall?.session == session { recall = nil }
        if let index = lineIndex(session) { lines[index].wish = nil }
    }

    private mutating func close(_ session: SessionID) {
        guard let index = lineIndex(session) else { return }
        _ = fold(index, charging: lines[index].exposure)
    }

    /// The line is replaced by its charge.
    ///
    /// - Returns: by how much that is less than what the line was charged.
    private mutating func fold(_ index: Int, charging amount: Amount) -> Amount {
        disconnect(lines[index].session)
        base = base.saturatingAdd(amount)
        return lines.remove(at: index).exposure.excess(over: amount)
    }

    private mutating func recover(
        _ session: SessionID, _ report: LeaseReport
    ) throws(Refusal) -> Amount {
        guard report.unlocked.rawValue <= Limits.amountMax else { throw .amountOutOfBounds }
        // Without a line nothing was granted, or it has been folded: nothing is left to refund.
        guard let index = lineIndex(session) else { return .zero }
        // Zero is said of no account in any journal.
        guard report.unlocked > .zero, report.unlocked >= lines[index].unlocked else {
            throw .journalTooOld
        }
        let used = max(lines[index].spent, min(report.unlocked, lines[index].exposure))
        return fold(index, charging: used)
    }

    private mutating func refund(_ session: SessionID) -> Amount {
        guard let index = lineIndex(session) else { return .zero }
        return fold(index, charging: lines[index].spent)
    }

    private mutating func recallTimedOut(epoch: UInt64) {
        guard let round = recall, round.epoch == epoch else { return }
        // Not asked again before they have said something.
        for session in round.waitingFor {
            if let index = lineIndex(session) { lines[index].idle = .zero }
        }
        recall?.waitingFor = []
    }

    // MARK: - Lines

    public func line(of session: SessionID) -> Line? {
        lineIndex(session).map { lines[$0] }
    }

    func lineIndex(_ session: SessionID) -> Int? {
        let index = insertionIndex(session)
        return index < lines.count && lines[index].session == session ? index : nil
    }

    private func insertionIndex(_ session: SessionID) -> Int {
        var low = 0
        var high = lines.count
        while low < high {
            let middle = (low + high) / 2
            if lines[middle].session < session { low = middle + 1 } else { high = middle }
        }
        return low
    }

    mutating func ensureLine(_ session: SessionID) -> Int {
        let index = insertionIndex(session)
        if index == lines.count || lines[index].session != session {
            lines.insert(Line(session: session), at: index)
        }
        return index
    }
}
