import HoldfastCore
import HoldfastLedger

/// One account at the counter, with everyone reachable unless said otherwise.
struct AccountFixture {
    var ledger = AccountLedger()
    var context: AccountLedger.Context

    init(limit: UInt64, sessions: UInt64 = 3, isOpen: Bool = true) {
        context = AccountLedger.Context(
            limit: Amount(limit), isOpen: isOpen,
            reachable: (1...sessions).map { SessionID($0) })
    }

    /// Reports, and what is answered to whom.
    mutating func report(
        _ session: UInt64, _ report: LeaseReport
    ) throws(AccountLedger.Refusal) -> [AccountLedger.Action] {
        try ledger.apply(.report(SessionID(session), report), isLearning: context.isLearning)
        return decide([session])
    }

    /// What it says about others is told to whom it concerns.
    mutating func happen(
        _ fact: AccountLedger.Fact
    ) throws(AccountLedger.Refusal) -> [AccountLedger.Action] {
        try ledger.apply(fact, isLearning: context.isLearning)
        return decide()
    }

    /// The slices of these sessions, all idle.
    mutating func lend(_ slices: KeyValuePairs<UInt64, UInt64>) throws(AccountLedger.Refusal) {
        for (session, slice) in slices {
            _ = try report(session, LeaseReport(0, wish: LeaseWish(1, need: slice)))
            _ = try report(session, LeaseReport(slice))
        }
    }

    mutating func decide(_ reporters: [UInt64] = []) -> [AccountLedger.Action] {
        ledger.decide(context, reporters: reporters.map { SessionID($0) })
    }

    func granted(_ session: UInt64) -> UInt64? { line(session)?.granted.rawValue }

    func line(_ session: UInt64) -> AccountLedger.Line? { ledger.line(of: SessionID(session)) }
}

extension [AccountLedger.Action] {
    func told(_ session: UInt64) -> LeaseGrant? {
        for case .tell(SessionID(session), let grant) in self { return grant }
        return nil
    }

    var recalled: [UInt64] {
        compactMap { action in
            if case .recall(let session, _) = action { session.rawValue } else { nil }
        }
    }

    var recallEpoch: UInt64? {
        for case .recall(_, let epoch) in self { return epoch }
        return nil
    }
}
