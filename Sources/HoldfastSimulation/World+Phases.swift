import HoldfastCore
import HoldfastLedger

/// First everything goes wrong and nothing may be overspent; then everything is mended and nothing
/// may stay blocked.
extension World {
    func play() {
        run(until: scenario.hours * 3_600_000)
        guard auditor.violation == nil else { return }
        mend()
        run(until: now + 100_000)
        unfreeze()
        // Until dead sessions are closed.
        run(until: now + UInt64(Self.deadAfterSeconds) * 1_000 + 70_000)
        guard auditor.violation == nil else { return }
        checkQuiet()
        probe()
        guard auditor.violation == nil else { return }
        for edge in edges.indices { drainEdge(edge) }
        run(until: now + 15_000)
        checkBooks()
    }

    // MARK: - Healing

    private func mend() {
        phase = .healing
        trace.note(now, "everything is mended")
        isStoreDown = false
        damagedAccount = nil
        for edge in edges.indices {
            for counter in counters.indices {
                blockedOut[edge][counter] = false
                blockedIn[edge][counter] = false
            }
            if edges[edge].pausedUntil != nil {
                edges[edge].pausedUntil = now
                resumeEdge(edge)
            }
            schedule(.startEdge(edge: edge), in: 1_000)
        }
        for counter in counters.indices {
            counters[counter].clock.offset = 0
            if counters[counter].pausedUntil != nil { counters[counter].pausedUntil = now }
            schedule(.startCounter(counter: counter), in: 500)
            run(counter: counter, in: 0)
        }
        // A connection on which frames went missing is not TCP; the next one is.
        for link in links.indices
        where links[link].isOpenAtEdge && (links[link].isBlackholed || !scenario.isOrdered) {
            cut(link)
        }
    }

    private func unfreeze() {
        guard let up = counters.indices.first(where: { counters[$0].isUp }) else { return }
        let frozen = store.accounts.filter { $0.value.account.isFrozen }.keys
        for key in frozen.sorted(by: { $0.text < $1.text }) {
            operate(.unfreeze(key, reason: "looked at"), on: up)
        }
    }

    // MARK: - What must hold when all is quiet

    private func checkQuiet() {
        let living = Set(edges.filter(\.isUp).compactMap(\.session.id))
        for edge in edges where !edge.flights.isEmpty || !edge.waiting.isEmpty {
            auditor.fail(
                "L4",
                "edge \(edge.index): \(edge.flights.count) in flight, "
                    + "\(edge.waiting.count) still wait")
        }
        // By the counters' clock: one that was ahead stands still until the others have caught up.
        let dead = store.sessions.values.filter { record in
            record.closedAt == nil && !living.contains(record.id)
                && store.floor.seconds - record.seenAt.seconds > Self.deadAfterSeconds + 70
        }.sorted { $0.id < $1.id }
        if let first = dead.first {
            auditor.fail("L2", "session \(first.id.rawValue) is dead and was not closed")
        }
        for key in store.accounts.keys.sorted(by: { $0.text < $1.text }) {
            checkQuiet(key, living)
        }
    }

    private func checkQuiet(_ key: AccountKey, _ living: Set<SessionID>) {
        guard let account = store.accounts[key]?.account, !observed.contains(key.cap) else {
            return
        }
        var needed = account.base
        for line in account.lines {
            let exposed = max(line.granted.excess(over: line.released), line.spent)
            guard living.contains(line.session) else {
                needed += exposed
                continue
            }
            needed += line.spent
            // L6: only those who are gone have anything that they did not spend.
            if exposed > line.spent, auditor.existing(key)?.hasLostWrites != true {
                auditor.fail(
                    "L6",
                    "\(key.text): session \(line.session.rawValue) is alive and keeps "
                        + "\((exposed - line.spent).rawValue): \(line), the edge says "
                        + "\(books(of: line.session, key).map { "\($0)" } ?? "nothing")")
            }
        }
        if account.isFrozen { auditor.fail("L2", "\(key.text) is still frozen") }
        let limit = caps.first { $0.name == key.cap }?.limit ?? .zero
        if Auditor.exposure(account) > max(limit, needed) {
            auditor.fail("L3", "\(key.text): exposure above the limit, and nothing is spent of it")
        }
        for edge in edges where edge.isUp { checkEdge(edge, key, account) }
    }

    private func books(of session: SessionID, _ key: AccountKey) -> EdgeLedger.Standing? {
        guard let edge = edges.first(where: { $0.session.id == session }),
            let slot = edge.session.ledger.existingSlot(for: key)
        else { return nil }
        return edge.session.ledger.standing(of: slot)
    }

    /// I3: the store knows of everything that an edge was granted; an edge of all that is stored.
    private func checkEdge(_ edge: EdgeProcess, _ key: AccountKey, _ account: StoredAccount) {
        guard let slot = edge.session.ledger.existingSlot(for: key), let id = edge.session.id
        else { return }
        let books = edge.session.ledger.standing(of: slot)
        let line = account.lines.first { $0.session == id }
        let stored = (line?.granted ?? .zero, line?.released ?? .zero, line?.spent ?? .zero)
        if books.granted > stored.0 || stored.1 > books.released || stored.2 > books.spent {
            auditor.fail("I3", "edge \(edge.index), \(key.text): \(books), stored \(stored)")
        }
    }

    // MARK: - Probing

    /// L2: whatever is left can be had, by any edge, in one piece.
    private func probe() {
        phase = .probing
        for round in 0..<4 {
            let index = random.below(edges.count)
            guard edges[index].isUp else { continue }
            var wanted = Wanted(
                tenant: random.below(scenario.tenantCount),
                user: random.below(scenario.userCount), most: 1 << 40, least: 1)
            guard let tokens = payable(wanted, on: index), tokens > 0, tokens < wanted.most
            else { continue }
            wanted.most = round.isMultiple(of: 2) ? tokens : max(1, tokens / 2)
            wanted.least = wanted.most
            let before = auditor.admitted
            admitWhenAwake(wanted, on: index)
            run(until: now + 2_600)
            if auditor.violation == nil, auditor.admitted == before {
                auditor.fail(
                    "L2",
                    "edge \(index) did not get \(wanted.most) tokens although \(tokens) are left")
            }
            run(until: now + 6_000)
            guard auditor.violation == nil else { return }
        }
    }

    private func admitWhenAwake(_ wanted: Wanted, on index: Int) {
        whenAwake(index) { $0.admit(wanted, on: index) }
    }

    /// What the tightest of a request's accounts has left by the store; `nil` when a period is
    /// about to end.
    private func payable(_ wanted: Wanted, on index: Int) -> UInt64? {
        guard let policy = edges[index].policy, let time = counterNow(index) else { return nil }
        let living = Set(edges.filter(\.isUp).compactMap(\.session.id))
        var tokens = wanted.most
        for (cap, windows) in zip(policy.caps, policy.windows.caps) where cap.mode == .enforce {
            guard let window = windows.first(where: { $0.contains(time) }),
                window.endsAt.seconds - time.seconds > 30
            else { return nil }
            let values: [String] = cap.each.map {
                $0 == .tenant ? "t\(wanted.tenant)" : "u\(wanted.user)"
            }
            let key = AccountKey(
                cap: cap.name, unit: cap.unit, period: cap.period, periodID: window.id,
                values: values)
            var spent = store.accounts[key]?.account.base ?? .zero
            for line in store.accounts[key]?.account.lines ?? [] {
                let exposed = max(line.granted.excess(over: line.released), line.spent)
                spent += living.contains(line.session) ? line.spent : exposed
            }
            let left = cap.limit.excess(over: spent)
            tokens = min(tokens, Self.tokens(payableBy: left, cap.unit))
        }
        return tokens
    }

    // MARK: - The end

    /// I9: after a graceful stop the books are the provider's bill; after crashes at least that.
    private func checkBooks() {
        // In observe mode what was not reported before a crash is not presumed either.
        for account in auditor.accounts where !account.isObserved {
            guard let stored = store.accounts[account.key]?.account else {
                if account.charged > .zero, account.lost == .zero {
                    auditor.fail("I9", "\(account.key.text) was charged and is not stored")
                }
                continue
            }
            let booked = Auditor.exposure(stored)
            // An overrun that an edge had not reported when it crashed is on nobody's books.
            let due = account.charged + account.billedUnsettled
            if booked + account.lost + account.overrunsEver < due {
                auditor.fail(
                    "I9",
                    "\(account.key.text): booked \(booked.rawValue), charged "
                        + "\(account.charged.rawValue)")
            }
            guard isGraceful, account.lost == .zero else { continue }
            if booked != account.charged {
                auditor.fail(
                    "I9",
                    "\(account.key.text): booked \(booked.rawValue), charged "
                        + "\(account.charged.rawValue)")
            }
        }
    }

    /// Nobody was lost on the way.
    private var isGraceful: Bool {
        scenario.isFaultFree
    }
}
