package import HoldfastAdmin

/// What an edge counts. Names are part of the product; dashboards are built on them.
package struct EdgeMetrics: Sendable {
    let requests: MetricFamily<MetricCounter>
    let refusals: MetricFamily<MetricCounter>
    let wouldRefuse: MetricFamily<MetricCounter>
    let fallbacks: MetricFamily<MetricCounter>
    let spend: MetricFamily<MetricCounter>
    let overruns: MetricCounter
    let overrunUSD: MetricCounter
    let settlements: MetricFamily<MetricCounter>
    let clamps: MetricCounter
    let priceMissing: MetricCounter
    let decidedLocally: MetricCounter
    let decidedAfterWaiting: MetricCounter
    let decision: MetricHistogram
    let wait: MetricHistogram
    let upstream: MetricHistogram
    let firstByte: MetricHistogram
    let recalls: MetricCounter
    let rejections: MetricFamily<MetricCounter>
    let counterUp: MetricGauge
    let connections: MetricGauge
    let inFlight: MetricGauge
    let slowCallers: MetricCounter
    let journalWrites: MetricCounter
    let journalWrite: MetricHistogram
    let journalFailures: MetricCounter
    let journalRecovered: MetricFamily<MetricCounter>

    package init(_ registry: MetricRegistry) {
        requests = registry.counters(
            "holdfast_requests_total", "Requests by what became of them.",
            labels: ["provider", "model", "outcome"], seriesMax: 1_000)
        refusals = registry.counters(
            "holdfast_refusals_total", "Requests refused before the provider was called.",
            labels: ["reason"])
        wouldRefuse = registry.counters(
            "holdfast_would_refuse_total", "Requests that a cap in observe mode would refuse.",
            labels: ["cap"])
        fallbacks = registry.counters(
            "holdfast_fallbacks_total", "Requests for which another model was tried.",
            labels: ["cap"])
        spend = registry.counters(
            "holdfast_spend_usd_total", "Dollars charged.", labels: ["provider", "model"],
            scale: .nano, seriesMax: 1_000)
        overruns = registry.counter(
            "holdfast_overruns_total", "Requests that cost more than their hold.")
        overrunUSD = registry.counter(
            "holdfast_overrun_usd_total",
            "Dollars charged beyond holds. Page on any increase.", scale: .nano)
        settlements = registry.counters(
            "holdfast_settlements_total", "Holds settled, by what the charge is based on.",
            labels: ["basis"])
        clamps = registry.counter(
            "holdfast_clamps_total", "Requests whose output limit was lowered to fit a cap.")
        priceMissing = registry.counter(
            "holdfast_price_missing_total", "Requests refused because the price is not known.")
        let admissions = registry.counters(
            "holdfast_admissions_total",
            "Decisions about budget: at once from what the edge has, or after waiting for more.",
            labels: ["decided"])
        decidedLocally = admissions.with("locally")
        decidedAfterWaiting = admissions.with("after_waiting")
        decision = registry.histogram(
            "holdfast_decision_seconds",
            "Time of the decision on a parsed request, without waiting for budget.",
            bounds: [500, 1_000, 2_000, 3_000, 5_000, 10_000, 25_000, 100_000, 1_000_000])
        wait = registry.histogram(
            "holdfast_budget_wait_seconds", "Time that requests waited for budget.")
        upstream = registry.histogram(
            "holdfast_upstream_seconds", "Time from sending a request to its last byte.")
        firstByte = registry.histogram(
            "holdfast_upstream_first_byte_seconds", "Time from sending a request to its head.")
        recalls = registry.counter(
            "holdfast_recalls_total", "Times that the counter asked for idle budget.")
        rejections = registry.counters(
            "holdfast_lease_rejections_total", "What the counter refused of this edge.",
            labels: ["reason"])
        counterUp = registry.gauge(
            "holdfast_counter_up", "Whether a counter is connected.")
        connections = registry.gauge(
            "holdfast_downstream_connections", "Open connections of callers.")
        inFlight = registry.gauge(
            "holdfast_requests_in_flight", "Requests begun and not yet settled.")
        slowCallers = registry.counter(
            "holdfast_downstream_timeouts_total",
            "Connections closed because a request did not arrive in time.")
        journalWrites = registry.counter(
            "holdfast_journal_writes_total", "Times that the journal was written to disk.")
        journalWrite = registry.histogram(
            "holdfast_journal_write_seconds", "Time until the disk had confirmed a write.")
        journalFailures = registry.counter(
            "holdfast_journal_failures_total",
            "Writes of the journal that failed. Page on any increase.")
        journalRecovered = registry.counters(
            "holdfast_journal_recovered_accounts_total",
            "Accounts in the journals of earlier lives, by what became of them.",
            labels: ["outcome"])
    }
}
