package import HoldfastCore
package import HoldfastLedger

/// The sessions of edges, and what is in their hands.
extension CounterCore {
    /// Every session that is open, and those closed ones that still have lines in accounts of open
    /// periods; ascending by id.
    ///
    /// - Parameter id: only this one, also when it has nothing any more.
    package func sessionViews(
        only id: SessionID? = nil
    ) async throws(StoreError) -> SessionsView {
        let accounts = try await openAccounts()
        let lines = Self.lines(of: accounts, only: id)
        let (records, isComplete) = try await sessionRecords(with: Set(lines.keys), only: id)
        return SessionsView(
            sessions: records.map { record in
                SessionView(
                    record: record, state: Self.state(of: record, accounts.view),
                    lines: lines[record.id] ?? [])
            },
            accountsReadCount: accounts.readCount,
            isComplete: accounts.isComplete && isComplete)
    }

    package func sessionRecord(
        _ id: SessionID
    ) async throws(StoreError) -> SessionRecord? {
        try await readStore { (store) throws(StoreError) in try store.session(id) }
    }

    private func sessionRecords(
        with lines: Set<SessionID>, only id: SessionID?
    ) async throws(StoreError) -> (records: [SessionRecord], isComplete: Bool) {
        if let id { return (try await sessionRecord(id).map { [$0] } ?? [], true) }
        let bounds = reportBounds
        var records: [SessionRecord] = []
        while true {
            let after = records.last?.id
            let page = try await readStore { (store) throws(StoreError) in
                try store.sessions(.open, limit: bounds.pageRowCount, after: after)
            }
            if page.isEmpty { break }
            records += page
            guard records.count <= bounds.sessionCountMax else {
                return (Array(records.prefix(bounds.sessionCountMax)), false)
            }
        }
        let closed = lines.subtracting(records.map(\.id)).sorted()
        let room = bounds.sessionCountMax - records.count
        for id in closed.prefix(room) {
            if let record = try await sessionRecord(id) { records.append(record) }
        }
        return (records.sorted { $0.id < $1.id }, closed.count <= room)
    }

    private static func lines(
        of accounts: OpenAccounts, only id: SessionID?
    ) -> [SessionID: [SessionView.Line]] {
        var lines: [SessionID: [SessionView.Line]] = [:]
        for (key, ledger) in accounts.ledgers.sorted(by: { $0.key.text < $1.key.text }) {
            for line in ledger.lines where id == nil || line.session == id {
                let view = SessionView.Line(key: key, line)
                // One that only waits has nothing.
                if view.hasAmounts { lines[line.session, default: []].append(view) }
            }
        }
        return lines
    }

    private static func state(
        of record: SessionRecord, _ view: EngineView
    ) -> SessionView.State {
        if record.closedAt != nil { return .closed }
        if view.reachable.contains(record.id) { return .connected }
        guard let living = view.living else { return .away }
        return living.contains(record.id) ? .away : .lost
    }
}

package struct SessionsView: Sendable {
    package let sessions: [SessionView]
    package let accountsReadCount: Int
    /// False when the store has more sessions, accounts or lines than are read for one answer.
    package let isComplete: Bool
}

/// One session, for operators.
package struct SessionView: Sendable {
    package enum State: String, Sendable {
        /// To this counter.
        case connected
        /// Left less than a lease's lifetime ago, or it cannot be told yet.
        case away
        /// Not connected to this counter. What it holds counts as spent.
        case lost
        case closed
    }

    /// What a session has of one account.
    package struct Line: Sendable {
        package let key: AccountKey
        package let granted: Amount
        package let released: Amount
        package let spent: Amount
        /// What may still be spent, or is presumed to have been.
        package let outstanding: Amount

        init(key: AccountKey, _ line: AccountLedger.Line) {
            self.key = key
            granted = line.granted
            released = line.released
            spent = line.spent
            outstanding = line.exposure.excess(over: line.spent)
        }

        var hasAmounts: Bool { granted > .zero || released > .zero || spent > .zero }
    }

    package let record: SessionRecord
    package let state: State
    /// In the order of the accounts' keys.
    package let lines: [Line]
}
