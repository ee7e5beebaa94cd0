public import HoldfastCore
public import HoldfastLedger
import Synchronization

extension PostgresStore {
    public func openSession(edge: String, at time: UnixTime) throws(StoreError) -> SessionID {
        var parameters = PostgresParameters()
        parameters.add(edge)
        parameters.add(time.seconds)
        let rows = try write(
            [.init(statement: .openSession, parameters: parameters)], isGenerationBound: true)[0]
        guard let id = rows.integer(0, 0), id > 0, let generation = rows.integer(0, 1) else {
            throw .corrupt("\(location.name): a session without an id was issued")
        }
        let session = SessionID(UInt64(id))
        guard session.generation == UInt64(clamping: generation) else {
            throw .unavailable(
                "\(location.name) has issued every session of its generation. Open it once as "
                    + "restored, which begins another.")
        }
        return session
    }

    public func adoptSession(
        _ id: SessionID, edge: String, at time: UnixTime
    ) throws(StoreError) {
        if try session(id) != nil { return }
        let generation = try readGeneration()
        guard id.isIssuable, id.generation < generation.current,
            let row = Int64(exactly: id.rawValue)
        else {
            throw .unavailable(
                "\(location.name) cannot adopt session \(id.rawValue): no store of a generation "
                    + "before \(generation.current) has issued it. Open a new session.")
        }
        var parameters = PostgresParameters()
        parameters.add(row)
        parameters.add(edge)
        parameters.add(time.seconds)
        _ = try write([.init(statement: .adoptSession, parameters: parameters)])
    }

    /// A session that another database of the same store has issued. Does nothing when it is known.
    func keepSession(_ id: SessionID, edge: String, at time: UnixTime) throws(StoreError) {
        guard let row = Int64(exactly: id.rawValue) else { return }
        var parameters = PostgresParameters()
        parameters.add(row)
        parameters.add(edge)
        parameters.add(time.seconds)
        _ = try write([.init(statement: .keepSession, parameters: parameters)])
    }

    public func session(_ id: SessionID) throws(StoreError) -> SessionRecord? {
        guard let row = Int64(exactly: id.rawValue) else { return nil }
        var parameters = PostgresParameters()
        parameters.add(row)
        let rows = try read(
            .init(statement: .session, parameters: parameters), isGenerationBound: true)[0]
        return rows.count == 0 ? nil : try record(rows, 0)
    }

    public func sessions(
        _ selection: SessionSelection, limit: Int, after: SessionID?
    ) throws(StoreError) -> [SessionRecord] {
        precondition(limit > 0, "a list of no sessions")
        // Nothing comes after what cannot be an id.
        guard let after = Int64(exactly: after?.rawValue ?? 0) else { return [] }
        var parameters = PostgresParameters()
        parameters.add(after)
        parameters.add(Int64(limit))
        switch selection {
        case .all:
            parameters.add(Int64(0))
            parameters.add(Int64?.none)
        case .open:
            parameters.add(Int64(1))
            parameters.add(Int64?.none)
        case .openUnseen(let since):
            parameters.add(Int64(1))
            parameters.add(since.seconds)
        }
        let rows = try read(.init(statement: .sessions, parameters: parameters))[0]
        var records: [SessionRecord] = []
        for row in 0..<rows.count { records.append(try record(rows, row)) }
        return records
    }

    private func record(_ rows: PostgresRows, _ row: Int) throws(StoreError) -> SessionRecord {
        guard let id = rows.integer(row, 0), id > 0, let edge = rows.text(row, 1),
            let openedAt = rows.integer(row, 2), let seenAt = rows.integer(row, 3)
        else { throw .corrupt("\(location.name): a session cannot be read") }
        return SessionRecord(
            id: SessionID(UInt64(id)), edge: edge, openedAt: UnixTime(openedAt),
            seenAt: UnixTime(seenAt), closedAt: rows.integer(row, 4).map { UnixTime($0) })
    }

    // MARK: - Secrets, watermarks, operators

    public func secret(
        named name: String, generate: () -> [UInt8]
    ) throws(StoreError) -> [UInt8] {
        var parameters = PostgresParameters()
        parameters.add(name)
        let select = PostgresConnection.Command(statement: .secret, parameters: parameters)
        if let value = try read(select)[0].first { return value }
        let value = generate()
        precondition(!value.isEmpty, "an empty secret")
        parameters.add(value)
        // Of two that make it at the same time, both read the one that was kept.
        _ = try write([.init(statement: .keepSecret, parameters: parameters)])
        guard let kept = try read(select)[0].first else {
            throw .corrupt("\(location.name): the secret `\(name)` was kept and is not there")
        }
        return kept
    }

    public func generation() throws(StoreError) -> StoreGeneration {
        let generation = try readGeneration()
        toldGeneration.withLock { $0 = generation.current }
        return generation
    }

    private func readGeneration() throws(StoreError) -> StoreGeneration {
        let rows = try read(.init(statement: .generation))[0]
        guard let current = rows.integer(0, 0), let learned = rows.integer(0, 1),
            1 <= learned, learned <= current, UInt64(current) <= SessionID.generationMax
        else { throw .corrupt("\(location.name): its generation cannot be believed") }
        return StoreGeneration(current: UInt64(current), learned: UInt64(learned))
    }

    public func clockFloor() throws(StoreError) -> UnixTime {
        guard let floor = try read(.init(statement: .clockFloor))[0].integer(0, 0) else {
            throw .corrupt("\(location.name): the rows that hold the clock floor are missing")
        }
        return UnixTime(floor)
    }

    public func operatorRecords(limit: Int) throws(StoreError) -> [OperatorRecord] {
        precondition(limit > 0, "a list of no records")
        var parameters = PostgresParameters()
        parameters.add(Int64(limit))
        let rows = try read(.init(statement: .records, parameters: parameters))[0]
        var records: [OperatorRecord] = []
        for row in 0..<rows.count {
            guard let action = rows.integer(row, 0).flatMap(UInt8.init(exactly:)),
                let action = OperatorRecord.Action(rawValue: action), let at = rows.integer(row, 1),
                let text = rows.text(row, 2), let account = AccountKey(text: text),
                let amount = rows.integer(row, 4), let reason = rows.text(row, 5)
            else {
                throw .corrupt("\(location.name): a record of what operators did cannot be read")
            }
            records.append(
                OperatorRecord(
                    action: action, at: UnixTime(at), account: account,
                    session: rows.integer(row, 3).map { SessionID(UInt64(bitPattern: $0)) },
                    amount: Amount(UInt64(bitPattern: amount)), reason: reason))
        }
        return records
    }
}

extension PostgresRows {
    /// The first value of the first row.
    fileprivate var first: [UInt8]? { count == 0 ? nil : bytes(0, 0) }
}
