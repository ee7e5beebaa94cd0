import HoldfastCore
import HoldfastLedger

/// What `CounterEngine` does around `AccountLedger`, in the same order: apply, decide, commit what
/// has changed or is claimed, begin again where another counter was faster, and only then tell.
extension SmallModel.World {
    /// What one batch brings for one account.
    struct Work {
        var account: Int
        var facts: [AccountLedger.Fact] = []
        var reporters: [SessionID] = []
        var actions: [AccountLedger.Action] = []
        var put: StoredAccount?
    }

    func actions(ofCounter index: Int, in state: State) -> [SmallModel.Action] {
        let counter = state.counters[index]
        var actions: [SmallModel.Action] = []
        for account in keys.indices
        where counter.cached[account]?.ledger.openRecallEpoch != nil {
            actions.append(.recallTimedOut(counter: index, account: account))
        }
        if let changed = bounds.changedLimit, counter.limit != Amount(changed) {
            actions.append(.changeLimit(counter: index))
        }
        if bounds.hasRollover, !counter.hasRolled { actions.append(.rollCounter(index)) }
        if state.counterCrashesLeft > 0 { actions.append(.crashCounter(index)) }
        for (number, crashed) in state.crashed.enumerated() {
            let stored = state.store.accounts[0].account.lines
                .first { $0.session == crashed.session }
            for copy in crashed.journal.indices {
                // An old copy that says less than the counters have heard is refused. One that says
                // more, and less than the disk said, cannot be told by the protocol: the journal's
                // file tells.
                let isNewest = copy == crashed.journal.count - 1
                let isKnown = stored.map { crashed.journal[copy] < $0.unlocked } ?? true
                guard isNewest || isKnown else { continue }
                actions.append(.recover(crashed: number, copy: copy, counter: index))
            }
        }
        return actions
    }

    func performAtCounter(_ action: SmallModel.Action, _ state: inout State) -> [Message] {
        switch action {
        case .recallTimedOut(let counter, let account):
            let epoch = state.counters[counter].cached[account]?.ledger.openRecallEpoch ?? 0
            let work = Work(account: account, facts: [.recallTimedOut(epoch: epoch)])
            return run([work], at: counter, &state)
        case .changeLimit(let counter): return changeLimit(counter, &state)
        case .rollCounter(let counter):
            state.counters[counter].hasRolled = true
            return tellEveryone(counter, &state) { $0.isWaitedFor }
        case .crashCounter(let counter):
            state.counterCrashesLeft -= 1
            state.counters[counter].cached = keys.map { _ in nil }
            state.counters[counter].references = []
            for edge in state.edges.indices where state.edges[edge].stage != .closing {
                state.edges[edge].ledger.reconnected()
            }
            return []
        case .recover(let number, let copy, let counter):
            let crashed = state.crashed.remove(at: number)
            let report = LeaseReport(unlocked: crashed.journal[copy])
            let work = Work(account: 0, facts: [.recovered(crashed.session, report)])
            return run([work], at: counter, closing: crashed.session, &state)
        default: preconditionFailure("not a counter's action")
        }
    }

    private func changeLimit(_ counter: Int, _ state: inout State) -> [Message] {
        let old = state.counters[counter].limit
        let new = Amount(bounds.changedLimit ?? bounds.limit)
        state.counters[counter].limit = new
        let works = keys.indices.compactMap { account -> Work? in
            guard let cached = state.counters[counter].cached[account] else { return nil }
            return Work(
                account: account, facts: new < old ? [.limitLowered] : [],
                reporters: cached.ledger.sessions)
        }
        return run(works, at: counter, &state)
    }

    private func tellEveryone(
        _ counter: Int, _ state: inout State, where isConcerned: (AccountLedger) -> Bool
    ) -> [Message] {
        let works = keys.indices.compactMap { account -> Work? in
            guard let cached = state.counters[counter].cached[account],
                isConcerned(cached.ledger)
            else { return nil }
            return Work(account: account, reporters: cached.ledger.sessions)
        }
        return run(works, at: counter, &state)
    }

    /// A connection is gone.
    func lose(_ session: SessionID, at counter: Int, _ state: inout State) -> [Message] {
        guard !state.counters[counter].left.contains(session) else { return [] }
        state.counters[counter].left.append(session)
        let works = keys.indices.filter {
            state.counters[counter].cached[$0] != nil
                && state.counters[counter].reference(session, $0) != nil
        }
        return run(
            works.map { Work(account: $0, facts: [.disconnected(session)]) }, at: counter, &state)
    }

    // MARK: - Deliveries

    func deliver(
        _ message: Message, to counter: Int, _ state: inout State
    ) -> [Message] {
        switch message {
        case .grant(let session, _, let reference, let grant):
            guard let edge = state.edge(of: session) else { return [] }
            take(state.edges[edge].ledger.apply([(reference, grant)]), on: edge, &state)
            return []
        case .recall(let session, _, let reference, let epoch):
            guard let edge = state.edge(of: session) else { return [] }
            state.edges[edge].ledger.recall(reference: reference, epoch: epoch)
            return []
        case .report(let session, let entries, let isLast):
            return report(session, entries, isLast: isLast, to: counter, &state)
        }
    }

    private func report(
        _ session: SessionID, _ entries: [Message.Entry], isLast: Bool, to counter: Int,
        _ state: inout State
    ) -> [Message] {
        // Its connection is closed. What comes late of a session that crashed is taken, as if it
        // had been on the way before.
        let isOver =
            state.store.closed.contains(session) && state.counters[counter].left.contains(session)
        guard !isOver else { return [] }
        var works: [Work] = []
        for entry in entries {
            state.counters[counter].note(entry.reference, of: session, entry.account)
            works.append(
                Work(
                    account: entry.account, facts: [.report(session, entry.report)],
                    reporters: [session]))
        }
        guard isLast else { return run(works, at: counter, &state) }
        for account in keys.indices {
            if let index = works.firstIndex(where: { $0.account == account }) {
                works[index].facts.append(.closed(session))
            } else if state.counters[counter].reference(session, account) != nil {
                works.append(Work(account: account, facts: [.closed(session)]))
            }
        }
        return run(works, at: counter, closing: session, &state)
    }

    // MARK: - Batches

    /// As many as `CounterEngine` makes. In a step nobody else writes, so two are enough.
    private static let attemptCountMax = 5

    func run(
        _ works: [Work], at counter: Int, closing: SessionID? = nil, _ state: inout State
    ) -> [Message] {
        guard !works.isEmpty || closing != nil else { return [] }
        var works = works
        for work in works where state.counters[counter].cached[work.account] == nil {
            let stored = state.store.accounts[work.account]
            state.counters[counter].cached[work.account] = SmallModel.Counter.Cached(
                ledger: AccountLedger(stored.account), version: stored.version)
        }
        for _ in 0..<Self.attemptCountMax {
            var decided: [AccountLedger] = []
            for index in works.indices {
                decided.append(decide(&works[index], at: counter, &state))
            }
            let closed = concerned(by: works).filter { state.store.closed.contains($0) }
            guard closed.isEmpty else {
                leaveOut(closed, &works, at: counter, &state)
                continue
            }
            guard rebaseConflicts(works, at: counter, &state) else {
                commit(works, decided, at: counter, closing: closing, &state)
                return tell(works, from: counter, state)
            }
        }
        state.fault = "a batch came to no end"
        return []
    }

    private func decide(
        _ work: inout Work, at counter: Int, _ state: inout State
    ) -> AccountLedger {
        guard let before = state.counters[counter].cached[work.account]?.ledger else {
            preconditionFailure("an account is decided that is not loaded")
        }
        var ledger = before
        for fact in work.facts {
            do throws(AccountLedger.Refusal) {
                _ = try ledger.apply(fact)
            } catch {
                if error != .journalTooOld { state.fault = "an edge is not believed: \(error)" }
            }
        }
        work.actions = ledger.decide(
            context(work.account, at: counter, state), reporters: work.reporters)
        let isClaim = ledger.claimCount != before.claimCount
        work.put = isClaim || ledger.stored != before.stored ? ledger.stored : nil
        return ledger
    }

    private func context(
        _ account: Int, at counter: Int, _ state: State
    ) -> AccountLedger.Context {
        let node = state.counters[counter]
        let reachable = state.edges.indices.map { state.edges[$0].session }
            .filter { !node.left.contains($0) }.sorted()
        return AccountLedger.Context(
            limit: node.limit, isOpen: !bounds.hasRollover || account == 1 || !node.hasRolled,
            reachable: reachable, living: Set(reachable))
    }

    /// Who has to be open for the batch to be written.
    private func concerned(by works: [Work]) -> [SessionID] {
        var sessions: [SessionID] = []
        for work in works where work.put != nil {
            for case .report(let session, _) in work.facts { sessions.append(session) }
            for case .tell(let session, _) in work.actions { sessions.append(session) }
        }
        return sessions
    }

    private func leaveOut(
        _ sessions: [SessionID], _ works: inout [Work], at counter: Int, _ state: inout State
    ) {
        for session in sessions where !state.counters[counter].left.contains(session) {
            state.counters[counter].left.append(session)
        }
        for index in works.indices {
            works[index].facts.removeAll {
                if case .report(let session, _) = $0 { sessions.contains(session) } else { false }
            }
            works[index].facts += sessions.map { .disconnected($0) }
            works[index].reporters.removeAll { sessions.contains($0) }
        }
    }

    /// False when there are none.
    private func rebaseConflicts(
        _ works: [Work], at counter: Int, _ state: inout State
    ) -> Bool {
        guard !bounds.answersWithoutCommit else { return false }
        var hasConflict = false
        for work in works where work.put != nil {
            let stored = state.store.accounts[work.account]
            guard let cached = state.counters[counter].cached[work.account],
                cached.version != stored.version
            else { continue }
            hasConflict = true
            state.counters[counter].cached[work.account] = SmallModel.Counter.Cached(
                ledger: cached.ledger.rebased(on: stored.account), version: stored.version)
        }
        return hasConflict
    }

    private func commit(
        _ works: [Work], _ decided: [AccountLedger], at counter: Int, closing: SessionID?,
        _ state: inout State
    ) {
        for (work, ledger) in zip(works, decided) {
            state.counters[counter].cached[work.account]?.ledger = ledger
            guard let put = work.put else { continue }
            let isLost =
                bounds.answersWithoutCommit
                && state.counters[counter].cached[work.account]?.version
                    != state.store.accounts[work.account].version
            guard !isLost else { continue }
            state.store.accounts[work.account].version += 1
            state.store.accounts[work.account].account = put
            state.counters[counter].cached[work.account]?.version += 1
        }
        guard let closing else { return }
        if !state.store.closed.contains(closing) { state.store.closed.append(closing) }
        if !state.counters[counter].left.contains(closing) {
            state.counters[counter].left.append(closing)
        }
    }

    private func tell(
        _ works: [Work], from counter: Int, _ state: State
    ) -> [Message] {
        var messages: [Message] = []
        for work in works {
            for action in work.actions {
                switch action {
                case .tell(let session, let grant):
                    guard
                        let reference = state.counters[counter].reference(session, work.account)
                    else { continue }
                    messages.append(
                        .grant(session, account: work.account, reference: reference, grant))
                case .recall(let session, let epoch):
                    guard
                        let reference = state.counters[counter].reference(session, work.account)
                    else { continue }
                    messages.append(
                        .recall(
                            session, account: work.account, reference: reference, epoch: epoch))
                }
            }
        }
        return messages
    }
}
