import HoldfastCore
import HoldfastLedger

extension SmallModel.World {
    typealias State = SmallModel.State
    typealias Message = SmallModel.Message
    typealias Demand = SmallModel.Demand

    /// More than an account may be idle, less than it counts as contended: one such pause after the
    /// other passes every threshold.
    private static let pauseTicks: UInt64 = 11
    /// After it an account that is not used is forgotten.
    private static let longPauseTicks: UInt64 = 6_001

    func actions(ofEdge index: Int, in state: State) -> [SmallModel.Action] {
        let edge = state.edges[index]
        var actions: [SmallModel.Action] = []
        // The edges differ by nothing: the one that has the first request is named 0.
        let isFirst = index == 0 || state.edges[0].requestsLeft < bounds.requestsPerEdge
        if edge.stage == .open, edge.requestsLeft > 0, isFirst {
            let account = bounds.hasRollover && edge.hasRolled ? 1 : 0
            for ceilings in bounds.ceilings {
                actions.append(
                    .request(
                        edge: index,
                        Demand(account: account, ceilings: ceilings.map { Amount($0) })))
            }
        }
        for (number, flight) in edge.flights.enumerated() {
            let isNew = !edge.flights[..<number].contains { $0.demand == flight.demand }
            guard isNew else { continue }
            for costs in costs(of: flight.demand) {
                actions.append(.finish(edge: index, flight: number, costs: costs))
            }
        }
        if bounds.hasGivingUp {
            actions += edge.waiting.indices.map { .giveUp(edge: index, waiter: $0) }
        }
        if edge.stage != .closing { actions += lastingActions(ofEdge: index, edge) }
        if bounds.hasRollover, !edge.hasRolled { actions.append(.rollEdge(index)) }
        if state.edgeCrashesLeft > 0 { actions.append(.crash(edge: index)) }
        return actions
    }

    private func lastingActions(
        ofEdge index: Int, _ edge: SmallModel.Edge
    ) -> [SmallModel.Action] {
        var actions: [SmallModel.Action] = []
        if !edge.ledger.isAsleep {
            actions.append(.say(edge: index))
            if bounds.hasIdling { actions.append(.idle(edge: index)) }
        } else if bounds.hasForgetting, edge.ledger.slotCount > 0 {
            actions.append(.forget(edge: index))
        }
        if bounds.hasClosing {
            let isDrained = edge.stage == .draining || !bounds.hasDraining
            actions.append(isDrained ? .close(edge: index) : .drain(edge: index))
        }
        if edge.ledger.isJournalDue { actions.append(.journal(edge: index)) }
        if edge.unconfirmed != nil { actions.append(.journaled(edge: index)) }
        return actions
    }

    /// Everything that a request can turn out to cost; on several accounts nothing or all of it.
    private func costs(of demand: Demand) -> [[Amount]] {
        guard demand.ceilings.count == 1, let ceiling = demand.ceilings.first else {
            return [demand.ceilings.map { _ in .zero }, demand.ceilings]
        }
        return (0...ceiling.rawValue).map { [Amount($0)] }
    }

    func performAtEdge(_ action: SmallModel.Action, _ state: inout State) -> [Message] {
        switch action {
        case .request(let edge, let demand): request(demand, on: edge, &state)
        case .finish(let edge, let flight, let costs): finish(flight, costs, on: edge, &state)
        case .giveUp(let edge, let waiter):
            let id = state.edges[edge].waiting.remove(at: waiter).id
            take(state.edges[edge].ledger.withdraw(id), on: edge, &state)
        case .say(let edge): return say(edge, &state)
        case .idle(let edge):
            state.edges[edge].ledger.tick(count: Self.pauseTicks)
            return say(edge, &state)
        case .forget(let edge):
            state.edges[edge].ledger.tick(count: Self.longPauseTicks)
            state.edges[edge].ledger.forgetUnused()
        case .drain(let edge): drain(edge, &state)
        case .close(let edge): return close(edge, &state)
        case .crash(let edge): return crash(edge, &state)
        case .journal(let edge): writeJournal(edge, &state)
        case .journaled(let edge):
            guard let sequence = state.edges[edge].unconfirmed else { return [] }
            state.edges[edge].unconfirmed = nil
            take(state.edges[edge].ledger.journaled(upTo: sequence), on: edge, &state)
        case .rollEdge(let edge): state.edges[edge].hasRolled = true
        default: preconditionFailure("not an edge's action")
        }
        return []
    }

    // MARK: - Requests

    private func request(_ demand: Demand, on edge: Int, _ state: inout State) {
        state.edges[edge].requestsLeft -= 1
        var demands: [EdgeLedger.Demand] = []
        for (offset, ceiling) in demand.ceilings.enumerated() where ceiling > .zero {
            let key = keys[demand.account + offset]
            let slot = state.edges[edge].ledger.slot(for: key, isEnforced: true)
            demands.append(EdgeLedger.Demand(slot: slot, amount: ceiling))
        }
        switch state.edges[edge].ledger.admit(demands) {
        case .held(let hold): forward(hold, demand, on: edge, &state)
        case .short:
            guard let id = state.edges[edge].ledger.wait(for: demands) else {
                state.fault = "a request could not wait"
                return
            }
            state.edges[edge].waiting.append((id, demand))
        case .saturated: state.fault = "an edge with few requests is saturated"
        }
    }

    private func forward(
        _ hold: EdgeLedger.HoldID, _ demand: Demand, on edge: Int, _ state: inout State
    ) {
        state.edges[edge].flights.append(SmallModel.Flight(hold: hold, demand: demand))
        for (offset, ceiling) in demand.ceilings.enumerated() {
            state.bills[demand.account + offset].inFlight += ceiling
        }
    }

    func take(_ wakeups: [EdgeLedger.Wakeup], on edge: Int, _ state: inout State) {
        for case .held(let id, let hold) in wakeups {
            guard let index = state.edges[edge].waiting.firstIndex(where: { $0.id == id }) else {
                state.fault = "a request was woken that does not wait"
                return
            }
            let demand = state.edges[edge].waiting.remove(at: index).demand
            forward(hold, demand, on: edge, &state)
        }
    }

    private func finish(
        _ number: Int, _ costs: [Amount], on edge: Int, _ state: inout State
    ) {
        let flight = state.edges[edge].flights.remove(at: number)
        bill(flight, costs, &state)
        let charged = zip(flight.demand.ceilings, costs).filter { $0.0 > .zero }.map(\.1)
        let (outcome, wakeups) = state.edges[edge].ledger.settle(flight.hold, actual: charged)
        if outcome != .settled { state.fault = "a hold that was open is not settled" }
        take(wakeups, on: edge, &state)
    }

    private func bill(_ flight: SmallModel.Flight, _ costs: [Amount], _ state: inout State) {
        for (offset, cost) in costs.enumerated() {
            let account = flight.demand.account + offset
            state.bills[account].inFlight -= flight.demand.ceilings[offset]
            state.bills[account].billed += cost
        }
    }

    // MARK: - Sessions

    func say(_ edge: Int, _ state: inout State) -> [Message] {
        _ = state.edges[edge].ledger.takeUrgency()
        let entries = entries(edge, &state)
        return entries.isEmpty
            ? [] : [.report(state.edges[edge].session, entries, isLast: false)]
    }

    private func entries(_ edge: Int, _ state: inout State) -> [Message.Entry] {
        state.edges[edge].ledger.collectReports().compactMap { report in
            keys.firstIndex(of: report.key).map {
                Message.Entry(
                    account: $0, reference: report.reference, report: report.report)
            }
        }.sorted { $0.account < $1.account }
    }

    private func drain(_ edge: Int, _ state: inout State) {
        state.edges[edge].stage = .draining
        while let waiter = state.edges[edge].waiting.popLast() {
            take(state.edges[edge].ledger.withdraw(waiter.id), on: edge, &state)
        }
        state.edges[edge].ledger.beginDraining()
    }

    private func close(_ edge: Int, _ state: inout State) -> [Message] {
        if state.edges[edge].stage == .open { drain(edge, &state) }
        state.edges[edge].stage = .closing
        // One counter hears everything again.
        state.edges[edge].ledger.releaseAll()
        state.edges[edge].ledger.reconnected()
        let entries = entries(edge, &state)
        return [.report(state.edges[edge].session, entries, isLast: true)]
    }

    /// The provider works on, and bills all that it was asked for.
    private func crash(_ edge: Int, _ state: inout State) -> [Message] {
        state.edgeCrashesLeft -= 1
        let old = state.edges[edge]
        for flight in old.flights { bill(flight, flight.demand.ceilings, &state) }
        if bounds.isJournaled {
            state.crashed.append(
                SmallModel.Crashed(session: old.session, journal: old.journal))
        }
        state.edges[edge] = newEdge(requests: old.requestsLeft, &state)
        state.edges[edge].hasRolled = old.hasRolled
        return state.counters.indices.flatMap { lose(old.session, at: $0, &state) }
    }

    private func writeJournal(_ edge: Int, _ state: inout State) {
        let records = state.edges[edge].ledger.takeJournalRecords()
        guard let record = records.last else { return }
        state.edges[edge].journal.append(record.unlocked)
        state.edges[edge].unconfirmed = record.sequence
    }
}
