import HoldfastCore
import HoldfastLedger

/// Edges: processes around `EdgeSession`.
extension World {
    struct EdgeProcess {
        let index: Int
        var clock: SimulatedClock
        var life = 0
        var isUp = false
        var isDraining = false
        var session = EdgeSession(name: "")
        var pausedUntil: UInt64?
        /// What would have happened while it was paused.
        var deferred: [(World) -> Void] = []
        /// The open connection to each counter.
        var linkTo: [Int: Int] = [:]
        var pendingConnects: Set<Int> = []
        var policy: EdgePolicy?
        /// The counters' clock minus this edge's boot-time clock, in milliseconds.
        var counterOffset: Int64?
        var counterMilliseconds: Int64 = 0
        var tickedAt: UInt64 = 0
        var nextTickAt: UInt64 = 0
        var flights: [Int: Flight] = [:]
        var nextFlight = 0
        /// In the order of their coming.
        var waiting: [Waiting] = []
        /// What is on disk, and what was at times before.
        var journal: [AccountKey: Amount] = [:]
        var journalUnconfirmed: [JournalRecord] = []
        var oldJournals: [[AccountKey: Amount]] = []
        var framesThisSecond = 0
        var second: UInt64 = 0
    }

    /// The delivery of a crashed life's journal.
    struct Recovery {
        let edge: Int
        let machine: SessionRecovery
        var running: SessionRecovery
        var attempts = 0
    }

    func elapsed(edge: Int) -> UInt64 { edges[edge].clock.elapsed(at: now) }

    /// The counters' clock, as far as this edge can tell.
    func counterNow(_ edge: Int) -> UnixTime? {
        guard let offset = edges[edge].counterOffset else { return nil }
        let milliseconds = Int64(elapsed(edge: edge)) + offset
        // As `CounterTime` of the shell does it.
        let known = edges[edge].counterMilliseconds
        if milliseconds > known || milliseconds < known - 2_000 {
            edges[edge].counterMilliseconds = milliseconds
        }
        return UnixTime(edges[edge].counterMilliseconds / 1_000)
    }

    // MARK: - Lives

    func startEdge(_ index: Int) {
        guard !edges[index].isUp else { return }
        let old = edges[index]
        var new = EdgeProcess(index: index, clock: old.clock)
        new.life = old.life + 1
        new.isUp = true
        new.session = EdgeSession(name: "edge-\(index)", isJournaled: scenario.isJournaled)
        new.tickedAt = now
        edges[index] = new
        trace.note(now, "edge \(index) starts, life \(new.life)")
        for counter in counters.indices { retry(index, counter, after: random.within(1...100)) }
        if scenario.isJournaled, let session = old.session.id, !old.journal.isEmpty {
            recover(index, session, old)
        }
        keepTicking(index)
    }

    /// The process is gone: what is in flight is charged by the provider all the same.
    func crashEdge(_ index: Int) {
        guard edges[index].isUp else { return }
        trace.note(now, "edge \(index) crashes with \(edges[index].flights.count) in flight")
        edges[index].isUp = false
        edges[index].pausedUntil = nil
        edges[index].deferred = []
        for id in edges[index].flights.keys.sorted() {
            guard let flight = edges[index].flights[id] else { continue }
            let tokens = random.within(0...flight.tokens)
            auditor.billed(flight.accounts, flight.ceilings, tokens: tokens, price: Scenario.price)
            for account in flight.accounts {
                auditor.billedWithoutCharge(account, tokens: tokens, price: Scenario.price)
            }
        }
        edges[index].flights = [:]
        edges[index].waiting = []
        // What was written and not confirmed may have reached the disk.
        for record in edges[index].journalUnconfirmed {
            guard random.chance(500) else {
                faults.note(.journalTorn)
                break
            }
            keepInJournal(index, record)
        }
        hangUp(index)
    }

    /// The kernel closes the sockets of a process that is gone.
    private func hangUp(_ index: Int) {
        for counter in edges[index].linkTo.keys.sorted() {
            guard let link = edges[index].linkTo[counter] else { continue }
            links[link].isOpenAtEdge = false
            links[link].said = []
            links[link].heard = []
            let at = max(now + latency(), links[link].lastToCounter)
            queue.schedule(.closedAtCounter(link: link), at: at)
        }
        edges[index].linkTo = [:]
    }

    /// SIGTERM: nothing new, what is in flight ends, everything goes back.
    func drainEdge(_ index: Int) {
        guard edges[index].isUp, !edges[index].isDraining else { return }
        edges[index].isDraining = true
        trace.note(now, "edge \(index) drains")
        for waiting in edges[index].waiting { withdraw(waiting.id, index) }
        closeIfDrained(index)
        // The most that an orchestrator waits.
        schedule(.edgeDrained(edge: index, life: edges[index].life), in: 500_000)
    }

    func closeIfDrained(_ index: Int) {
        guard edges[index].isDraining, edges[index].flights.isEmpty, edges[index].isUp
        else { return }
        perform(edges[index].session.close(), on: index)
        schedule(.edgeDrained(edge: index, life: edges[index].life), in: 3_000)
    }

    func edgeDrained(_ index: Int, _ life: Int) {
        guard edges[index].life == life, edges[index].isUp else { return }
        guard edges[index].flights.isEmpty else { return crashAndRestart(index) }
        edges[index].isUp = false
        trace.note(now, "edge \(index) ends")
        edges[index].journal = [:]
        hangUp(index)
        restartSoon(index)
    }

    func crashAndRestart(_ index: Int) {
        crashEdge(index)
        restartSoon(index)
    }

    private func restartSoon(_ index: Int) {
        let pause =
            phase == .safety && random.chance(150)
            ? random.within(60_000...2_000_000) : random.within(500...20_000)
        schedule(.startEdge(edge: index), in: pause)
    }

    // MARK: - Ticks

    func tickEdge(_ index: Int, _ life: Int) {
        guard edges[index].life == life, edges[index].isUp, edges[index].nextTickAt == now
        else { return }
        if let until = edges[index].pausedUntil, until > now {
            edges[index].nextTickAt = until
            queue.schedule(.edgeTick(edge: index, life: life), at: until)
            return
        }
        catchUp(index)
        keepTicking(index)
    }

    /// The ticks that were skipped while there was nothing to do.
    func catchUp(_ index: Int) {
        let due = (now - edges[index].tickedAt) / EdgeLedger.tickMilliseconds
        guard due > 0 else { return }
        edges[index].tickedAt += due * EdgeLedger.tickMilliseconds
        let counterNow = counterNow(index)
        let outputs = edges[index].session.tick(
            at: elapsed(edge: index), counterNow: counterNow, count: due)
        perform(outputs, on: index)
    }

    func keepTicking(_ index: Int) {
        guard edges[index].isUp else { return }
        let wait: UInt64 =
            edges[index].session.isAsleep
            ? EdgeSession.pingMilliseconds : EdgeLedger.tickMilliseconds
        let at = edges[index].tickedAt + wait
        guard edges[index].nextTickAt <= now || edges[index].nextTickAt > at else { return }
        edges[index].nextTickAt = max(at, now + 1)
        queue.schedule(
            .edgeTick(edge: index, life: edges[index].life), at: edges[index].nextTickAt)
    }

    /// Does it now, or when the process goes on.
    func whenAwake(_ index: Int, _ action: @escaping (World) -> Void) {
        guard let until = edges[index].pausedUntil, until > now else {
            resumeIfDue(index)
            catchUp(index)
            action(self)
            settleAccounts(index)
            return
        }
        edges[index].deferred.append(action)
    }

    private func resumeIfDue(_ index: Int) {
        guard edges[index].pausedUntil != nil else { return }
        edges[index].pausedUntil = nil
        let deferred = edges[index].deferred
        edges[index].deferred = []
        for action in deferred where edges[index].isUp { action(self) }
    }

    func resumeEdge(_ index: Int) {
        guard edges[index].isUp else { return }
        whenAwake(index) { _ in }
    }

    /// After anything has happened on an edge: what should be said at once, and the journal.
    func settleAccounts(_ index: Int) {
        guard edges[index].isUp else { return }
        if edges[index].session.ledger.takeUrgency() {
            perform(edges[index].session.flush(), on: index)
        }
        if edges[index].session.ledger.isJournalDue {
            let records = edges[index].session.ledger.takeJournalRecords()
            edges[index].journalUnconfirmed += records
            if let last = records.last {
                schedule(
                    .journaled(
                        edge: index, life: edges[index].life, sequence: last.sequence),
                    in: random.within(1...6))
            }
        }
        keepTicking(index)
    }

    // MARK: - Journal

    func journaled(_ index: Int, _ life: Int, _ sequence: UInt64) {
        guard edges[index].life == life, edges[index].isUp else { return }
        let confirmed = edges[index].journalUnconfirmed.filter { $0.sequence <= sequence }
        edges[index].journalUnconfirmed.removeAll { $0.sequence <= sequence }
        if edges[index].oldJournals.count < 50 {
            edges[index].oldJournals.append(edges[index].journal)
        }
        for record in confirmed { keepInJournal(index, record) }
        whenAwake(index) { world in
            let wakeups = world.edges[index].session.ledger.journaled(upTo: sequence)
            for wakeup in wakeups { world.handle(wakeup, on: index) }
        }
    }

    private func keepInJournal(_ index: Int, _ record: JournalRecord) {
        edges[index].journal[record.key] = max(
            edges[index].journal[record.key] ?? .zero, record.unlocked)
    }

    private func recover(_ index: Int, _ session: SessionID, _ old: EdgeProcess) {
        var journal = old.journal
        if random.chance(250), let copy = oldCopy(old, session) {
            journal = copy
            faults.note(.journalOldCopy)
        }
        let entries = journal.keys.sorted { $0.text < $1.text }.map { ($0, journal[$0] ?? .zero) }
        let machine = EdgeSession.recovery(
            of: session, name: "edge-\(index)", entries: entries)
        recoveries.append(Recovery(edge: index, machine: machine, running: machine))
        connectRecovery(recoveries.count - 1)
    }

    /// An older copy of the journal of which the counters have heard that it is old. (One that is
    /// younger than the last report cannot be told by the protocol; the file itself tells.)
    private func oldCopy(_ old: EdgeProcess, _ session: SessionID) -> [AccountKey: Amount]? {
        let known = old.oldJournals.filter { copy in
            copy != old.journal
                && copy.allSatisfy { key, unlocked in
                    guard unlocked < old.journal[key] ?? .zero else { return true }
                    let line = store.accounts[key]?.account.lines.first { $0.session == session }
                    return line.map { $0.unlocked > unlocked } ?? true
                }
        }
        return known.isEmpty ? nil : random.pick(known)
    }

    private func connectRecovery(_ index: Int) {
        let up = counters.indices.filter { counters[$0].isUp }
        recoveries[index].attempts += 1
        guard !up.isEmpty, recoveries[index].attempts < 20 else { return }
        let link = open(
            recoveries[index].edge, edges[recoveries[index].edge].life, random.pick(up))
        links[link].recovery = index
        schedule(.opened(link: link), in: latency() + 200)
    }

    func recoveryConnected(_ index: Int, _ link: Int) {
        perform(recoveries[index].running.connected(), recovery: index, link)
    }

    func recoveryDisconnected(_ index: Int) {
        guard !recoveries[index].running.isOver else { return }
        recoveries[index].running = recoveries[index].machine
        connectRecovery(index)
    }

    func recoveryReceived(_ index: Int, _ link: Int, _ frame: CounterFrame) {
        perform(recoveries[index].running.received(frame), recovery: index, link)
    }

    private func perform(_ outputs: [SessionRecovery.Output], recovery: Int, _ link: Int) {
        for output in outputs {
            switch output {
            case .send(let frame): send(frame, over: link)
            case .refunded:
                faults.note(.journalRecovered)
                links[link].isOpenAtEdge = false
            case .refusedEntry, .refused: break
            }
        }
    }

    // MARK: - What it does

    func perform(_ outputs: [EdgeSession.Output], on index: Int) {
        for output in outputs {
            guard edges[index].isUp else { return }
            switch output {
            case .send(let link, let frame): send(frame, over: Int(link.rawValue))
            case .close(let link): close(Int(link.rawValue), by: index)
            case .wakeup(let wakeup): handle(wakeup, on: index)
            case .policy(let policy): edges[index].policy = policy
            case .windows(let windows): edges[index].policy?.windows = windows
            case .counterTime(let milliseconds):
                edges[index].counterOffset = milliseconds - Int64(elapsed(edge: index))
            case .ended:
                if edges[index].flights.isEmpty { edgeDrained(index, edges[index].life) }
            case .refused: crashAndRestart(index)
            case .welcomed, .keyAnswer, .keyUnanswered, .keysChanged, .recalled, .rejected,
                .counters:
                break
            }
        }
    }

    private func close(_ link: Int, by edge: Int) {
        guard links[link].isOpenAtEdge else { return }
        links[link].isOpenAtEdge = false
        links[link].said = []
        links[link].heard = []
        let at = max(now + latency(), links[link].lastToCounter)
        queue.schedule(.closedAtCounter(link: link), at: at)
        let counter = links[link].counter
        if edges[edge].linkTo[counter] == link { edges[edge].linkTo[counter] = nil }
        retry(edge, counter, after: 50 + random.within(0...1_950))
    }
}
