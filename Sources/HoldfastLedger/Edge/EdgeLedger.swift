public import HoldfastCore

/// All slices of one edge, the holds on them, and the requests that wait for more.
///
/// A request is admitted iff *granted − released − spent − held ≥ its ceiling* on every account it
/// touches, on all of them at once or on none. Slices shrink only by this ledger's own release.
///
/// Pure: the shell calls in with facts (requests, grants, recalls, ticks of a clock) and carries
/// out what comes back. One owner: the shell keeps it under one lock.
public struct EdgeLedger: Sendable {
    public struct SlotID: Hashable, Sendable {
        public let rawValue: UInt32
    }

    /// So much of one account, for one request.
    public struct Demand: Hashable, Sendable {
        public var slot: SlotID
        public var amount: Amount

        public init(slot: SlotID, amount: Amount) {
            self.slot = slot
            self.amount = amount
        }
    }

    /// An open hold. Carries a generation, so that settling twice is noticed.
    public struct HoldID: Hashable, Sendable {
        let index: Int
        let generation: UInt64
    }

    public struct WaiterID: Hashable, Sendable {
        public let rawValue: UInt64
    }

    public enum Admission: Equatable, Sendable {
        case held(HoldID)
        /// At least one slice is too small: ask the counter, or refuse.
        case short
        /// `Limits.holdCountMax` requests are in flight: backpressure, not a spend decision.
        case saturated
    }

    /// What became of a waiting request.
    public enum Wakeup: Equatable, Sendable {
        case held(WaiterID, HoldID)
        /// The counter has said that it cannot meet the need now. Look at `standing` and decide:
        /// a smaller ceiling, a refusal, or more patience. The request keeps its place meanwhile.
        case reconsider(WaiterID)
    }

    public enum SettleOutcome: Equatable, Sendable {
        case settled
        /// The request cost more than its hold on at least one account: by so much in the worst
        /// one.
        case overran(by: Amount)
        /// Settled before. Nothing was changed.
        case unknownHold
    }

    struct Hold: Sendable {
        var generation: UInt64
        var demands: [Demand]
        var isOpen: Bool
    }

    struct Waiter: Sendable {
        let id: WaiterID
        var demands: [Demand]
        /// Indices of `demands`, in the order in which all requests gather their accounts.
        let order: [Int]
    }

    var slots: [Slot] = []
    var slotIndex: [AccountKey: SlotID] = [:]
    var references: [UInt32: SlotID] = [:]
    var vacantSlots: [SlotID] = []
    /// Slots with something to report or to give back. Each at most once (`Slot.isAwake`).
    var awake: [SlotID] = []
    /// Slots that the counter should hear of before the next tick.
    var isUrgent = false

    private var holds: [Hold] = []
    private var vacantHolds: [Int] = []
    public private(set) var holdCount = 0
    /// Those who wait, in the order of their coming.
    var line: [Waiter] = []
    var nextWaiter: UInt64 = 1
    var nextReference: UInt32 = 1
    /// One sequence for all accounts: one that is forgotten and comes back goes on above the
    /// numbers that the counter knows from it.
    var nextWishNumber: UInt64 = 1
    var tickNumber: UInt64 = 0
    /// Accounts that are new here may be known to the counter.
    var hasForgotten = false
    /// Everything goes back and nothing is asked for any more.
    var isDraining = false

    /// The counters that are connected now.
    var placement = Placement()
    /// Reports that are due at counters that do not serve the account.
    var errands: [Errand] = []
    /// Ascending by tick.
    var retries: [Retry] = []

    let isJournaled: Bool
    /// Slots for which the journal may have to be written.
    var journalDue: [SlotID] = []
    /// What is being written, in this order.
    var journalWrites: [JournalWrite] = []
    var nextJournalSequence: UInt64 = 1

    /// - Parameter isJournaled: nothing is held beyond what a journal has confirmed: see
    ///   `takeJournalRecords`.
    public init(isJournaled: Bool = false) {
        self.isJournaled = isJournaled
    }

    public var waiterCount: Int { line.count }
    public var slotCount: Int { slotIndex.count }

    // MARK: - Admit

    /// Holds all demands, or none. A newcomer may not take what requests that wait already need.
    public mutating func admit(_ demands: [Demand]) -> Admission {
        guard holdCount < Limits.holdCountMax else { return .saturated }
        for demand in demands {
            guard slots[Int(demand.slot.rawValue)].canPayNewcomer(demand.amount)
            else { return .short }
        }
        if !line.isEmpty {
            for demand in demands {
                let index = Int(demand.slot.rawValue)
                slots[index].unkept = slots[index].unkept.excess(over: demand.amount)
                slots[index].unkeptUnlocked = slots[index].unkeptUnlocked
                    .excess(over: demand.amount)
            }
        }
        return .held(open(demands))
    }

    mutating func open(_ demands: [Demand]) -> HoldID {
        for demand in demands {
            slots[Int(demand.slot.rawValue)].hold(demand.amount, tick: tickNumber)
            wake(demand.slot)
        }
        if isJournaled { for demand in demands { watchJournal(demand.slot) } }
        holdCount += 1
        if let index = vacantHolds.popLast() {
            holds[index].demands = demands
            holds[index].isOpen = true
            return HoldID(index: index, generation: holds[index].generation)
        }
        holds.append(Hold(generation: 0, demands: demands, isOpen: true))
        return HoldID(index: holds.count - 1, generation: 0)
    }

    // MARK: - Settle

    /// Replaces a hold by what the request really cost: one amount per demand, in their order.
    /// Returns what the money that came free has done for those who wait.
    public mutating func settle(
        _ id: HoldID, actual: [Amount]
    ) -> (outcome: SettleOutcome, wakeups: [Wakeup]) {
        guard id.index < holds.count, holds[id.index].isOpen,
            holds[id.index].generation == id.generation
        else { return (.unknownHold, []) }
        let demands = holds[id.index].demands
        precondition(actual.count == demands.count, "one actual cost per demand")
        holds[id.index].isOpen = false
        holds[id.index].generation += 1
        holds[id.index].demands = []
        vacantHolds.append(id.index)
        holdCount -= 1

        var worst = Amount.zero
        var isWaitedFor = false
        for (demand, cost) in zip(demands, actual) {
            let index = Int(demand.slot.rawValue)
            slots[index].settle(held: demand.amount, actual: cost)
            worst = max(worst, cost.excess(over: demand.amount))
            wake(demand.slot)
            if slots[index].isCentral { isUrgent = true }
            if slots[index].waiterCount > 0 { isWaitedFor = true }
        }
        if isJournaled { for demand in demands { watchJournal(demand.slot) } }
        let wakeups = isWaitedFor ? serveLine() : []
        return (worst > .zero ? .overran(by: worst) : .settled, wakeups)
    }

    // MARK: - Slots

    /// The slot of an account; made when the account is new here. It can pay nothing until the
    /// counter has answered.
    public mutating func slot(for key: AccountKey, isEnforced: Bool) -> SlotID {
        if let id = slotIndex[key] {
            slots[Int(id.rawValue)].isEnforced = isEnforced
            return id
        }
        let id: SlotID
        var slot = Slot(
            key: key, reference: nextReference, isEnforced: isEnforced,
            mayBeStored: hasForgotten, isJournaled: isJournaled, tick: tickNumber)
        slot.route = placement.link(for: slot.hash)
        nextReference += 1
        if let vacant = vacantSlots.popLast() {
            id = vacant
            slots[Int(id.rawValue)] = slot
        } else {
            id = SlotID(rawValue: UInt32(slots.count))
            slots.append(slot)
        }
        slotIndex[key] = id
        references[slot.reference] = id
        return id
    }

    /// `slot(for:isEnforced:)` for an account that has been met; `nil` for a new one.
    public mutating func knownSlot(for key: AccountKey, isEnforced: Bool) -> SlotID? {
        guard let id = slotIndex[key] else { return nil }
        slots[Int(id.rawValue)].isEnforced = isEnforced
        return id
    }

    public func existingSlot(for key: AccountKey) -> SlotID? { slotIndex[key] }

    /// The account has something new to report.
    mutating func wake(_ slot: SlotID) {
        if slots[Int(slot.rawValue)].wake() { awake.append(slot) }
    }

    /// The account is looked at with every tick until it needs no attention.
    mutating func attend(_ slot: SlotID) {
        let index = Int(slot.rawValue)
        guard !slots[index].isAwake else { return }
        slots[index].isAwake = true
        awake.append(slot)
    }
}
