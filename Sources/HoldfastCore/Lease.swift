/// One life of one edge process at the counter. Issued by the store, increasing, never reused, so a
/// late message of an older life can be told apart.
public struct SessionID: Hashable, Comparable, Sendable {
    public let rawValue: UInt64

    public init(_ rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// `number` counts the sessions of one generation of the store.
    public init(generation: UInt64, number: UInt32) {
        rawValue = generation << 32 | UInt64(number)
    }

    /// Of the store when it issued the session. A store that lost writes issues from a new one, so
    /// that no id comes twice.
    public var generation: UInt64 { rawValue >> 32 }

    public static func < (lhs: SessionID, rhs: SessionID) -> Bool { lhs.rawValue < rhs.rawValue }
}

/// What an edge would like to be granted on one account.
///
/// Not cumulative by nature, so it is a numbered register: the counter takes it only when its number
/// is newer, and both amounts are ceilings for the *total* granted, so that repeating it asks for
/// nothing more.
public struct LeaseWish: Hashable, Sendable {
    public var number: UInt64
    /// Total granted that the request waiting first needs; zero when none waits.
    public var need: Amount
    /// Total granted that would also serve those behind it and the next seconds.
    public var ceiling: Amount

    public init(number: UInt64, need: Amount, ceiling: Amount) {
        self.number = number
        self.need = need
        self.ceiling = ceiling
    }

    /// Nothing is wanted any more.
    public var isWithdrawal: Bool { need == .zero && ceiling == .zero }
}

/// What an edge says about one account of its session. `granted`, `released`, `spent` and `overrun`
/// are cumulative and never decrease, so repeating, reordering or losing reports changes nothing.
public struct LeaseReport: Hashable, Sendable {
    /// Echo of the most that the edge has seen granted: more than the counter knows proves that the
    /// store lost a write.
    public var granted: Amount
    public var released: Amount
    public var spent: Amount
    /// In open holds now, and kept for requests that wait for another account only. Informative.
    public var held: Amount
    /// Part of `spent` that no grant covered: actual costs above their holds, and accounts in
    /// observe mode.
    public var overrun: Amount
    public var wish: LeaseWish?
    /// The newest recall that this report answers; zero for none.
    public var recallEpoch: UInt64
    /// With a journal: the most that it lets `spent + held` become. Cumulative. Zero without one.
    /// A journal that says less than the counter has heard is an old copy, and refunds nothing.
    public var unlocked: Amount

    public init(
        granted: Amount = .zero, released: Amount = .zero, spent: Amount = .zero,
        held: Amount = .zero, overrun: Amount = .zero, wish: LeaseWish? = nil,
        recallEpoch: UInt64 = 0, unlocked: Amount = .zero
    ) {
        self.granted = granted
        self.released = released
        self.spent = spent
        self.held = held
        self.overrun = overrun
        self.wish = wish
        self.recallEpoch = recallEpoch
        self.unlocked = unlocked
    }
}

/// What the counter says about one account to one session: totals, never differences.
public struct LeaseGrant: Hashable, Sendable {
    public var granted: Amount
    /// As stored, for an edge that had forgotten the account.
    public var released: Amount
    public var spent: Amount
    /// Spent on the account by everyone.
    public var totalSpent: Amount
    /// In open holds of everyone, as last reported. Informative.
    public var totalHeld: Amount
    /// The most that can have been spent by everyone.
    public var exposure: Amount
    public var limit: Amount
    /// Budget is scarce: one request's need at a time, and what is not needed goes back at once.
    public var isCentral: Bool
    /// The store lost a write; nothing is granted until an operator has looked.
    public var isFrozen: Bool
    /// The period is over or the cap is gone: nothing more is granted here, settling goes on.
    public var isClosed: Bool
    /// The store may have lost writes: for a lease's lifetime the counter listens to what edges hold
    /// before it grants anything.
    public var isLearning: Bool
    /// The newest wish whose need cannot be met now although every reachable holder was asked.
    public var unmetWish: UInt64

    public init(
        granted: Amount, released: Amount = .zero, spent: Amount = .zero,
        totalSpent: Amount = .zero, totalHeld: Amount = .zero, exposure: Amount = .zero,
        limit: Amount, isCentral: Bool = false, isFrozen: Bool = false, isClosed: Bool = false,
        isLearning: Bool = false, unmetWish: UInt64 = 0
    ) {
        self.granted = granted
        self.released = released
        self.spent = spent
        self.totalSpent = totalSpent
        self.totalHeld = totalHeld
        self.exposure = exposure
        self.limit = limit
        self.isCentral = isCentral
        self.isFrozen = isFrozen
        self.isClosed = isClosed
        self.isLearning = isLearning
        self.unmetWish = unmetWish
    }
}
