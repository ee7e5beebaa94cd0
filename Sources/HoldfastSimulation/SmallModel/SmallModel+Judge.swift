import HoldfastCore
import HoldfastLedger

/// What must hold, named as in DESIGN section 7. Computed here from what the store says, what the
/// edges say, and what the provider bills.
extension SmallModel.World {
    /// - Returns: what is wrong after the step from `before`; `nil` when nothing is.
    func judge(_ state: inout State, since before: State) -> String? {
        if let fault = state.fault { return fault }
        for account in keys.indices {
            let failure =
                judgeBill(account, &state) ?? judgeStore(account, state, since: before)
                ?? judgeEdges(account, state)
            if let failure { return "account \(account): \(failure)" }
        }
        return nil
    }

    static func exposure(_ account: StoredAccount) -> Amount {
        account.lines.reduce(account.base) {
            $0 + max($1.granted.excess(over: $1.released), $1.spent)
        }
    }

    private func judgeBill(_ account: Int, _ state: inout State) -> String? {
        let bill = state.bills[account]
        let exposure = Self.exposure(state.store.accounts[account].account)
        let limit = state.counters.map(\.limit).max() ?? .zero
        let allowed = max(limit, bill.allowed)
        guard bill.most <= allowed else {
            return "I1: \(bill.most.rawValue) billed and in flight, \(allowed.rawValue) allowed"
        }
        guard bill.most <= exposure else {
            return "I1: \(bill.most.rawValue) billed and in flight, the store knows of "
                + "\(exposure.rawValue)"
        }
        guard exposure <= allowed else {
            return "I4: exposure \(exposure.rawValue), \(allowed.rawValue) allowed"
        }
        // Above a lowered limit the exposure can only fall.
        state.bills[account].allowed = max(limit, min(allowed, exposure))
        return nil
    }

    private func judgeStore(
        _ account: Int, _ state: State, since before: State
    ) -> String? {
        let old = before.store.accounts[account].account
        let new = state.store.accounts[account].account
        if new.isFrozen { return "the account is frozen, and the store has lost nothing" }
        if new.base < old.base { return "I5: base fell" }
        for line in old.lines {
            let isClosed = before.store.closed.contains(line.session)
            guard let next = new.lines.first(where: { $0.session == line.session }) else {
                let isFolded = state.store.closed.contains(line.session)
                if !isFolded { return "I5: an open session is gone from the store" }
                continue
            }
            let goesBack =
                next.granted < line.granted || next.released < line.released
                || next.spent < line.spent || next.overrun < line.overrun
            if goesBack { return "I5: session \(line.session.rawValue) went back" }
            if isClosed, next != line { return "I8: a closed session was written" }
        }
        return nil
    }

    private func judgeEdges(_ account: Int, _ state: State) -> String? {
        for index in state.edges.indices {
            let edge = state.edges[index]
            guard let slot = edge.ledger.existingSlot(for: keys[account]) else { continue }
            let standing = edge.ledger.standing(of: slot)
            let isCovered =
                standing.spent + standing.held <= standing.granted.excess(over: standing.released)
            guard isCovered || !edge.ledger.isReconciled(slot) else {
                return "I2: session \(edge.session.rawValue) uses more than its slice"
            }
            guard !state.store.closed.contains(edge.session) else { continue }
            let line = state.store.accounts[account].account.lines
                .first { $0.session == edge.session }
            guard standing.granted <= line?.granted ?? .zero else {
                return "I6: session \(edge.session.rawValue) has seen "
                    + "\(standing.granted.rawValue), stored is \(line?.granted.rawValue ?? 0)"
            }
            guard edge.ledger.isReconciled(slot), let line else { continue }
            guard line.released <= standing.released, line.spent <= standing.spent else {
                return "I3: the store knows of more use than session \(edge.session.rawValue)"
            }
        }
        return nil
    }

    /// I7: a message that comes twice changes nothing. The same counter has heard it all; another
    /// one may grant on hearing of a wish for the first time, and everything else stays.
    func replay(_ message: Message, to counter: Int, in state: State) -> String? {
        guard case .report(let session, _, _) = message else { return replayed(message, state) }
        for node in state.counters.indices {
            var after = state
            _ = perform(.deliver(message, to: node), &after)
            if let fault = after.fault { return fault }
            for account in keys.indices {
                let old = state.store.accounts[account].account
                let new = after.store.accounts[account].account
                if node == counter, new != old { return "I7: a repeated report changed the store" }
                let oldLine = old.lines.first { $0.session == session }
                let newLine = new.lines.first { $0.session == session }
                // Of a closed session another counter may keep or drop a line that says nothing.
                let isSame =
                    newLine?.released ?? .zero == oldLine?.released ?? .zero
                    && newLine?.spent ?? .zero == oldLine?.spent ?? .zero
                    && new.base == old.base
                if !isSame { return "I7: a repeated report changed what was said" }
            }
        }
        return nil
    }

    private func replayed(_ message: Message, _ state: State) -> String? {
        var after = state
        _ = perform(.deliver(message, to: 0), &after)
        for (old, new) in zip(state.edges, after.edges) {
            for key in keys {
                guard let slot = old.ledger.existingSlot(for: key) else { continue }
                let before = old.ledger.standing(of: slot)
                let now = new.ledger.standing(of: slot)
                let isSame =
                    before.granted == now.granted && before.released == now.released
                    && before.spent == now.spent && before.held == now.held
                if !isSame { return "I7: a repeated message changed a slice" }
            }
        }
        return nil
    }
}
