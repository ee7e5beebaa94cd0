import HoldfastCore
import Synchronization

/// The counters' clock as far as this edge can tell: never ahead of it, and never going back by
/// itself.
///
/// The counter's time at the moment a frame was sent is a lower bound at the moment it arrives, and
/// goes on with this machine's boot-time clock, which also counts while it is suspended.
final class CounterTime: Sendable {
    private struct State {
        var offsetMilliseconds: Int64?
        var latestMilliseconds: Int64 = 0
    }

    private let start = ContinuousClock.now
    private let state = Mutex(State())

    /// Since this object was made.
    func elapsedMilliseconds() -> Int64 {
        let (seconds, attoseconds) = start.duration(to: .now).components
        return seconds * 1_000 + attoseconds / 1_000_000_000_000_000
    }

    func observe(counterTimeMilliseconds: Int64) {
        let elapsed = elapsedMilliseconds()
        state.withLock { $0.offsetMilliseconds = counterTimeMilliseconds - elapsed }
    }

    /// Going back by more than this is no jitter: a counter whose clock was ahead is gone, and the
    /// others do not know of the periods that it named.
    private static let correctionMilliseconds: Int64 = 2_000

    /// `nil` before a counter has been heard.
    func now() -> UnixTime? {
        let elapsed = elapsedMilliseconds()
        return state.withLock { state in
            guard let offset = state.offsetMilliseconds else { return nil }
            let estimate = offset + elapsed
            let isCorrection = estimate < state.latestMilliseconds - Self.correctionMilliseconds
            if isCorrection || estimate > state.latestMilliseconds {
                state.latestMilliseconds = estimate
            }
            return UnixTime(state.latestMilliseconds / 1_000)
        }
    }
}
