internal import Synchronization

/// Only goes up. Safe to call from anywhere; takes no lock.
package final class MetricCounter: MetricInstrument {
    private let total = Atomic<UInt64>(0)
    private let scale: MetricScale

    init(scale: MetricScale) {
        self.scale = scale
    }

    package var value: UInt64 { total.load(ordering: .relaxed) }

    /// - Parameter amount: in the scale that the family was made with.
    package func increment(by amount: UInt64 = 1) {
        // Wraps like every Prometheus counter may: `rate` takes it for a restart.
        total.wrappingAdd(amount, ordering: .relaxed)
    }

    func render(name: String, labels: String, to out: inout String) {
        out += "\(name)\(MetricText.braced(labels)) \(scale.text(value))\n"
    }
}

/// Goes up and down. Safe to call from anywhere; takes no lock.
package final class MetricGauge: MetricInstrument {
    private let current = Atomic<Int64>(0)

    init() {}

    package var value: Int64 { current.load(ordering: .relaxed) }

    package func set(_ value: Int64) {
        current.store(value, ordering: .relaxed)
    }

    package func increment(by amount: Int64 = 1) {
        current.wrappingAdd(amount, ordering: .relaxed)
    }

    package func decrement(by amount: Int64 = 1) {
        current.wrappingSubtract(amount, ordering: .relaxed)
    }

    func render(name: String, labels: String, to out: inout String) {
        out += "\(name)\(MetricText.braced(labels)) \(value)\n"
    }
}

/// Counts observations in buckets with fixed bounds. Safe to call from anywhere; takes no lock.
package final class MetricHistogram: MetricInstrument {
    /// Bounds in nanoseconds from 100 µs to 100 s, for the latency of requests and of commits.
    package static let latencyBounds: [UInt64] = [
        100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000,
        50_000_000, 100_000_000, 250_000_000, 500_000_000, 1_000_000_000, 2_500_000_000,
        5_000_000_000, 10_000_000_000, 30_000_000_000, 100_000_000_000,
    ]

    private let bounds: [UInt64]
    private let scale: MetricScale
    private let buckets: [AtomicCount]
    private let sum = Atomic<UInt64>(0)

    init(bounds: [UInt64], scale: MetricScale) {
        self.bounds = bounds
        self.scale = scale
        buckets = (0...bounds.count).map { _ in AtomicCount() }
    }

    package var count: UInt64 { buckets.reduce(0) { $0 &+ $1.load() } }

    /// - Parameter value: in the unit of the bounds.
    package func observe(_ value: UInt64) {
        var index = 0
        // Bounds are few and most observations are small.
        while index < bounds.count, value > bounds[index] { index += 1 }
        buckets[index].add(1)
        sum.wrappingAdd(value, ordering: .relaxed)
    }

    /// Only for a histogram in nanoseconds; a negative duration counts as zero.
    package func observe(_ duration: Duration) {
        precondition(scale == .nano, "a duration in a histogram that is not in nanoseconds")
        let (seconds, attoseconds) = duration.components
        guard duration >= .zero else { return observe(0) }
        let (whole, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        observe(overflow ? .max : whole &+ UInt64(attoseconds / 1_000_000_000))
    }

    /// The count is the sum of the buckets that were read, so a scrape never shows a count that
    /// disagrees with its own `+Inf` bucket. The sum may be an observation ahead or behind.
    func render(name: String, labels: String, to out: inout String) {
        let prefix = labels.isEmpty ? "" : labels + ","
        var cumulative: UInt64 = 0
        for (index, bound) in bounds.enumerated() {
            cumulative &+= buckets[index].load()
            out += "\(name)_bucket{\(prefix)le=\"\(scale.text(bound))\"} \(cumulative)\n"
        }
        cumulative &+= buckets[bounds.count].load()
        out += "\(name)_bucket{\(prefix)le=\"+Inf\"} \(cumulative)\n"
        let total = sum.load(ordering: .relaxed)
        out += "\(name)_sum\(MetricText.braced(labels)) \(scale.text(total))\n"
        out += "\(name)_count\(MetricText.braced(labels)) \(cumulative)\n"
    }
}

/// An atomic in an array needs a reference around it.
private final class AtomicCount: Sendable {
    private let value = Atomic<UInt64>(0)

    func add(_ amount: UInt64) {
        value.wrappingAdd(amount, ordering: .relaxed)
    }

    func load() -> UInt64 { value.load(ordering: .relaxed) }
}

protocol MetricInstrument: AnyObject, Sendable {
    /// - Parameter labels: `a="b",c="d"`, escaped, without braces; may be empty.
    func render(name: String, labels: String, to out: inout String)
}
