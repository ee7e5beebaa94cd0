import HoldfastCore
import HoldfastLedger
import HoldfastStore
import Testing

/// Every combination of what a batch can meet, against what must then be stored.
extension StoreConformance {
    private enum Sessions: CaseIterable {
        case none, open, closed, unknown, openAndClosed
    }

    private enum Puts: CaseIterable {
        case none, fresh, conflicting, both
    }

    private struct Shape {
        var reporting: Sessions
        var closing: Sessions
        var puts: Puts
        var hasRest: Bool

        static var all: [Shape] {
            Sessions.allCases.flatMap { reporting in
                Sessions.allCases.flatMap { closing in
                    Puts.allCases.flatMap { puts in
                        [false, true].map { hasRest in
                            Shape(
                                reporting: reporting, closing: closing, puts: puts,
                                hasRest: hasRest)
                        }
                    }
                }
            }
        }
    }

    /// Everything that one round can see of a store.
    private struct Contents: Equatable {
        var accounts: [ScannedAccount]
        var sessions: [SessionRecord]
        var floor: UnixTime
        var generation: StoreGeneration
        var records: [OperatorRecord]

        init(_ store: any AccountStore, period: AccountSelection, after: SessionID) throws {
            accounts = try store.scan(period, limit: 9, after: nil)
            sessions = try store.sessions(.all, limit: 9, after: after)
            floor = try store.clockFloor()
            generation = try store.generation()
            records = try store.operatorRecords(limit: 999)
        }
    }

    private struct Round {
        var known: AccountKey
        var fresh: AccountKey
        /// Open, closed before, and closed by the batch.
        var open: SessionID
        var closed: SessionID
        var closing: SessionID
        var origin: SessionID
        var period: AccountSelection

        init(_ store: any AccountStore, index: Int) throws {
            let cap = "round\(index)"
            known = key(cap, ["known"])
            fresh = key(cap, ["fresh"])
            open = try store.openSession(edge: "open", at: UnixTime(1))
            closed = try store.openSession(edge: "closed", at: UnixTime(1))
            closing = try store.openSession(edge: "closing", at: UnixTime(1))
            origin = SessionID(open.rawValue - 1)
            period = .period(
                cap: cap, unit: known.unit, period: known.period, periodID: known.periodID)
            _ = try store.commit(
                StoreBatch(puts: [put(known, spent: 1)], closedSessions: [closed]))
        }

        func ids(_ sessions: Sessions, open: SessionID) -> [SessionID] {
            switch sessions {
            case .none: []
            case .open: [open]
            case .closed: [closed]
            case .unknown: [SessionID(closing.rawValue + 1)]
            case .openAndClosed: [open, closed]
            }
        }

        func puts(_ puts: Puts) -> [StoreBatch.Put] {
            let conflict = put(known, expected: 0, spent: 2)
            let write = put(fresh, expected: 0, spent: 3)
            switch puts {
            case .none: return []
            case .fresh: return [write, put(known, expected: 1, spent: 4)]
            case .conflicting: return [conflict]
            case .both: return [conflict, write]
            }
        }
    }

    func wholeBatches(_ first: any AccountStore, _ open: Opening) throws {
        first.close()
        for (index, shape) in Shape.all.enumerated() {
            // A new generation each time, so that there is one to be learned.
            let store = try open(true)
            let round = try Round(store, index: index)
            let batch = try self.batch(shape, round, store)
            let before = try Contents(store, period: round.period, after: round.origin)
            let (result, after) = expected(batch, shape, round, before)
            var found = try store.commit(batch)
            // Whatever became of the batch.
            #expect(found.clockFloor == after.floor, "\(shape)")
            found.clockFloor = result.clockFloor
            #expect(found == result, "\(shape)")
            store.close()
            let again = try open(false)
            defer { again.close() }
            let kept = try Contents(again, period: round.period, after: round.origin)
            #expect(kept == after, "\(shape)")
        }
    }

    private func batch(
        _ shape: Shape, _ round: Round, _ store: any AccountStore
    ) throws -> StoreBatch {
        var batch = StoreBatch(
            puts: round.puts(shape.puts),
            reporting: round.ids(shape.reporting, open: round.open),
            closedSessions: round.ids(shape.closing, open: round.closing))
        guard shape.hasRest else { return batch }
        batch.seenSessions = [round.open, round.closing]
        batch.clockFloor = UnixTime(try store.clockFloor().seconds + 10)
        batch.learnedGeneration = try store.generation().current
        batch.records = [
            OperatorRecord(
                action: .refund, at: UnixTime(3), account: round.known, session: round.closed,
                amount: Amount(7), reason: "\(shape)")
        ]
        return batch
    }

    /// By the rules of `StoreBatch`, told once more.
    private func expected(
        _ batch: StoreBatch, _ shape: Shape, _ round: Round, _ before: Contents
    ) -> (CommitResult, Contents) {
        let gone = batch.reporting.filter { $0 != round.open }
        guard gone.isEmpty else { return (CommitResult(closedSessions: gone), before) }
        let hasConflict = shape.puts == .conflicting || shape.puts == .both
        var result = CommitResult(conflicts: hasConflict ? [round.known] : [])
        guard !batch.isAllOrNothing || !hasConflict else { return (result, before) }
        var after = before
        let known = VersionedAccount(version: 1, account: account(spent: 1))
        let changed = VersionedAccount(version: 2, account: account(spent: 4))
        let fresh = VersionedAccount(version: 1, account: account(spent: 3))
        after.accounts = [ScannedAccount(key: round.known, stored: known)]
        if shape.puts == .fresh {
            after.accounts[0].stored = changed
            result.written = [.init(round.known, 2)]
        }
        if shape.puts == .fresh || shape.puts == .both {
            after.accounts.insert(ScannedAccount(key: round.fresh, stored: fresh), at: 0)
            result.written.insert(.init(round.fresh, 1), at: 0)
        }
        after.floor = max(before.floor, batch.clockFloor ?? before.floor)
        after.generation.learned = batch.learnedGeneration ?? before.generation.learned
        after.records = batch.records + before.records
        // In the order of `Round`: open, closed, closing.
        if shape.hasRest {
            after.sessions[0].seenAt = max(UnixTime(1), after.floor)
            after.sessions[2].seenAt = max(UnixTime(1), after.floor)
        }
        if shape.closing == .open || shape.closing == .openAndClosed {
            after.sessions[2].closedAt = after.floor
        }
        return (result, after)
    }
}
