public import HoldfastCore

/// All slices of one edge, the holds on them, and the requests that wait for more.
///
/// A request is admitted iff *granted − released − spent − held ≥ its ceiling* on every account it
/// touches, on all of them at once or on none. Slices shrink only by this ledger's own release.
///
/// Pure: the shell calls in with facts (requests, grants, recalls, ticks of a clock) and carries out
/// what comes back. One owner: the shell keeps it under one lock.
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
        /// The request cost more than its hold on at least one account: by so much in the worst one.
        case overran(by: Amount)
        /// Settled before. Nothing was changed.
        case unknownHold
    }

    struct Hold: Sendable {
        var generation: UInt64 = 0
        var demands: [Demand] = []
        var isOpen = false
    }

    struct Waiter: Sendable {
        var demands: [Demand]
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
    var waiters: [WaiterID: Waiter] = [:]
    private var nextWaiter: UInt64 = 1
    var nextReference: UInt32 = 1
    var tickNumber: UInt64 = 0

    public init() {}

    public var waiterCount: Int { waiters.count }
    public var slotCount: Int { slotIndex.count }

    // MARK: - Admit

    /// Holds all demands, or none. A newcomer may not take what requests that wait already need.
    public mutating func admit(_ demands: [Demand]) -> Admission {
        guard holdCount < Limits.holdCountMax else { return .saturated }
        for demand in demands {
            let slot = slots[Int(demand.slot.rawValue)]
            guard slot.canPay(demand.amount.saturatingAdd(slot.waiting)) else { return .short }
        }
        return .held(open(demands))
    }

    private mutating func open(_ demands: [Demand]) -> HoldID {
        for demand in demands {
            let index = Int(demand.slot.rawValue)
            slots[index].held += demand.amount
            slots[index].admittedThisTick = slots[index].admittedThisTick
                .saturatingAdd(demand.amount)
            slots[index].lastUseTick = tickNumber
            wake(demand.slot)
        }
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
        for (demand, cost) in zip(demands, actual) {
            let index = Int(demand.slot.rawValue)
            slots[index].settle(held: demand.amount, actual: cost)
            worst = max(worst, cost.excess(over: demand.amount))
            wake(demand.slot)
            if slots[index].isCentral { isUrgent = true }
        }
        let wakeups = serveWaiters(on: demands.map(\.slot))
        return (worst > .zero ? .overran(by: worst) : .settled, wakeups)
    }

    // MARK: - Wait

    /// Queues a request that `admit` found short. `nil` when too many wait already.
    public mutating func wait(for demands: [Demand]) -> WaiterID? {
        guard waiters.count < Limits.waiterCountMax else { return nil }
        let id = WaiterID(rawValue: nextWaiter)
        nextWaiter += 1
        waiters[id] = Waiter(demands: demands)
        for demand in demands {
            let index = Int(demand.slot.rawValue)
            slots[index].waiters.append(id)
            slots[index].waiting = slots[index].waiting.saturatingAdd(demand.amount)
            slots[index].lastUseTick = tickNumber
            wake(demand.slot)
        }
        isUrgent = true
        return id
    }

    /// The same request for less, at the same place in the queue. The demands name the same slots.
    public mutating func reduce(_ id: WaiterID, to demands: [Demand]) -> [Wakeup] {
        guard let waiter = waiters[id] else { return [] }
        precondition(
            waiter.demands.map(\.slot) == demands.map(\.slot), "a waiter keeps its accounts")
        for (old, new) in zip(waiter.demands, demands) {
            let index = Int(old.slot.rawValue)
            slots[index].waiting = slots[index].waiting.excess(over: old.amount)
                .saturatingAdd(new.amount)
        }
        waiters[id] = Waiter(demands: demands)
        isUrgent = true
        return serveWaiters(on: demands.map(\.slot))
    }

    /// The request no longer waits: refused, timed out, or its caller is gone. What it leaves behind
    /// may serve those after it.
    public mutating func withdraw(_ id: WaiterID) -> [Wakeup] {
        guard let demands = remove(id) else { return [] }
        isUrgent = true
        return serveWaiters(on: demands.map(\.slot))
    }

    private mutating func remove(_ id: WaiterID) -> [Demand]? {
        guard let waiter = waiters.removeValue(forKey: id) else { return nil }
        for demand in waiter.demands {
            let index = Int(demand.slot.rawValue)
            slots[index].waiters.removeAll { $0 == id }
            slots[index].waiting = slots[index].waiting.excess(over: demand.amount)
            wake(demand.slot)
        }
        return waiter.demands
    }

    /// First come first served on each account: a request that cannot be served keeps what it still
    /// lacks from those behind it.
    mutating func serveWaiters(on touched: [SlotID]) -> [Wakeup] {
        var wakeups: [Wakeup] = []
        for slot in touched where !slots[Int(slot.rawValue)].waiters.isEmpty {
            var kept = Amount.zero
            for id in slots[Int(slot.rawValue)].waiters {
                guard let demands = waiters[id]?.demands,
                    let here = demands.first(where: { $0.slot == slot })
                else { continue }
                let payable = demands.allSatisfy { demand in
                    let taken = demand.slot == slot ? kept : .zero
                    return slots[Int(demand.slot.rawValue)].canPay(
                        demand.amount.saturatingAdd(taken))
                }
                if payable && holdCount < Limits.holdCountMax {
                    _ = remove(id)
                    wakeups.append(.held(id, open(demands)))
                } else {
                    kept = kept.saturatingAdd(here.amount)
                }
            }
        }
        return wakeups
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
        let slot = Slot(
            key: key, reference: nextReference, isEnforced: isEnforced, tick: tickNumber)
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

    public func existingSlot(for key: AccountKey) -> SlotID? { slotIndex[key] }

    mutating func wake(_ slot: SlotID) {
        let index = Int(slot.rawValue)
        slots[index].isDirty = true
        guard !slots[index].isAwake else { return }
        slots[index].isAwake = true
        awake.append(slot)
    }
}
