import HoldfastCore
import HoldfastLedger

/// The whole cluster in one thread: real engines, and everything around them from one seed.
///
/// Time is in milliseconds since the start. Nothing here reads a clock, and nothing depends on the
/// order of a hash table, so that a seed always tells the same story.
final class World {
    enum Event {
        // Traffic.
        case spell
        case request(edge: Int)
        case streams(edge: Int)
        case finished(edge: Int, life: Int, flight: Int)
        case deadline(edge: Int, life: Int, EdgeLedger.WaiterID)
        // Edges.
        case edgeTick(edge: Int, life: Int)
        case connect(edge: Int, life: Int, counter: Int)
        case startEdge(edge: Int)
        case edgeDrained(edge: Int, life: Int)
        case journaled(edge: Int, life: Int, sequence: UInt64)
        // Network.
        case toCounter(link: Int, EdgeFrame)
        case toEdge(link: Int, CounterFrame)
        case opened(link: Int)
        case closedAtCounter(link: Int)
        case closedAtEdge(link: Int)
        case heal(Fault, edge: Int, counter: Int)
        // Counters.
        case runCounter(counter: Int, life: Int)
        case storeActs(counter: Int, life: Int, CounterEngine.StoreRequest)
        case storeAnswers(counter: Int, life: Int, CounterEngine.StoreAnswer)
        case startCounter(counter: Int)
        case adopt(counter: Int, life: Int, version: UInt64)
        case noteLimits
        // The world.
        case disaster
        case strike
        case storeBack
        case capRestored(cap: Int, Cap)
    }

    let scenario: Scenario
    var now: UInt64 = 0
    var queue = EventQueue<Event>()
    var random: SplitMix
    var auditor: Auditor
    var faults = FaultCounts()
    var trace: Trace

    var store = SimulatedStore()
    var isStoreDown = false
    var damagedAccount: AccountKey?
    var counters: [CounterProcess] = []
    var edges: [EdgeProcess] = []
    var links: [Link] = []
    /// `blocked[edge][counter]`: frames towards the counter, and back.
    var blockedOut: [[Bool]]
    var blockedIn: [[Bool]]

    /// The newest rules that operators have given out, and those that each counter has.
    var policyVersion: UInt64 = 1
    var caps: [Cap]
    var observed: Set<String> = []
    var spellEndsAt: UInt64 = 0
    var spellGap: UInt64 = 1_000
    var isQuiet = false
    var isCalm: Bool { phase != .safety }
    /// Faults only happen in the first.
    enum Phase { case safety, healing, probing }
    var phase = Phase.safety
    var recoveries: [Recovery] = []
    var eventCount = 0

    // Statistics.
    /// The most that one edge has sent within a second.
    var framesPerSecondMost = 0
    var nextRoll = UnixTime(0)
    var lastCounterCrash: UInt64?
    var streamsPerEdge = 0
    var postponedDisasters = 0
    /// Batches since the last time that a message was repeated to see whether it changes anything.
    var batchesUnrepeated = 0

    init(_ scenario: Scenario, isTracing: Bool) {
        self.scenario = scenario
        caps = scenario.caps
        random = SplitMix(seed: scenario.seed)
        auditor = Auditor(caps: scenario.caps)
        trace = Trace(isOn: isTracing)
        blockedOut = Array(
            repeating: Array(repeating: false, count: scenario.counterCount),
            count: scenario.edgeCount)
        blockedIn = blockedOut
        observed = Set(scenario.caps.filter { $0.mode == .observe }.map(\.name))
        for index in 0..<scenario.counterCount {
            counters.append(CounterProcess(index: index, clock: drawClock()))
            startCounter(index)
        }
        for index in 0..<scenario.edgeCount {
            edges.append(EdgeProcess(index: index, clock: drawClock()))
            startEdge(index)
        }
        if scenario.quietMean < 1_000_000 {
            queue.schedule(.spell, at: 2_000 + random.within(0...10_000))
        }
        scheduleDisaster()
    }

    private func drawClock() -> SimulatedClock {
        var clock = SimulatedClock(base: scenario.startsAt * 1_000)
        guard !scenario.faults.disasters.isEmpty else { return clock }
        if random.chance(500) {
            faults.note(.clockSkewed)
            clock.offset = Int64(random.within(0...4_000)) - 2_000
        }
        if random.chance(500) {
            faults.note(.clockDrifting)
            clock.driftPPM = Int64(random.within(0...400)) - 200
        }
        return clock
    }

    // MARK: - Running

    /// Until that time, or until a promise is broken.
    func run(until end: UInt64) {
        while let next = queue.nextTime, next <= end, auditor.violation == nil {
            guard let (at, event) = queue.removeFirst() else { return }
            now = at
            eventCount += 1
            handle(event)
        }
        if auditor.violation == nil { now = max(now, end) }
    }

    private func handle(_ event: Event) {
        switch event {
        case .spell: beginSpell()
        case .request(let edge): arrive(at: edge)
        case .streams(let edge): keepStreaming(edge)
        case .finished(let edge, let life, let flight): finish(edge, life, flight)
        case .deadline(let edge, let life, let waiter): deadline(edge, life, waiter)
        case .edgeTick(let edge, let life): tickEdge(edge, life)
        case .connect(let edge, let life, let counter): connect(edge, life, counter)
        case .startEdge(let edge): startEdge(edge)
        case .edgeDrained(let edge, let life): edgeDrained(edge, life)
        case .journaled(let edge, let life, let sequence): journaled(edge, life, sequence)
        case .toCounter(let link, let frame): arrivedAtCounter(link, frame)
        case .toEdge(let link, let frame): arrivedAtEdge(link, frame)
        case .opened(let link): opened(link)
        case .closedAtCounter(let link): closedAtCounter(link)
        case .closedAtEdge(let link): closedAtEdge(link)
        case .heal(let fault, let edge, let counter): heal(fault, edge: edge, counter: counter)
        case .runCounter(let counter, let life): runCounter(counter, life)
        case .storeActs(let counter, let life, let request): storeActs(counter, life, request)
        case .storeAnswers(let counter, let life, let answer):
            storeAnswers(counter, life, answer)
        case .startCounter(let counter): startCounter(counter)
        case .adopt(let counter, let life, let version): adopt(counter, life, version)
        case .noteLimits: noteLimits()
        case .disaster: disaster()
        case .strike: strikeNow()
        case .storeBack: isStoreDown = false
        case .capRestored(let index, let cap): restore(index, cap)
        }
    }

    func schedule(_ event: Event, in delay: UInt64) { queue.schedule(event, at: now + delay) }
}

/// A node's clocks: the wall clock is off, runs at its own speed, and may step.
struct SimulatedClock {
    var base: Int64
    var offset: Int64 = 0
    var driftPPM: Int64 = 0

    func elapsed(at time: UInt64) -> UInt64 {
        UInt64(Int64(time) + Int64(time) * driftPPM / 1_000_000)
    }

    func wall(at time: UInt64) -> Int64 { base + offset + Int64(elapsed(at: time)) }
}

/// The last things that happened, for people; off unless a failure is told again.
struct Trace {
    let isOn: Bool
    private(set) var lines: [String] = []
    private static let lineCountMax = 2_000

    init(isOn: Bool) { self.isOn = isOn }

    mutating func note(_ time: UInt64, _ line: @autoclosure () -> String) {
        guard isOn else { return }
        let seconds = "\(time / 1_000).\(String(1_000 + time % 1_000).dropFirst())"
        lines.append("\(seconds)s  \(line())")
        if lines.count > 2 * Self.lineCountMax { lines.removeFirst(Self.lineCountMax) }
    }
}
