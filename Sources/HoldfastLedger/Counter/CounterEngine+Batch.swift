import HoldfastCore

/// What one batch gathers, and what happens to it: apply, decide, commit, tell.
extension CounterEngine {
    struct PendingFact {
        var fact: AccountLedger.Fact
        /// Who said it.
        var connection: ConnectionID?
        /// What an operator asked for.
        var operation: UInt64?
        /// Has been refused; not applied again after a conflict.
        var isRefused = false
    }

    enum SessionCheck {
        case hello(ConnectionID, EdgeFrame.Hello)
        /// The store does not know the session of such a hello: it lost its row.
        case adopt(ConnectionID, EdgeFrame.Hello, SessionID)
        case refund(operation: UInt64, SessionID, [AccountKey], reason: String)
    }

    struct Closing {
        var connection: ConnectionID?
        /// What an operator asked for.
        var operation: UInt64?
        var session: SessionID
    }

    /// What a journal or an operator has done to an account.
    struct Deed {
        var action: OperatorRecord.Action
        var operation: UInt64?
        var key: AccountKey
        var session: SessionID?
        /// What came free by it.
        var amount: Amount
    }

    struct Batch {
        var sessionChecks: [SessionCheck] = []
        /// Each once, in the order of their coming.
        var touched: [AccountKey] = []
        var facts: [AccountKey: [PendingFact]] = [:]
        /// Told how the account stands, whatever is decided.
        var reporters: [AccountKey: [SessionID]] = [:]
        var closings: [Closing] = []
        var deadSessions: [SessionID] = []
        var seen: [SessionID] = []
        var isSessionReviewDue = false
        var learnedGeneration: UInt64?
        var operations: [(id: UInt64, Operation)] = []
        var operationFailures: [UInt64: String] = [:]

        // While it is decided and committed:

        /// As last committed.
        var before: [AccountKey: AccountLedger] = [:]
        /// Not decided yet, or not any more.
        var undecided: [AccountKey] = []
        var isDecided = false
        var actions: [AccountKey: [AccountLedger.Action]] = [:]
        var puts: [AccountKey: StoredAccount] = [:]
        var written: Set<AccountKey> = []
        var reload: Set<AccountKey> = []
        var attemptCount = 0
        var isCommitted = false
        /// A commit was interrupted: it may have been written.
        var isOutcomeDoubtful = false
        var deeds: [Deed] = []

        func facts(of key: AccountKey) -> [PendingFact] {
            guard let facts = facts[key] else { preconditionFailure("it was never touched") }
            return facts
        }

        var isEmpty: Bool {
            touched.isEmpty && closings.isEmpty && deadSessions.isEmpty && sessionChecks.isEmpty
                && seen.isEmpty && learnedGeneration == nil && operations.isEmpty
        }
    }

    // MARK: - Gathering

    mutating func touch(_ key: AccountKey) {
        guard batch.facts[key] == nil else { return }
        batch.facts[key] = []
        batch.touched.append(key)
    }

    mutating func add(
        _ fact: AccountLedger.Fact, to key: AccountKey, from id: ConnectionID? = nil,
        for operation: UInt64? = nil
    ) {
        touch(key)
        batch.facts[key]?.append(
            PendingFact(fact: fact, connection: id, operation: operation))
    }

    func needsLoad(_ key: AccountKey) -> Bool {
        guard let cached = accounts[key] else { return true }
        if batch.reload.contains(key) { return true }
        return !batch.isDecided && now.elapsed - cached.comparedAt >= settings.cacheTrust
    }

    mutating func take(_ result: LoadResult) {
        for key in batch.touched where needsLoad(key) {
            if let damage = result.damaged[key] {
                setAside(key, damage)
                continue
            }
            let found =
                result.found[key]
                ?? VersionedAccount(
                    version: 0, account: StoredAccount(base: .zero, isFrozen: false, lines: []))
            guard found.account.isSound else {
                setAside(key, "it contradicts itself")
                continue
            }
            guard !isOurs(found, key) else {
                accounts[key]?.version = found.version
                batch.written.insert(key)
                batch.undecided.removeAll { $0 == key }
                continue
            }
            if accounts[key]?.version == found.version, !batch.reload.contains(key) {
                accounts[key]?.comparedAt = now.elapsed
                continue
            }
            let known = batch.before[key] ?? accounts[key]?.ledger
            var ledger = known?.rebased(on: found.account) ?? AccountLedger(found.account)
            ledger.recallEpoch = max(ledger.recallEpoch, recallEpochFloor)
            batch.before[key] = ledger
            accounts[key] = CachedAccount(
                ledger: ledger, version: found.version, lastUse: now.elapsed,
                comparedAt: now.elapsed)
        }
        batch.reload = []
    }

    /// The interrupted commit was written after all. Facts could be merged into it once more, but
    /// what an operator did would look as if it had been done before.
    private func isOurs(_ found: VersionedAccount, _ key: AccountKey) -> Bool {
        guard batch.isOutcomeDoubtful, let version = accounts[key]?.version else { return false }
        return found.version > version && found.version - version == 1
            && found.account == batch.puts[key]
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
        batch.touched.removeAll { $0 == key }
        batch.facts[key] = nil
        batch.deeds.removeAll { $0.key == key }
        failOperations(on: key, "\(error)")
    }

    // MARK: - Deciding

    /// Applies the facts and decides, for every account that was not decided yet.
    mutating func decideBatch() {
        if !batch.isDecided {
            batch.undecided = batch.touched
            batch.isDecided = true
        }
        for key in batch.undecided { decide(key) }
        batch.undecided = []
    }

    private mutating func decide(_ key: AccountKey) {
        guard var cached = accounts[key] else { return }
        let before = batch.before[key] ?? cached.ledger
        batch.before[key] = before
        cached.ledger = before
        batch.deeds.removeAll { $0.key == key }
        for (position, pending) in batch.facts(of: key).enumerated() where !pending.isRefused {
            apply(pending, position, of: key, to: &cached.ledger)
        }
        batch.actions[key] = cached.ledger.decide(
            context(for: key), reporters: batch.reporters[key] ?? [])
        let stored = cached.ledger.stored
        // Some things are said only of what the store says now too, which a commit compares: what
        // is in memory here may be older than what another counter has written.
        let isClaim = cached.ledger.claimCount != before.claimCount
        batch.puts[key] = isClaim || stored != before.stored ? stored : nil
        cached.lastUse = now.elapsed
        accounts[key] = cached
    }

    private mutating func apply(
        _ pending: PendingFact, _ position: Int, of key: AccountKey,
        to ledger: inout AccountLedger
    ) {
        do throws(AccountLedger.Refusal) {
            let wasFrozen = ledger.isFrozen
            let freed = try ledger.apply(pending.fact, isLearning: learning != nil)
            switch pending.fact {
            case .recovered(let session, _) where freed > .zero,
                .refunded(let session) where freed > .zero:
                batch.deeds.append(
                    Deed(
                        action: .refund, operation: pending.operation, key: key,
                        session: session, amount: freed))
            case .unfrozen where wasFrozen:
                batch.deeds.append(
                    Deed(
                        action: .release, operation: pending.operation, key: key, session: nil,
                        amount: .zero))
            default: break
            }
        } catch {
            batch.facts[key]?[position].isRefused = true
            if let id = pending.connection {
                refuseEntry(key, from: id, .notBelieved, "\(error)")
            }
        }
    }

    // MARK: - Committing

    /// What is to be written; `nil` when nothing is (left).
    mutating func nextCommit() -> StoreBatch? {
        guard !batch.isCommitted else { return nil }
        let keys = batch.touched.filter { batch.puts[$0] != nil && !batch.written.contains($0) }
        // What is written already has its record.
        let records = operatorRecords().filter { !batch.written.contains($0.account) }
        let closed = batch.closings.map(\.session) + batch.deadSessions
        guard
            !keys.isEmpty || !closed.isEmpty || !batch.seen.isEmpty || !records.isEmpty
                || batch.learnedGeneration != nil
        else { return nil }
        var puts: [StoreBatch.Put] = []
        puts.reserveCapacity(keys.count)
        var reporting: [SessionID] = []
        var known: Set<SessionID> = []
        for key in keys {
            guard let account = batch.puts[key], let cached = accounts[key] else {
                preconditionFailure("what is written has been decided")
            }
            puts.append(.init(key: key, expected: cached.version, account: account))
            for session in concerned(by: key) where known.insert(session).inserted {
                reporting.append(session)
            }
        }
        return StoreBatch(
            puts: puts, reporting: reporting, closedSessions: closed, seenSessions: batch.seen,
            clockFloor: clock, learnedGeneration: batch.learnedGeneration, records: records)
    }

    /// Who has to be open for the account to be written: whose reports it takes up, and who is told
    /// what it grants. Another counter may have closed them.
    private func concerned(by key: AccountKey) -> [SessionID] {
        var sessions: [SessionID] = []
        for pending in batch.facts(of: key) where !pending.isRefused {
            if case .report(let session, _) = pending.fact { sessions.append(session) }
        }
        if let actions = batch.actions[key] {
            for case .tell(let session, _) in actions { sessions.append(session) }
        }
        return sessions
    }

    mutating func committed(_ result: CommitResult) {
        // Another counter's clock may be ahead: its periods are everybody's.
        clockFloor = max(clockFloor, result.clockFloor.seconds * 1_000)
        batch.attemptCount += 1
        guard batch.attemptCount < Self.attemptCountMax || isComplete(result) else {
            return abandonBatch(.unavailable("accounts keep changing under this counter"))
        }
        for (key, version) in result.versions {
            accounts[key]?.version = version
            accounts[key]?.comparedAt = now.elapsed
            batch.written.insert(key)
        }
        if !result.closedSessions.isEmpty { return leaveOut(result.closedSessions) }
        outputs.append(.notice(.committed(accounts: result.versions.count)))
        guard !result.conflicts.isEmpty else {
            batch.isCommitted = true
            return
        }
        outputs.append(.notice(.conflicted(accounts: result.conflicts.count)))
        again(result.conflicts)
    }

    private func isComplete(_ result: CommitResult) -> Bool {
        result.conflicts.isEmpty && result.closedSessions.isEmpty
    }

    /// Somebody else has written these accounts, or may have: they are read and decided again.
    private mutating func again(_ keys: [AccountKey]) {
        batch.undecided = keys
        batch.reload = Set(keys)
    }

    /// These sessions were closed elsewhere: the batch goes on without what they said.
    private mutating func leaveOut(_ sessions: [SessionID]) {
        for session in sessions {
            if let id = peerOfSession[session] {
                reject(id, .sessionClosed, "session \(session.rawValue) is closed")
            }
            for key in batch.touched {
                batch.facts[key]?.removeAll { pending in
                    if case .report(session, _) = pending.fact { true } else { false }
                }
                batch.reporters[key]?.removeAll { $0 == session }
            }
        }
        batch.undecided = batch.touched.filter { !batch.written.contains($0) }
    }

    // MARK: - Telling

    mutating func finishBatch() {
        let done = batch
        batch = Batch()
        // First: their lines are folded, and nobody should take that for what they hold.
        for closing in done.closings { end(closing) }
        var outbox: [ConnectionID: [GrantEntry]] = [:]
        for key in done.touched {
            if let actions = done.actions[key] {
                for action in actions { perform(action, on: key, &outbox) }
            }
            guard let epoch = accounts[key]?.ledger.openRecallEpoch,
                !recallDeadlines.contains(where: { $0.key == key && $0.epoch == epoch })
            else { continue }
            let at = now.elapsed + settings.recallPatience
            recallDeadlines.append(RecallDeadline(at: at, key: key, epoch: epoch))
        }
        for (id, entries) in outbox.sorted(by: { $0.key < $1.key }) { send(entries, to: id) }
        for key in done.touched { alarmIfFrozen(key, done) }
        for session in done.deadSessions { outputs.append(.notice(.closedDead(session))) }
        for deed in done.deeds {
            guard let session = deed.session else { continue }
            outputs.append(.notice(.refunded(deed.key, session, deed.amount)))
        }
        finishOperations(done)
    }

    private mutating func perform(
        _ action: AccountLedger.Action, on key: AccountKey,
        _ outbox: inout [ConnectionID: [GrantEntry]]
    ) {
        switch action {
        case .tell(let session, let grant):
            guard let id = peerOfSession[session], let reference = peers[id]?.references[key]
            else { return }
            outbox[id, default: []].append(GrantEntry(reference: reference, grant: grant))
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

    private mutating func alarmIfFrozen(_ key: AccountKey, _ done: Batch) {
        guard let now = accounts[key]?.ledger, now.isFrozen,
            let before = done.before[key], !before.isFrozen
        else { return }
        for pending in done.facts(of: key) {
            guard case .report(let session, let report) = pending.fact,
                report.granted > before.line(of: session)?.granted ?? .zero
            else { continue }
            outputs.append(.notice(.frozen(key, session)))
        }
    }

    private mutating func end(_ closing: Closing) {
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
            again(batch.touched.filter { !batch.written.contains($0) })
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
        batch = Batch()
        for key in failed.touched { forget(key) }
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
        where failed.touched.contains(where: { peer.references[$0] != nil }) {
            concerned.insert(id)
        }
        for id in concerned.sorted() {
            reject(id, .unavailable, "the store does not take writes")
        }
    }
}
