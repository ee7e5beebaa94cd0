import HoldfastCore
import HoldfastLedger

/// Edges, one counter and a network that can do anything, in one thread and from one seed.
///
/// The judge is `billed`: what the provider has charged. The ledgers' own books are compared with
/// it and never believed.
struct Cluster {
    struct Request {
        var demands: [EdgeLedger.Demand]
        var accounts: [Int]
    }

    struct Flight {
        var hold: EdgeLedger.HoldID
        var request: Request
    }

    struct Edge {
        var session: SessionID
        var ledger = EdgeLedger()
        var flights: [Flight] = []
        var waiting: [(id: EdgeLedger.WaiterID, request: Request)] = []
    }

    enum Message {
        case reports(session: SessionID, [EdgeLedger.Report])
        case grant(session: SessionID, reference: UInt32, LeaseGrant)
        case recall(session: SessionID, reference: UInt32, epoch: UInt64)
        case closed(session: SessionID)
    }

    var random: SplitMix
    var edges: [Edge] = []
    var keys: [AccountKey] = []
    /// By account, like everything below that is indexed.
    var limits: [Amount] = []
    var isObserved: [Bool] = []
    var ledgers: [AccountLedger] = []
    var stored: [StoredAccount] = []
    /// How far exposure may be above a limit that was lowered.
    var exposureMax: [Amount] = []
    var billed: [Amount] = []
    /// In holds of edges that live.
    var inFlight: [Amount] = []
    /// The exposure of `stored`.
    var exposure: [Amount] = []
    var closed: Set<SessionID> = []
    var nextSession: UInt64 = 1
    var network: [Message] = []
    /// `references[session]` maps accounts to the newest reference that its edge has used.
    var references: [SessionID: [UInt32?]] = [:]

    var messageCount = 0
    var admittedCount = 0
    var withdrawnCount = 0
    var lostSessionCount = 0
    /// What went wrong; the seed is added by the test.
    var failures: [String] = []
    /// The least that a request can be reduced to.
    var minimum: Amount = Amount(1)
    /// Without faults nobody may be turned away by a cap that has room.
    var isTurningAwayChecked = false

    init(seed: UInt64, edgeCount: Int, limits: [UInt64], observed: Set<Int> = []) {
        random = SplitMix(seed: seed)
        for (index, limit) in limits.enumerated() {
            keys.append(
                AccountKey(
                    cap: "cap", unit: .usd, period: .day, periodID: Int64(index), values: ["acme"]))
            self.limits.append(Amount(limit))
            exposureMax.append(Amount(limit))
            isObserved.append(observed.contains(index))
            ledgers.append(AccountLedger())
            stored.append(AccountLedger().stored)
            billed.append(.zero)
            inFlight.append(.zero)
            exposure.append(.zero)
        }
        for _ in 0..<edgeCount { edges.append(Edge(session: issueSession())) }
    }

    mutating func issueSession() -> SessionID {
        defer { nextSession += 1 }
        let session = SessionID(nextSession)
        references[session] = Array(repeating: nil, count: keys.count)
        return session
    }

    var reachable: [SessionID] {
        edges.map(\.session).filter { !closed.contains($0) }.sorted()
    }

    // MARK: - Requests

    /// Asks for `ceilings` on accounts; waits when the slices are too small.
    mutating func request(on edge: Int, _ wanted: [(account: Int, ceiling: Amount)]) {
        let demands = wanted.map { account, ceiling in
            EdgeLedger.Demand(
                slot: edges[edge].ledger.slot(for: keys[account], isEnforced: !isObserved[account]),
                amount: ceiling)
        }
        let request = Request(demands: demands, accounts: wanted.map(\.account))
        switch edges[edge].ledger.admit(demands) {
        case .held(let hold):
            takeOff(Flight(hold: hold, request: request), on: edge)
        case .short:
            guard let id = edges[edge].ledger.wait(for: demands) else { return }
            edges[edge].waiting.append((id, request))
            sendReports(from: edge)
        case .saturated:
            failures.append("saturated with \(edges[edge].flights.count) in flight")
        }
    }

    private mutating func takeOff(_ flight: Flight, on edge: Int) {
        admittedCount += 1
        edges[edge].flights.append(flight)
        for (account, demand) in zip(flight.request.accounts, flight.request.demands) {
            inFlight[account] += demand.amount
        }
    }

    /// The provider has charged `percent` of the ceiling, by default any part of it.
    private mutating func charge(_ request: Request, percent: UInt64?) -> [Amount] {
        let percent = percent ?? random.amount(0...100)
        let actual = request.demands.map { Amount($0.amount.rawValue * percent / 100) }
        for (position, account) in request.accounts.enumerated() {
            inFlight[account] -= request.demands[position].amount
            billed[account] += actual[position]
        }
        return actual
    }

    mutating func settle(on edge: Int, flight index: Int, percent: UInt64? = nil) {
        let flight = edges[edge].flights.remove(at: index)
        let actual = charge(flight.request, percent: percent)
        let (outcome, wakeups) = edges[edge].ledger.settle(flight.hold, actual: actual)
        if outcome != .settled { failures.append("settle said \(outcome)") }
        handle(wakeups, on: edge)
        if edges[edge].ledger.takeUrgency() { sendReports(from: edge) }
    }

    mutating func withdraw(on edge: Int, _ id: EdgeLedger.WaiterID) {
        withdrawnCount += 1
        edges[edge].waiting.removeAll { $0.id == id }
        handle(edges[edge].ledger.withdraw(id), on: edge)
    }

    mutating func handle(_ wakeups: [EdgeLedger.Wakeup], on edge: Int) {
        for wakeup in wakeups {
            switch wakeup {
            case .held(let id, let hold):
                guard let index = edges[edge].waiting.firstIndex(where: { $0.id == id }) else {
                    failures.append("a request was woken that does not wait")
                    continue
                }
                let request = edges[edge].waiting.remove(at: index).request
                takeOff(Flight(hold: hold, request: request), on: edge)
            case .reconsider(let id):
                reconsider(id, on: edge)
            }
        }
    }

    /// What the proxy does: as much as there is room for, or nothing.
    private mutating func reconsider(_ id: EdgeLedger.WaiterID, on edge: Int) {
        guard let index = edges[edge].waiting.firstIndex(where: { $0.id == id }) else { return }
        var demands = edges[edge].waiting[index].request.demands
        var isReduced = false
        for position in demands.indices {
            let standing = edges[edge].ledger.standing(of: demands[position].slot)
            guard standing.isEnforced, let room = standing.room, demands[position].amount > room
            else { continue }
            demands[position].amount = room
            isReduced = true
            guard room < minimum else { continue }
            let account = edges[edge].waiting[index].request.accounts[position]
            if isTurningAwayChecked, limits[account].excess(over: billed[account]) >= minimum {
                failures.append("turned away with \(room.rawValue) left")
            }
            return withdraw(on: edge, id)
        }
        guard isReduced else { return }
        edges[edge].waiting[index].request.demands = demands
        handle(edges[edge].ledger.reduce(id, to: demands), on: edge)
    }

    // MARK: - Edges

    mutating func tick(_ edge: Int, count: Int = 1) {
        for _ in 0..<count { edges[edge].ledger.tick() }
        sendReports(from: edge)
    }

    mutating func sendReports(from edge: Int) {
        _ = edges[edge].ledger.takeUrgency()
        let reports = edges[edge].ledger.collectReports()
        guard !reports.isEmpty else { return }
        messageCount += 1
        network.append(.reports(session: edges[edge].session, reports))
    }

    /// The process is gone: what was in flight is charged by the provider all the same.
    mutating func crash(_ edge: Int) {
        lostSessionCount += 1
        for flight in edges[edge].flights { _ = charge(flight.request, percent: nil) }
        edges[edge] = Edge(session: issueSession())
    }

    // MARK: - Counter

    func context(_ account: Int) -> AccountLedger.Context {
        AccountLedger.Context(limit: limits[account], isOpen: true, reachable: reachable)
    }

    mutating func close(_ session: SessionID) {
        closed.insert(session)
        for account in keys.indices {
            apply(.closed(session), to: account)
            decide(account)
        }
    }

    mutating func setLimit(_ account: Int, _ limit: Amount) {
        let isLower = limit < limits[account]
        limits[account] = limit
        exposureMax[account] = max(limit, ledgers[account].exposure)
        if isLower { apply(.limitLowered, to: account) }
        decide(account, reporters: ledgers[account].sessions)
    }

    mutating func apply(_ fact: AccountLedger.Fact, to account: Int) {
        do {
            try ledgers[account].apply(fact)
        } catch {
            failures.append("refused: \(error) \(fact)")
        }
    }

    mutating func decide(_ account: Int, reporters: [SessionID] = []) {
        let actions = ledgers[account].decide(context(account), reporters: reporters)
        commit(account)
        for action in actions {
            messageCount += 1
            switch action {
            case .tell(let session, let grant):
                guard let reference = references[session]?[account] else { continue }
                network.append(.grant(session: session, reference: reference, grant))
            case .recall(let session, let epoch):
                guard let reference = references[session]?[account] else { continue }
                network.append(.recall(session: session, reference: reference, epoch: epoch))
            }
        }
    }

    private mutating func commit(_ account: Int) {
        let new = ledgers[account].stored
        if new.base < stored[account].base { failures.append("base went back") }
        for line in stored[account].lines {
            guard let next = new.lines.first(where: { $0.session == line.session }) else {
                if !closed.contains(line.session) { failures.append("a line is gone") }
                continue
            }
            if next.granted < line.granted || next.released < line.released
                || next.spent < line.spent || next.overrun < line.overrun
            {
                failures.append("the store went back")
            }
        }
        stored[account] = new
        // As it would be read back: what is held is not stored.
        let now = AccountLedger(new).exposure
        exposure[account] = now
        if !isObserved[account], now > exposureMax[account] {
            failures.append("exposure \(now.rawValue) > \(exposureMax[account].rawValue)")
        }
        exposureMax[account] = min(exposureMax[account], max(limits[account], now))
    }

    /// Everything that is only in memory is lost, and every connection.
    mutating func restartCounter() {
        for account in keys.indices { ledgers[account] = AccountLedger(stored[account]) }
        for edge in edges.indices { edges[edge].ledger.reconnected() }
    }

    mutating func reconnect(_ edge: Int) {
        for account in keys.indices { apply(.disconnected(edges[edge].session), to: account) }
        for account in keys.indices { decide(account) }
        edges[edge].ledger.reconnected()
    }

    // MARK: - Network

    mutating func deliver(_ message: Message) {
        switch message {
        case .reports(let session, let reports):
            guard !closed.contains(session) else {
                messageCount += 1
                network.append(.closed(session: session))
                return
            }
            for report in reports {
                let account = Int(report.key.periodID)
                let known = references[session]?[account] ?? 0
                references[session]?[account] = max(known, report.reference)
                apply(.report(session, report.report), to: account)
                decide(account, reporters: [session])
            }
        case .grant(let session, let reference, let grant):
            guard let edge = edges.firstIndex(where: { $0.session == session }) else { return }
            handle(edges[edge].ledger.apply([(reference, grant)]), on: edge)
            if edges[edge].ledger.takeUrgency() { sendReports(from: edge) }
        case .recall(let session, let reference, let epoch):
            guard let edge = edges.firstIndex(where: { $0.session == session }) else { return }
            edges[edge].ledger.recall(reference: reference, epoch: epoch)
            if edges[edge].ledger.takeUrgency() { sendReports(from: edge) }
        case .closed(let session):
            guard let edge = edges.firstIndex(where: { $0.session == session }) else { return }
            crash(edge)
        }
    }

    /// In order and without loss, until nobody has anything to say. False when they never stop.
    mutating func deliverAll(atMost bound: Int) -> Bool {
        var position = 0
        while position < network.count {
            guard position < bound else { return false }
            deliver(network[position])
            position += 1
        }
        network = []
        return true
    }

    // MARK: - Judge

    mutating func check() {
        for account in keys.indices where !isObserved[account] {
            let possible = billed[account] + inFlight[account]
            if possible > exposure[account] {
                failures.append("account \(account) can cost \(possible.rawValue), unknown to it")
            }
            if possible > exposureMax[account] {
                let limit = limits[account].rawValue
                failures.append("account \(account) can cost \(possible.rawValue) of \(limit)")
            }
        }
    }

    /// What the ledgers say about themselves and each other.
    mutating func checkBooks() {
        for account in keys.indices {
            if stored[account].isFrozen { failures.append("frozen although nothing was lost") }
            for edge in edges { checkBooks(of: edge, account) }
        }
    }

    private mutating func checkBooks(of edge: Edge, _ account: Int) {
        guard let slot = edge.ledger.existingSlot(for: keys[account]) else { return }
        let books = edge.ledger.standing(of: slot)
        let used = books.released + books.spent + books.held
        if books.isEnforced, used > books.granted { failures.append("I2: \(books)") }
        guard books.counter != nil, !closed.contains(edge.session) else { return }
        let line = stored[account].lines.first { $0.session == edge.session }
        if books.granted > line?.granted ?? .zero { failures.append("I3 granted: \(books)") }
        if books.released < line?.released ?? .zero { failures.append("I3 released: \(books)") }
        if books.spent < line?.spent ?? .zero { failures.append("I3 spent: \(books)") }
    }

    /// For the message of a failure.
    var summary: String {
        var text = ""
        for account in keys.indices {
            let ledger = ledgers[account]
            text += "\n  account \(account): \(ledger.exposure.rawValue)"
            text += " of \(limits[account].rawValue)"
            text += ledger.isWaitedFor ? ", waited for" : ""
            for line in ledger.lines {
                text += ", session \(line.session.rawValue):"
                text += " G\(line.granted.rawValue) R\(line.released.rawValue)"
                text += " S\(line.spent.rawValue) H\(line.held.rawValue)"
            }
        }
        for edge in edges {
            text += "\n  edge of session \(edge.session.rawValue), \(edge.flights.count) in flight"
            for (_, request) in edge.waiting {
                let wants = zip(request.accounts, request.demands)
                    .map { "\($1.amount.rawValue) of account \($0)" }
                text += "; waits for " + wants.joined(separator: " and ")
            }
        }
        return text
    }
}
