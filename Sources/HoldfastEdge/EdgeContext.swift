import Glibc
import HoldfastAdmin
import HoldfastCore
import HoldfastEgress
import HoldfastProviders
import Logging
import Synchronization

/// What all requests of one edge share.
final class EdgeContext: Sendable {
    let settings: EdgeSettings
    let routing: Routing
    let policy: PolicyBox
    let clock: CounterTime
    let table: LeaseTable
    let keys: KeyDirectory
    let leases: LeaseClient
    let egress: Egress
    let metrics: EdgeMetrics
    let logger: Logger
    /// Lower-case names of the headers that set scope values.
    let scopeHeaders: [(name: String, dimension: ScopeHeader)]
    private let draining = Atomic<Bool>(false)
    private let unwritten = Atomic<Int>(0)
    private let inFlight = Atomic<Int>(0)
    private let largeBodiesByteCount = Atomic<Int>(0)

    init(
        settings: EdgeSettings, policy: PolicyBox, clock: CounterTime, table: LeaseTable,
        keys: KeyDirectory, leases: LeaseClient, egress: Egress, metrics: EdgeMetrics,
        logger: Logger
    ) {
        self.settings = settings
        routing = Routing(settings.providers)
        self.policy = policy
        self.clock = clock
        self.table = table
        self.keys = keys
        self.leases = leases
        self.egress = egress
        self.metrics = metrics
        self.logger = logger
        scopeHeaders = ScopeHeader.all(settings.scopeHeaders)
    }

    /// Seconds since 1970, for signatures: the counter's time, which is the cluster's, where it is
    /// known.
    func wallClock() -> Int64 {
        clock.now()?.seconds ?? Int64(time(nil))
    }

    /// Takes memory for request bodies; `false` when there is not so much left. Bodies come before
    /// keys are checked, so without a bound anybody could fill the memory.
    func reserveBodyBytes(_ count: Int) -> Bool {
        let total = largeBodiesByteCount.wrappingAdd(count, ordering: .relaxed).newValue
        guard total > settings.largeBodiesByteCountMax else { return true }
        releaseBodyBytes(count)
        return false
    }

    func releaseBodyBytes(_ count: Int) {
        largeBodiesByteCount.wrappingSubtract(count, ordering: .relaxed)
    }

    var isDraining: Bool { draining.load(ordering: .acquiring) }

    func startDraining() { draining.store(true, ordering: .releasing) }

    /// Responses that are complete here and not yet at their callers.
    var unwrittenCount: Int { unwritten.load(ordering: .acquiring) }

    func responseQueued() { unwritten.wrappingAdd(1, ordering: .acquiringAndReleasing) }

    func responseWritten() { unwritten.wrappingSubtract(1, ordering: .acquiringAndReleasing) }

    /// Requests that have begun and are not settled and recorded yet.
    var inFlightCount: Int { inFlight.load(ordering: .acquiring) }

    func began() {
        inFlight.wrappingAdd(1, ordering: .acquiringAndReleasing)
        metrics.inFlight.increment()
    }

    func ended() {
        inFlight.wrappingSubtract(1, ordering: .acquiringAndReleasing)
        metrics.inFlight.decrement()
    }
}
