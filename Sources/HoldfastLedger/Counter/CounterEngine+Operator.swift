import HoldfastCore

/// What operators do by hand. Each leaves a record with its reason, in the same commit.
extension CounterEngine {
    mutating func take(_ operation: Operation, _ id: UInt64) {
        batch.operations.append((id, operation))
        switch operation {
        case .unfreeze(let key, _):
            add(.unfrozen, to: key, for: id)
        case .refund(let session, let keys, let reason):
            if let objection = objection(toRefunding: session) {
                batch.operationFailures[id] = objection
            } else {
                batch.sessionChecks.append(
                    .refund(operation: id, session, keys, reason: reason))
            }
        }
    }

    private func objection(toRefunding session: SessionID) -> String? {
        guard let living else {
            return "this counter cannot tell yet which edges are lost; try again in "
                + "\(settings.leaseTTL / 1_000) s"
        }
        guard !living.contains(session) else {
            return "session \(session.rawValue) is connected, or was until a moment ago: an edge "
                + "that lives gives back by itself what it does not need"
        }
        return nil
    }

    mutating func refund(
        _ operation: UInt64, _ session: SessionID, _ keys: [AccountKey], _ record: SessionRecord?
    ) {
        guard let record else {
            batch.operationFailures[operation] =
                "this store never issued session \(session.rawValue)"
            return
        }
        // Its edge may have come back while the store was asked, in the same batch.
        if let objection = objection(toRefunding: session) {
            batch.operationFailures[operation] = objection
            return
        }
        // It may be connected to another counter, which says so at each of its housekeepings.
        let patience = Int64((2 * settings.housekeepingInterval + settings.leaseTTL) / 1_000)
        guard record.closedAt != nil || clock.seconds - record.seenAt.seconds > patience else {
            batch.operationFailures[operation] =
                "a counter was connected to session \(session.rawValue) within the last "
                + "\(patience) s; try again when it has been gone for longer"
            return
        }
        // From now on it cannot use any more what it is refunded.
        batch.closings.append(
            CounterBatch.Closing(connection: nil, operation: operation, session: session))
        for key in keys { add(.refunded(session), to: key, for: operation) }
    }

    mutating func failOperations(on key: AccountKey, _ message: String) {
        for (id, operation) in batch.operations {
            switch operation {
            case .unfreeze(key, _): batch.operationFailures[id] = message
            case .refund(_, let keys, _) where keys.contains(key):
                // On all of its accounts or on none: what is refused must not have happened.
                batch.operationFailures[id] = message
                batch.withdraw(operation: id)
            default: break
            }
        }
    }

    /// Of everything that this batch does for operators.
    func operatorRecords() -> [OperatorRecord] {
        batch.operations.flatMap { records(of: $0.1, $0.id, batch) }
    }

    private func records(
        of operation: Operation, _ id: UInt64, _ batch: CounterBatch
    ) -> [OperatorRecord] {
        // In the order of the accounts: after a conflict that of the deeds is another.
        batch.accounts.flatMap { account in
            batch.deeds.filter { $0.key == account.key && $0.operation == id }
        }.map {
            OperatorRecord(
                action: $0.action, at: clock, account: $0.key, session: $0.session,
                amount: $0.amount, reason: operation.reason)
        }
    }

    mutating func finishOperations(_ done: CounterBatch) {
        for (id, operation) in done.operations {
            let records = records(of: operation, id, done)
            if let failure = done.operationFailures[id] {
                outputs.append(.operationDone(id, .refused(failure)))
            } else if case .unfreeze(let key, _) = operation, records.isEmpty {
                outputs.append(
                    .operationDone(id, .refused("account `\(key.text)` is not frozen")))
            } else {
                outputs.append(.operationDone(id, .done(records)))
            }
        }
    }
}
