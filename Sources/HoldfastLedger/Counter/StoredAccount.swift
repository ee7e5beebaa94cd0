public import HoldfastCore

/// The part of an account that must survive: what was granted, released and spent. Wishes, the
/// queue and recalls are asked for again by the edges.
public struct StoredAccount: Sendable, Equatable {
    public struct Line: Sendable, Equatable {
        public var session: SessionID
        public var granted: Amount
        public var released: Amount
        public var spent: Amount
        public var overrun: Amount

        public init(
            session: SessionID, granted: Amount, released: Amount, spent: Amount, overrun: Amount
        ) {
            self.session = session
            self.granted = granted
            self.released = released
            self.spent = spent
            self.overrun = overrun
        }
    }

    public var base: Amount
    public var isFrozen: Bool
    /// Ascending by session, each once.
    public var lines: [Line]

    public init(base: Amount, isFrozen: Bool, lines: [Line]) {
        self.base = base
        self.isFrozen = isFrozen
        self.lines = lines
    }
}

extension AccountLedger {
    public var stored: StoredAccount {
        StoredAccount(
            base: base, isFrozen: isFrozen,
            lines: lines.map {
                StoredAccount.Line(
                    session: $0.session, granted: $0.granted, released: $0.released,
                    spent: $0.spent, overrun: $0.overrun)
            })
    }

    public init(_ stored: StoredAccount) {
        self.init()
        base = stored.base
        isFrozen = stored.isFrozen
        lines = stored.lines.map {
            var line = Line(session: $0.session)
            line.granted = $0.granted
            line.released = $0.released
            line.spent = $0.spent
            line.overrun = $0.overrun
            return line
        }
        precondition(
            zip(lines, lines.dropFirst()).allSatisfy { $0.session < $1.session },
            "stored lines are not in order")
    }
}
