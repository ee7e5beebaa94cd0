public import HoldfastCore

/// The grant policy: who gets how much of what is free, and whom to ask when nothing is.
extension AccountLedger {
    /// Central mode begins when what is neither spent nor held would serve fewer than this many
    /// typical requests per reachable session, and ends at twice as many.
    static let centralRequestsPerSession: UInt64 = 4

    /// Grants what can be granted and says whom to tell. Call it after a batch of facts;
    /// `reporters` are answered in any case.
    public mutating func decide(
        _ context: Context, reporters: [SessionID] = []
    ) -> [Action] {
        var told = reporters
        var actions: [Action] = []
        updateCentralMode(context)
        if context.isOpen && !isFrozen {
            serveQueue(context, told: &told)
            if queue.isEmpty {
                for session in reporters { prefetch(session, context) }
            } else {
                actions += recallForHead(context, told: &told)
            }
        }
        assertConservation(context)
        var seen: [SessionID] = []
        for session in told where !seen.contains(session) && context.reaches(session) {
            seen.append(session)
            actions.append(.tell(session, standing(for: session, context)))
        }
        return actions
    }

    /// The account as one session sees it.
    public func standing(for session: SessionID, _ context: Context) -> LeaseGrant {
        let line = line(of: session)
        return LeaseGrant(
            granted: line?.granted ?? .zero, released: line?.released ?? .zero,
            spent: line?.spent ?? .zero, totalSpent: totalSpent, totalHeld: totalHeld,
            exposure: exposure, limit: context.limit, isCentral: isCentral, isFrozen: isFrozen,
            isClosed: !context.isOpen, unmetWish: line?.unmetWish ?? 0)
    }

    /// Asks every reachable holder for what it does not use: the limit was lowered.
    public mutating func recallAll(_ context: Context) -> [Action] {
        recallEpoch += 1
        return lines.filter { $0.outstanding > .zero && context.reaches($0.session) }
            .map { .recall($0.session, epoch: recallEpoch) }
    }

    // MARK: - Queue

    private mutating func serveQueue(_ context: Context, told: inout [SessionID]) {
        while let head = queue.first {
            guard let index = lineIndex(head), let wish = lines[index].wish,
                wish.need > lines[index].granted
            else {
                queue.removeFirst()
                continue
            }
            if exposure(afterGranting: wish.need, at: index) <= context.limit {
                lines[index].granted = wish.need
                queue.removeFirst()
                told.append(head)
            } else if !canEverFit(index, context) {
                // Everything that is held could come back unspent and it would still not fit.
                lines[index].unmetWish = wish.number
                queue.removeFirst()
                told.append(head)
            } else {
                return
            }
        }
    }

    private func exposure(afterGranting total: Amount, at index: Int) -> Amount {
        var line = lines[index]
        line.granted = max(line.granted, total)
        return lines.indices.reduce(base) {
            $0.saturatingAdd($1 == index ? line.exposure : lines[$1].exposure)
        }
    }

    private func canEverFit(_ index: Int, _ context: Context) -> Bool {
        guard let wish = lines[index].wish else { return false }
        let line = lines[index]
        let request = wish.need.excess(over: line.released.saturatingAdd(line.spent))
            .excess(over: line.held)
        return totalSpent.saturatingAdd(request) <= context.limit
    }

    /// More than the first waiting request needs, so that the edge does not have to ask for each:
    /// at most half of an even share of what is free, so that the next session finds some too.
    private mutating func prefetch(_ session: SessionID, _ context: Context) {
        guard !isCentral, let index = lineIndex(session), let wish = lines[index].wish,
            wish.ceiling > lines[index].granted
        else { return }
        let free = context.limit.excess(over: exposure)
        let share = free.rawValue / (2 * UInt64(max(1, activeCount(context))))
        let extra = min(wish.ceiling.excess(over: lines[index].granted).rawValue, share)
        lines[index].granted += Amount(extra)
    }

    private func activeCount(_ context: Context) -> Int {
        lines.reduce(0) { $0 + (context.reaches($1.session) ? 1 : 0) }
    }

    // MARK: - Recall

    /// The head of the queue waits for money that others may hold idle: asks them, once per wish.
    /// When all have answered and it still does not fit, the head's edge is told so; it keeps its
    /// place, because holds settle and money comes back.
    private mutating func recallForHead(_ context: Context, told: inout [SessionID]) -> [Action] {
        guard let head = queue.first, let index = lineIndex(head), let wish = lines[index].wish
        else { return [] }
        if let round = recall, round.session == head, round.wishNumber == wish.number {
            recall?.waitingFor.removeAll { !context.reaches($0) }
            if recall?.waitingFor.isEmpty == true, lines[index].unmetWish < wish.number {
                lines[index].unmetWish = wish.number
                told.append(head)
            }
            return []
        }
        let holders = lines.filter {
            $0.session != head && $0.outstanding > .zero && context.reaches($0.session)
        }.map(\.session)
        recallEpoch += 1
        recall = RecallRound(
            epoch: recallEpoch, session: head, wishNumber: wish.number, waitingFor: holders)
        if holders.isEmpty {
            lines[index].unmetWish = wish.number
            told.append(head)
        }
        return holders.map { .recall($0, epoch: recallEpoch) }
    }

    /// The recall that is waiting for answers, for the shell's timer.
    public var openRecallEpoch: UInt64? {
        guard let recall, !recall.waitingFor.isEmpty else { return nil }
        return recall.epoch
    }

    // MARK: - Central mode

    private mutating func updateCentralMode(_ context: Context) {
        let used = totalSpent.saturatingAdd(totalHeld)
        let room = context.limit.excess(over: used).rawValue
        let perRequest = UInt64(max(1, activeCount(context))) * Self.centralRequestsPerSession
        let (low, overflow) = typicalNeed.rawValue.multipliedReportingOverflow(by: perRequest)
        if overflow || room < low {
            isCentral = true
        } else if room / 2 >= low {
            isCentral = false
        }
    }

    /// Grants never push exposure past the limit. An exposure above it stems from a lowered limit or
    /// an overrun, and then nothing may have been granted; `serveQueue` and `prefetch` prove that
    /// step by step, and this stops the process if they are ever changed so that they don't.
    private func assertConservation(_ context: Context) {
        for line in lines {
            precondition(line.released <= line.granted, "more released than granted")
            precondition(
                line.released.saturatingAdd(line.spent)
                    <= line.granted.saturatingAdd(line.overrun),
                "more spent than granted without an overrun")
        }
    }
}
