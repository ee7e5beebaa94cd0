import HoldfastCore
import HoldfastLedger

/// Counter nodes: processes around `CounterEngine`.
extension World {
    struct CounterProcess {
        let index: Int
        var clock: SimulatedClock
        var life = 0
        var engine: CounterEngine?
        var inbox: [CounterEngine.Event] = []
        var pausedUntil: UInt64?
        var isRunScheduled = false
        var batchBegunAt: UInt64 = 0
        var wakeAt: UInt64?
        /// The store has failed over since this node last asked it.
        var isStoreConnectionBroken = false
        /// Of the rules that it has adopted.
        var policyVersion: UInt64 = 0
        var operations: [UInt64: CounterEngine.Operation] = [:]

        var isUp: Bool { engine != nil }
    }

    static let deadAfterSeconds: Int64 = 300

    func moment(_ counter: Int) -> CounterEngine.Moment {
        let clock = counters[counter].clock
        return .init(elapsed: clock.elapsed(at: now), wall: clock.wall(at: now))
    }

    func startCounter(_ index: Int) {
        guard !counters[index].isUp else { return }
        var settings = CounterEngine.Settings()
        settings.deadAfterSeconds = Self.deadAfterSeconds
        let clock = counters[index].clock
        let time = max(store.floor, UnixTime(clock.wall(at: now) / 1_000))
        counters[index].engine = CounterEngine(
            name: "counter-\(index)", settings: settings, rules: rules(at: time), pepper: [1],
            clockFloor: store.floor, at: moment(index))
        counters[index].life += 1
        counters[index].inbox = []
        counters[index].isRunScheduled = false
        counters[index].wakeAt = nil
        counters[index].isStoreConnectionBroken = false
        counters[index].policyVersion = policyVersion
        noteRaisedLimits()
        trace.note(now, "counter \(index) starts")
        noteLimits()
        run(counter: index, in: 0)
    }

    func rules(at time: UnixTime) -> CounterRules {
        CounterRules(
            version: policyVersion, caps: caps, keys: [:], prices: "", zones: Scenario.zones,
            now: time)
    }

    func crashCounter(_ index: Int) {
        counters[index].engine = nil
        counters[index].pausedUntil = nil
        trace.note(now, "counter \(index) crashes")
        for link in links.indices
        where links[link].counter == index && links[link].counterLife == counters[index].life {
            links[link].isOpenAtCounter = false
            if links[link].isOpenAtEdge { schedule(.closedAtEdge(link: link), in: latency()) }
        }
        // Its last commit may still be on its way.
        lastCounterCrash = now
        schedule(.noteLimits, in: Self.commitPatience)
    }

    private static let commitPatience: UInt64 = 60

    // MARK: - Batches

    func give(_ event: CounterEngine.Event, to index: Int) {
        guard counters[index].isUp else { return }
        counters[index].inbox.append(event)
        run(counter: index, in: 0)
    }

    func run(counter index: Int, in delay: UInt64) {
        guard !counters[index].isRunScheduled else { return }
        counters[index].isRunScheduled = true
        schedule(.runCounter(counter: index, life: counters[index].life), in: delay)
    }

    func runCounter(_ index: Int, _ life: Int) {
        guard counters[index].life == life, counters[index].isUp else { return }
        counters[index].isRunScheduled = false
        if let until = counters[index].pausedUntil {
            guard until <= now else { return run(counter: index, in: until - now) }
            counters[index].pausedUntil = nil
        }
        guard let isIdle = counters[index].engine?.isIdle, isIdle else { return }
        let moment = moment(index)
        let isDue =
            !counters[index].inbox.isEmpty
            || (counters[index].engine?.nextWake(at: moment) ?? .max) <= moment.elapsed
        guard isDue else { return sleep(index) }
        counters[index].batchBegunAt = now
        let events = counters[index].inbox
        counters[index].inbox = []
        guard let step = counters[index].engine?.begin(events, at: moment) else { return }
        take(step, index)
    }

    /// The engine wants to be woken when something becomes due.
    private func sleep(_ index: Int) {
        let moment = moment(index)
        guard let wake = counters[index].engine?.nextWake(at: moment) else { return }
        let delay = max(1, wake - moment.elapsed)
        if let at = counters[index].wakeAt, at > now, at <= now + delay { return }
        counters[index].wakeAt = now + delay
        schedule(.runCounter(counter: index, life: counters[index].life), in: delay)
    }

    private func take(_ step: CounterEngine.Step, _ index: Int) {
        let life = counters[index].life
        switch step {
        case .ask(let request):
            let delay =
                switch request {
                case .commit: random.within(scenario.commitLatency) / 2
                default: random.within(0...1)
                }
            schedule(.storeActs(counter: index, life: life, request), in: delay)
        case .done(let outputs):
            for output in outputs { perform(output, index) }
            noteRolls(index)
            repeatSomething(to: index)
            if counters[index].inbox.isEmpty { sleep(index) } else { run(counter: index, in: 0) }
        }
    }

    private func noteRolls(_ index: Int) {
        guard let clock = counters[index].engine?.clock else { return }
        if clock >= nextRoll {
            if nextRoll > UnixTime(0) { faults.note(.periodRolled) }
            nextRoll =
                caps.compactMap { cap in
                    Scenario.zones[cap.zone].map {
                        cap.period.window(containing: clock, in: $0).endsAt
                    }
                }.min() ?? .distantFuture
        }
    }

    /// What was lost, or could not be taken, is news when it is said again. After an overrun also what
    /// is held counts, which has no order of its own: an older report with the same totals says less.
    private var isRepetitionNews: Bool {
        if scenario.faults.overrun > 0 { return true }
        return faults[.writesLostSilently] + faults[.failoverLostWrites]
            + faults[.accountDamaged] > 0
    }

    /// I7: what was said before and is said again changes nothing that is stored. Tried on copies.
    private func repeatSomething(to index: Int) {
        batchesUnrepeated += 1
        guard batchesUnrepeated > 40, var engine = counters[index].engine, engine.isIdle,
            !isStoreDown, damagedAccount == nil, !isRepetitionNews,
            !counters[index].isStoreConnectionBroken
        else { return }
        let moment = moment(index)
        guard engine.nextWake(at: moment) > moment.elapsed else { return }
        let heard = links.indices.suffix(40).filter {
            links[$0].counter == index && links[$0].isOpenAtCounter && !links[$0].heard.isEmpty
        }
        guard !heard.isEmpty else { return }
        batchesUnrepeated = 0
        let link = random.pick(heard)
        let (at, frame) = random.pick(links[link].heard)
        guard at < counters[index].batchBegunAt, at + Self.replayWindow > now else { return }
        var copy = store
        var step = engine.begin([.frame(ConnectionID(UInt64(link)), frame)], at: moment)
        while case .ask(let request) = step {
            step = engine.resume(
                copy.answer(request, at: now, damaged: nil) { _, _, _, _ in }, at: moment)
        }
        for (key, account) in copy.accounts where account.account != store.accounts[key]?.account {
            auditor.fail(
                "I7",
                "\(key.text): saying again at counter \(index) what edge \(links[link].edge) "
                    + "said at \(at) ms changes \(store.accounts[key]?.account.brief ?? "nothing") "
                    + "to \(account.account.brief): \(frame.brief)")
        }
    }

    // MARK: - The store

    func storeActs(_ index: Int, _ life: Int, _ request: CounterEngine.StoreRequest) {
        // A counter that crashed meanwhile may have sent it all the same.
        if counters[index].life != life || !counters[index].isUp {
            if case .commit = request, random.chance(500), !isStoreDown { _ = ask(request) }
            return
        }
        let isCommit = if case .commit = request { true } else { false }
        var answer: CounterEngine.StoreAnswer
        if isStoreDown || counters[index].isStoreConnectionBroken {
            counters[index].isStoreConnectionBroken = isStoreDown
            answer = .failed(
                isCommit ? .interrupted("the store went away") : .unavailable("no store"))
        } else if isCommit, !isCalm, random.chance(scenario.faults.unknownLost) {
            faults.note(.commitUnknownLost)
            answer = .failed(.interrupted("the connection broke"))
        } else if isCommit, !isCalm, random.chance(scenario.faults.unknownKept) {
            faults.note(.commitUnknownKept)
            _ = ask(request)
            answer = .failed(.interrupted("the connection broke"))
        } else {
            answer = ask(withConflicts: request)
        }
        let delay = isCommit ? random.within(scenario.commitLatency) / 2 : 0
        schedule(.storeAnswers(counter: index, life: life, answer), in: delay)
    }

    /// A store may also refuse writes that nobody else has raced with.
    private func ask(
        withConflicts request: CounterEngine.StoreRequest
    ) -> CounterEngine.StoreAnswer {
        guard case .commit(var batch) = request, !isCalm, !batch.puts.isEmpty,
            random.chance(scenario.faults.conflict)
        else { return ask(request) }
        faults.note(.storeConflict)
        let left = batch.puts.remove(at: random.below(batch.puts.count))
        if batch.isAllOrNothing {
            return .committed(CommitResult(conflicts: [left.key]))
        }
        let answer = ask(.commit(batch))
        guard case .committed(var result) = answer, result.closedSessions.isEmpty else {
            return answer
        }
        result.conflicts.append(left.key)
        return .committed(result)
    }

    private func ask(_ request: CounterEngine.StoreRequest) -> CounterEngine.StoreAnswer {
        let damaged = damagedAccount
        var puts: [(AccountKey, StoredAccount?, StoredAccount, StoreBatch)] = []
        let answer = store.answer(request, at: now, damaged: damaged) {
            puts.append(($0, $1, $2, $3))
        }
        // The operator's word against what the provider may have billed.
        for record in puts.first?.3.records ?? [] {
            auditor.forgiven(record.account, record.amount)
        }
        for (key, old, new, batch) in puts {
            trace.note(
                now,
                "store: [\(key.text)] exposure \(old.map(Auditor.exposure)?.rawValue ?? 0) → "
                    + "\(Auditor.exposure(new).rawValue)\(new.isFrozen ? " frozen" : "")")
            auditor.committed(
                key, from: old, to: new, batch: batch, isObserved: observed.contains(key.cap),
                at: now)
        }
        if case .commit(let batch) = request, case .committed(let result) = answer,
            result.closedSessions.isEmpty,
            result.conflicts.isEmpty || !batch.isAllOrNothing
        {
            for session in batch.closedSessions { auditor.closed(session) }
        }
        return answer
    }

    func storeAnswers(_ index: Int, _ life: Int, _ answer: CounterEngine.StoreAnswer) {
        guard counters[index].life == life, counters[index].isUp else { return }
        if let until = counters[index].pausedUntil, until > now {
            schedule(.storeAnswers(counter: index, life: life, answer), in: until - now)
            return
        }
        let moment = moment(index)
        if let step = counters[index].engine?.resume(answer, at: moment) {
            take(step, index)
        }
    }

    // MARK: - What it does

    private func perform(_ output: CounterEngine.Output, _ index: Int) {
        switch output {
        case .send(let id, let frame): send(frame, over: Int(id.rawValue))
        case .close(let id):
            let link = Int(id.rawValue)
            // What was sent before still arrives.
            links[link].isOpenAtCounter = false
            let at = max(now + latency(), links[link].lastToEdge)
            queue.schedule(.closedAtEdge(link: link), at: at)
        case .operationDone(let id, let result): operationDone(id, result, index)
        case .notice(let notice): take(notice, index)
        }
    }

    private func take(_ notice: CounterEngine.Notice, _ index: Int) {
        switch notice {
        case .closedDead(let session):
            faults.note(.sessionClosedAsDead)
            trace.note(now, "counter \(index) closes session \(session.rawValue)")
        case .learning(let generation):
            trace.note(now, "counter \(index) learns generation \(generation)")
        case .frozen(let key, _): trace.note(now, "counter \(index) freezes \(key.text)")
        case .storeFailed(let error): trace.note(now, "counter \(index): \(error)")
        case .entryRefused(let key, _, let rejection):
            if rejection.reason == .notBelieved, rejection.message != "journalTooOld" {
                auditor.fail("R", "\(key.text): a report was not believed: \(rejection.message)")
            }
        default: break
        }
    }

    // MARK: - Operators

    func operate(_ operation: CounterEngine.Operation, on index: Int) {
        let id = UInt64(eventCount) << 8 | UInt64(index)
        counters[index].operations[id] = operation
        give(.operation(id, operation), to: index)
    }

    private func operationDone(
        _ id: UInt64, _ result: CounterEngine.OperationResult, _ index: Int
    ) {
        guard let operation = counters[index].operations.removeValue(forKey: id),
            case .done(let records) = result
        else { return }
        switch operation {
        case .unfreeze: if !records.isEmpty { faults.note(.operatorUnfroze) }
        case .refund:
            if !records.isEmpty { faults.note(.operatorRefunded) }
        }
    }

    // MARK: - Rules

    /// Operators hand out new rules; each counter takes them in its own time.
    func publish(_ new: [Cap]) {
        caps = new
        policyVersion += 1
        for index in counters.indices where counters[index].isUp {
            schedule(
                .adopt(counter: index, life: counters[index].life, version: policyVersion),
                in: random.within(0...3_000))
        }
    }

    func adopt(_ index: Int, _ life: Int, _ version: UInt64) {
        guard counters[index].life == life, let clock = counters[index].engine?.clock,
            version == policyVersion
        else { return }
        if let until = counters[index].pausedUntil, until > now {
            return schedule(.adopt(counter: index, life: life, version: version), in: until - now)
        }
        // Taken with the batch that begins now, if none is under way.
        guard counters[index].engine?.isIdle ?? false else {
            return schedule(.adopt(counter: index, life: life, version: version), in: 1)
        }
        counters[index].policyVersion = version
        noteRaisedLimits()
        trace.note(now, "counter \(index) adopts policy \(version)")
        counters[index].inbox.insert(.rules(rules(at: clock)), at: 0)
        runCounter(index, life)
        noteLimits()
    }

    /// Granting from a higher limit may begin with the first counter that has it.
    private func noteRaisedLimits() {
        for cap in caps where cap.limit > auditor.limits[cap.name] ?? .zero {
            auditor.raised(cap: cap.name, to: cap.limit)
        }
    }

    /// A lower limit is in force when the last counter that is up has it.
    func noteLimits() {
        guard lastCounterCrash.map({ now - $0 >= Self.commitPatience }) ?? true else { return }
        guard counters.allSatisfy({ !$0.isUp || $0.policyVersion == policyVersion }) else { return }
        for name in auditor.limits.keys.sorted() {
            let limit = caps.first { $0.name == name }?.limit ?? .zero
            if limit < auditor.limits[name] ?? .zero { auditor.lowered(cap: name, to: limit) }
        }
    }
}
