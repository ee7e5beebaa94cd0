public import HoldfastCore

/// The part of an account that must survive: what was granted, released and spent. Wishes, the
/// queue and recalls are asked for again by the edges.
public struct StoredAccount: Sendable, Equatable {
    public struct Line: Sendable, Equatable {
        public var session: SessionID
        public var granted: Amount
        public var released: Amount
        public var spent: Amount
        public var overrun: Amount
        /// With a journal: the most that it lets `spent` and what is held become.
        public var unlocked: Amount

        public init(
            session: SessionID, granted: Amount, released: Amount, spent: Amount, overrun: Amount,
            unlocked: Amount = .zero
        ) {
            self.session = session
            self.granted = granted
            self.released = released
            self.spent = spent
            self.overrun = overrun
            self.unlocked = unlocked
        }
    }

    public var base: Amount
    public var isFrozen: Bool
    /// Ascending by session, each once.
    public var lines: [Line]

    public init(base: Amount, isFrozen: Bool, lines: [Line]) {
        self.base = base
        self.isFrozen = isFrozen
        self.lines = lines
    }

    /// A counter can have written it. What a damaged store says may contradict itself.
    var isSound: Bool {
        let isAscending = zip(lines, lines.dropFirst()).allSatisfy { $0.session < $1.session }
        return isAscending
            && lines.allSatisfy {
                $0.released <= $0.granted
                    && $0.released.saturatingAdd($0.spent)
                        <= $0.granted.saturatingAdd($0.overrun)
            }
    }
}

extension AccountLedger {
    public var stored: StoredAccount {
        var stored = StoredAccount(base: base, isFrozen: isFrozen, lines: [])
        stored.lines.reserveCapacity(lines.count)
        for line in lines where !line.isBlank { stored.lines.append(line.stored) }
        return stored
    }

    /// Whether `stored` is the same of both.
    func isStored(like other: AccountLedger) -> Bool {
        guard base == other.base, isFrozen == other.isFrozen else { return false }
        let mine = lines.lazy.filter { !$0.isBlank }.map(\.stored)
        return mine.elementsEqual(other.lines.lazy.filter { !$0.isBlank }.map(\.stored))
    }

    public init(_ stored: StoredAccount) {
        precondition(stored.isSound, "no counter can have written this account")
        self.init()
        base = stored.base
        isFrozen = stored.isFrozen
        lines = stored.lines.map {
            var line = Line(session: $0.session)
            line.granted = $0.granted
            line.released = $0.released
            line.spent = $0.spent
            line.overrun = $0.overrun
            line.unlocked = $0.unlocked
            return line
        }
    }

    /// This account as another counter has written it meanwhile: the amounts are theirs, what is
    /// only in memory (wishes, holds, the queue, recalls) stays. What was applied since the last
    /// commit has to be applied again.
    public func rebased(on stored: StoredAccount) -> AccountLedger {
        var rebased = AccountLedger(stored)
        for line in lines {
            // A session that has nothing stored may wait in the queue all the same. One that is not
            // stored any more has been closed.
            guard rebased.line(of: line.session) != nil || line.isBlank else { continue }
            let index = rebased.ensureLine(line.session)
            // What another counter has heard since may have been held when we heard of it last.
            let isNews =
                rebased.lines[index].released > line.released
                || rebased.lines[index].spent > line.spent
            if !isNews {
                rebased.lines[index].held = line.held
                rebased.lines[index].idle = line.idle
            }
            rebased.lines[index].wish = line.wish
            rebased.lines[index].unmetWish = line.unmetWish
        }
        rebased.queue = queue.filter { rebased.line(of: $0) != nil }
        if let recall, rebased.line(of: recall.session) != nil { rebased.recall = recall }
        rebased.recallEpoch = recallEpoch
        rebased.isCentral = isCentral
        rebased.typicalNeed = typicalNeed
        rebased.lastLimit = lastLimit
        rebased.lastTotalSpent = lastTotalSpent
        rebased.claimCount = claimCount
        return rebased
    }
}

extension AccountLedger.Line {
    fileprivate var stored: StoredAccount.Line {
        StoredAccount.Line(
            session: session, granted: granted, released: released, spent: spent,
            overrun: overrun, unlocked: unlocked)
    }
}
