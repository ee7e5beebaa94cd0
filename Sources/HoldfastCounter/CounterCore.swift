import Foundation
import HoldfastAdmin
import HoldfastCore
package import HoldfastLedger
import HoldfastTransport
package import Logging
import Synchronization

/// The counter's one thread: hands what has arrived to `CounterEngine` as one batch, asks the store
/// what the engine wants to know, and carries out what comes back.
///
/// While a commit is under way the next batch gathers in the mailbox, so that under load one
/// `fsync` pays for many reports. Everything below `loop` runs on this thread alone.
package final class CounterCore: @unchecked Sendable {
    // Proof of Sendable: every stored `var` is touched only below `loop`, which runs on the one thread
    // that `start` makes; what other threads call posts to the mailbox or takes the lock of `trouble`.

    enum Work: Sendable {
        case connected(LeaseConnection)
        case frame(connection: ConnectionID, EdgeFrame)
        case disconnected(connection: ConnectionID)
        case policy(CounterPolicy)
        case counters([CounterNode])
        case operation(
            CounterEngine.Operation, @Sendable (CounterEngine.OperationResult) -> Void)
        /// Reads the engine; gets none when the core has stopped.
        case inspect(@Sendable (CounterEngine?) -> Void)
        case stop(@Sendable () -> Void)
    }

    /// Unique among the counters of a cluster.
    let name: String
    let store: any AccountStore
    let logger: Logger
    let metrics: CounterMetrics
    let reportBounds: ReportBounds
    private let mailbox: Mailbox<Work, ConnectionID>
    /// One reading of many accounts at a time, beside the core's thread.
    private let readers = DispatchQueue(label: "holdfast-counter-readers")
    private let onFatal: @Sendable (StoreError) -> Void
    private let trouble = Mutex<String?>(nil)
    private let pepper: [UInt8]
    private let wall: @Sendable () -> Int64
    private let startedAt = ContinuousClock.now

    private(set) var engine: CounterEngine
    private var connections: [ConnectionID: LeaseConnection] = [:]
    private var operationAnswers: [UInt64: @Sendable (CounterEngine.OperationResult) -> Void] = [:]
    private var nextOperation: UInt64 = 1
    private var isStopped = false

    /// Opens what the counter needs from the store.
    ///
    /// - Parameters:
    ///   - name: unique among the counters of a cluster.
    ///   - backlog: when edges have to wait before they may say more.
    ///   - reports: how much is read for one answer to an operator.
    ///   - wall: milliseconds since 1970.
    ///   - onFatal: the store's state is not known any more; the process must end.
    package init(
        name: String, store: any AccountStore, policy: CounterPolicy,
        settings: CounterEngine.Settings = CounterEngine.Settings(), metrics: CounterMetrics,
        logger: Logger, backlog: BacklogBounds = BacklogBounds(),
        reports: ReportBounds = ReportBounds(),
        wall: @escaping @Sendable () -> Int64 = CounterCore.systemMilliseconds,
        onFatal: @escaping @Sendable (StoreError) -> Void
    ) throws(StoreError) {
        self.name = name
        self.store = store
        self.logger = logger
        self.metrics = metrics
        self.onFatal = onFatal
        self.wall = wall
        reportBounds = reports
        mailbox = Mailbox(bounds: backlog)
        pepper = try store.secret(named: "key-pepper") {
            var generator = SystemRandomNumberGenerator()
            return (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        }
        let floor = try store.clockFloor()
        let now = max(floor, UnixTime(wall() / 1_000))
        engine = CounterEngine(
            name: name, settings: settings,
            rules: policy.rules(pepper: pepper, now: now),
            pepper: pepper, clockFloor: floor, at: .init(elapsed: 0, wall: wall()))
    }

    package func start() {
        let thread = Thread { self.loop() }
        thread.name = "holdfast-counter"
        thread.start()
    }

    /// Why the counter should not get traffic; `nil` when it may.
    package var unreadyReason: String? { trouble.withLock { $0 } }

    package func replacePolicy(_ policy: CounterPolicy) { mailbox.post(.policy(policy)) }

    /// Which counters edges are told of.
    func replaceCounters(_ nodes: [CounterNode]) { mailbox.post(.counters(nodes)) }

    /// Frames and other work that wait for the core, and about how many bytes they take.
    package var backlog: (itemCount: Int, byteCount: Int) {
        let (itemCount, weight) = mailbox.backlog
        return (itemCount, weight)
    }

    /// Does what an operator asks for, durably.
    package func perform(
        _ operation: CounterEngine.Operation
    ) async -> CounterEngine.OperationResult {
        await withCheckedContinuation { continuation in
            let receipt = mailbox.post(
                .operation(operation) { continuation.resume(returning: $0) })
            if case .closed = receipt { continuation.resume(returning: Self.stopping) }
        }
    }

    /// Runs `body` on the core's thread, between two batches. Not for the store: edges wait as long
    /// as it takes.
    func inspect<Value: Sendable>(
        _ body: @escaping @Sendable (CounterEngine) -> Value
    ) async throws(StoreError) -> Value {
        let value: Value? = await withCheckedContinuation { continuation in
            let receipt = mailbox.post(.inspect { continuation.resume(returning: $0.map(body)) })
            if case .closed = receipt { continuation.resume(returning: nil) }
        }
        guard let value else { throw .unavailable("the counter is stopping") }
        return value
    }

    /// Reads from the store beside the core's thread. Whoever reads much does it in pages, because
    /// the core's commits have to get their turn.
    func readStore<Value: Sendable>(
        _ body: @escaping @Sendable (any AccountStore) throws(StoreError) -> Value
    ) async throws(StoreError) -> Value {
        let store = store
        let result: Result<Value, StoreError> = await withCheckedContinuation { continuation in
            readers.async {
                continuation.resume(
                    returning: Result { () throws(StoreError) in try body(store) })
            }
        }
        return try result.get()
    }

    /// Answers what has arrived, then ends the thread.
    package func stop() async {
        await withCheckedContinuation { continuation in
            if case .closed = mailbox.post(.stop { continuation.resume() }) {
                continuation.resume()
            }
        }
    }

    package static let systemMilliseconds: @Sendable () -> Int64 = {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }

    // MARK: - From the event loops

    func take(_ connection: LeaseConnection) {
        if case .closed = mailbox.post(.connected(connection)) { connection.close() }
    }

    func take(_ frame: EdgeFrame, byteCount: Int, from connection: LeaseConnection) {
        let receipt = mailbox.post(
            .frame(connection: connection.id, frame), from: connection.id,
            weight: byteCount + BacklogBounds.frameOverhead)
        switch receipt {
        case .accepted: break
        case .full: connection.stopReading()
        case .closed: connection.close()
        }
    }

    func leave(_ connection: LeaseConnection) {
        mailbox.post(.disconnected(connection: connection.id))
    }

    // MARK: - Loop

    private func loop() {
        while !isStopped {
            let delivery = mailbox.takeAll(timeoutMilliseconds: timeoutMilliseconds())
            var events: [CounterEngine.Event] = []
            var afterwards: [@Sendable () -> Void] = []
            for item in delivery.items { take(item, &events, &afterwards) }
            metrics.pauses.increment(by: UInt64(delivery.stopped.count))
            for id in delivery.stopped { connections[id]?.goOn() }
            run(events)
            if isStopped {
                for item in mailbox.close() { turnAway(item) }
                for connection in connections.values { connection.close() }
                store.close()
            }
            for action in afterwards { action() }
        }
    }

    private static let stopping = CounterEngine.OperationResult.refused("the counter is stopping")

    /// What came too late to be taken, but before the mailbox was closed: somebody waits for it.
    private func turnAway(_ item: Work) {
        switch item {
        case .connected(let connection): connection.close()
        case .operation(_, let answer): answer(Self.stopping)
        case .inspect(let body): body(nil)
        case .stop(let farewell): farewell()
        case .frame, .disconnected, .policy, .counters: break
        }
    }

    private func timeoutMilliseconds() -> Int {
        let now = moment()
        return Int(clamping: max(1, min(1_000, engine.nextWake(at: now) - now.elapsed)))
    }

    private func moment() -> CounterEngine.Moment {
        let elapsed = startedAt.duration(to: .now) / .milliseconds(1)
        return .init(elapsed: UInt64(elapsed), wall: wall())
    }

    private func take(
        _ item: Work, _ events: inout [CounterEngine.Event],
        _ afterwards: inout [@Sendable () -> Void]
    ) {
        switch item {
        case .connected(let connection):
            connections[connection.id] = connection
            events.append(.connected(connection.id))
        case .frame(let id, let frame): events.append(.frame(id, frame))
        case .disconnected(let id):
            connections[id] = nil
            events.append(.disconnected(id))
        case .policy(let policy):
            events.append(.rules(policy.rules(pepper: pepper, now: engine.clock)))
        case .counters(let nodes): events.append(.counters(nodes))
        case .operation(let operation, let answer):
            operationAnswers[nextOperation] = answer
            events.append(.operation(nextOperation, operation))
            nextOperation += 1
        case .inspect(let body):
            afterwards.append { body(self.engine) }
        case .stop(let farewell):
            isStopped = true
            afterwards.append(farewell)
        }
    }

    /// One batch, from what has arrived to what is sent.
    private func run(_ events: [CounterEngine.Event]) {
        var step = engine.begin(events, at: moment())
        while true {
            switch step {
            case .ask(let request):
                let started = ContinuousClock.now
                let answer = store.answer(request)
                if case .commit = request {
                    metrics.commitLatency.observe(started.duration(to: .now))
                }
                if case .failed(.outcomeUnknown(let reason)) = answer {
                    onFatal(.outcomeUnknown(reason))
                }
                step = engine.resume(answer, at: moment())
            case .done(let outputs):
                for output in outputs { perform(output) }
                return
            }
        }
    }

    private func perform(_ output: CounterEngine.Output) {
        switch output {
        case .send(let id, let frame): connections[id]?.send(frame)
        case .close(let id): connections.removeValue(forKey: id)?.close()
        case .operationDone(let id, let result):
            operationAnswers.removeValue(forKey: id)?(result)
        case .notice(let notice):
            note(notice)
            metrics.sessions.set(Int64(engine.reachableSessions.count))
        }
    }

    func setTrouble(_ reason: String?) { trouble.withLock { $0 = reason } }
}
