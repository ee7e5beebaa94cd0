/// Hands out the steps of an answer when they are due.
///
/// Steps that fall due within `interval` come together, so that many streams cost few wake-ups.
struct FakePacer {
    private static let stepsAtOnceMax = 256

    private let stepCount: Int
    private let delayNanoseconds: Int64
    private let intervalNanoseconds: Int64
    private let start = ContinuousClock.now
    private var done = 0
    /// From `start`; the first step does not wait for the interval.
    private var notBeforeNanoseconds: Int64 = 0

    init(stepCount: Int, delay: Duration, interval: Duration) {
        self.stepCount = stepCount
        delayNanoseconds = Self.nanoseconds(delay)
        intervalNanoseconds = Self.nanoseconds(interval)
    }

    /// `nil` after the last step. Throws when the task is cancelled.
    mutating func next() async throws -> Range<Int>? {
        try Task.checkCancellation()
        guard done < stepCount else { return nil }
        guard delayNanoseconds > 0 else {
            return take(upTo: stepCount)
        }
        let due = max(Int64(done + 1) * delayNanoseconds, notBeforeNanoseconds)
        var elapsed = Self.nanoseconds(start.duration(to: .now))
        if elapsed < due {
            try await Task.sleep(until: start + .nanoseconds(due), clock: .continuous)
            elapsed = max(due, Self.nanoseconds(start.duration(to: .now)))
        }
        notBeforeNanoseconds = elapsed + intervalNanoseconds
        return take(upTo: Int(min(elapsed / delayNanoseconds, Int64(stepCount))))
    }

    private mutating func take(upTo due: Int) -> Range<Int> {
        let end = min(max(due, done + 1), done + Self.stepsAtOnceMax, stepCount)
        defer { done = end }
        return done..<end
    }

    private static func nanoseconds(_ duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}
