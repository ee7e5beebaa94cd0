public import HoldfastCore

/// What the journal should say before it happens: that an account's `spent + held` may become as much
/// as `unlocked`.
public struct JournalRecord: Equatable, Sendable {
    public let key: AccountKey
    public let unlocked: Amount
    /// Grows with every record of the ledger.
    public let sequence: UInt64

    public init(key: AccountKey, unlocked: Amount, sequence: UInt64) {
        self.key = key
        self.unlocked = unlocked
        self.sequence = sequence
    }
}

/// The journal of an edge: an upper bound, written ahead of use and in blocks, of what may be spent
/// or held on each account. After a crash all that was granted beyond it goes back. Nothing is held
/// before the disk has confirmed its record, so that a torn end of the journal loses only records
/// that nothing was done on.
extension EdgeLedger {
    struct JournalWrite: Sendable {
        let slot: SlotID
        let reference: UInt32
        let unlocked: Amount
        let sequence: UInt64
    }

    /// A block should last this long at the recent rate: 1 s.
    static let journalBlockTicks: UInt64 = 20

    /// Whether `takeJournalRecords` may have something.
    public var isJournalDue: Bool { !journalDue.isEmpty }

    /// What is to be written now, ascending by sequence. Say `journaled(upTo:)` when it is on disk.
    ///
    /// A request that `admit` finds short of the journal alone has to `wait`, like any other.
    public mutating func takeJournalRecords() -> [JournalRecord] {
        var records: [JournalRecord] = []
        for id in journalDue {
            let index = Int(id.rawValue)
            slots[index].isJournalDue = false
            guard let unlocked = slots[index].unlockWanted() else { continue }
            slots[index].unlockedAhead = unlocked
            let sequence = nextJournalSequence
            nextJournalSequence += 1
            journalWrites.append(
                JournalWrite(
                    slot: id, reference: slots[index].reference, unlocked: unlocked,
                    sequence: sequence))
            records.append(
                JournalRecord(key: slots[index].key, unlocked: unlocked, sequence: sequence))
        }
        journalDue.removeAll(keepingCapacity: true)
        return records
    }

    /// All records up to this one are on disk: what they say may be used.
    public mutating func journaled(upTo sequence: UInt64) -> [Wakeup] {
        var count = 0
        var isWaitedFor = false
        while count < journalWrites.count, journalWrites[count].sequence <= sequence {
            let write = journalWrites[count]
            count += 1
            // The account may have been forgotten meanwhile.
            guard references[write.reference] == write.slot else { continue }
            let index = Int(write.slot.rawValue)
            slots[index].unlocked = max(slots[index].unlocked, write.unlocked)
            if slots[index].waiterCount > 0 { isWaitedFor = true }
            // A counter that has heard of it takes no older copy of the journal.
            wake(write.slot)
            isUrgent = true
            watchJournal(write.slot)
        }
        journalWrites.removeFirst(count)
        return isWaitedFor ? serveLine() : []
    }

    /// The use of an account has changed: should the journal be written?
    mutating func watchJournal(_ id: SlotID) {
        let index = Int(id.rawValue)
        guard !slots[index].isJournalDue, slots[index].unlockWanted() != nil else { return }
        slots[index].isJournalDue = true
        journalDue.append(id)
    }
}

extension EdgeLedger.Slot {
    /// What the journal should say next; `nil` while half a block is left.
    /// Changes nothing, see `canPayNewcomer`.
    fileprivate mutating func unlockWanted() -> Amount? {
        let left = unlockedAhead.excess(over: used)
        let (perBlock, overflow) = rate.multipliedReportingOverflow(
            by: EdgeLedger.journalBlockTicks)
        let recent = Amount(overflow ? Limits.amountMax : perBlock)
        // Where nothing is enforced there is no slice; such an account is written after its use.
        let ahead = isEnforced ? min(available, recent) : recent
        let block = isEnforced ? max(waiting, ahead) : ahead
        let isShort = used > unlockedAhead || isEnforced && left < waiting
        guard isShort || left.rawValue < block.rawValue / 2 else { return nil }
        let wanted = min(used.saturatingAdd(block), Amount(Limits.amountMax))
        return wanted > unlockedAhead ? wanted : nil
    }
}
