public import HoldfastCore

/// One counter node, without its sockets, clocks, threads and disk.
///
/// A shell hands it what has arrived as one batch. The engine parses it, asks the store for what it
/// does not have in memory, applies the facts to the accounts, decides, asks for a commit of every
/// account that has changed, and only then says whom to tell what. Everything between `begin` and
/// `.done` is one batch; what arrives meanwhile belongs to the next.
///
/// Any number of engines may serve the same accounts: what one has in memory may be old, so nothing
/// is told that was not compared with the store by a commit. See `docs/protocol.md`.
public struct CounterEngine: Sendable {
    /// Milliseconds, unless the name says something else.
    public struct Settings: Sendable {
        /// An edge that has heard nothing for so long admits nothing new.
        public var leaseTTL: UInt64 = 30_000
        /// Holders that have not answered a recall by now are taken for unreachable.
        public var recallPatience: UInt64 = 50
        /// Accounts that nobody has used for so long are read again from the store.
        public var cacheLifetime: UInt64 = 600_000
        /// What is in memory of an account is compared with the store again after so long: another
        /// counter may have written it. `UInt64.max` where this counter is the only one.
        public var cacheTrust: UInt64 = 2_000
        /// A connection that says nothing for so long is dead, and waits for nothing any more.
        public var silenceMax: UInt64 = 15_000
        /// Between two looks at the clock, the cache and the sessions that are connected.
        public var housekeepingInterval: UInt64 = 30_000
        /// A session that no counter has seen for so long is closed.
        public var deadAfterSeconds: Int64 = 86_400
        /// Of a cap's limit, in percent: the most that one session may hold unspent.
        public var slicePercentMax: UInt64 = 100
        /// Accounts that one connection may name. An edge that has met more is hung up on, and comes
        /// back with those that it still uses.
        public var accountsPerPeerMax = 1_000_000
        /// Edges' names are proved by certificates, so that a session is its edge's alone.
        public var isNameProof = false

        public init() {}
    }

    /// One connection and what it has told us.
    struct Peer {
        var edgeName = ""
        var session: SessionID?
        /// Has said hello and waits for the store.
        var isGreeting = false
        /// Has come to deliver the last report of its session.
        var isFinal = false
        var keys: [UInt32: AccountKey] = [:]
        var references: [AccountKey: UInt32] = [:]
        var heardAt: UInt64
    }

    struct CachedAccount {
        /// As committed, also while a batch is under way.
        var ledger: AccountLedger
        var version: UInt64
        var lastUse: UInt64
        /// The store had this version then.
        var comparedAt: UInt64
    }

    struct RecallDeadline {
        var at: UInt64
        var key: AccountKey
        var epoch: UInt64
    }

    struct Learning {
        var generation: UInt64
        var until: UInt64
    }

    /// Which answer of the store the batch waits for.
    enum Stage {
        case idle
        case generation
        case sessionCheck
        case unseenSessions
        case loading
        case committing
    }

    /// Conflicts mean that another counter wrote the account: its state is loaded, the facts are
    /// applied to it, and the decision made again. So many times before the edges have to ask anew.
    static let attemptCountMax = 5
    /// Sessions that are found dead in one go.
    static let deadSessionsPerRound = 1_000

    public let name: String
    let settings: Settings
    let pepper: [UInt8]

    var rules: CounterRules
    /// That the edges are told of; none where this counter is the only one.
    var counters: [CounterNode] = []
    var now: Moment
    /// The latest time that this counter has ever seen, in milliseconds: names periods, and never
    /// goes back.
    var clockFloor: Int64
    let started: UInt64
    var peers: [ConnectionID: Peer] = [:]
    var peerOfSession: [SessionID: ConnectionID] = [:]
    /// Ascending.
    var reachable: [SessionID] = []
    var recentlyLeft: [SessionID: UInt64] = [:]
    /// Connected, or until a moment ago; `nil` when that cannot be told yet.
    var living: Set<SessionID>?
    var accounts: [AccountKey: CachedAccount] = [:]
    /// The newest recall of accounts that were forgotten. Loaded again they go on above it: an edge
    /// that is still connected has answered the old ones.
    var recallEpochFloor: UInt64 = 0
    /// Ascending by time: all have the same patience.
    var recallDeadlines: [RecallDeadline] = []
    var generation: UInt64?
    /// The store has failed since it was last asked.
    var isGenerationDoubtful = true
    var learning: Learning?
    var isStoreFailing = false
    var nextHousekeeping: UInt64
    private var nextSilenceCheck: UInt64

    var stage = Stage.idle
    var batch = CounterBatch()
    var outputs: [Output] = []

    /// - Parameters:
    ///   - name: unique among the counters of a cluster; accounts are placed by it.
    ///   - clockFloor: what the store has recorded.
    public init(
        name: String, settings: Settings = Settings(), rules: CounterRules, pepper: [UInt8],
        clockFloor: UnixTime, at now: Moment
    ) {
        self.name = name
        self.settings = settings
        self.rules = rules
        self.pepper = pepper
        self.now = now
        self.clockFloor = max(clockFloor.seconds * 1_000, now.wall)
        started = now.elapsed
        nextHousekeeping = now.elapsed + settings.housekeepingInterval
        nextSilenceCheck = now.elapsed
    }

    // MARK: - Reading

    public var isIdle: Bool { stage == .idle }
    public var reachableSessions: [SessionID] { reachable }
    /// Connected here, or until a moment ago; `nil` when that cannot be told yet.
    public var livingSessions: Set<SessionID>? { living }
    public var isLearning: Bool { learning != nil }
    public var currentRules: CounterRules { rules }
    /// By the counter's clock, which never goes back.
    public var clock: UnixTime { UnixTime(clockFloor / 1_000) }

    /// The accounts in memory, as committed. In no order.
    /// `version`: of the store's row that it was read from or written to.
    public var cachedAccounts: [(key: AccountKey, ledger: AccountLedger, version: UInt64)] {
        accounts.map { ($0.key, $0.value.ledger, $0.value.version) }
    }

    public func cachedAccount(_ key: AccountKey) -> AccountLedger? { accounts[key]?.ledger }

    /// The account as a decision made now would see its surroundings.
    public func context(for key: AccountKey) -> AccountLedger.Context {
        let (limit, isOpen) = rules.standing(of: key, now: clock)
        // Not the limit itself: who waits for its own holds to settle would lose its place.
        let isBounded = settings.slicePercentMax < 100
        return AccountLedger.Context(
            limit: limit, isOpen: isOpen, reachable: reachable, living: living,
            isLearning: learning != nil,
            sliceMax: isBounded ? limit.percent(settings.slicePercentMax) : Amount(.max))
    }

    /// When `begin` should be called although nothing has arrived, by `Moment.elapsed`.
    public func nextWake(at now: Moment) -> UInt64 {
        var next = nextHousekeeping
        if !peers.isEmpty { next = min(next, nextSilenceCheck) }
        // Without a period that ends, the next one is further away than milliseconds can say.
        let (roll, isNever) = rules.nextRoll.seconds.multipliedReportingOverflow(by: 1_000)
        if !isNever {
            next = min(next, now.elapsed + UInt64(max(0, roll - max(clockFloor, now.wall))))
        }
        if let recall = recallDeadlines.first { next = min(next, recall.at) }
        if let learning { next = min(next, learning.until) }
        return max(next, now.elapsed)
    }

    // MARK: - Batches

    /// Takes what has arrived. Go on with `resume` until the step is `.done`.
    public mutating func begin(_ events: [Event], at now: Moment) -> Step {
        precondition(stage == .idle, "a batch is under way")
        passTime(to: now)
        for event in events { take(event) }
        return advance()
    }

    /// Goes on with the store's answer to what was asked last.
    public mutating func resume(_ answer: StoreAnswer, at now: Moment) -> Step {
        self.now = now
        let stage = self.stage
        self.stage = .idle
        if case .failed(let error) = answer {
            storeFailed(error, at: stage)
        } else {
            storeWorks()
            take(answer, at: stage)
        }
        return advance()
    }

    private mutating func take(_ event: Event) {
        switch event {
        case .connected(let id): peers[id] = Peer(heardAt: now.elapsed)
        case .frame(let id, let frame):
            peers[id]?.heardAt = now.elapsed
            take(frame, from: id)
        case .disconnected(let id): disconnect(id)
        case .rules(let rules): adopt(rules)
        case .counters(let nodes): adopt(nodes)
        case .operation(let id, let operation): take(operation, id)
        }
    }

    private mutating func take(_ answer: StoreAnswer, at stage: Stage) {
        switch (stage, answer) {
        case (.generation, .generation(let generation)): take(generation)
        case (.sessionCheck, _): checkSession(answer)
        case (.unseenSessions, .sessions(let records)): closeDead(records)
        case (.loading, .loaded(let result)): take(result)
        case (.committing, .committed(let result)): committed(result)
        default: preconditionFailure("the store's answer is not to what was asked")
        }
    }

    /// The next question to the store, or the end of the batch.
    private mutating func advance() -> Step {
        if let (stage, request) = nextRequest() {
            self.stage = stage
            return .ask(request)
        }
        defer { outputs = [] }
        return .done(outputs)
    }

    private mutating func nextRequest() -> (Stage, StoreRequest)? {
        if isGenerationDoubtful, !batch.isEmpty { return (.generation, .generation) }
        if let request = nextSessionRequest() { return (.sessionCheck, request) }
        if batch.isSessionReviewDue {
            let since = clock.seconds - settings.deadAfterSeconds
            return (.unseenSessions, .sessionsUnseen(since: UnixTime(since)))
        }
        while !batch.isEmpty {
            let missing = batch.accounts.filter { needsLoad($0) }.map(\.key)
            if !missing.isEmpty { return (.loading, .load(missing)) }
            decideBatch()
            if let commit = nextCommit() { return (.committing, .commit(commit)) }
            finishBatch()
        }
        // All that was in it may have been set aside.
        batch = CounterBatch()
        return nil
    }

    // MARK: - Time

    private mutating func passTime(to now: Moment) {
        self.now = now
        clockFloor = max(clockFloor, now.wall)
        updateLiving()
        if let learning, learning.until <= now.elapsed { endLearning(learning) }
        expireRecalls()
        if rules.roll(to: clock) { announceWindows() }
        if nextSilenceCheck <= now.elapsed { hangUpOnSilent() }
        if nextHousekeeping <= now.elapsed { keepHouse() }
    }

    /// An edge pings. One that does not is gone, or cannot be heard: a wish of it must not be met.
    private mutating func hangUpOnSilent() {
        nextSilenceCheck = now.elapsed + settings.silenceMax / 3
        let silent = peers.filter { now.elapsed - $0.value.heardAt >= settings.silenceMax }
        for id in silent.keys.sorted() {
            reject(id, .unavailable, "nothing was heard for \(settings.silenceMax / 1_000) s")
        }
    }

    /// Right after its start the counter cannot tell lost edges from those about to come back.
    mutating func updateLiving() {
        if !recentlyLeft.isEmpty {
            recentlyLeft = recentlyLeft.filter { now.elapsed - $0.value < settings.leaseTTL }
        }
        let canTell = now.elapsed - started > settings.leaseTTL && learning == nil
        living = canTell ? Set(reachable).union(recentlyLeft.keys) : nil
    }

    private mutating func expireRecalls() {
        while let first = recallDeadlines.first, first.at <= now.elapsed {
            recallDeadlines.removeFirst()
            guard accounts[first.key]?.ledger.openRecallEpoch == first.epoch else { continue }
            outputs.append(.notice(.recallTimedOut(first.key)))
            add(.recallTimedOut(epoch: first.epoch), to: first.key)
        }
    }

    private mutating func announceWindows() {
        let frame = CounterFrame.windows(rules.policyWindows(at: clockFloor))
        for id in welcomedPeers { outputs.append(.send(id, frame)) }
        tellEveryone { $0.isWaitedFor }
    }

    /// Everybody with a line in such an account is told how it stands.
    mutating func tellEveryone(where isConcerned: (AccountLedger) -> Bool) {
        for key in sortedAccountKeys {
            guard let ledger = accounts[key]?.ledger, isConcerned(ledger) else { continue }
            batch.add(listeners: ledger.sessions, to: key)
        }
    }

    private mutating func keepHouse() {
        nextHousekeeping = now.elapsed + settings.housekeepingInterval
        if clockFloor - now.wall > 60_000 {
            outputs.append(.notice(.clockBehind(seconds: (clockFloor - now.wall) / 1_000)))
        }
        for (key, account) in accounts {
            let isNeeded =
                now.elapsed - account.lastUse < settings.cacheLifetime || batch.concerns(key)
                || account.ledger.isWaitedFor
                || account.ledger.lines.contains { $0.held > .zero && isConnected($0.session) }
            if !isNeeded { forget(key) }
        }
        batch.seen = reachable
        batch.isSessionReviewDue = learning == nil
    }

    /// It is read again from the store when it is next needed.
    mutating func forget(_ key: AccountKey) {
        guard let account = accounts.removeValue(forKey: key) else { return }
        recallEpochFloor = max(recallEpochFloor, account.ledger.recallEpoch)
    }

    /// In an order that does not depend on hashes.
    var sortedAccountKeys: [AccountKey] {
        accounts.keys.sorted { $0.text < $1.text }
    }

    var welcomedPeers: [ConnectionID] {
        peers.filter { $0.value.session != nil }.keys.sorted()
    }
}
