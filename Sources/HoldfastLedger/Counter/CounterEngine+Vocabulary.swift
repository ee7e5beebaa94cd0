public import HoldfastCore

/// One connection of an edge to this counter. Never used again for another one.
public struct ConnectionID: Hashable, Comparable, Sendable {
    public let rawValue: UInt64

    public init(_ rawValue: UInt64) {
        self.rawValue = rawValue
    }

    public static func < (lhs: ConnectionID, rhs: ConnectionID) -> Bool {
        lhs.rawValue < rhs.rawValue
    }
}

extension CounterEngine {
    /// What a shell's clocks show.
    public struct Moment: Sendable, Equatable {
        /// Milliseconds of a clock that never goes back and also counts while the machine is
        /// suspended. For waits and lifetimes.
        public var elapsed: UInt64
        /// Milliseconds since 1970 by the wall clock, which may step. Only for naming periods.
        public var wall: Int64

        public init(elapsed: UInt64, wall: Int64) {
            self.elapsed = elapsed
            self.wall = wall
        }
    }

    public enum Event: Sendable {
        case connected(ConnectionID)
        case frame(ConnectionID, EdgeFrame)
        case disconnected(ConnectionID)
        case rules(CounterRules)
        /// The counters that the store has heard of lately.
        case counters([CounterNode])
        case operation(UInt64, Operation)
    }

    /// What an operator asks for.
    public enum Operation: Sendable, Equatable {
        /// A frozen account shall grant again.
        case unfreeze(AccountKey, reason: String)
        /// A dead session's presumed spending on these accounts shall be given back. Ends the
        /// session.
        case refund(SessionID, accounts: [AccountKey], reason: String)

        var reason: String {
            switch self {
            case .unfreeze(_, let reason), .refund(_, _, let reason): reason
            }
        }
    }

    /// What has to be asked of the store before the batch can go on.
    public enum StoreRequest: Sendable, Equatable {
        case generation
        case openSession(edge: String, at: UnixTime)
        case adoptSession(SessionID, edge: String, at: UnixTime)
        case session(SessionID)
        case sessionsUnseen(since: UnixTime)
        case load([AccountKey])
        case commit(StoreBatch)
    }

    public enum StoreAnswer: Sendable {
        case generation(StoreGeneration)
        case opened(SessionID)
        case adopted
        case session(SessionRecord?)
        case sessions([SessionRecord])
        case loaded(LoadResult)
        case committed(CommitResult)
        case failed(StoreError)
    }

    /// How a batch goes on: with the store's answer to a question, or by carrying out what is to be
    /// done.
    public enum Step: Sendable {
        case ask(StoreRequest)
        case done([Output])
    }

    public enum Output: Sendable, Equatable {
        case send(ConnectionID, CounterFrame)
        case close(ConnectionID)
        case operationDone(UInt64, OperationResult)
        case notice(Notice)
    }

    public enum OperationResult: Sendable, Equatable {
        case done([OperatorRecord])
        case refused(String)
    }

    /// For logs, metrics and alarms.
    public enum Notice: Sendable, Equatable {
        case joined(edge: String, SessionID, isNew: Bool)
        case left(edge: String, SessionID)
        case connectionRefused(Rejection)
        case entryRefused(AccountKey, edge: String, Rejection)
        /// The store lost a write: an edge had been granted more than it knows.
        case frozen(AccountKey, SessionID)
        case recallTimedOut(AccountKey)
        case recalled(AccountKey, SessionID)
        case policyAdopted(version: UInt64, caps: Int)
        case reported(entries: Int)
        case committed(accounts: Int)
        case conflicted(accounts: Int)
        case storeFailed(StoreError)
        case storeWorks
        case clockBehind(seconds: Int64)
        /// Nothing is granted for a lease's lifetime: the store may have lost writes.
        case learning(generation: UInt64)
        case learned(generation: UInt64)
        /// An edge of before the store's loss came back with a session that the store forgot.
        case adopted(edge: String, SessionID)
        /// Not seen for so long that it can no longer go on. Its slices stay charged.
        case closedDead(SessionID)
        /// What a journal or an operator gave back of a dead session's slice.
        case refunded(AccountKey, SessionID, Amount)
    }
}

extension AccountStore {
    /// Asks the store what the engine wants to know.
    public func answer(_ request: CounterEngine.StoreRequest) -> CounterEngine.StoreAnswer {
        do throws(StoreError) {
            switch request {
            case .generation: return .generation(try generation())
            case .openSession(let edge, let time):
                return .opened(try openSession(edge: edge, at: time))
            case .adoptSession(let id, let edge, let time):
                try adoptSession(id, edge: edge, at: time)
                return .adopted
            case .session(let id): return .session(try session(id))
            case .sessionsUnseen(let time):
                return .sessions(
                    try sessions(
                        .openUnseen(since: time), limit: CounterEngine.deadSessionsPerRound,
                        after: nil))
            case .load(let keys): return .loaded(try load(keys))
            case .commit(let batch): return .committed(try commit(batch))
            }
        } catch {
            return .failed(error)
        }
    }
}
