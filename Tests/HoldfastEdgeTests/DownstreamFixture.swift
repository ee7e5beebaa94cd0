import HoldfastAdmin
import HoldfastCore
import HoldfastEgress
import Logging
import NIOCore
import Synchronization

@testable import HoldfastEdge

/// What a listener needs of an edge, on a loop that the test turns. No counter: keys are answered by
/// hand.
final class EdgeWithoutCounter: Sendable {
    let keys: KeyDirectory
    let context: EdgeContext
    let registry = MetricRegistry()
    private let asked = Mutex<[UInt64]>([])

    init(loop: any EventLoop, _ change: (inout EdgeSettings) -> Void = { _ in }) throws {
        var settings = EdgeSettings(nodeName: "test", host: "127.0.0.1", port: 0)
        change(&settings)
        let clock = CounterTime()
        let keys = KeyDirectory(clock: clock)
        let table = LeaseTable(
            nodeName: "test", newAccountsPerMinuteMax: 10, clock: clock)
        let policy = PolicyBox()
        let metrics = EdgeMetrics(registry)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let client = LeaseClient(
            addresses: [.init(host: "127.0.0.1", port: 1)], table: table,
            clock: clock, keys: keys, policy: policy, metrics: metrics,
            loop: loop, logger: logger)
        self.keys = keys
        context = EdgeContext(
            settings: settings, policy: policy, clock: clock, table: table, keys: keys,
            leases: client, egress: try Egress(threadCount: 1, bufferByteCountMax: 1_000),
            metrics: metrics, logger: logger)
        keys.connected(pepper: [1])
        keys.onMiss { request, _ in
            self.asked.withLock { $0.append(request) }
            return true
        }
    }

    deinit { context.egress.shutdown() }

    var questionCount: Int { asked.withLock { $0.count } }

    /// The counter knows none of the keys that were asked for so far.
    func answerUnknown() {
        let requests = asked.withLock { requests in
            defer { requests = [] }
            return requests
        }
        for request in requests { keys.answer(request, nil) }
    }
}
