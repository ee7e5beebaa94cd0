import HoldfastCore
public import HoldfastLedger

extension PostgresStore {
    public func commit(_ batch: StoreBatch) throws(StoreError) -> CommitResult {
        let plan = BatchPlan(batch, clockSlot: clockSlot)
        // What is no id was never issued.
        guard plan.isEveryReporterPossible else {
            return CommitResult(closedSessions: try gone(batch), clockFloor: try clockFloor())
        }
        let doubt = openDoubt
        let isUnsafeAllowed = options.isUnsafeAllowed
        let result = try pool.with { connection throws(PostgresConnection.Failure) in
            try checkGeneration()
            return try batch.isAllOrNothing
                ? Self.commitWhole(plan, on: connection, isUnsafeAllowed)
                : Self.commitAny(plan, on: connection, isUnsafeAllowed)
        }
        if case .failure(.refused(let state, _)) = result, StoreError.isDeadlock(state),
            !batch.puts.isEmpty
        {
            // Nothing was written: as if somebody else had been quicker on all of them.
            return CommitResult(
                conflicts: batch.puts.map(\.key), clockFloor: try clockFloor())
        }
        let committed = try settled(result)
        // Its place in the log is behind whatever was in doubt when it was sent.
        if !committed.written.isEmpty { settle(doubt) }
        return committed
    }

    private func gone(_ batch: StoreBatch) throws(StoreError) -> [SessionID] {
        var gone: [SessionID] = []
        for id in batch.reporting {
            let record = try session(id)
            if record == nil || record?.closedAt != nil { gone.append(id) }
        }
        return gone
    }

    /// A conflict of one put leaves the others alone: one round trip.
    private static func commitAny(
        _ plan: BatchPlan, on connection: PostgresConnection, _ isUnsafeAllowed: Bool
    ) throws(PostgresConnection.Failure) -> CommitResult {
        let rows = try transaction(plan.commands, on: connection)
        try checkStandby(rows[rows.count - 1], isUnsafeAllowed)
        return plan.result(rows)
    }

    /// The setting was checked when the connection was made, and may have been emptied since: by an
    /// operator, or by what runs the cluster when the standby was lost. A new connection says what to
    /// do.
    private static func checkStandby(
        _ floor: PostgresRows, _ isUnsafeAllowed: Bool
    ) throws(PostgresConnection.Failure) {
        guard isUnsafeAllowed || floor.bytes(0, 1) == [1] else {
            throw .lost("commits do not wait for a standby any more")
        }
    }

    /// A conflict undoes the whole batch, so the end is decided here.
    private static func commitWhole(
        _ plan: BatchPlan, on connection: PostgresConnection, _ isUnsafeAllowed: Bool
    ) throws(PostgresConnection.Failure) -> CommitResult {
        _ = connection.takeNotices()
        do throws(PostgresConnection.Failure) {
            let rows = try connection.run([.init(statement: .begin)] + plan.commands)
            var result = plan.result(Array(rows.dropFirst()))
            let isKept = result.conflicts.isEmpty && result.closedSessions.isEmpty
            guard isKept else {
                let end = try connection.run([
                    .init(statement: .rollback), .init(statement: .clockFloor),
                ])
                result.written = []
                result.clockFloor = UnixTime(end[1].integer(0, 0) ?? 0)
                return result
            }
            let end = try connection.run([.init(statement: .commit)])
            try confirm(end[0], connection)
            try checkStandby(rows[rows.count - 1], isUnsafeAllowed)
            return result
        } catch {
            try rollBack(connection)
            throw error
        }
    }
}

/// A batch as the statements that write it, and their answers as its result.
struct BatchPlan {
    private enum Part {
        case reporting, updates, inserts, floor, other
    }

    let isEveryReporterPossible: Bool
    private(set) var commands: [PostgresConnection.Command] = []
    private var parts: [Part] = []
    private let batch: StoreBatch
    /// Of `batch.puts`, in the order of their statement.
    private var updates: [(index: Int, key: [UInt8])] = []
    private var inserts: [(index: Int, key: [UInt8])] = []

    init(_ batch: StoreBatch, clockSlot: Int64) {
        self.batch = batch
        let reporting = Set(batch.reporting).compactMap { Int64(exactly: $0.rawValue) }.sorted()
        isEveryReporterPossible = reporting.count == Set(batch.reporting).count
        if !reporting.isEmpty { add(.lockReporting, .reporting) { $0.add(reporting) } }
        let closing = batch.closedSessions.compactMap { Int64(exactly: $0.rawValue) }
        if !closing.isEmpty { add(.lockClosing) { $0.add(closing) } }
        addPuts(reporting)
        addRest(reporting, closing: closing, clockSlot: clockSlot)
        add(.clockFloor, .floor) { _ in }
    }

    private mutating func add(
        _ statement: PostgresStatement, _ part: Part = .other,
        _ fill: (inout PostgresParameters) -> Void
    ) {
        var command = PostgresConnection.Command(statement: statement)
        fill(&command.parameters)
        commands.append(command)
        parts.append(part)
    }

    private mutating func addPuts(_ reporting: [Int64]) {
        // All writers lock rows in this order, so that none waits for one that waits for it.
        for put in KeyOrder.sorted(batch.puts) {
            // What cannot be a version cannot be the current one either.
            guard let expected = Int64(exactly: batch.puts[put.index].expected), expected < .max
            else { continue }
            if expected == 0 { inserts.append(put) } else { updates.append(put) }
        }
        if !updates.isEmpty {
            let (updates, batch) = (updates, batch)
            add(.update, .updates) { parameters in
                parameters.add(updates.map(\.key))
                parameters.add(updates.map { Int64(batch.puts[$0.index].expected) + 1 })
                parameters.add(updates.map { Self.value(of: batch.puts[$0.index], $0.key) })
                parameters.add(reporting)
            }
        }
        if !inserts.isEmpty {
            let (inserts, batch) = (inserts, batch)
            add(.insert, .inserts) { parameters in
                parameters.add(inserts.map(\.key))
                parameters.add(inserts.map { Self.value(of: batch.puts[$0.index], $0.key) })
                parameters.add(reporting)
            }
        }
    }

    private static func value(of put: StoreBatch.Put, _ key: [UInt8]) -> [UInt8] {
        AccountRecord.encode(put.account, key: key, version: put.expected + 1)
    }

    private mutating func addRest(_ reporting: [Int64], closing: [Int64], clockSlot: Int64) {
        // First the floor, which the sessions are marked with.
        if let floor = batch.clockFloor {
            add(.raiseFloor) { parameters in
                parameters.add(floor.seconds)
                parameters.add(clockSlot)
                parameters.add(reporting)
            }
        }
        let seen = batch.seenSessions.compactMap { Int64(exactly: $0.rawValue) }
        if !seen.isEmpty {
            add(.seen) { parameters in
                parameters.add(seen)
                parameters.add(reporting)
            }
        }
        if !closing.isEmpty {
            add(.closeSessions) { parameters in
                parameters.add(closing)
                parameters.add(reporting)
            }
        }
        // What cannot be a generation is above the current one.
        if let learned = batch.learnedGeneration.flatMap(Int64.init(exactly:)) {
            add(.learned) { parameters in
                parameters.add(learned)
                parameters.add(reporting)
            }
        }
        for record in batch.records {
            add(.record) { parameters in
                record.add(to: &parameters)
                parameters.add(reporting)
            }
        }
    }

    /// - Parameter rows: of each of `commands`.
    func result(_ rows: [PostgresRows]) -> CommitResult {
        var result = CommitResult()
        var isWritten = [Bool](repeating: false, count: batch.puts.count)
        for (part, rows) in zip(parts, rows) {
            switch part {
            case .reporting:
                let open = Set((0..<rows.count).compactMap { rows.integer($0, 0) })
                result.closedSessions = batch.reporting.filter {
                    !open.contains(Int64(bitPattern: $0.rawValue))
                }
            case .updates:
                for row in 0..<rows.count {
                    if let number = rows.integer(row, 0) {
                        isWritten[updates[Int(number) - 1].index] = true
                    }
                }
            case .inserts:
                let isComplete = rows.count == inserts.count
                let found =
                    isComplete ? [] : Set((0..<rows.count).compactMap { rows.bytes($0, 0) })
                for put in inserts where isComplete || found.contains(put.key) {
                    isWritten[put.index] = true
                }
            case .floor: result.clockFloor = UnixTime(rows.integer(0, 0) ?? 0)
            case .other: break
            }
        }
        guard result.closedSessions.isEmpty else { return result }
        let puts = CommitResult(batch.puts, isWritten: isWritten)
        result.written = puts.written
        result.conflicts = puts.conflicts
        return result
    }
}

extension OperatorRecord {
    /// Unsigned numbers are stored as the signed ones of the same bits.
    fileprivate func add(to parameters: inout PostgresParameters) {
        parameters.add(Int64(action.rawValue))
        parameters.add(at.seconds)
        parameters.add(account.text)
        parameters.add(session.map { Int64(bitPattern: $0.rawValue) })
        parameters.add(Int64(bitPattern: amount.rawValue))
        parameters.add(reason)
    }
}
