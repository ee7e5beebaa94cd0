import HoldfastCore

/// What one batch gathers.
struct CounterBatch: Sendable {
    struct PendingFact: Sendable {
        var fact: AccountLedger.Fact
        /// Who said it.
        var connection: ConnectionID?
        /// What an operator asked for.
        var operation: UInt64?
        /// Has been refused; not applied again after a conflict.
        var isRefused = false
    }

    enum SessionCheck: Sendable {
        case hello(ConnectionID, EdgeFrame.Hello)
        /// The store does not know the session of such a hello: it lost its row.
        case adopt(ConnectionID, EdgeFrame.Hello, SessionID)
        case refund(operation: UInt64, SessionID, [AccountKey], reason: String)
    }

    struct Closing: Sendable {
        var connection: ConnectionID?
        /// What an operator asked for.
        var operation: UInt64?
        var session: SessionID
    }

    /// What a journal or an operator has done to an account.
    struct Deed: Sendable {
        var action: OperatorRecord.Action
        var operation: UInt64?
        var key: AccountKey
        var session: SessionID?
        /// What came free by it.
        var amount: Amount
    }

    /// One account: what was said of it, and what becomes of it.
    struct Account: Sendable {
        enum Progress: Sendable {
            /// Not decided yet, or not any more.
            case undecided
            case decided
            case written
        }

        let key: AccountKey
        var facts: [PendingFact] = []
        /// Told how the account stands, whatever is decided.
        var reporters: [SessionID] = []
        var progress = Progress.undecided
        /// Somebody else has written it, or may have.
        var mustReload = false

        // As decided last:

        var ledger: AccountLedger?
        var actions: [AccountLedger.Action] = []
        /// To be written, over this version; `nil`: nothing stored changes.
        var put: StoredAccount?
        var version: UInt64 = 0
        /// Whose reports have shown that the store lost a write.
        var alarming: [SessionID] = []

        mutating func decideAgain() {
            guard progress == .decided else { return }
            progress = .undecided
        }
    }

    /// Each once, in the order of their coming.
    private(set) var accounts: [Account] = []
    private var positions: [AccountKey: Int] = [:]
    var sessionChecks: [SessionCheck] = []
    var closings: [Closing] = []
    var deadSessions: [SessionID] = []
    var seen: [SessionID] = []
    var isSessionReviewDue = false
    var learnedGeneration: UInt64?
    var operations: [(id: UInt64, CounterEngine.Operation)] = []
    var operationFailures: [UInt64: String] = [:]

    // While it is decided and committed:

    var isDecided = false
    var attemptCount = 0
    var isCommitted = false
    /// A commit was interrupted: it may have been written.
    var isOutcomeDoubtful = false
    var deeds: [Deed] = []

    var isEmpty: Bool {
        accounts.isEmpty && closings.isEmpty && deadSessions.isEmpty && sessionChecks.isEmpty
            && seen.isEmpty && learnedGeneration == nil && operations.isEmpty
    }

    func position(of key: AccountKey) -> Int? { positions[key] }

    func concerns(_ key: AccountKey) -> Bool { positions[key] != nil }

    /// The account, which from now on belongs to the batch.
    subscript(_ key: AccountKey) -> Account {
        mutating get { accounts[take(key)] }
        _modify {
            let position = take(key)
            yield &accounts[position]
        }
    }

    subscript(_ position: Int) -> Account {
        _read { yield accounts[position] }
        _modify { yield &accounts[position] }
    }

    /// - Parameter reporter: told how the account stands.
    mutating func add(_ fact: PendingFact, to key: AccountKey, from reporter: SessionID?) {
        let position = take(key)
        accounts[position].facts.append(fact)
        if let reporter { accounts[position].reporters.append(reporter) }
    }

    private mutating func take(_ key: AccountKey) -> Int {
        if let known = positions[key] { return known }
        positions[key] = accounts.count
        accounts.append(Account(key: key))
        return accounts.count - 1
    }

    mutating func remove(_ key: AccountKey) {
        accounts.removeAll { $0.key == key }
        positions = [:]
        for (position, account) in accounts.enumerated() { positions[account.key] = position }
        deeds.removeAll { $0.key == key }
    }
}
