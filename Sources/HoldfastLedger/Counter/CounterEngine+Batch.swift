import HoldfastCore

/// What happens to a batch: apply, decide, commit, tell.
extension CounterEngine {
    // MARK: - Gathering

    mutating func add(
        _ fact: AccountLedger.Fact, to key: AccountKey, from id: ConnectionID? = nil,
        for operation: UInt64? = nil
    ) {
        batch.add(.init(fact: fact, connection: id, operation: operation), to: key)
    }

    func needsLoad(_ account: CounterBatch.Account) -> Bool {
        if account.mustReload { return true }
        guard account.progress == .undecided else { return false }
        guard let cached = accounts[account.key] else { return true }
        return !batch.isDecided && now.elapsed - cached.comparedAt >= settings.cacheTrust
    }

    mutating func take(_ result: LoadResult) {
        var damaged: Set<AccountKey> = []
        for account in batch.accounts where needsLoad(account) {
            let key = account.key
            if let damage = result.damaged[key] {
                damaged.insert(key)
                setAside(key, damage)
                continue
            }
            let found =
                result.found[key]
                ?? VersionedAccount(
                    version: 0, account: StoredAccount(base: .zero, isFrozen: false, lines: []))
            guard found.account.isSound else {
                damaged.insert(key)
                setAside(key, "it contradicts itself")
                continue
            }
            guard let position = batch.position(of: key) else {
                preconditionFailure("what was loaded is in the batch")
            }
            batch[position].mustReload = false
            if isOurs(found, account) {
                written(position, version: found.version)
                continue
            }
            if accounts[key]?.version == found.version, !account.mustReload {
                accounts[key]?.comparedAt = now.elapsed
                continue
            }
            let known = accounts[key]?.ledger
            var ledger = known?.rebased(on: found.account) ?? AccountLedger(found.account)
            ledger.recallEpoch = max(ledger.recallEpoch, recallEpochFloor)
            accounts[key] = CachedAccount(
                ledger: ledger, version: found.version, lastUse: now.elapsed,
                comparedAt: now.elapsed)
        }
        if !damaged.isEmpty { batch.remove(damaged) }
    }

    /// The interrupted commit was written after all. Facts could be merged into it once more, but
    /// what an operator did would look as if it had been done before.
    private func isOurs(_ found: VersionedAccount, _ account: CounterBatch.Account) -> Bool {
        batch.isOutcomeDoubtful && account.put == found.account
            && found.version > account.version && found.version - account.version == 1
    }

    /// One damaged account is no reason to keep the edges from their others.
    private mutating func setAside(_ key: AccountKey, _ damage: String) {
        let error = StoreError.corrupt("account `\(key.text)`: \(damage)")
        outputs.append(.notice(.storeFailed(error)))
        // Also those who only wait: their places are forgotten with the account.
        let concerned = peers.filter { $0.value.references[key] != nil }.keys.sorted()
        for id in concerned {
            refuseEntry(key, from: id, .unavailable, "the stored account cannot be read")
        }
        forget(key)
        failOperations(on: key, "\(error)")
    }

    // MARK: - Deciding

    /// Applies the facts and decides, for every account that was not decided yet.
    mutating func decideBatch() {
        batch.isDecided = true
        // Most are answered once.
        batch.actions.reserveCapacity(batch.facts.count)
        for position in batch.accounts.indices where batch[position].progress == .undecided {
            decide(position)
        }
    }

    /// What is in memory stays as committed until the decision is.
    private mutating func decide(_ position: Int) {
        let key = batch[position].key
        guard let before = accounts[key] else { preconditionFailure("decided, but not loaded") }
        var ledger = before.ledger
        if !batch.deeds.isEmpty { batch.deeds.removeAll { $0.key == key } }
        var next = batch[position].firstFact
        while let index = next {
            apply(index, of: position, to: &ledger)
            next = batch.facts[index].next
        }
        let first = batch.actions.count
        batch.actions += ledger.decide(
            context(for: key), reporters: batch.reporters(position))
        // Some things are said only of what the store says now too, which a commit compares: what
        // is in memory here may be older than what another counter has written.
        let isClaim = ledger.claimCount != before.ledger.claimCount
        let isChanged = isClaim || !ledger.isStored(like: before.ledger)
        batch[position].put = isChanged ? ledger.stored : nil
        batch[position].version = before.version
        batch[position].actions = first..<batch.actions.count
        batch[position].alarming =
            ledger.isFrozen && !before.ledger.isFrozen ? alarming(position, before.ledger) : []
        batch[position].ledger = ledger
        batch[position].progress = .decided
    }

    /// Whose reports show that the store has lost a write.
    private func alarming(
        _ position: Int, _ before: AccountLedger
    ) -> [SessionID] {
        var sessions: [SessionID] = []
        var next = batch[position].firstFact
        while let index = next {
            let pending = batch.facts[index]
            if !pending.isDropped, case .report(let session, let report) = pending.fact,
                report.granted > before.line(of: session)?.granted ?? .zero
            {
                sessions.append(session)
            }
            next = pending.next
        }
        return sessions
    }

    private mutating func apply(
        _ index: Int, of position: Int, to ledger: inout AccountLedger
    ) {
        let key = batch[position].key
        let pending = batch.facts[index]
        guard !pending.isDropped else { return }
        do throws(AccountLedger.Refusal) {
            let wasFrozen = ledger.isFrozen
            let freed = try ledger.apply(pending.fact, isLearning: learning != nil)
            switch pending.fact {
            case .recovered(let session, _) where freed > .zero,
                .refunded(let session) where freed > .zero:
                batch.deeds.append(
                    CounterBatch.Deed(
                        action: .refund, operation: pending.operation, key: key,
                        session: session, amount: freed))
            case .unfrozen where wasFrozen:
                batch.deeds.append(
                    CounterBatch.Deed(
                        action: .release, operation: pending.operation, key: key, session: nil,
                        amount: .zero))
            default: break
            }
        } catch {
            batch.facts[index].isDropped = true
            if let id = pending.connection {
                refuseEntry(key, from: id, .notBelieved, "\(error)")
            }
        }
    }

    // MARK: - Committing

    /// What is to be written; `nil` when nothing is (left).
    mutating func nextCommit() -> StoreBatch? {
        guard !batch.isCommitted else { return nil }
        var puts: [StoreBatch.Put] = []
        var reporting: [SessionID] = []
        var known: Set<SessionID> = []
        puts.reserveCapacity(batch.accounts.count)
        for position in batch.accounts.indices where batch[position].progress == .decided {
            guard let put = batch[position].put else { continue }
            puts.append(
                .init(
                    key: batch[position].key, expected: batch[position].version, account: put))
            addConcerned(by: position, to: &reporting, &known)
        }
        // What is written already has its record.
        let records = operatorRecords().filter { record in
            batch.position(of: record.account).map { batch[$0].progress } != .written
        }
        let closed = batch.closings.map(\.session) + batch.deadSessions
        guard
            !puts.isEmpty || !closed.isEmpty || !batch.seen.isEmpty || !records.isEmpty
                || batch.learnedGeneration != nil
        else { return nil }
        return StoreBatch(
            puts: puts, reporting: reporting, closedSessions: closed, seenSessions: batch.seen,
            clockFloor: clock, learnedGeneration: batch.learnedGeneration, records: records)
    }

    /// Who has to be open for the account to be written: whose reports it takes up, and who is told
    /// what it grants. Another counter may have closed them.
    private func addConcerned(
        by position: Int, to reporting: inout [SessionID], _ known: inout Set<SessionID>
    ) {
        var next = batch[position].firstFact
        while let index = next {
            if !batch.facts[index].isDropped,
                case .report(let session, _) = batch.facts[index].fact,
                known.insert(session).inserted
            {
                reporting.append(session)
            }
            next = batch.facts[index].next
        }
        for action in batch.actions[batch[position].actions] {
            guard case .tell(let session, _) = action, known.insert(session).inserted
            else { continue }
            reporting.append(session)
        }
    }

    mutating func committed(_ result: CommitResult) {
        // Another counter's clock may be ahead: its periods are everybody's.
        clockFloor = max(clockFloor, result.clockFloor.seconds * 1_000)
        batch.attemptCount += 1
        guard batch.attemptCount < Self.attemptCountMax || isComplete(result) else {
            return abandonBatch(.unavailable("accounts keep changing under this counter"))
        }
        for put in result.written {
            guard let position = batch.position(of: put.key) else {
                preconditionFailure("the store has written what it was not told to")
            }
            written(position, version: put.version)
        }
        if !result.closedSessions.isEmpty { return leaveOut(result.closedSessions) }
        outputs.append(.notice(.committed(accounts: result.written.count)))
        guard !result.conflicts.isEmpty else {
            batch.isCommitted = true
            return
        }
        outputs.append(.notice(.conflicted(accounts: result.conflicts.count)))
        again(result.conflicts)
    }

    private mutating func written(_ position: Int, version: UInt64) {
        guard let ledger = batch[position].ledger else {
            preconditionFailure("what is written has been decided")
        }
        accounts[batch[position].key] = CachedAccount(
            ledger: ledger, version: version, lastUse: now.elapsed, comparedAt: now.elapsed)
        batch[position].progress = .written
    }

    private func isComplete(_ result: CommitResult) -> Bool {
        result.conflicts.isEmpty && result.closedSessions.isEmpty
    }

    /// Somebody else has written these accounts, or may have: they are read and decided again.
    private mutating func again(_ keys: [AccountKey]) {
        for key in keys {
            guard let position = batch.position(of: key) else {
                preconditionFailure("a conflict on what was not to be written")
            }
            batch[position].progress = .undecided
            batch[position].mustReload = true
        }
    }

    /// These sessions were closed elsewhere: the batch goes on without what they said.
    private mutating func leaveOut(_ sessions: [SessionID]) {
        for session in sessions {
            if let id = peerOfSession[session] {
                reject(id, .sessionClosed, "session \(session.rawValue) is closed")
            }
        }
        batch.leaveOut(sessions)
    }

    // MARK: - Telling

    mutating func finishBatch() {
        let done = batch
        batch = CounterBatch()
        // First: their lines are folded, and nobody should take that for what they hold.
        for closing in done.closings { end(closing) }
        var outbox = Outbox()
        for position in done.accounts.indices { finish(position, of: done, &outbox) }
        for (id, entries) in outbox.contents { send(entries, to: id) }
        for position in done.accounts.indices {
            for session in done[position].alarming {
                outputs.append(.notice(.frozen(done[position].key, session)))
            }
        }
        for session in done.deadSessions { outputs.append(.notice(.closedDead(session))) }
        for deed in done.deeds {
            guard let session = deed.session else { continue }
            outputs.append(.notice(.refunded(deed.key, session, deed.amount)))
        }
        finishOperations(done)
    }

    private mutating func finish(
        _ position: Int, of done: CounterBatch, _ outbox: inout Outbox
    ) {
        let key = done[position].key
        precondition(
            done[position].progress != .decided || done[position].put == nil,
            "the store has neither written an account nor refused to")
        if done[position].progress == .decided, let ledger = done[position].ledger {
            accounts[key]?.ledger = ledger
            accounts[key]?.lastUse = now.elapsed
        }
        for action in done.actions[done[position].actions] { perform(action, on: key, &outbox) }
        guard let epoch = done[position].ledger?.openRecallEpoch,
            !recallDeadlines.contains(where: { $0.key == key && $0.epoch == epoch })
        else { return }
        let at = now.elapsed + settings.recallPatience
        recallDeadlines.append(RecallDeadline(at: at, key: key, epoch: epoch))
    }

    private mutating func perform(
        _ action: AccountLedger.Action, on key: AccountKey, _ outbox: inout Outbox
    ) {
        switch action {
        case .tell(let session, let grant):
            let tray = outbox.tray(of: session) {
                peerOfSession[session].flatMap { id in
                    peers[id].map { Outbox.Tray(id: id, references: $0.references) }
                }
            }
            guard let tray, let reference = outbox[tray].references[key] else { return }
            outbox[tray].entries.append(GrantEntry(reference: reference, grant: grant))
        case .recall(let session, let epoch):
            guard let id = peerOfSession[session], let reference = peers[id]?.references[key]
            else { return }
            outputs.append(.notice(.recalled(key, session)))
            outputs.append(.send(id, .recall(reference: reference, epoch: epoch)))
        }
    }

    /// In frames of the size that edges send: a batch may have taken many of theirs.
    private mutating func send(_ entries: [GrantEntry], to id: ConnectionID) {
        for start in stride(from: 0, to: entries.count, by: Limits.reportEntryCountMax) {
            let part = Array(entries[start...].prefix(Limits.reportEntryCountMax))
            outputs.append(.send(id, .grants(part, counterTimeMilliseconds: clockFloor)))
        }
    }

    private mutating func end(_ closing: CounterBatch.Closing) {
        guard let id = closing.connection, let peer = peers.removeValue(forKey: id) else { return }
        if peerOfSession[closing.session] == id { peerOfSession[closing.session] = nil }
        updateReachable()
        outputs.append(.notice(.left(edge: peer.edgeName, closing.session)))
        outputs.append(.send(id, .sessionClosed))
        outputs.append(.close(id))
    }

    // MARK: - Trouble

    mutating func storeFailed(_ error: StoreError, at stage: Stage) {
        isStoreFailing = true
        isGenerationDoubtful = true
        outputs.append(.notice(.storeFailed(error)))
        switch (stage, error) {
        case (.sessionCheck, _):
            sessionCheckFailed()
        case (.committing, .interrupted) where batch.attemptCount + 1 < Self.attemptCountMax:
            // Written or not: what the store says now is the truth, and the facts are merged into
            // it.
            batch.attemptCount += 1
            batch.isOutcomeDoubtful = true
            again(batch.accounts.filter { $0.progress != .written }.map(\.key))
        default:
            abandonBatch(error)
        }
    }

    mutating func storeWorks() {
        guard isStoreFailing else { return }
        isStoreFailing = false
        outputs.append(.notice(.storeWorks))
    }

    /// Nothing of the batch is answered. The accounts are read again when they are next needed, and
    /// the edges that use them are hung up on: a new connection makes them say everything again.
    /// Also those that have not reported now, whose place in a queue is forgotten with the account.
    mutating func abandonBatch(_ error: StoreError) {
        let failed = batch
        batch = CounterBatch()
        for account in failed.accounts { forget(account.key) }
        for (id, _) in failed.operations {
            outputs.append(.operationDone(id, .refused("\(error)")))
        }
        var concerned = Set(failed.closings.compactMap(\.connection))
        for check in failed.sessionChecks {
            switch check {
            case .hello(let id, _), .adopt(let id, _, _): concerned.insert(id)
            case .refund: break
            }
        }
        for (id, peer) in peers
        where failed.accounts.contains(where: { peer.references[$0.key] != nil }) {
            concerned.insert(id)
        }
        for id in concerned.sorted() {
            reject(id, .unavailable, "the store does not take writes")
        }
    }
}
