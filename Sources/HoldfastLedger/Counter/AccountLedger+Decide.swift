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
        let exposureBefore = exposure
        if context.limit > lastLimit { queueDropped(context) }
        lastLimit = context.limit
        // What lost sessions were presumed to have spent came back: who was told that nothing is left
        // would not ask again by itself.
        let spent = totalSpent(context)
        if spent < lastTotalSpent { told += sessions }
        lastTotalSpent = spent
        if isRecallOfAllDue { actions += recallAll(context) }
        if context.isLearning {
            // Who waits, waits on: what there is to grant is not known yet.
        } else if context.isOpen && !isFrozen {
            serveQueue(context, told: &told)
            updateCentralMode(context)
            if queue.isEmpty {
                prefetch(reporters, context)
            } else {
                actions += recallForHead(context, told: &told)
            }
            for session in reporters { forgetCeiling(session) }
        } else {
            // Everyone who waits hears it once, also when somebody else's report has caused it.
            for session in queue where markUnmet(session) { told.append(session) }
        }
        assertConservation(context, before: exposureBefore)
        guard !told.isEmpty else { return actions }
        let sums = Sums(self, context)
        // Most are told one by one: a set only for many.
        var seen: Set<SessionID> = []
        for (position, session) in told.enumerated() where context.reaches(session) {
            let isKnown =
                told.count <= 16
                ? told[..<position].contains(session) : !seen.insert(session).inserted
            guard !isKnown else { continue }
            actions.append(.tell(session, standing(for: session, sums, context)))
        }
        return actions
    }

    /// The same for all who are told.
    private struct Sums {
        let spent: Amount
        let held: Amount
        let exposure: Amount

        init(_ ledger: AccountLedger, _ context: Context) {
            spent = ledger.totalSpent(context)
            held = ledger.totalHeld(context)
            exposure = ledger.exposure
        }
    }

    /// The account as one session sees it.
    private func standing(
        for session: SessionID, _ sums: Sums, _ context: Context
    ) -> LeaseGrant {
        let line = line(of: session)
        return LeaseGrant(
            granted: line?.granted ?? .zero, released: line?.released ?? .zero,
            spent: line?.spent ?? .zero, totalSpent: sums.spent, totalHeld: sums.held,
            exposure: sums.exposure, limit: context.limit, isCentral: isCentral || !queue.isEmpty,
            isFrozen: isFrozen, isClosed: !context.isOpen,
            isLearning: context.isLearning, unmetWish: line?.unmetWish ?? 0)
    }

    /// Asks every reachable holder for what it does not use.
    private mutating func recallAll(_ context: Context) -> [Action] {
        isRecallOfAllDue = false
        recallEpoch += 1
        return lines.filter { $0.outstanding > .zero && context.reaches($0.session) }
            .map { .recall($0.session, epoch: recallEpoch) }
    }

    // MARK: - Queue

    private mutating func serveQueue(_ context: Context, told: inout [SessionID]) {
        while let head = queue.first {
            guard context.reaches(head), let index = lineIndex(head),
                let wish = lines[index].wish
            else {
                queue.removeFirst()
                continue
            }
            guard wish.need > lines[index].granted else {
                // Granted by a commit whose outcome was not known: it has not been told yet.
                queue.removeFirst()
                told.append(head)
                continue
            }
            let request = requested(wish.need, index)
            guard lines[index].outstanding(afterGranting: wish.need) <= context.sliceMax else {
                // More than one session may hold: it has to settle what it has first.
                _ = markUnmet(head)
                queue.removeFirst()
                told.append(head)
                continue
            }
            if exposure(afterGranting: wish.need, at: index) <= context.limit {
                lines[index].granted = wish.need
                let faded = Amount(typicalNeed.rawValue - typicalNeed.rawValue / 16)
                typicalNeed = max(request, faded)
                queue.removeFirst()
                told.append(head)
            } else if !canEverFit(request, context) {
                // Everything that is held could come back unspent and it would still not fit.
                _ = markUnmet(head)
                queue.removeFirst()
                told.append(head)
            } else {
                typicalNeed = max(typicalNeed, request)
                return
            }
        }
    }

    /// A higher limit may fit what was told that it never could.
    private mutating func queueDropped(_ context: Context) {
        for index in lines.indices {
            guard let wish = lines[index].wish, wish.need > lines[index].granted,
                !queue.contains(lines[index].session),
                canEverFit(requested(wish.need, index), context)
            else { continue }
            queue.append(lines[index].session)
        }
    }

    /// Says that the newest wish of a session cannot be met now. False when that was said before.
    private mutating func markUnmet(_ session: SessionID) -> Bool {
        guard let index = lineIndex(session), let wish = lines[index].wish,
            lines[index].unmetWish < wish.number
        else { return false }
        lines[index].unmetWish = wish.number
        claimCount += 1
        return true
    }

    private func exposure(afterGranting total: Amount, at index: Int) -> Amount {
        var line = lines[index]
        line.granted = max(line.granted, total)
        return lines.indices.reduce(base) {
            $0.saturatingAdd($1 == index ? line.exposure : lines[$1].exposure)
        }
    }

    /// What the first waiting request of a session needs, and requests that keep their part before
    /// it.
    private func requested(_ need: Amount, _ index: Int) -> Amount {
        let line = lines[index]
        return need.excess(over: line.released.saturatingAdd(line.spent)).excess(over: line.held)
    }

    private func canEverFit(_ request: Amount, _ context: Context) -> Bool {
        totalSpent(context).saturatingAdd(request) <= context.limit
    }

    /// More than the first waiting request needs, so that the edge does not have to ask for each:
    /// at most half of an even share of what is free, so that the next session finds some too.
    private mutating func prefetch(_ reporters: [SessionID], _ context: Context) {
        // A part of what a request needs serves nobody.
        guard !isCentral else { return }
        var knownCount: UInt64?
        for session in reporters {
            guard context.reaches(session), let index = lineIndex(session),
                let wish = lines[index].wish,
                wish.need <= lines[index].granted, wish.ceiling > lines[index].granted
            else { continue }
            let count = knownCount ?? UInt64(max(1, activeCount(context)))
            knownCount = count
            let free = context.limit.excess(over: exposure)
            let room = context.sliceMax.excess(over: lines[index].outstanding).rawValue
            let extra = min(
                wish.ceiling.excess(over: lines[index].granted).rawValue,
                free.rawValue / (2 * count), room)
            lines[index].granted += Amount(extra)
        }
    }

    /// What was not granted beyond the need is not granted later either, when it may not be wanted
    /// any more: a wish has one chance, however often it is repeated.
    private mutating func forgetCeiling(_ session: SessionID) {
        guard let index = lineIndex(session), let wish = lines[index].wish,
            wish.ceiling > lines[index].granted
        else { return }
        let granted = lines[index].granted
        lines[index].wish?.ceiling = max(wish.need, granted)
    }

    private func activeCount(_ context: Context) -> Int {
        lines.reduce(0) { $0 + (context.reaches($1.session) ? 1 : 0) }
    }

    // MARK: - Recall

    /// The head of the queue waits for money that others may hold idle: asks all of them once
    /// unless the need grows, and later those who report that something has come free. When all
    /// have answered and it still does not fit, the head's edge is told so; it keeps its place,
    /// because holds settle and money comes back.
    private mutating func recallForHead(_ context: Context, told: inout [SessionID]) -> [Action] {
        guard let head = queue.first, let index = lineIndex(head), let wish = lines[index].wish
        else { preconditionFailure("nobody waits at the head of the queue") }
        let others = lines.filter { $0.session != head && context.reaches($0.session) }
        let holders: [SessionID]
        if let round = recall, round.session == head, wish.need <= round.need {
            recall?.waitingFor.removeAll { !context.reaches($0) }
            guard recall?.waitingFor.isEmpty == true else { return [] }
            // What has come free since the last round.
            holders = others.filter { $0.idle > .zero }.map(\.session)
        } else {
            holders = others.filter { $0.outstanding > .zero }.map(\.session)
        }
        if holders.isEmpty, markUnmet(head) { told.append(head) }
        if !holders.isEmpty { recallEpoch += 1 }
        recall = RecallRound(
            epoch: recallEpoch, session: head, need: wish.need, waitingFor: holders)
        return holders.map { .recall($0, epoch: recallEpoch) }
    }

    /// The recall that is waiting for answers, for the shell's timer.
    public var openRecallEpoch: UInt64? {
        guard let recall, !recall.waitingFor.isEmpty else { return nil }
        return recall.epoch
    }

    // MARK: - Central mode

    private mutating func updateCentralMode(_ context: Context) {
        let used = totalSpent(context).saturatingAdd(totalHeld(context))
        let room = context.limit.excess(over: used).rawValue
        let perRequest = UInt64(max(1, activeCount(context))) * Self.centralRequestsPerSession
        let (low, overflow) = typicalNeed.rawValue.multipliedReportingOverflow(by: perRequest)
        if overflow || room < low {
            isCentral = true
        } else if room / 2 >= low {
            isCentral = false
        }
    }

    /// Grants never push exposure past the limit: an exposure above it stems from a lowered limit
    /// or an overrun. `serveQueue` and `prefetch` see to it step by step; this stops the process if
    /// they are ever changed so that they don't.
    private func assertConservation(_ context: Context, before: Amount) {
        precondition(exposure <= max(context.limit, before), "granted more than the limit")
        for line in lines {
            precondition(line.released <= line.granted, "more released than granted")
            precondition(
                line.released.saturatingAdd(line.spent)
                    <= line.granted.saturatingAdd(line.overrun),
                "more spent than granted without an overrun")
        }
    }
}
