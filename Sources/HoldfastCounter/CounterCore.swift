import Foundation
import HoldfastAdmin
import HoldfastCore
import HoldfastLedger
package import HoldfastStore
import HoldfastTransport
import HoldfastWire
package import Logging
import Synchronization

/// The counter's one thread: takes what has arrived, applies it to the accounts in memory, commits
/// every touched account in one transaction, and only then answers.
///
/// While a commit is under way the next batch gathers in the mailbox, so that under load one
/// `fsync` pays for many reports. Everything below `loop` runs on this thread alone.
package final class CounterCore: @unchecked Sendable {
    // Proof of Sendable: every stored `var` is touched only below `loop`, which runs on the one thread
    // that `start` makes; what other threads call posts to the mailbox or takes the lock of `trouble`.

    enum Work: Sendable {
        case connected(LeaseConnection)
        case frame(connection: UInt64, EdgeFrame)
        case disconnected(connection: UInt64)
        case policy(CounterPolicy)
        case inspect(limit: Int, @Sendable (Result<[AccountView], StoreError>) -> Void)
        case stop(@Sendable () -> Void)
    }

    /// One connection and what it has told us.
    struct Peer {
        let connection: LeaseConnection
        var edgeName = ""
        var session: SessionID?
        var keys: [UInt32: AccountKey] = [:]
        var references: [AccountKey: UInt32] = [:]
    }

    struct CachedAccount {
        var ledger: AccountLedger
        var version: UInt64
        /// What the store has under that version.
        var committed: StoredAccount
        var lastUse: ContinuousClock.Instant
    }

    /// What one pass over the mailbox has gathered.
    struct Batch {
        var touched: [AccountKey] = []
        var touchedSet: Set<AccountKey> = []
        var reports: [AccountKey: [(SessionID, LeaseReport)]] = [:]
        var reporters: [AccountKey: [SessionID]] = [:]
        var recallAll: Set<AccountKey> = []
        var closing: [(connection: UInt64, session: SessionID)] = []
        var closingAccounts: [AccountKey: [SessionID]] = [:]
    }

    /// An edge that has heard nothing for so long admits nothing new.
    static let leaseTTLMilliseconds: UInt32 = 30_000
    /// An edge that has been away for so long counts as lost, until it comes back.
    static let leaseTTL = Duration.milliseconds(Int64(leaseTTLMilliseconds))
    /// Holders that have not answered a recall by now are taken for unreachable.
    static let recallPatience = Duration.milliseconds(50)
    /// Accounts of the next period may be asked for so long before it starts.
    static let nextPeriodGraceSeconds: Int64 = 5
    static let cacheLifetime = Duration.seconds(600)

    let store: any AccountStore
    let logger: Logger
    let metrics: CounterMetrics
    let mailbox = Mailbox<Work>()
    private let onFatal: @Sendable (StoreError) -> Void
    private let trouble = Mutex<String?>(nil)
    let pepper: [UInt8]

    var clock: CounterClock
    var rules: CounterRules
    var peers: [UInt64: Peer] = [:]
    var peerOfSession: [SessionID: UInt64] = [:]
    /// Ascending.
    var reachable: [SessionID] = []
    var recentlyLeft: [SessionID: ContinuousClock.Instant] = [:]
    /// Connected, or until a moment ago; `nil` when that cannot be told yet.
    private var living: Set<SessionID>?
    private let started = ContinuousClock.now
    var accounts: [AccountKey: CachedAccount] = [:]
    var recallDeadlines: [(at: ContinuousClock.Instant, key: AccountKey, epoch: UInt64)] = []
    var batch = Batch()
    private var isStopped = false
    private var lastHousekeeping = ContinuousClock.now

    /// Opens what the counter needs from the store.
    ///
    /// - Parameter onFatal: the store's state is not known any more; the process must end.
    package init(
        store: any AccountStore, policy: CounterPolicy, metrics: CounterMetrics, logger: Logger,
        wall: @escaping @Sendable () -> Int64 = CounterClock.systemMilliseconds,
        onFatal: @escaping @Sendable (StoreError) -> Void
    ) throws(StoreError) {
        self.store = store
        self.logger = logger
        self.metrics = metrics
        self.onFatal = onFatal
        pepper = try store.secret(named: "key-pepper") {
            var generator = SystemRandomNumberGenerator()
            return (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        }
        var clock = CounterClock(floor: try store.clockFloor(), wall: wall)
        rules = CounterRules(
            policy: policy, version: UInt64(clock.nowMilliseconds()), pepper: pepper,
            now: clock.now())
        self.clock = clock
    }

    package func start() {
        let thread = Thread { self.loop() }
        thread.name = "holdfast-counter"
        thread.start()
    }

    /// Why the counter should not get traffic; `nil` when it may.
    package var unreadyReason: String? { trouble.withLock { $0 } }

    package func replacePolicy(_ policy: CounterPolicy) { mailbox.post(.policy(policy)) }

    /// The accounts of open periods, most spent first.
    package func accountViews(limit: Int) async -> Result<[AccountView], StoreError> {
        await withCheckedContinuation { continuation in
            let posted = mailbox.post(.inspect(limit: limit) { continuation.resume(returning: $0) })
            if !posted {
                continuation.resume(
                    returning: .failure(.unavailable("the counter is stopping")))
            }
        }
    }

    /// Answers what has arrived, then ends the thread.
    package func stop() async {
        await withCheckedContinuation { continuation in
            if !mailbox.post(.stop { continuation.resume() }) { continuation.resume() }
        }
    }

    // MARK: - Loop

    private func loop() {
        while !isStopped {
            let items = mailbox.takeAll(timeoutMilliseconds: nextTimeoutMilliseconds())
            var farewells: [@Sendable () -> Void] = []
            for item in items {
                if case .stop(let done) = item {
                    isStopped = true
                    farewells.append(done)
                } else {
                    handle(item)
                }
            }
            updateLiving()
            expireRecalls()
            housekeeping()
            finishBatch()
            if isStopped {
                mailbox.close()
                for peer in peers.values { peer.connection.close() }
                store.close()
            }
            for farewell in farewells { farewell() }
        }
    }

    private func nextTimeoutMilliseconds() -> Int {
        guard let next = recallDeadlines.first?.at else { return 1_000 }
        let wait = ContinuousClock.now.duration(to: next)
        return max(1, min(1_000, Int(wait / .milliseconds(1)) + 1))
    }

    private func handle(_ item: Work) {
        switch item {
        case .connected(let connection): peers[connection.id] = Peer(connection: connection)
        case .frame(let id, let frame): handle(frame, from: id)
        case .disconnected(let id): disconnect(id)
        case .policy(let policy): adopt(policy)
        case .inspect(let limit, let answer): answer(views(limit: limit))
        case .stop: break
        }
    }

    // MARK: - Accounts

    /// From memory, or from the store. Throws when the stored value cannot be trusted.
    func account(_ key: AccountKey) throws(StoreError) -> CachedAccount {
        if let cached = accounts[key] { return cached }
        let loaded = try store.load([key])[key]
        let stored = loaded?.account ?? StoredAccount(base: .zero, isFrozen: false, lines: [])
        let cached = CachedAccount(
            ledger: AccountLedger(stored), version: loaded?.version ?? 0, committed: stored,
            lastUse: .now)
        accounts[key] = cached
        return cached
    }

    func touch(_ key: AccountKey) {
        if batch.touchedSet.insert(key).inserted { batch.touched.append(key) }
    }

    func context(for key: AccountKey) -> AccountLedger.Context {
        let (limit, isOpen) = rules.standing(of: key, now: clock.now())
        return AccountLedger.Context(
            limit: limit, isOpen: isOpen, reachable: reachable, living: living)
    }

    /// Right after its start the counter cannot tell lost edges from those about to come back.
    private func updateLiving() {
        recentlyLeft = recentlyLeft.filter { $0.value.duration(to: .now) < Self.leaseTTL }
        let canTell = started.duration(to: .now) > Self.leaseTTL
        living = canTell ? Set(reachable).union(recentlyLeft.keys) : nil
    }

    // MARK: - Time

    private func expireRecalls() {
        let now = ContinuousClock.now
        while let first = recallDeadlines.first, first.at <= now {
            recallDeadlines.removeFirst()
            guard accounts[first.key]?.ledger.openRecallEpoch == first.epoch else { continue }
            accounts[first.key]?.ledger.recallTimedOut(epoch: first.epoch)
            metrics.recallTimeouts.increment()
            touch(first.key)
        }
    }

    private func housekeeping() {
        let now = clock.now()
        if rules.roll(to: now) {
            let frame = CounterFrame.windows(rules.windows(at: clock.nowMilliseconds()))
            for peer in peers.values where peer.session != nil { peer.connection.send(frame) }
            // Who waits in a period that is over is told so, and can ask again in the new one.
            for (key, account) in accounts where account.ledger.isWaitedFor {
                touch(key)
                batch.reporters[key, default: []] += account.ledger.sessions
            }
        }
        guard lastHousekeeping.duration(to: .now) > .seconds(30) else { return }
        lastHousekeeping = .now
        let lag = clock.lagSeconds()
        if lag > 60 {
            logger.error(
                "the system clock is behind where this counter has been; periods follow the later",
                metadata: ["seconds": "\(lag)"])
        }
        // Also accounts that some connection has a reference to: the next report loads them again, and
        // those of past periods would stay for ever. What the store does not have must stay.
        accounts = accounts.filter { key, account in
            account.lastUse.duration(to: .now) < Self.cacheLifetime
                || batch.touchedSet.contains(key)
                || account.ledger.isWaitedFor || account.ledger.totalHeld > .zero
        }
    }

    // MARK: - Trouble

    func succeeded() { trouble.withLock { $0 = nil } }

    func failed(_ error: StoreError) {
        logger.critical("the store failed", metadata: ["error": "\(error)"])
        metrics.storeFailures.increment()
        trouble.withLock { $0 = "store: \(error)" }
        if case .outcomeUnknown = error { onFatal(error) }
    }
}
