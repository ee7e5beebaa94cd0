import HoldfastCore

/// Who is connected, what edges say, and what becomes of sessions.
extension CounterEngine {
    // MARK: - Frames

    mutating func take(_ frame: EdgeFrame, from id: ConnectionID) {
        // What comes after the last report of a session is not taken any more.
        guard let peer = peers[id], !batch.closings.contains(where: { $0.connection == id })
        else { return }
        guard let session = peer.session else {
            guard case .hello(let hello) = frame, !peer.isGreeting else {
                return reject(id, .malformed, "the first frame must be a hello, then wait")
            }
            return greet(hello, id)
        }
        // Its account lines are about to be folded. A report behind that would look as if the store
        // had lost them.
        guard !batch.closings.contains(where: { $0.session == session }) else {
            return reject(id, .sessionClosed, "session \(session.rawValue) is being closed")
        }
        switch frame {
        case .hello:
            reject(id, .malformed, "a second hello on one connection")
        case .report(let entries):
            guard !peer.isFinal else {
                return reject(id, .malformed, "only the last report may come here")
            }
            take(entries, from: id) { .report(session, $0) }
        case .resolveKey(let request, let digest):
            outputs.append(
                .send(id, .keyAnswer(request: request, policy: rules.key(digest: digest))))
        case .closeSession(let entries):
            close(session, isFinal: peer.isFinal, entries, id)
        case .ping(let number):
            outputs.append(.send(id, .pong(number, counterTimeMilliseconds: clockFloor)))
        }
    }

    private mutating func take(
        _ entries: [ReportEntry], from id: ConnectionID,
        as fact: (LeaseReport) -> AccountLedger.Fact
    ) {
        let reporter = peers[id]?.isFinal == false ? peers[id]?.session : nil
        for entry in entries {
            if let key = entry.key {
                guard introduce(key, as: entry.reference, on: id) else { return }
            }
            guard let key = peers[id]?.keys[entry.reference] else {
                return reject(
                    id, .malformed, "reference \(entry.reference) was never introduced")
            }
            batch.add(
                .init(fact: fact(entry.report), reporter: reporter, connection: id), to: key)
        }
        outputs.append(.notice(.reported(entries: entries.count)))
    }

    /// References are never used again for another account. An account that the edge had forgotten
    /// comes back under a larger one; the smaller may still be on its way.
    private mutating func introduce(
        _ key: AccountKey, as reference: UInt32, on id: ConnectionID
    ) -> Bool {
        let known = peers[id]?.keys[reference]
        if let known, known != key {
            reject(id, .malformed, "reference \(reference) names another account already")
            return false
        }
        guard known != nil || peers[id]?.keys.count != settings.accountsPerPeerMax else {
            reject(
                id, .unavailable,
                "an edge may use \(settings.accountsPerPeerMax) accounts at a time here")
            return false
        }
        // The same object for all edges, which makes it quick to compare.
        let shared =
            accounts.index(forKey: key).map { accounts[$0].key }
            ?? batch.position(of: key).map { batch[$0].key } ?? key
        peers[id]?.keys[reference] = shared
        let newest = max(reference, peers[id]?.references[key] ?? 0)
        peers[id]?.references[shared] = newest
        return true
    }

    private mutating func close(
        _ session: SessionID, isFinal: Bool, _ entries: [ReportEntry], _ id: ConnectionID
    ) {
        take(entries, from: id) { isFinal ? .recovered(session, $0) : .report(session, $0) }
        guard let peer = peers[id] else { return }
        batch.closings.append(CounterBatch.Closing(connection: id, session: session))
        guard !isFinal else { return }
        // All accounts that the session has used here, not only those of its last report.
        for reference in peer.keys.keys.sorted() {
            guard let key = peer.keys[reference], peer.references[key] == reference
            else { continue }
            add(.closed(session), to: key)
        }
    }

    // MARK: - Hello

    private mutating func greet(_ hello: EdgeFrame.Hello, _ id: ConnectionID) {
        guard hello.protocolVersion == leaseProtocolVersion else {
            return reject(
                id, .protocolVersion,
                "this counter speaks lease protocol \(leaseProtocolVersion), the edge "
                    + "\(hello.protocolVersion); upgrade the older of the two")
        }
        guard hello.session != nil || !hello.isFinal else {
            return reject(id, .malformed, "a last report without a session")
        }
        peers[id]?.isGreeting = true
        peers[id]?.edgeName = hello.edgeName
        batch.sessionChecks.append(.hello(id, hello))
    }

    func nextSessionRequest() -> StoreRequest? {
        switch batch.sessionChecks.first {
        case nil: nil
        case .hello(_, let hello):
            hello.session.map { .session($0) }
                ?? .openSession(edge: hello.edgeName, at: clock)
        case .adopt(_, let hello, let session):
            .adoptSession(session, edge: hello.edgeName, at: clock)
        case .refund(_, let session, _, _): .session(session)
        }
    }

    mutating func checkSession(_ answer: StoreAnswer) {
        let check = batch.sessionChecks.removeFirst()
        switch (check, answer) {
        case (.hello(let id, let hello), .opened(let session)):
            welcome(id, hello, session)
        case (.hello(let id, let hello), .session(let record)):
            if let session = hello.session { goOn(id, hello, session, record) }
        case (.adopt(let id, let hello, let session), .adopted):
            outputs.append(.notice(.adopted(edge: hello.edgeName, session)))
            welcome(id, hello, session)
        case (.refund(let operation, let session, let keys, _), .session(let record)):
            refund(operation, session, keys, record)
        default: preconditionFailure("the store's answer is not to what was asked")
        }
    }

    mutating func sessionCheckFailed() {
        switch batch.sessionChecks.removeFirst() {
        case .hello(let id, _), .adopt(let id, _, _):
            reject(id, .unavailable, "the store does not answer")
        case .refund(let operation, _, _, _):
            batch.operationFailures[operation] = "the store does not answer"
        }
    }

    private mutating func goOn(
        _ id: ConnectionID, _ hello: EdgeFrame.Hello, _ session: SessionID,
        _ record: SessionRecord?
    ) {
        guard let record else {
            // Sessions of an earlier generation may have been lost with it.
            guard !hello.isFinal, let generation, 0 < session.generation,
                session.generation < generation,
                session != SessionID(generation: session.generation, number: 0)
            else {
                return reject(
                    id, .sessionUnknown,
                    "this store never issued session \(session.rawValue)")
            }
            return batch.sessionChecks.insert(.adopt(id, hello, session), at: 0)
        }
        // An edge must not speak for another.
        guard !settings.isNameProof || record.edge == hello.edgeName else {
            return reject(
                id, .sessionUnknown,
                "session \(session.rawValue) is not of the edge that calls itself "
                    + "`\(hello.edgeName)`")
        }
        let isClosing = batch.closings.contains { $0.session == session }
        guard hello.isFinal || record.closedAt == nil && !isClosing else {
            return reject(id, .sessionClosed, "session \(session.rawValue) is closed")
        }
        welcome(id, hello, session)
    }

    private mutating func welcome(
        _ id: ConnectionID, _ hello: EdgeFrame.Hello, _ session: SessionID
    ) {
        precondition(peers[id] != nil, "who leaves takes the hello along")
        if let older = peerOfSession[session], older != id { drop(older) }
        peers[id]?.isGreeting = false
        peers[id]?.session = session
        peers[id]?.isFinal = hello.isFinal
        if !hello.isFinal {
            peerOfSession[session] = id
            updateReachable()
        }
        outputs.append(
            .send(
                id,
                .welcome(
                    .init(
                        session: session, keyPepper: pepper, counterTimeMilliseconds: clockFloor,
                        leaseTTLMilliseconds: UInt32(clamping: settings.leaseTTL), counter: name))))
        outputs.append(.send(id, .policy(rules.edgePolicy(at: clockFloor))))
        if !counters.isEmpty { outputs.append(.send(id, .counters(counters))) }
        outputs.append(
            .notice(.joined(edge: hello.edgeName, session, isNew: hello.session == nil)))
    }

    // MARK: - Leaving

    mutating func disconnect(_ id: ConnectionID) {
        guard let peer = peers.removeValue(forKey: id) else { return }
        batch.sessionChecks.removeAll { check in
            switch check {
            case .hello(id, _), .adopt(id, _, _): true
            default: false
            }
        }
        guard let session = peer.session, peerOfSession[session] == id else { return }
        peerOfSession[session] = nil
        recentlyLeft[session] = now.elapsed
        updateReachable()
        for reference in peer.keys.keys.sorted() {
            guard let key = peer.keys[reference], peer.references[key] == reference,
                accounts[key] != nil || batch.concerns(key)
            else { continue }
            add(.disconnected(session), to: key)
        }
        outputs.append(.notice(.left(edge: peer.edgeName, session)))
    }

    func isConnected(_ session: SessionID) -> Bool { peerOfSession[session] != nil }

    /// Hangs up and forgets at once, so that nothing more is taken from that connection.
    private mutating func drop(_ id: ConnectionID) {
        disconnect(id)
        outputs.append(.close(id))
    }

    mutating func updateReachable() {
        reachable = peerOfSession.keys.sorted()
        updateLiving()
    }

    mutating func reject(_ id: ConnectionID, _ reason: Rejection.Reason, _ message: String) {
        guard peers[id] != nil else { return }
        let rejection = Rejection(reason: reason, message: message)
        outputs.append(.notice(.connectionRefused(rejection)))
        outputs.append(.send(id, .rejected(rejection)))
        drop(id)
    }

    mutating func refuseEntry(
        _ key: AccountKey, from id: ConnectionID, _ reason: Rejection.Reason, _ message: String
    ) {
        guard let peer = peers[id], let reference = peer.references[key] else { return }
        let rejection = Rejection(reason: reason, message: message, reference: reference)
        outputs.append(.notice(.entryRefused(key, edge: peer.edgeName, rejection)))
        outputs.append(.send(id, .rejected(rejection)))
    }

    /// Sessions that no counter has seen for long. They stay charged; only a last report, a journal
    /// or an operator can refund.
    mutating func closeDead(_ records: [SessionRecord]) {
        batch.isSessionReviewDue = false
        batch.deadSessions = records.map(\.id).filter { !isConnected($0) }
    }

    // MARK: - Rules

    /// Takes new rules and hands them on. Raised limits are granted from with the next decision;
    /// lowered ones are called in from whoever holds idle budget.
    mutating func adopt(_ new: CounterRules) {
        let old = rules
        rules = new
        _ = rules.roll(to: clock)
        let frame = CounterFrame.policy(rules.edgePolicy(at: clockFloor))
        for id in welcomedPeers {
            outputs.append(.send(id, frame))
            outputs.append(.send(id, .keysChanged))
        }
        for key in sortedAccountKeys {
            let before = old.standing(of: key, now: clock)
            let after = rules.standing(of: key, now: clock)
            guard before != after, let ledger = accounts[key]?.ledger else { continue }
            // Everybody who has an account of it should know the new limit at once.
            batch.add(listeners: ledger.sessions, to: key)
            if after.limit < before.limit { add(.limitLowered, to: key) }
        }
        outputs.append(.notice(.policyAdopted(version: rules.version, caps: rules.caps.count)))
    }

    /// Edges connect to counters that join, and let go of those that left.
    mutating func adopt(_ nodes: [CounterNode]) {
        guard nodes != counters else { return }
        counters = nodes
        for id in welcomedPeers { outputs.append(.send(id, .counters(nodes))) }
    }

    // MARK: - Generations

    /// A store that may have lost writes: its edges are hung up on, so that they say what they
    /// hold, and nothing is granted until all that are alive had the time to.
    mutating func take(_ found: StoreGeneration) {
        isGenerationDoubtful = false
        let isNew = generation.map { $0 != found.current } ?? false
        generation = found.current
        guard isNew || found.learned < found.current else { return }
        // Also when this very batch says that it has learned enough.
        guard learning?.generation != found.current, batch.learnedGeneration != found.current
        else { return }
        learning = Learning(
            generation: found.current, until: now.elapsed + settings.leaseTTL)
        outputs.append(.notice(.learning(generation: found.current)))
        updateLiving()
        guard isNew else { return }
        for key in sortedAccountKeys { forget(key) }
        abandonBatch(.unavailable("the store has a new generation"))
        for id in welcomedPeers {
            reject(id, .unavailable, "the store may have lost writes; say everything again")
        }
    }

    mutating func endLearning(_ ended: Learning) {
        learning = nil
        updateLiving()
        batch.learnedGeneration = ended.generation
        outputs.append(.notice(.learned(generation: ended.generation)))
        tellEveryone { _ in true }
    }
}
