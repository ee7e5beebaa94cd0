import Dispatch
import HoldfastCore
public import HoldfastLedger
import Synchronization

extension ShardedStore {
    public func commit(_ batch: StoreBatch) throws(StoreError) -> CommitResult {
        let parts = split(batch)
        // Whoever closes a session folds its accounts first, and is asked about it in the first
        // database: so that one is the last.
        let results =
            batch.isAllOrNothing || batch.learnedGeneration != nil
            ? inTurn(parts) : atOnce(parts)
        return try merged(results, of: batch, parts)
    }

    private struct Part {
        var index: Int
        var batch: StoreBatch
    }

    private typealias PartResult = Result<CommitResult, StoreError>

    /// What is not an account's concerns all databases, or the first. In the order of inTurn.
    private func split(_ batch: StoreBatch) -> [Part] {
        var parts = shards.indices.map { index in
            Part(
                index: index,
                batch: StoreBatch(
                    closedSessions: batch.closedSessions,
                    seenSessions: index == 0 ? batch.seenSessions : [],
                    learnedGeneration: learned(batch.learnedGeneration, at: index)))
        }
        for put in batch.puts { parts[index(of: put.key)].batch.puts.append(put) }
        for record in batch.records {
            parts[index(of: record.account)].batch.records.append(record)
        }
        let isHomeConcerned = batch.puts.isEmpty || isNews(batch.clockFloor)
        let concerned = parts.filter {
            $0.batch != StoreBatch() || $0.index == 0 && isHomeConcerned
        }
        return (concerned.filter { $0.index > 0 } + concerned.filter { $0.index == 0 }).map {
            var part = $0
            // Where nothing is written of what it said, a session that ends has been closed already,
            // perhaps: by this batch, before it conflicted in another database.
            let isSilent = part.batch.puts.isEmpty
            part.batch.reporting = batch.reporting.filter {
                !isSilent || !batch.closedSessions.contains($0)
            }
            part.batch.clockFloor = batch.clockFloor
            return part
        }
    }

    /// About once a second.
    private func isNews(_ floor: UnixTime?) -> Bool {
        guard let floor else { return false }
        return floors.withLock { floors in
            defer { floors.told = max(floors.told, floor) }
            return floors.told < floor
        }
    }

    private func learned(_ generation: UInt64?, at index: Int) -> UInt64? {
        guard let generation else { return nil }
        guard index > 0 else { return generation }
        return generations.withLock { $0[generation]?[index] }
    }

    /// Nothing is tried any more after the first that was not written.
    private func inTurn(_ parts: [Part]) -> [PartResult] {
        var results: [PartResult] = []
        for part in parts {
            let result = commit(part)
            results.append(result)
            guard case .success(let written) = result, written.conflicts.isEmpty,
                written.closedSessions.isEmpty
            else { break }
        }
        return results
    }

    private func atOnce(_ parts: [Part]) -> [PartResult] {
        guard parts.count > 1 else { return parts.map { commit($0) } }
        let results = Mutex<[Int: PartResult]>([:])
        DispatchQueue.concurrentPerform(iterations: parts.count) { number in
            let result = commit(parts[number])
            results.withLock { $0[number] = result }
        }
        return results.withLock { results in parts.indices.compactMap { results[$0] } }
    }

    private func commit(_ part: Part) -> PartResult {
        Result { () throws(StoreError) in
            let shard = shards[part.index]
            let result = try shard.commit(part.batch)
            guard part.index > 0, !result.closedSessions.isEmpty else { return result }
            // Issued while this database was away, perhaps: then it has not heard of them.
            var isIntroduced = false
            for id in result.closedSessions {
                guard let record = try home.session(id), record.closedAt == nil else { continue }
                try shard.keepSession(id, edge: record.edge, at: record.openedAt)
                // Another counter may have done it meanwhile.
                if try shard.session(id)?.closedAt == nil { isIntroduced = true }
            }
            return isIntroduced ? try shard.commit(part.batch) : result
        }
    }

    private func merged(
        _ results: [PartResult], of batch: StoreBatch, _ parts: [Part]
    ) throws(StoreError) -> CommitResult {
        var merged = CommitResult()
        var written: Set<AccountKey> = []
        var failure: StoreError?
        var isAnyWritten = false
        for result in results {
            switch result {
            case .success(let part):
                written.formUnion(part.written.map(\.key))
                merged.closedSessions += part.closedSessions.filter {
                    !merged.closedSessions.contains($0)
                }
                merged.clockFloor = max(merged.clockFloor, part.clockFloor)
                isAnyWritten = isAnyWritten || part.closedSessions.isEmpty
            case .failure(let error): failure = failure ?? error
            }
        }
        merged.clockFloor = floors.withLock { floors in
            floors.heard = max(floors.heard, merged.clockFloor)
            return floors.heard
        }
        if let failure {
            // Some is written and some is not: as with an interrupted commit, the store has to be
            // asked what it has.
            guard isAnyWritten, !failure.isUnknown else { throw failure }
            throw .interrupted("\(failure)")
        }
        let puts = CommitResult(batch.puts, isWritten: batch.puts.map { written.contains($0.key) })
        merged.written = puts.written
        // What was not tried is read and decided again, like a conflict.
        if merged.closedSessions.isEmpty { merged.conflicts = puts.conflicts }
        return merged
    }
}

extension StoreError {
    fileprivate var isUnknown: Bool {
        switch self {
        case .interrupted, .outcomeUnknown: true
        default: false
        }
    }
}
