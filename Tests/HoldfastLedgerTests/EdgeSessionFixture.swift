import HoldfastCore
import HoldfastLedger
import Testing

/// One session, and what it says over connections 1, 2, …
struct SessionFixture {
    typealias LinkID = EdgeSession.LinkID
    typealias Output = EdgeSession.Output

    var session: EdgeSession
    var now: UInt64 = 1_000

    init(isJournaled: Bool = false) {
        session = EdgeSession(name: "edge", isJournaled: isJournaled)
    }

    /// Welcomed by all these counters, over connections 1, 2, …
    init(counters: [String], isJournaled: Bool = false) {
        self.init(isJournaled: isJournaled)
        for (index, counter) in counters.enumerated() {
            _ = connect(UInt64(index + 1))
            _ = welcome(UInt64(index + 1), counter)
        }
    }

    mutating func connect(_ link: UInt64) -> [Output] {
        session.connected(LinkID(link), at: now)
    }

    mutating func disconnect(_ link: UInt64) -> [Output] { session.disconnected(LinkID(link)) }

    mutating func receive(_ frame: CounterFrame, _ link: UInt64 = 1) -> [Output] {
        session.received(frame, on: LinkID(link), at: now)
    }

    mutating func welcome(
        _ link: UInt64, _ counter: String, session number: UInt64 = 7, leaseTTL: UInt32 = 15_000
    ) -> [Output] {
        receive(
            .welcome(
                .init(
                    session: SessionID(number), keyPepper: [1], counterTimeMilliseconds: 5,
                    leaseTTLMilliseconds: leaseTTL, counter: counter)), link)
    }

    mutating func reject(_ link: UInt64, _ reason: Rejection.Reason) -> [Output] {
        receive(.rejected(Rejection(reason: reason, message: "no")), link)
    }

    mutating func pass(
        milliseconds: UInt64, counterNow: UnixTime? = nil
    ) -> [Output] {
        var outputs: [Output] = []
        for _ in 0..<milliseconds / EdgeLedger.tickMilliseconds {
            now += EdgeLedger.tickMilliseconds
            outputs += session.tick(at: now, counterNow: counterNow)
        }
        return outputs
    }

    /// Somebody asks for so much of an account, and waits if it is not there.
    mutating func want(_ amount: UInt64, _ key: AccountKey) -> EdgeLedger.HoldID? {
        let slot = session.ledger.slot(for: key, isEnforced: true)
        let demands = [EdgeLedger.Demand(slot: slot, amount: Amount(amount))]
        if case .held(let id) = session.ledger.admit(demands) { return id }
        _ = session.ledger.wait(for: demands)
        return nil
    }

    func reference(_ key: AccountKey) throws -> UInt32 {
        let slot = try #require(session.ledger.existingSlot(for: key))
        return session.ledger.reference(of: slot)
    }

    func standing(_ key: AccountKey) throws -> EdgeLedger.Standing {
        session.ledger.standing(of: try #require(session.ledger.existingSlot(for: key)))
    }

    /// A counter says that it has heard everything.
    mutating func grant(
        _ key: AccountKey, _ link: UInt64 = 1, total: UInt64, unmetWish: UInt64 = 0,
        isLearning: Bool = false, isCentral: Bool = false
    ) throws -> [Output] {
        let books = try standing(key)
        let grant = LeaseGrant(
            granted: Amount(total), released: books.released, spent: books.spent,
            totalSpent: books.spent, limit: Amount(1 << 40), isCentral: isCentral,
            isLearning: isLearning, unmetWish: unmetWish)
        return receive(
            .grants(
                [GrantEntry(reference: try reference(key), grant: grant)],
                counterTimeMilliseconds: 6), link)
    }
}

extension [EdgeSession.Output] {
    func frames(_ link: UInt64) -> [EdgeFrame] {
        compactMap { output in
            if case .send(EdgeSession.LinkID(link), let frame) = output { frame } else { nil }
        }
    }

    /// Report entries on one connection.
    func entries(_ link: UInt64) -> [ReportEntry] {
        frames(link).flatMap { frame in
            if case .report(let entries) = frame { entries } else { [ReportEntry]() }
        }
    }

    var closed: [UInt64] {
        compactMap { output in
            if case .close(let link) = output { link.rawValue } else { nil }
        }
    }

    var wakeups: [EdgeLedger.Wakeup] {
        compactMap { output in
            if case .wakeup(let wakeup) = output { wakeup } else { nil }
        }
    }

    /// The sessions that hellos name, by connection; zero for none.
    var hellos: [UInt64: UInt64] {
        var hellos: [UInt64: UInt64] = [:]
        for case .send(let link, .hello(let hello)) in self {
            hellos[link.rawValue] = hello.session?.rawValue ?? 0
        }
        return hellos
    }
}
