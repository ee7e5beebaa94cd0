import HoldfastCore
import HoldfastLedger

/// Nobody waits for what is there: L2 and L4 for small worlds.
extension SmallModel.World {
    /// Exchanges of messages after which everything has long come to rest.
    private static let roundCount = 12

    /// The network loses what it has, all connections are made anew, and from then on everything
    /// arrives. Nothing happens any more but the passing of time. Then no request may wait that
    /// what is free could pay for: alone, when the others that wait are not served either.
    func stuck(in state: State) -> String? {
        for counter in state.counters.indices {
            var healed = state
            heal(&healed, through: counter)
            if let fault = healed.fault { return fault }
            let waiting = healed.edges.flatMap(\.waiting)
            if !waiting.isEmpty, waiting.allSatisfy({ fits($0.demand, healed, counter) }) {
                return "L2: a request waits for ever through counter \(counter), and what is "
                    + "free would pay for it"
            }
        }
        return nil
    }

    /// All edges talk to one counter, which serves the account.
    private func heal(_ state: inout State, through counter: Int) {
        state.network = []
        for edge in state.edges {
            for node in state.counters.indices
            where !state.counters[node].left.contains(edge.session) {
                _ = lose(edge.session, at: node, &state)
                state.counters[node].left.removeAll { $0 == edge.session }
                state.counters[node].references.removeAll { $0.session == edge.session }
            }
        }
        for edge in state.edges.indices where state.edges[edge].stage != .closing {
            state.edges[edge].ledger.reconnected()
        }
        var quietRounds = 0
        for _ in 0..<Self.roundCount where quietRounds < 3 {
            var messages: [Message] = []
            for edge in state.edges.indices {
                messages += write(edge, &state)
                guard state.edges[edge].stage != .closing else { continue }
                messages += performAtEdge(.idle(edge: edge), &state)
            }
            quietRounds = messages.isEmpty ? quietRounds + 1 : 0
            var answers = messages.flatMap { deliver($0, to: counter, &state) }
            for account in keys.indices {
                guard state.counters[counter].cached[account]?.ledger.openRecallEpoch != nil
                else { continue }
                answers += deliverAll(&answers, to: counter, &state)
                answers += performAtCounter(
                    .recallTimedOut(counter: counter, account: account), &state)
            }
            _ = deliverAll(&answers, to: counter, &state)
        }
    }

    private func deliverAll(
        _ messages: inout [Message], to counter: Int, _ state: inout State
    ) -> [Message] {
        defer { messages = [] }
        return messages.flatMap { deliver($0, to: counter, &state) }
    }

    private func write(_ edge: Int, _ state: inout State) -> [Message] {
        guard bounds.isJournaled, state.edges[edge].stage != .closing else { return [] }
        _ = performAtEdge(.journal(edge: edge), &state)
        return performAtEdge(.journaled(edge: edge), &state)
    }

    /// What is neither spent, nor at the provider, nor presumed spent by sessions that are gone,
    /// would pay for the request.
    private func fits(_ demand: SmallModel.Demand, _ state: State, _ counter: Int) -> Bool {
        demand.ceilings.enumerated().allSatisfy { offset, ceiling in
            guard ceiling > .zero else { return true }
            let account = demand.account + offset
            guard !bounds.hasRollover || account == 1 || !state.counters[counter].hasRolled
            else { return false }
            let stored = state.store.accounts[account].account
            var used = stored.base
            for line in stored.lines {
                used += self.used(line, account, state)
            }
            return used + ceiling <= state.counters[counter].limit
        }
    }

    private func used(
        _ line: StoredAccount.Line, _ account: Int, _ state: State
    ) -> Amount {
        let owner = state.edges.first { $0.session == line.session && $0.stage != .closing }
        guard let owner, let slot = owner.ledger.existingSlot(for: keys[account]),
            owner.ledger.isReconciled(slot)
        else { return max(line.granted.excess(over: line.released), line.spent) }
        let standing = owner.ledger.standing(of: slot)
        return standing.spent + standing.held
    }
}
