import HoldfastCore
import HoldfastLedger
import Testing

/// Counter nodes on one store, without sockets and threads. Node 0 unless said otherwise.
struct CounterEngineFixture {
    /// An edge as a counter sees it: one connection with a session.
    struct Link {
        var id: ConnectionID
        var session: SessionID
        var node: Int
    }

    /// Noon of day 20,778, to which the keys of `account` belong.
    static let noon: Int64 = 20_778 * 86_400 + 43_200

    var store = ScriptedStore()
    var engines: [CounterEngine] = []
    var elapsed: UInt64 = 0
    var wall: Int64 = Self.noon * 1_000
    /// What the engines have asked of the store since the last look.
    var asked: [CounterEngine.StoreRequest] = []
    private var nextConnection: UInt64 = 1
    private let settings: CounterEngine.Settings

    init(
        limits: [UInt64] = [100, 1_000], nodes: Int = 1,
        settings: CounterEngine.Settings = Self.patient
    ) {
        self.settings = settings
        for node in 0..<nodes { engines.append(engine(node, Self.rules(1, limits))) }
    }

    /// Lets edges be silent, and believes what is in memory: what is tested elsewhere.
    static let patient: CounterEngine.Settings = {
        var settings = CounterEngine.Settings()
        settings.silenceMax = .max
        settings.cacheTrust = .max
        return settings
    }()

    static func rules(
        _ version: UInt64, _ limits: [UInt64], period: PeriodKind = .day, zone: Int64 = 0,
        now: Int64 = noon
    ) -> CounterRules {
        let caps = limits.enumerated().map { number, limit in
            Cap(
                name: "cap-\(number)", unit: .usd, limit: Amount(limit), period: period,
                each: [.tenant])
        }
        return CounterRules(
            version: version, caps: caps,
            keys: [[1, 2]: KeyPolicy(name: "known")], prices: "prices",
            zones: ["UTC": ZoneOffsets(initialOffsetSeconds: zone, transitions: [])],
            now: UnixTime(now))
    }

    private func engine(_ node: Int, _ rules: CounterRules) -> CounterEngine {
        CounterEngine(
            name: "counter-\(node)", settings: settings, rules: rules, pepper: [7],
            clockFloor: store.floor, at: .init(elapsed: elapsed, wall: wall))
    }

    /// The process is gone; the next one finds what the store has.
    mutating func restart(_ node: Int = 0) {
        engines[node] = engine(node, engines[node].currentRules)
    }

    // MARK: - Batches

    typealias Interlude = (CounterEngine.StoreRequest, inout CounterEngineFixture) -> Void

    /// One batch. `interlude` is what happens elsewhere before the store answers.
    @discardableResult
    mutating func run(
        _ events: [CounterEngine.Event] = [], on node: Int = 0, interlude: Interlude? = nil
    ) -> [CounterEngine.Output] {
        var step = engines[node].begin(events, at: .init(elapsed: elapsed, wall: wall))
        for _ in 0..<200 {
            switch step {
            case .ask(let request):
                #expect(!engines[node].isIdle)
                asked.append(request)
                interlude?(request, &self)
                let answer = store.answer(request)
                step = engines[node].resume(answer, at: .init(elapsed: elapsed, wall: wall))
            case .done(let outputs):
                #expect(engines[node].isIdle)
                return outputs
            }
        }
        Issue.record("a batch without end")
        return []
    }

    mutating func pass(_ milliseconds: UInt64) {
        elapsed += milliseconds
        wall += Int64(milliseconds)
    }

    /// Lets time go by and runs what is due by then, with nobody saying anything.
    @discardableResult
    mutating func sleep(_ milliseconds: UInt64, on node: Int = 0) -> [CounterEngine.Output] {
        pass(milliseconds)
        return run(on: node)
    }

    // MARK: - Edges

    mutating func connect(on node: Int = 0) -> ConnectionID {
        let id = ConnectionID(nextConnection)
        nextConnection += 1
        _ = run([.connected(id)], on: node)
        return id
    }

    /// Says hello, and what comes back.
    mutating func greet(
        _ session: SessionID? = nil, isFinal: Bool = false, on node: Int = 0,
        version: UInt32 = leaseProtocolVersion
    ) -> (id: ConnectionID, outputs: [CounterEngine.Output]) {
        let id = connect(on: node)
        let hello = EdgeFrame.Hello(
            protocolVersion: version, edgeName: "edge", session: session, isFinal: isFinal)
        return (id, run([.frame(id, .hello(hello))], on: node))
    }

    mutating func join(
        _ session: SessionID? = nil, isFinal: Bool = false, on node: Int = 0
    ) throws -> Link {
        let (id, outputs) = greet(session, isFinal: isFinal, on: node)
        let welcome = try #require(outputs.welcome(to: id))
        return Link(id: id, session: welcome.session, node: node)
    }

    static func frame(_ link: Link, _ reports: [(Int, LeaseReport)]) -> CounterEngine.Event {
        .frame(link.id, .report(entries(reports)))
    }

    /// Account `n` has reference `n + 1`, and its key always goes along.
    static func entries(_ reports: [(Int, LeaseReport)]) -> [ReportEntry] {
        reports.map { ReportEntry(reference: UInt32($0.0 + 1), key: account($0.0), report: $0.1) }
    }

    @discardableResult
    mutating func report(
        _ link: Link, _ number: Int, _ report: LeaseReport, interlude: Interlude? = nil
    ) -> [CounterEngine.Output] {
        run([Self.frame(link, [(number, report)])], on: link.node, interlude: interlude)
    }

    /// A slice of so much, idle.
    mutating func lend(_ link: Link, _ number: Int, _ amount: UInt64) {
        report(link, number, LeaseReport(0, wish: LeaseWish(1, need: amount)))
        report(link, number, LeaseReport(amount))
    }

    @discardableResult
    mutating func close(
        _ link: Link, _ reports: [(Int, LeaseReport)] = [], interlude: Interlude? = nil
    ) -> [CounterEngine.Output] {
        run(
            [.frame(link.id, .closeSession(Self.entries(reports)))], on: link.node,
            interlude: interlude)
    }

    @discardableResult
    mutating func disconnect(_ link: Link) -> [CounterEngine.Output] {
        run([.disconnected(link.id)], on: link.node)
    }

    func line(_ number: Int, _ link: Link) -> StoredAccount.Line? {
        store.line(account(number), link.session)
    }

    func granted(_ number: Int, _ link: Link) -> UInt64? { line(number, link)?.granted.rawValue }
}

extension [CounterEngine.Output] {
    func frames(to id: ConnectionID) -> [CounterFrame] {
        compactMap { output in
            if case .send(id, let frame) = output { frame } else { nil }
        }
    }

    func welcome(to id: ConnectionID) -> CounterFrame.Welcome? {
        for case .welcome(let welcome) in frames(to: id) { return welcome }
        return nil
    }

    /// What the edge hears about an account, the last word.
    func told(_ link: CounterEngineFixture.Link, _ number: Int = 0) -> LeaseGrant? {
        var last: LeaseGrant?
        for case .grants(let entries, _) in frames(to: link.id) {
            for entry in entries where entry.reference == UInt32(number + 1) { last = entry.grant }
        }
        return last
    }

    func recallEpoch(to link: CounterEngineFixture.Link) -> UInt64? {
        for case .recall(_, let epoch) in frames(to: link.id) { return epoch }
        return nil
    }

    func rejection(of id: ConnectionID) -> Rejection.Reason? {
        for case .rejected(let rejection) in frames(to: id) { return rejection.reason }
        return nil
    }

    func isHungUp(on id: ConnectionID) -> Bool { contains(.close(id)) }

    var notices: [CounterEngine.Notice] {
        compactMap { if case .notice(let notice) = $0 { notice } else { nil } }
    }

    func result(of operation: UInt64) -> CounterEngine.OperationResult? {
        for case .operationDone(operation, let result) in self { return result }
        return nil
    }
}
