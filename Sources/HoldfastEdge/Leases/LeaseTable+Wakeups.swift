import HoldfastCore
import HoldfastLedger
import HoldfastProviders

/// What becomes of waiting requests when the ledger changes. All under the table's lock.
extension LeaseTable {
    /// How much output the request can have at most. Nearly always all that it wants, which is found
    /// out without looking further at its accounts.
    static func planned(
        _ request: AdmissionRequest, _ slots: [EdgeLedger.SlotID], _ ledger: EdgeLedger
    ) -> AdmissionPlan.Outcome {
        if let wanted = request.formula.ceiling(outputTokensPerChoice: request.outputWanted) {
            var fits = true
            for (target, slot) in zip(request.targets, slots) where target.isEnforced {
                let limit = target.cap.limit
                let room = min(limit, ledger.room(of: slot) ?? limit)
                if wanted.amount(in: target.cap.unit) > room {
                    fits = false
                    break
                }
            }
            if fits { return .output(request.outputWanted) }
        }
        return AdmissionPlan.plan(
            request, standings: slots.map { ledger.standing(of: $0) },
            budget: AdmissionPlan.room, ifShort: .capSpent)
    }

    static func demands(
        _ request: AdmissionRequest, _ slots: [EdgeLedger.SlotID], _ ceiling: Ceiling
    ) -> [EdgeLedger.Demand] {
        zip(slots, request.targets).map { slot, target in
            EdgeLedger.Demand(slot: slot, amount: ceiling.amount(in: target.cap.unit))
        }
    }

    static func hold(
        _ id: EdgeLedger.HoldID, _ request: AdmissionRequest, _ output: UInt64,
        _ ceiling: Ceiling
    ) -> Hold {
        Hold(id: id, units: request.targets.map(\.cap.unit), output: output, ceiling: ceiling)
    }

    static func answer(
        _ id: EdgeLedger.WaiterID, _ answer: Answer, _ state: inout State,
        _ callbacks: inout [Callback]
    ) {
        guard let waiting = state.waiting.removeValue(forKey: id) else { return }
        callbacks.append { waiting.onAnswer(answer) }
        carryOut(state.session.ledger.withdraw(id), &state, &callbacks)
    }

    static func reduce(
        _ id: EdgeLedger.WaiterID, to output: UInt64, _ state: inout State,
        _ callbacks: inout [Callback]
    ) {
        guard let waiting = state.waiting[id],
            let ceiling = waiting.request.formula.ceiling(outputTokensPerChoice: output)
        else { return }
        let demands = demands(waiting.request, waiting.slots, ceiling)
        state.waiting[id]?.output = output
        carryOut(state.session.ledger.reduce(id, to: demands), &state, &callbacks)
    }

    static func carryOut(
        _ wakeups: [EdgeLedger.Wakeup], _ state: inout State, _ callbacks: inout [Callback]
    ) {
        for wakeup in wakeups {
            switch wakeup {
            case .held(let id, let holdID):
                guard let waiting = state.waiting.removeValue(forKey: id) else {
                    preconditionFailure("a hold for a request that does not wait")
                }
                let output = waiting.output
                guard
                    let ceiling = waiting.request.formula.ceiling(outputTokensPerChoice: output)
                else { preconditionFailure("a request without a ceiling was held") }
                let held = hold(holdID, waiting.request, output, ceiling)
                callbacks.append { waiting.onAnswer(.held(held)) }
            case .reconsider(let id):
                reconsider(id, &state, &callbacks)
            }
        }
    }

    /// The counter cannot meet the need now. Smaller, refused, or patient: holds of others settle.
    private static func reconsider(
        _ id: EdgeLedger.WaiterID, _ state: inout State, _ callbacks: inout [Callback]
    ) {
        guard let waiting = state.waiting[id] else { return }
        let standings: [EdgeLedger.Standing?] = waiting.slots.map {
            state.session.ledger.standing(of: $0)
        }
        for (target, standing) in zip(waiting.request.targets, standings) where target.isEnforced {
            if standing?.counter?.isClosed == true {
                return answer(id, .expired, &state, &callbacks)
            }
            if standing?.counter?.isFrozen == true {
                let refusal = AdmissionRefusal(
                    reason: .frozen, target: target, standing: standing, ceiling: nil,
                    outputThatFits: nil)
                return answer(id, .refused(refusal), &state, &callbacks)
            }
        }
        let plan = AdmissionPlan.plan(
            waiting.request, standings: standings, budget: AdmissionPlan.room, ifShort: .capSpent)
        switch plan {
        case .refuse(let refusal):
            answer(id, .refused(refusal), &state, &callbacks)
        case .output(let output) where output < waiting.output:
            reduce(id, to: output, &state, &callbacks)
        case .output:
            break
        }
    }

    /// The refusal of a request that could be paid for, but not in time.
    static func inFlight(
        _ waiting: Waiting, _ standings: [EdgeLedger.Standing?]
    ) -> AdmissionRefusal {
        let enforced = zip(waiting.request.targets, standings).filter { $0.0.isEnforced }
        // Compared by the output they pay for: dollars and tokens have no order.
        let tightest = enforced.min {
            AdmissionPlan.outputPayableNow(waiting.request, $0.0, $0.1)
                < AdmissionPlan.outputPayableNow(waiting.request, $1.0, $1.1)
        }
        guard let (target, standing) = tightest else {
            preconditionFailure("a request waits although no cap applies to it")
        }
        let ceiling = waiting.request.formula.ceiling(outputTokensPerChoice: waiting.output)
        return AdmissionRefusal(
            reason: .inFlight, target: target, standing: standing,
            ceiling: ceiling?.amount(in: target.cap.unit), outputThatFits: nil)
    }
}
