import HoldfastCore
import HoldfastLedger
import HoldfastProviders
import Synchronization

/// The shell around `EdgeSession` and its ledger: one lock, decisions inside it, callbacks outside.
///
/// A `Mutex` and not an actor: the check and the hold must be one step, and requests must not suspend
/// to take it. The critical section is a few integer operations per account.
final class LeaseTable: Sendable {
    /// Budget that a request holds. Whoever has it calls `settle` once.
    struct Hold: Sendable {
        let id: EdgeLedger.HoldID
        let units: [CapUnit]
        /// Output limit per choice that the hold pays for.
        let output: UInt64
        let ceiling: Ceiling
    }

    enum Answer: Sendable {
        case held(Hold)
        case refused(AdmissionRefusal)
        /// A period ended while the request waited, or the policy changed: find its accounts again.
        case expired
        /// Too many requests in flight or waiting.
        case saturated
        /// The slices are short, and no counter has been heard or none may grant anything yet.
        case unavailable
        /// There is budget, and the journal that has to be written first cannot be.
        case notJournaled(problem: String)
        /// The key has named too many new scope values within a minute.
        case tooManyNewAccounts
    }

    enum Step: Sendable {
        case answered(Answer)
        /// `onAnswer` will be called, once, unless `withdraw` is called first.
        case waiting(EdgeLedger.WaiterID)
    }

    struct Waiting: Sendable {
        let request: AdmissionRequest
        let slots: [EdgeLedger.SlotID]
        var output: UInt64
        /// Has been cut down to what is payable now.
        var isLastTry = false
        let onAnswer: @Sendable (Answer) -> Void
    }

    struct State: Sendable {
        var session: EdgeSession
        var waiting: [EdgeLedger.WaiterID: Waiting] = [:]
        var newAccounts: [String: Int] = [:]
        var newAccountsMinute: Int64 = 0
        var policyGeneration: UInt64 = 0
    }

    typealias Callback = @Sendable () -> Void

    private let state: Mutex<State>
    private let newAccountsPerMinuteMax: Int
    private let clock: CounterTime
    private let flush = Mutex<(@Sendable () -> Void)?>(nil)
    private let journal = Mutex<Journal?>(nil)

    /// How to reach the journal.
    private struct Journal {
        var due: @Sendable () -> Void
        var problem: @Sendable () -> String?
    }

    /// - Parameter isJournaled: nothing is held that was not journaled, see `onJournal`.
    init(
        nodeName: String, newAccountsPerMinuteMax: Int, clock: CounterTime,
        isJournaled: Bool = false
    ) {
        state = Mutex(State(session: EdgeSession(name: nodeName, isJournaled: isJournaled)))
        self.newAccountsPerMinuteMax = newAccountsPerMinuteMax
        self.clock = clock
    }

    /// Called when the counter should hear at once; set by the lease client.
    func onUrgent(_ action: @escaping @Sendable () -> Void) { flush.withLock { $0 = action } }

    /// - Parameters:
    ///   - due: called when `takeJournalRecords` may have something.
    ///   - problem: why it is not written; `nil` while all is well.
    func onJournal(
        due: @escaping @Sendable () -> Void, problem: @escaping @Sendable () -> String?
    ) {
        journal.withLock { $0 = Journal(due: due, problem: problem) }
    }

    // MARK: - Requests

    func admit(
        _ request: AdmissionRequest, onAnswer: @escaping @Sendable (Answer) -> Void
    ) -> Step {
        mutate { state, _ in self.admit(request, onAnswer, &state) }
    }

    private func admit(
        _ request: AdmissionRequest, _ onAnswer: @escaping @Sendable (Answer) -> Void,
        _ state: inout State
    ) -> Step {
        // A request from before a change of policy must not set an account back to the old mode.
        guard request.policyGeneration >= state.policyGeneration else {
            return .answered(.expired)
        }
        state.policyGeneration = request.policyGeneration
        guard let slots = slots(for: request, &state) else {
            return .answered(.tooManyNewAccounts)
        }
        let output: UInt64
        switch Self.planned(request, slots, state.session.ledger) {
        case .output(let planned): output = planned
        case .refuse(let refusal): return .answered(.refused(refusal))
        }
        guard let ceiling = request.formula.ceiling(outputTokensPerChoice: output) else {
            preconditionFailure("a plan that fits has a ceiling")
        }
        let demands = Self.demands(request, slots, ceiling)
        switch state.session.ledger.admit(demands) {
        case .held(let id): return .answered(.held(Self.hold(id, request, output, ceiling)))
        case .saturated: return .answered(.saturated)
        case .short: break
        }
        guard let id = state.session.ledger.wait(for: demands) else { return .answered(.saturated) }
        state.waiting[id] = Waiting(
            request: request, slots: slots, output: output, onAnswer: onAnswer)
        return .waiting(id)
    }

    /// The wait is over. Takes what is payable now if that is enough, and otherwise refuses.
    ///
    /// - Returns: whether the request waits on, for an answer to its smaller need.
    func deadline(_ id: EdgeLedger.WaiterID) -> Bool {
        let problem = journal.withLock { $0 }?.problem()
        return mutate { state, callbacks in
            guard let waiting = state.waiting[id] else { return false }
            let standings: [EdgeLedger.Standing?] = waiting.slots.map {
                state.session.ledger.standing(of: $0)
            }
            // What a counter says that only listens as yet is no reason for a refusal.
            let areKnown = standings.allSatisfy { $0?.counter.map { !$0.isLearning } ?? false }
            guard state.session.isConnected, areKnown else {
                Self.answer(id, .unavailable, &state, &callbacks)
                return false
            }
            let plan = AdmissionPlan.plan(
                waiting.request, standings: standings, budget: AdmissionPlan.payableNow,
                ifShort: .inFlight)
            if let problem, case .output = plan {
                Self.answer(id, .notJournaled(problem: problem), &state, &callbacks)
                return false
            }
            switch plan {
            case .output(let output) where !waiting.isLastTry:
                state.waiting[id]?.isLastTry = true
                Self.reduce(id, to: min(output, waiting.output), &state, &callbacks)
                return state.waiting[id] != nil
            case .output:
                Self.answer(
                    id, .refused(Self.inFlight(waiting, standings)), &state, &callbacks)
            case .refuse(let refusal):
                Self.answer(id, .refused(refusal), &state, &callbacks)
            }
            return false
        }
    }

    /// The caller is gone: nobody waits for the answer any more.
    func withdraw(_ id: EdgeLedger.WaiterID) {
        mutate { state, callbacks in
            guard state.waiting.removeValue(forKey: id) != nil else { return }
            Self.carryOut(state.session.ledger.withdraw(id), &state, &callbacks)
        }
    }

    /// Replaces a hold by what the request cost. Returns by how much that was more than the hold.
    func settle(_ hold: Hold, usd: NanoUSD, tokens: UInt64) -> EdgeLedger.SettleOutcome {
        mutate { state, callbacks in
            let actual = hold.units.map { Ceiling(usd: usd, tokens: tokens).amount(in: $0) }
            let (outcome, wakeups) = state.session.ledger.settle(hold.id, actual: actual)
            Self.carryOut(wakeups, &state, &callbacks)
            return outcome
        }
    }

    /// What this edge knows of an account; `nil` when it has no slice of it.
    func standing(of key: AccountKey) -> EdgeLedger.Standing? {
        state.withLock { state in
            state.session.ledger.existingSlot(for: key).map {
                state.session.ledger.standing(of: $0)
            }
        }
    }

    // MARK: - Lease client

    /// A step of the session. What it does to requests that wait is done; the rest of what it wants
    /// is returned, to be carried out outside the lock and in this order.
    func advance(
        _ step: (inout EdgeSession) -> [EdgeSession.Output]
    ) -> [EdgeSession.Output] {
        mutate { state, callbacks in
            var outputs: [EdgeSession.Output] = []
            for output in step(&state.session) {
                if case .wakeup(let wakeup) = output {
                    Self.carryOut([wakeup], &state, &callbacks)
                } else {
                    outputs.append(output)
                }
            }
            return outputs
        }
    }

    // MARK: - Journal

    func takeJournalRecords() -> [JournalRecord] {
        state.withLock { $0.session.ledger.takeJournalRecords() }
    }

    /// All records up to this one are on disk.
    func journaled(upTo sequence: UInt64) {
        mutate { state, callbacks in
            let wakeups = state.session.ledger.journaled(upTo: sequence)
            Self.carryOut(wakeups, &state, &callbacks)
        }
    }

    /// Those that were not forgotten.
    func known(_ keys: [AccountKey]) -> Set<AccountKey> {
        state.withLock { state in
            Set(keys.filter { state.session.ledger.existingSlot(for: $0) != nil })
        }
    }

    // MARK: - State

    var isConnected: Bool { state.withLock { $0.session.isConnected } }

    /// - Parameter time: boot-time milliseconds, as in the steps of the session.
    func leaseProblem(at time: UInt64) -> EdgeSession.LeaseProblem? {
        state.withLock { $0.session.leaseProblem(at: time) }
    }

    var counts: (accounts: Int, holds: Int, waiting: Int) {
        state.withLock { state in
            (
                state.session.ledger.slotCount, state.session.ledger.holdCount,
                state.session.ledger.waiterCount
            )
        }
    }

    /// Decides under the lock; calls back, and wakes the lease client, outside it.
    private func mutate<Result>(
        _ body: (inout State, inout [Callback]) -> Result
    ) -> Result {
        let (result, callbacks, isUrgent, isJournalDue) = state.withLock { state in
            var callbacks: [Callback] = []
            let result = body(&state, &callbacks)
            return (
                result, callbacks, state.session.ledger.takeUrgency(),
                state.session.ledger.isJournalDue
            )
        }
        for callback in callbacks { callback() }
        if isUrgent { flush.withLock { $0 }?() }
        if isJournalDue { journal.withLock { $0 }?.due() }
        return result
    }

    /// `nil` when a key makes up scope values faster than allowed.
    private func slots(
        for request: AdmissionRequest, _ state: inout State
    ) -> [EdgeLedger.SlotID]? {
        var slots: [EdgeLedger.SlotID] = []
        slots.reserveCapacity(request.targets.count)
        for target in request.targets {
            guard
                let slot = state.session.ledger.knownSlot(
                    for: target.key, isEnforced: target.isEnforced)
            else { return newSlots(for: request, &state) }
            slots.append(slot)
        }
        return slots
    }

    private func newSlots(
        for request: AdmissionRequest, _ state: inout State
    ) -> [EdgeLedger.SlotID]? {
        let fresh = request.targets.count { target in
            target.cap.each.contains(where: \.isCallerSettable)
                && state.session.ledger.existingSlot(for: target.key) == nil
        }
        if fresh > 0 {
            let minute = clock.elapsedMilliseconds() / 60_000
            if state.newAccountsMinute != minute {
                state.newAccountsMinute = minute
                state.newAccounts = [:]
            }
            let count = state.newAccounts[request.keyName, default: 0] + fresh
            guard count <= newAccountsPerMinuteMax else { return nil }
            state.newAccounts[request.keyName] = count
        }
        return request.targets.map {
            state.session.ledger.slot(for: $0.key, isEnforced: $0.isEnforced)
        }
    }
}
