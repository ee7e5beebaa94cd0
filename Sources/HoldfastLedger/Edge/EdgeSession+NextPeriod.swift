import HoldfastCore

/// Slices of the next period are asked for in the last seconds of the current one.
extension EdgeSession {
    /// When, before the end: spread over sessions and accounts, so that a reset is no herd.
    static let leadSeconds: ClosedRange<Int64> = 2...12

    static func leadSeconds(_ session: SessionID, _ account: UInt64) -> Int64 {
        let spread = UInt64(leadSeconds.upperBound - leadSeconds.lowerBound + 1)
        let hash = Placement.mix(account ^ Placement.mix(session.rawValue))
        return leadSeconds.lowerBound + Int64(hash % spread)
    }

    mutating func prepareNextPeriods(at counterNow: UnixTime?) {
        guard stage == .open, let id, let counterNow, counterNow != lookedAheadAt, let policy
        else { return }
        lookedAheadAt = counterNow
        var ending: [String: (cap: Cap, window: PeriodWindow, next: PeriodWindow)] = [:]
        for (cap, windows) in zip(policy.caps, policy.windows.caps) {
            guard let window = windows.first(where: { $0.contains(counterNow) }),
                window.endsAt.seconds - counterNow.seconds <= Self.leadSeconds.upperBound,
                let next = windows.first(where: { $0.startsAt == window.endsAt })
            else { continue }
            ending[cap.name] = (cap, window, next)
        }
        guard !ending.isEmpty else { return }
        for slot in ledger.busySlots {
            let (key, hash) = ledger.identity(of: slot)
            guard let (cap, window, next) = ending[key.cap], cap.unit == key.unit,
                cap.period == key.period, window.id == key.periodID
            else { continue }
            let seconds = window.endsAt.seconds - counterNow.seconds
            guard seconds <= Self.leadSeconds(id, hash) else { continue }
            let successor = AccountKey(
                cap: key.cap, unit: key.unit, period: key.period, periodID: next.id,
                values: key.values)
            ledger.prepare(
                successor, like: slot,
                startsInTicks: UInt64(seconds) * (1_000 / EdgeLedger.tickMilliseconds))
        }
    }
}

extension EdgeLedger {
    fileprivate func identity(of id: SlotID) -> (AccountKey, UInt64) {
        let slot = slots[Int(id.rawValue)]
        return (slot.key, slot.hash)
    }
}
