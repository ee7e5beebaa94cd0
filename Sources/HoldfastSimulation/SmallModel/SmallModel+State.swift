import HoldfastCore
import HoldfastLedger

extension SmallModel {
    /// The whole cluster at one moment.
    struct State {
        var edges: [Edge]
        var counters: [Counter]
        var store: Store
        /// Each once: a message can be delivered any number of times.
        var network: [Message] = []
        var bills: [Bill]
        var crashed: [Crashed] = []
        var nextSession: UInt64 = 1
        var edgeCrashesLeft: Int
        var counterCrashesLeft: Int
        /// Something that must not happen did, inside of a step.
        var fault: String?

        func edge(of session: SessionID) -> Int? {
            edges.indices.first { edges[$0].session == session }
        }

        var isAnyoneWaiting: Bool { edges.contains { !$0.waiting.isEmpty } }
    }

    /// A request at the provider.
    struct Flight {
        var hold: EdgeLedger.HoldID
        var demand: Demand
    }

    /// What a request can cost at most on the accounts from one on.
    struct Demand: Equatable {
        var account: Int
        var ceilings: [Amount]
    }

    struct Edge {
        enum Stage: UInt8 {
            case open, draining
            /// Has said its last. What comes back from the provider is not reported any more.
            case closing
        }

        var ledger: EdgeLedger
        var session: SessionID
        var stage = Stage.open
        var flights: [Flight] = []
        var waiting: [(id: EdgeLedger.WaiterID, demand: Demand)] = []
        var requestsLeft: Int
        var hasRolled = false
        /// What the journal says, each copy that there ever was; the last one is on the disk.
        var journal: [Amount] = [.zero]
        /// On the disk, and the ledger has not been told.
        var unconfirmed: UInt64?
    }

    /// What is left of an edge's older life.
    struct Crashed {
        var session: SessionID
        var journal: [Amount]
    }

    struct Counter {
        /// As last committed by this counter.
        struct Cached {
            var ledger: AccountLedger
            var version: UInt64
        }

        /// The newest name that a session has given to an account.
        struct Reference {
            var session: SessionID
            var account: Int
            var number: UInt32
        }

        var cached: [Cached?]
        var references: [Reference] = []
        /// Sessions whose connection is gone.
        var left: [SessionID] = []
        var limit: Amount
        var hasRolled = false

        func reference(_ session: SessionID, _ account: Int) -> UInt32? {
            references.first { $0.session == session && $0.account == account }?.number
        }

        mutating func note(_ number: UInt32, of session: SessionID, _ account: Int) {
            let index = references.firstIndex { $0.session == session && $0.account == account }
            guard let index else {
                references.append(
                    Reference(session: session, account: account, number: number))
                return
            }
            references[index].number = max(references[index].number, number)
        }
    }

    /// Compares versions, as every store does.
    struct Store {
        var accounts: [VersionedAccount]
        var closed: [SessionID] = []
    }

    enum Message: Equatable {
        struct Entry: Equatable {
            var account: Int
            var reference: UInt32
            var report: LeaseReport
        }

        case report(SessionID, [Entry], isLast: Bool)
        case grant(SessionID, account: Int, reference: UInt32, LeaseGrant)
        case recall(SessionID, account: Int, reference: UInt32, epoch: UInt64)

        var isReport: Bool {
            if case .report = self { true } else { false }
        }

        var session: SessionID {
            switch self {
            case .report(let session, _, _), .grant(let session, _, _, _),
                .recall(let session, _, _, _):
                session
            }
        }
    }

    /// Kept by the provider, and by nobody else.
    struct Bill {
        var billed = Amount.zero
        var inFlight = Amount.zero
        /// The limit in force, or the exposure since it was lowered.
        var allowed: Amount

        var most: Amount { billed + inFlight }
    }

    enum Action {
        case request(edge: Int, Demand)
        case finish(edge: Int, flight: Int, costs: [Amount])
        case giveUp(edge: Int, waiter: Int)
        case say(edge: Int)
        case idle(edge: Int)
        case forget(edge: Int)
        case drain(edge: Int)
        case close(edge: Int)
        case crash(edge: Int)
        case journal(edge: Int)
        case journaled(edge: Int)
        case rollEdge(Int)
        case deliver(Message, to: Int)
        case recallTimedOut(counter: Int, account: Int)
        case changeLimit(counter: Int)
        case rollCounter(Int)
        case crashCounter(Int)
        case recover(crashed: Int, copy: Int, counter: Int)
    }
}

extension SmallModel.Action: CustomStringConvertible {
    var description: String {
        switch self {
        case .request(let edge, let demand):
            "edge \(edge): a request for at most \(demand.ceilings.map(\.rawValue))"
                + " from account \(demand.account) on"
        case .finish(let edge, let flight, let costs):
            "edge \(edge): request in flight no. \(flight) has cost \(costs.map(\.rawValue))"
        case .giveUp(let edge, let waiter): "edge \(edge): waiting request no. \(waiter) goes away"
        case .say(let edge): "edge \(edge): says what is new"
        case .idle(let edge): "edge \(edge): 550 ms pass, then says what is new"
        case .forget(let edge): "edge \(edge): 5 minutes pass, accounts are forgotten"
        case .drain(let edge): "edge \(edge): drains"
        case .close(let edge): "edge \(edge): sends the last report of its session"
        case .crash(let edge): "edge \(edge): crashes, and starts with a new session"
        case .journal(let edge): "edge \(edge): writes its journal"
        case .journaled(let edge): "edge \(edge): hears that its journal is written"
        case .rollEdge(let edge): "edge \(edge): notices the next period"
        case .deliver(let message, let counter): Self.text(of: message, to: counter)
        case .recallTimedOut(let counter, let account):
            "counter \(counter): the recall on account \(account) takes too long"
        case .changeLimit(let counter): "counter \(counter): adopts the changed limit"
        case .rollCounter(let counter): "counter \(counter): notices the next period"
        case .crashCounter(let counter): "counter \(counter): crashes; the edges connect again"
        case .recover(let crashed, let copy, let counter):
            "counter \(counter): takes copy \(copy) of crashed session no. \(crashed)'s journal"
        }
    }

    private static func text(of message: SmallModel.Message, to counter: Int) -> String {
        switch message {
        case .report(let session, let entries, let isLast):
            let texts = entries.map { entry -> String in
                let report = entry.report
                let wish = report.wish.map {
                    " wish \($0.number): \($0.need.rawValue)…\($0.ceiling.rawValue)"
                }
                return "account \(entry.account) G \(report.granted.rawValue) "
                    + "R \(report.released.rawValue) S \(report.spent.rawValue) "
                    + "H \(report.held.rawValue)\(wish ?? "")"
            }
            return "counter \(counter): takes session \(session.rawValue)'s "
                + (isLast ? "last " : "") + "report, " + texts.joined(separator: ", ")
        case .grant(let session, let account, _, let grant):
            return "session \(session.rawValue): takes a grant, account \(account) "
                + "G \(grant.granted.rawValue) of \(grant.limit.rawValue), unmet wish "
                + "\(grant.unmetWish)"
        case .recall(let session, let account, _, let epoch):
            return "session \(session.rawValue): takes recall \(epoch) of account \(account)"
        }
    }
}
