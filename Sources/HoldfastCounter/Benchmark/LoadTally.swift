import NIOCore
import Synchronization

/// What the edges of a benchmark have seen.
final class LoadTally: Sendable {
    private struct State {
        var readyCount = 0
        var entryCount = 0
        var latencies: [Int64] = []
        var failure: String?
        var isMeasuring = false
        var isOver = false
    }

    private let state = Mutex(State())

    var isOver: Bool { state.withLock { $0.isOver } }
    var readyCount: Int { state.withLock { $0.readyCount } }
    /// Why the benchmark says nothing; `nil` when all went well.
    var failure: String? { state.withLock { $0.failure } }

    func ready() { state.withLock { $0.readyCount += 1 } }

    func fail(_ reason: String) {
        state.withLock { $0.failure = $0.failure ?? reason }
    }

    /// Forgets what came before: the first reports introduce accounts.
    func startMeasuring() {
        state.withLock { state in
            state.entryCount = 0
            state.latencies = []
            state.isMeasuring = true
        }
    }

    func answered(_ entryCount: Int, in latency: TimeAmount) {
        state.withLock { state in
            guard state.isMeasuring, !state.isOver else { return }
            state.entryCount += entryCount
            state.latencies.append(latency.nanoseconds)
        }
    }

    func end() -> (entryCount: Int, latencies: [Int64]) {
        state.withLock { state in
            state.isOver = true
            return (state.entryCount, state.latencies.sorted())
        }
    }
}
