import HoldfastCore

/// What one batch gathers.
///
/// Thousands of accounts, most with one fact and one answer: facts and actions are in one array each,
/// because a small array of its own for every account is half of a batch's time.
struct CounterBatch: Sendable {
    struct PendingFact: Sendable {
        var fact: AccountLedger.Fact
        /// Told how the account stands, whatever is decided.
        var reporter: SessionID?
        /// Who said it.
        var connection: ConnectionID?
        /// What an operator asked for.
        var operation: UInt64?
        /// Refused, withdrawn, or of a session that is closed: not applied (again after a conflict).
        var isDropped = false
        /// Of the same account.
        fileprivate(set) var next: Int?
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
        /// Positions in `facts`.
        fileprivate(set) var firstFact: Int?
        fileprivate var lastFact: Int?
        /// Others who are told how the account stands, whatever is decided.
        var listeners: [SessionID] = []
        var progress = Progress.undecided
        /// Somebody else has written it, or may have.
        var mustReload = false

        // As decided last:

        var ledger: AccountLedger?
        /// Positions in `actions`.
        var actions = 0..<0
        /// To be written, over this version; `nil`: nothing stored changes.
        var put: StoredAccount?
        var version: UInt64 = 0
        /// Whose reports have shown that the store lost a write.
        var alarming: [SessionID] = []
    }

    /// Each once, in the order of their coming.
    private(set) var accounts: [Account] = []
    private var positions: [AccountKey: Int] = [:]
    /// Linked by account, in the order of their coming.
    var facts: [PendingFact] = []
    /// Of all decisions; each account knows which are its newest.
    var actions: [AccountLedger.Action] = []
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

    subscript(_ position: Int) -> Account {
        _read { yield accounts[position] }
        _modify { yield &accounts[position] }
    }

    mutating func add(listeners: [SessionID], to key: AccountKey) {
        accounts[take(key)].listeners += listeners
    }

    mutating func add(_ fact: PendingFact, to key: AccountKey) {
        let position = take(key)
        if let last = accounts[position].lastFact {
            facts[last].next = facts.count
        } else {
            accounts[position].firstFact = facts.count
        }
        accounts[position].lastFact = facts.count
        facts.append(fact)
    }

    /// Told how the account stands, whatever is decided: first those who have reported.
    func reporters(_ position: Int) -> [SessionID] {
        var reporters: [SessionID] = []
        var next = accounts[position].firstFact
        while let index = next {
            if let reporter = facts[index].reporter { reporters.append(reporter) }
            next = facts[index].next
        }
        if !accounts[position].listeners.isEmpty { reporters += accounts[position].listeners }
        return reporters
    }

    /// From now on the batch goes on without what these sessions have said.
    mutating func leaveOut(_ sessions: [SessionID]) {
        for index in facts.indices {
            if case .report(let session, _) = facts[index].fact, sessions.contains(session) {
                facts[index].isDropped = true
            }
            if let reporter = facts[index].reporter, sessions.contains(reporter) {
                facts[index].reporter = nil
            }
        }
        for position in accounts.indices {
            accounts[position].listeners.removeAll { sessions.contains($0) }
        }
        decideAgain()
    }

    mutating func withdraw(operation: UInt64) {
        closings.removeAll { $0.operation == operation }
        for index in facts.indices where facts[index].operation == operation {
            facts[index].isDropped = true
        }
        // Some may have been decided with it.
        decideAgain()
    }

    private mutating func decideAgain() {
        for position in accounts.indices where accounts[position].progress == .decided {
            accounts[position].progress = .undecided
        }
    }

    private mutating func take(_ key: AccountKey) -> Int {
        if let known = positions[key] { return known }
        positions[key] = accounts.count
        accounts.append(Account(key: key))
        return accounts.count - 1
    }

    mutating func remove(_ keys: Set<AccountKey>) {
        accounts.removeAll { keys.contains($0.key) }
        positions = [:]
        for (position, account) in accounts.enumerated() { positions[account.key] = position }
        deeds.removeAll { keys.contains($0.key) }
    }
}
