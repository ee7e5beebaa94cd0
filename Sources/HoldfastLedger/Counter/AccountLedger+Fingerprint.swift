package import HoldfastCore

/// What tells two ledgers apart, for the exhaustive model: see `EdgeLedger+Fingerprint`.
extension AccountLedger {
    /// Marks the wish numbers of one session that this ledger compares others with.
    package func markWishNumbers(of session: SessionID, in mask: inout UInt64) {
        guard let line = line(of: session) else { return }
        mask.mark(line.wish?.number ?? 0)
        mask.mark(line.unmetWish)
    }

    /// `claimCount` is left out: it is only compared within one decision.
    ///
    /// - Parameter mask: the wish numbers in use of a session.
    package func encode(
        wishNumbers mask: (SessionID) -> UInt64, into bytes: inout [UInt8]
    ) {
        bytes.append(
            (isFrozen ? 1 : 0) | (isCentral ? 2 : 0) | (isRecallOfAllDue ? 4 : 0)
                | (recall != nil ? 8 : 0))
        bytes.append(base)
        bytes.append(typicalNeed)
        bytes.append(lastLimit)
        bytes.append(UInt8(recallEpoch))
        bytes.append(UInt8(lines.count))
        for line in lines {
            let mask = mask(line.session)
            bytes.append(UInt8(line.session.rawValue))
            for amount in [
                line.granted, line.released, line.spent, line.overrun, line.held, line.unlocked,
                line.idle,
            ] {
                bytes.append(amount)
            }
            bytes.append(line.wish, mask)
            bytes.append(mask.rank(of: line.unmetWish))
        }
        bytes.append(UInt8(queue.count))
        for session in queue { bytes.append(UInt8(session.rawValue)) }
        guard let recall else { return }
        bytes.append(UInt8(recall.epoch))
        bytes.append(UInt8(recall.session.rawValue))
        bytes.append(recall.need)
        bytes.append(UInt8(recall.waitingFor.count))
        for session in recall.waitingFor { bytes.append(UInt8(session.rawValue)) }
    }

    package var newestRecallEpoch: UInt64 { recallEpoch }
}
