import HoldfastAdmin
import HoldfastCore
import HoldfastLedger
import HoldfastStore
import HoldfastWire
import Logging

/// Decide, commit, and only then answer.
extension CounterCore {
    /// Conflicts mean that another counter wrote the account: its state is loaded, what was reported
    /// is applied to it, and the decision made again. So many times before the edges have to ask anew.
    private static let attemptCountMax = 5

    func finishBatch() {
        guard !batch.touched.isEmpty || !batch.closing.isEmpty else {
            batch = Batch()
            return
        }
        var actions: [AccountKey: [AccountLedger.Action]] = [:]
        var undecided = batch.touched
        for attempt in 1...Self.attemptCountMax where !undecided.isEmpty || attempt == 1 {
            for key in undecided { actions[key] = decide(key) }
            let conflicts: [AccountKey]
            do {
                conflicts = try commit(undecided, closing: attempt == 1)
            } catch {
                return abandonBatch(error)
            }
            undecided = conflicts
            if !conflicts.isEmpty {
                metrics.conflicts.increment(by: UInt64(conflicts.count))
                do {
                    try reload(conflicts)
                } catch {
                    return abandonBatch(error)
                }
            }
        }
        guard undecided.isEmpty else {
            return abandonBatch(.unavailable("accounts keep changing under this counter"))
        }
        succeeded()
        let done = batch
        batch = Batch()
        var outbox: [UInt64: [GrantEntry]] = [:]
        for key in done.touched { perform(actions[key] ?? [], on: key, outbox: &outbox) }
        let time = clock.nowMilliseconds()
        for (id, entries) in outbox {
            // In frames of the size that edges send: a batch may have taken many of theirs.
            for start in stride(from: 0, to: entries.count, by: Limits.reportEntryCountMax) {
                let part = entries[start...].prefix(Limits.reportEntryCountMax)
                peers[id]?.connection.send(.grants(Array(part), counterTimeMilliseconds: time))
            }
        }
        // Touches their accounts, which are decided with the next batch: money came free.
        for (id, _) in done.closing {
            peers[id]?.connection.send(.sessionClosed)
            drop(id)
        }
    }

    private func decide(_ key: AccountKey) -> [AccountLedger.Action] {
        guard var cached = accounts[key] else { return [] }
        for session in batch.closingAccounts[key] ?? [] { cached.ledger.close(session) }
        let context = context(for: key)
        var actions: [AccountLedger.Action] = []
        if batch.recallAll.contains(key) { actions += cached.ledger.recallAll(context) }
        actions += cached.ledger.decide(context, reporters: batch.reporters[key] ?? [])
        accounts[key] = cached
        return actions
    }

    /// Writes what has changed. Returns the accounts that somebody else has written meanwhile.
    private func commit(
        _ keys: [AccountKey], closing: Bool
    ) throws(StoreError) -> [AccountKey] {
        var puts: [StoreBatch.Put] = []
        for key in keys {
            guard let cached = accounts[key] else { continue }
            let stored = cached.ledger.stored
            guard stored != cached.committed else { continue }
            puts.append(.init(key: key, expected: cached.version, account: stored))
        }
        let closed = closing ? batch.closing.map(\.session) : []
        guard !puts.isEmpty || !closed.isEmpty else { return [] }
        let started = ContinuousClock.now
        let result = try store.commit(
            StoreBatch(puts: puts, closedSessions: closed, clockFloor: clock.now()))
        metrics.commitLatency.observe(started.duration(to: .now))
        metrics.commits.increment()
        metrics.accountWrites.increment(by: UInt64(puts.count - result.conflicts.count))
        for put in puts {
            guard let version = result.versions[put.key] else { continue }
            accounts[put.key]?.version = version
            accounts[put.key]?.committed = put.account
        }
        return result.conflicts
    }

    private func reload(_ keys: [AccountKey]) throws(StoreError) {
        for key in keys {
            accounts[key] = nil
            var cached = try account(key)
            for (session, report) in batch.reports[key] ?? [] {
                do {
                    try cached.ledger.apply(report, from: session)
                } catch {
                    logger.error(
                        "report entry refused after a conflict",
                        metadata: ["account": "\(key.text)", "reason": "\(error)"])
                }
            }
            accounts[key] = cached
        }
    }

    /// Nothing of the batch is answered. The accounts are read again when they are next needed, and
    /// the edges that use them are hung up on: a new connection makes them say everything again. Also
    /// those that have not reported now, whose place in a queue is forgotten with the account.
    private func abandonBatch(_ error: StoreError) {
        let touched = batch.touched
        let sessions = Set(batch.reporters.values.flatMap { $0 } + batch.closing.map(\.session))
        for key in touched { accounts[key] = nil }
        batch = Batch()
        failed(error)
        let concerned = peers.filter { _, peer in
            peer.session.map(sessions.contains) ?? false
                || touched.contains { peer.references[$0] != nil }
        }
        for id in concerned.keys.sorted() {
            peers[id]?.connection.send(
                .rejected(
                    Rejection(reason: .unavailable, message: "the store does not take writes")))
            drop(id)
        }
    }

    private func perform(
        _ actions: [AccountLedger.Action], on key: AccountKey, outbox: inout [UInt64: [GrantEntry]]
    ) {
        for action in actions {
            switch action {
            case .tell(let session, let grant):
                guard let id = peerOfSession[session], let peer = peers[id],
                    let reference = peer.references[key]
                else { continue }
                outbox[id, default: []].append(GrantEntry(reference: reference, grant: grant))
            case .recall(let session, let epoch):
                guard let id = peerOfSession[session], let peer = peers[id],
                    let reference = peer.references[key]
                else { continue }
                metrics.recalls.increment()
                peer.connection.send(.recall(reference: reference, epoch: epoch))
            }
        }
        if let epoch = accounts[key]?.ledger.openRecallEpoch,
            !recallDeadlines.contains(where: { $0.key == key && $0.epoch == epoch })
        {
            recallDeadlines.append((.now + Self.recallPatience, key, epoch))
        }
    }
}
