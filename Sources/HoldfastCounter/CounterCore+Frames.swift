import HoldfastAdmin
import HoldfastCore
import HoldfastLedger
import HoldfastStore
import HoldfastWire
import Logging

/// What edges say, and who they are.
extension CounterCore {
    func handle(_ frame: EdgeFrame, from id: UInt64) {
        // What comes after the last report of a session is not taken any more.
        guard let peer = peers[id], !batch.closing.contains(where: { $0.connection == id })
        else { return }
        if peer.session == nil {
            guard case .hello(let hello) = frame else {
                return reject(id, .malformed, "the first frame must be a hello")
            }
            return greet(hello, id)
        }
        switch frame {
        case .hello:
            reject(id, .malformed, "a second hello on one connection")
        case .report(let entries):
            take(entries, from: id)
        case .resolveKey(let request, let digest):
            peer.connection.send(.keyAnswer(request: request, policy: rules.key(digest: digest)))
        case .closeSession(let entries):
            take(entries, from: id)
            guard let peer = peers[id], let session = peer.session else { return }
            batch.closing.append((id, session))
            // All accounts that the session uses, not only those of its last report.
            for key in peer.references.keys where accounts[key] != nil {
                batch.closingAccounts[key, default: []].append(session)
                touch(key)
            }
        case .ping(let number):
            peer.connection.send(
                .pong(number, counterTimeMilliseconds: clock.nowMilliseconds()))
        }
    }

    // MARK: - Sessions

    private func greet(_ hello: EdgeFrame.Hello, _ id: UInt64) {
        guard hello.protocolVersion == leaseProtocolVersion else {
            return reject(
                id, .protocolVersion,
                "this counter speaks lease protocol \(leaseProtocolVersion), the edge "
                    + "\(hello.protocolVersion); upgrade the older of the two")
        }
        do {
            guard let session = try session(for: hello, id) else { return }
            if let older = peerOfSession[session], older != id { drop(older) }
            peers[id]?.edgeName = hello.edgeName
            peers[id]?.session = session
            peerOfSession[session] = id
            updateReachable()
            let time = clock.nowMilliseconds()
            peers[id]?.connection.send(
                .welcome(
                    .init(
                        session: session, keyPepper: pepper,
                        counterTimeMilliseconds: time,
                        leaseTTLMilliseconds: Self.leaseTTLMilliseconds)))
            peers[id]?.connection.send(.policy(rules.edgePolicy(at: time)))
            logger.info(
                hello.session == nil ? "edge joined" : "edge is back",
                metadata: ["edge": "\(hello.edgeName)", "session": "\(session.rawValue)"])
        } catch {
            failed(error)
            reject(id, .unavailable, "the store does not answer")
        }
    }

    /// A new session, or the one to go on with; `nil` when it was refused.
    private func session(
        for hello: EdgeFrame.Hello, _ id: UInt64
    ) throws(StoreError) -> SessionID? {
        guard let wanted = hello.session else {
            return try store.openSession(edge: hello.edgeName, at: clock.now())
        }
        guard let record = try store.session(wanted) else {
            reject(id, .sessionUnknown, "this store never issued session \(wanted.rawValue)")
            return nil
        }
        let isClosing = batch.closing.contains { $0.session == wanted }
        guard record.closedAt == nil, !isClosing else {
            reject(id, .sessionClosed, "session \(wanted.rawValue) is closed")
            return nil
        }
        return wanted
    }

    func disconnect(_ id: UInt64) {
        guard let peer = peers.removeValue(forKey: id), let session = peer.session,
            peerOfSession[session] == id
        else { return }
        peerOfSession[session] = nil
        recentlyLeft[session] = .now
        updateReachable()
        for key in peer.references.keys where accounts[key] != nil {
            accounts[key]?.ledger.disconnect(session)
            touch(key)
        }
        logger.info(
            "edge left", metadata: ["edge": "\(peer.edgeName)", "session": "\(session.rawValue)"])
    }

    /// Hangs up and forgets at once, so that nothing more is taken from that connection.
    func drop(_ id: UInt64) {
        let connection = peers[id]?.connection
        disconnect(id)
        connection?.close()
    }

    private func updateReachable() {
        reachable = peerOfSession.keys.sorted()
        metrics.sessions.set(Int64(reachable.count))
    }

    private func reject(_ id: UInt64, _ reason: Rejection.Reason, _ message: String) {
        logger.warning(
            "connection refused", metadata: ["reason": "\(reason)", "message": "\(message)"])
        metrics.rejections.with("\(reason)").increment()
        peers[id]?.connection.send(.rejected(Rejection(reason: reason, message: message)))
        drop(id)
    }

    // MARK: - Reports

    /// Applies entries to the accounts in memory.
    private func take(_ entries: [ReportEntry], from id: UInt64) {
        guard let session = peers[id]?.session else { return }
        for entry in entries {
            if let key = entry.key {
                if let old = peers[id]?.keys[entry.reference] {
                    peers[id]?.references[old] = nil
                }
                peers[id]?.keys[entry.reference] = key
                peers[id]?.references[key] = entry.reference
            }
            guard let key = peers[id]?.keys[entry.reference] else {
                return reject(
                    id, .malformed, "reference \(entry.reference) was never introduced")
            }
            apply(entry.report, to: key, session: session, peer: id)
            // Hung up on: the rest is said again on the next connection.
            guard peers[id] != nil else { return }
        }
        metrics.reports.increment(by: UInt64(entries.count))
    }

    private func apply(
        _ report: LeaseReport, to key: AccountKey, session: SessionID, peer id: UInt64
    ) {
        do {
            var cached = try account(key)
            let wasFrozen = cached.ledger.isFrozen
            try cached.ledger.apply(report, from: session)
            cached.lastUse = .now
            accounts[key] = cached
            if cached.ledger.isFrozen && !wasFrozen { alarmFrozen(key, session) }
        } catch let error as StoreError {
            failed(error)
            notBelieved(id, .unavailable, key, "the stored account cannot be read")
            // One damaged account is no reason to keep the edge from its others.
            if case .corrupt = error { return }
            // The edge takes what it has said for heard; only a new connection makes it say it again.
            return drop(id)
        } catch {
            return notBelieved(id, .notBelieved, key, "\(error)")
        }
        batch.reports[key, default: []].append((session, report))
        batch.reporters[key, default: []].append(session)
        touch(key)
    }

    private func alarmFrozen(_ key: AccountKey, _ session: SessionID) {
        metrics.frozenAccounts.increment()
        logger.critical(
            "an edge was granted more than the store knows: the store lost a write; account frozen",
            metadata: ["account": "\(key.text)", "session": "\(session.rawValue)"])
    }

    private func notBelieved(
        _ id: UInt64, _ reason: Rejection.Reason, _ key: AccountKey, _ message: String
    ) {
        metrics.rejections.with("\(reason)").increment()
        logger.error(
            "report entry refused",
            metadata: [
                "account": "\(key.text)", "edge": "\(peers[id]?.edgeName ?? "")",
                "reason": "\(message)",
            ])
        guard let reference = peers[id]?.references[key] else { return }
        peers[id]?.connection.send(
            .rejected(Rejection(reason: reason, message: message, reference: reference)))
    }
}
