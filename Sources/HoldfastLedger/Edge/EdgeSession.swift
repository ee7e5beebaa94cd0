public import HoldfastCore

/// One life of an edge at the counters: its ledger, and what it says over which connection.
///
/// An edge is connected to every counter, and each account is served by one of them (`Placement`).
/// The session outlives connections: a new one goes on with it, and everything that an old one may
/// have lost is said again.
///
/// Pure, like the ledger: times come in as milliseconds of a clock that never goes back and counts
/// while the machine is suspended.
public struct EdgeSession: Sendable {
    public static let pingMilliseconds: UInt64 = 2_000
    /// A connection that says nothing for so long is dead, whatever TCP thinks.
    public static let silenceMilliseconds: UInt64 = 10_000
    /// A lease's lifetime before a counter has said its own.
    static let leaseTTLMillisecondsDefault: UInt64 = 30_000
    /// Looking for accounts to forget once in so many ticks: 10 s.
    static let forgetTicks: UInt64 = 200
    /// At the end the counters' answers are awaited for so long: 1 s.
    static let returnTicks: UInt64 = 20

    /// For requests, which go straight to it.
    public var ledger: EdgeLedger
    /// Issued by the first counter that welcomed this edge.
    public private(set) var id: SessionID?

    let name: String
    /// Ascending.
    var links: [Link] = []
    var stage = Stage.open
    /// The newest time that was told.
    var now: UInt64 = 0
    var leaseTTLMilliseconds = Self.leaseTTLMillisecondsDefault
    /// Of the last frame of any counter that has welcomed us.
    var heardAt: UInt64?
    var pingNumber: UInt64 = 0
    /// Looked up keys that no counter has answered yet.
    var questions: [UInt64: Question] = [:]
    var policy: EdgePolicy?
    /// The second in which next periods were last looked for.
    var lookedAheadAt: UnixTime?

    /// - Parameters:
    ///   - name: for people.
    ///   - isJournaled: see `EdgeLedger.takeJournalRecords`.
    public init(name: String, isJournaled: Bool = false) {
        self.name = name
        ledger = EdgeLedger(isJournaled: isJournaled)
    }

    /// Whether any counter has welcomed us and is still connected.
    public var isConnected: Bool { links.contains { $0.counter != nil } }

    /// Why nothing must be admitted now; `nil` when admissions may go on. Slices are used while the
    /// lease lives, also without a connection.
    ///
    /// The lease's lifetime counts from when a frame *arrived*, not from when the question was sent
    /// that it answers: it only ends admissions for tidy books, and frees nothing, so a frame that
    /// was long on its way does no harm.
    public func leaseProblem(at time: UInt64) -> LeaseProblem? {
        if case .refused(let rejection) = stage { return .refused(rejection.message) }
        guard let heardAt else { return .neverHeard }
        let silence = time.elapsed(since: heardAt)
        return silence > leaseTTLMilliseconds ? .silent(milliseconds: silence) : nil
    }

    // MARK: - Connections

    /// A connection is there. One at a time asks for a session; the others wait for it.
    public mutating func connected(_ link: LinkID, at time: UInt64) -> [Output] {
        precondition(!links.contains { $0.id == link }, "a connection's number was used before")
        now = max(now, time)
        guard !isOver else { return [.close(link)] }
        let position = links.firstIndex { $0.id > link } ?? links.endIndex
        links.insert(
            Link(id: link, phase: .waiting, heardAt: now, pingedAt: now), at: position)
        return greet()
    }

    public mutating func disconnected(_ link: LinkID) -> [Output] { lose(link) }

    /// Says hello on every connection whose turn it is.
    mutating func greet() -> [Output] {
        var outputs: [Output] = []
        for index in links.indices where links[index].phase == .waiting {
            guard id != nil || !links.contains(where: { $0.phase == .greeting }) else { break }
            links[index].phase = .greeting
            links[index].heardAt = now
            outputs.append(
                .send(links[index].id, .hello(.init(edgeName: name, session: id))))
        }
        return outputs
    }

    /// What was said there may be lost, and whoever waited for it takes its turn.
    mutating func lose(_ link: LinkID) -> [Output] {
        guard let index = links.firstIndex(where: { $0.id == link }) else { return [] }
        let lost = links.remove(at: index)
        if case .closing(link) = stage { stage = .returning(untilTick: ledger.tickNumber) }
        var outputs = greet()
        if lost.counter != nil { placeAccounts() }
        outputs += askAgain(insteadOf: link)
        return outputs + adoptRemainingPolicy()
    }

    mutating func drop(_ link: LinkID) -> [Output] { [.close(link)] + lose(link) }

    mutating func placeAccounts() {
        ledger.place(
            on: Placement(
                links.compactMap { link in link.counter.map { (link.id, $0) } }),
            reachable: links.filter { $0.counter != nil }.map(\.id))
    }

    /// A counter knows us. False when it takes us for somebody else.
    mutating func join(_ welcome: CounterFrame.Welcome, on index: Int) -> Bool {
        guard links[index].phase == .greeting, id == nil || id == welcome.session else {
            return false
        }
        id = welcome.session
        leaseTTLMilliseconds = UInt64(welcome.leaseTTLMilliseconds)
        links[index].phase = .welcomed(counter: welcome.counter)
        placeAccounts()
        return true
    }

    // MARK: - Time

    /// Every `EdgeLedger.tickMilliseconds`.
    ///
    /// - Parameters:
    ///   - counterNow: the counters' clock as far as known.
    ///   - count: more than one when ticks were skipped while `isAsleep`.
    public mutating func tick(
        at time: UInt64, counterNow: UnixTime?, count: UInt64 = 1
    ) -> [Output] {
        now = max(now, time)
        let before = ledger.tickNumber
        ledger.tick(count: count)
        guard !isOver else { return [] }
        if before / Self.forgetTicks < ledger.tickNumber / Self.forgetTicks { forgetUnused() }
        prepareNextPeriods(at: counterNow)
        var outputs = hangUpOnSilent()
        outputs += ping()
        outputs += flush()
        outputs += closeIfReturned()
        return outputs
    }

    /// Whether ticks would do nothing but keep connections alive and fetch next periods.
    public var isAsleep: Bool { ledger.isAsleep && (stage == .open || isOver) }

    private mutating func forgetUnused() {
        let forgotten = ledger.forgetUnused()
        guard !forgotten.isEmpty else { return }
        for index in links.indices { links[index].introduced.subtract(forgotten) }
    }

    private mutating func hangUpOnSilent() -> [Output] {
        // One that waits for its turn was asked nothing.
        let silent = links.filter {
            $0.phase != .waiting && now.elapsed(since: $0.heardAt) > Self.silenceMilliseconds
        }
        return silent.flatMap { drop($0.id) }
    }

    private mutating func ping() -> [Output] {
        var outputs: [Output] = []
        for index in links.indices where links[index].counter != nil {
            guard now.elapsed(since: links[index].pingedAt) >= Self.pingMilliseconds else {
                continue
            }
            links[index].pingedAt = now
            pingNumber += 1
            outputs.append(.send(links[index].id, .ping(pingNumber)))
        }
        return outputs
    }

    // MARK: - End

    /// The edge is draining: everything that is not in a hold goes back, and when the counters have
    /// heard it, or a second later, the session is closed. `ended` says when that is confirmed; what
    /// was not heard stays charged.
    public mutating func close() -> [Output] {
        guard stage == .open else { return [] }
        guard id != nil else { return end() }
        ledger.drain()
        stage = .returning(untilTick: ledger.tickNumber + Self.returnTicks)
        return flush() + closeIfReturned()
    }

    /// The last frame goes to one counter, after everything that others may not have heard. In this
    /// order on one connection nothing can come too late.
    private mutating func closeIfReturned() -> [Output] {
        guard case .returning(let until) = stage,
            let last = links.first(where: { $0.counter != nil })?.id,
            ledger.tickNumber >= until || ledger.unreturned.isEmpty
        else { return [] }
        ledger.gather(on: last)
        let outputs = flush() + [.send(last, .closeSession([]))]
        stage = .closing(last)
        return outputs
    }

    var isOver: Bool {
        switch stage {
        case .open, .returning, .closing: false
        case .ended, .refused: true
        }
    }

    mutating func end() -> [Output] {
        stage = .ended
        return [.ended] + hangUp()
    }

    mutating func refuse(_ rejection: Rejection) -> [Output] {
        stage = .refused(rejection)
        return [.refused(rejection)] + hangUp()
    }

    private mutating func hangUp() -> [Output] {
        defer { links = [] }
        let unanswered = questions.keys.sorted()
        questions = [:]
        return links.map { .close($0.id) } + unanswered.map { .keyUnanswered(request: $0) }
    }
}
