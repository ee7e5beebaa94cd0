import HoldfastCore
import HoldfastLedger

extension SmallModel {
    /// What can happen, and what comes of it. The state is all that changes.
    struct World {
        let bounds: Bounds
        let keys: [AccountKey]

        init(_ bounds: Bounds) {
            self.bounds = bounds
            precondition(
                bounds.hasRollover ? bounds.accountCount == 2 : true,
                "the second account is the next period")
            let isOne = bounds.hasRollover
            keys = (0..<bounds.accountCount).map { index in
                AccountKey(
                    cap: isOne ? "cap" : "cap-\(index)", unit: .tokens, period: .day,
                    periodID: isOne ? Int64(index) : 0, values: [])
            }
        }

        var limit: Amount { Amount(bounds.limit) }

        var first: State {
            let empty = VersionedAccount(
                version: 0, account: StoredAccount(base: .zero, isFrozen: false, lines: []))
            let counter = Counter(cached: keys.map { _ in nil }, limit: limit)
            var state = State(
                edges: [], counters: [counter, counter],
                store: Store(accounts: keys.map { _ in empty }),
                bills: keys.map { _ in Bill(allowed: limit) },
                edgeCrashesLeft: bounds.edgeCrashCount,
                counterCrashesLeft: bounds.counterCrashCount)
            let requestsOfSecond = bounds.requestsOfSecondEdge ?? bounds.requestsPerEdge
            for requests in [bounds.requestsPerEdge, requestsOfSecond] {
                state.edges.append(newEdge(requests: requests, &state))
            }
            return state
        }

        func newEdge(requests: Int, _ state: inout State) -> Edge {
            defer { state.nextSession += 1 }
            return Edge(
                ledger: EdgeLedger(isJournaled: bounds.isJournaled),
                session: SessionID(state.nextSession), requestsLeft: requests)
        }

        /// Every step that can be taken, in an order that is always the same.
        func steps(from state: State) -> [(Action, State)] {
            var steps: [(Action, State)] = []
            for edge in state.edges.indices {
                for action in actions(ofEdge: edge, in: state) { take(action, state, &steps) }
            }
            for counter in state.counters.indices {
                for action in actions(ofCounter: counter, in: state) {
                    take(action, state, &steps)
                }
            }
            for message in state.network {
                switch message {
                case .report:
                    for counter in state.counters.indices {
                        take(.deliver(message, to: counter), state, &steps)
                    }
                case .grant, .recall: take(.deliver(message, to: 0), state, &steps)
                }
            }
            return steps
        }

        private func take(_ action: Action, _ state: State, _ steps: inout [(Action, State)]) {
            var after = state
            let messages = perform(action, &after)
            // What is said again counts as new.
            let old = after.network.filter { isOfUse($0, in: after) && !messages.contains($0) }
            let all = old + messages.filter { isOfUse($0, in: after) }
            guard !bounds.sharesRoom else {
                for messages in room(for: all, bounds.reportCountMax) {
                    after.network = messages
                    steps.append((action, after))
                }
                return
            }
            // Everything that could be left: which messages were lost is not ours to choose.
            for reports in room(for: all.filter(\.isReport), bounds.reportCountMax) {
                for answers in room(for: all.filter { !$0.isReport }, bounds.answerCountMax) {
                    after.network = reports + answers
                    steps.append((action, after))
                }
            }
        }

        private func room(for messages: [Message], _ countMax: Int) -> [[Message]] {
            guard messages.count > countMax else { return [messages] }
            guard bounds.hasLongDelays else { return [messages.suffix(countMax)] }
            return (0..<(1 << messages.count)).filter { $0.nonzeroBitCount == countMax }
                .map { subset in
                    messages.indices.filter { subset & (1 << $0) != 0 }.map { messages[$0] }
                }
        }

        /// Nobody is there any more who would take it.
        private func isOfUse(_ message: Message, in state: State) -> Bool {
            switch message {
            case .report(let session, _, _):
                let isOver =
                    state.store.closed.contains(session)
                    && state.counters.allSatisfy { $0.left.contains(session) }
                return !isOver
            case .grant(let session, let account, let reference, _),
                .recall(let session, let account, let reference, _):
                guard let edge = state.edge(of: session), state.edges[edge].stage != .closing,
                    let slot = state.edges[edge].ledger.existingSlot(for: keys[account])
                else { return false }
                return state.edges[edge].ledger.reference(of: slot) == reference
            }
        }

        /// - Returns: what was sent.
        func perform(_ action: Action, _ state: inout State) -> [Message] {
            switch action {
            case .deliver(let message, let counter): deliver(message, to: counter, &state)
            case .recallTimedOut, .changeLimit, .rollCounter, .crashCounter, .recover:
                performAtCounter(action, &state)
            default: performAtEdge(action, &state)
            }
        }

        func isBeyondBounds(_ state: State) -> Bool {
            let isRecalledOften = state.counters.contains { counter in
                counter.cached.contains {
                    ($0?.ledger.newestRecallEpoch ?? 0) > bounds.recallEpochMax
                }
            }
            return isRecalledOften
                || state.store.accounts.contains { stored in
                    stored.account.lines.contains { $0.granted.rawValue > bounds.grantedMax }
                }
        }
    }
}
