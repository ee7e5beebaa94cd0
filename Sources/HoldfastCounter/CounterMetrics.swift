package import HoldfastAdmin

/// What a counter counts. Names are part of the product; dashboards are built on them.
package struct CounterMetrics: Sendable {
    let sessions: MetricGauge
    let reports: MetricCounter
    let rejections: MetricFamily<MetricCounter>
    let wireFailures: MetricFamily<MetricCounter>
    let recalls: MetricCounter
    let recallTimeouts: MetricCounter
    let commits: MetricCounter
    let accountWrites: MetricCounter
    let conflicts: MetricCounter
    let storeFailures: MetricCounter
    let frozenAccounts: MetricCounter
    let learningRounds: MetricCounter
    let deadSessions: MetricCounter
    let pauses: MetricCounter
    let commitLatency: MetricHistogram

    package init(_ registry: MetricRegistry) {
        sessions = registry.gauge(
            "holdfast_counter_sessions", "Edges connected to this counter.")
        reports = registry.counter(
            "holdfast_counter_report_entries_total", "Account reports taken from edges.")
        rejections = registry.counters(
            "holdfast_counter_rejections_total",
            "Connections and report entries that were refused.", labels: ["reason"])
        wireFailures = registry.counters(
            "holdfast_counter_wire_errors_total", "Connections closed for bytes that are no frame.",
            labels: ["error"])
        recalls = registry.counter(
            "holdfast_counter_recalls_total", "Requests to an edge to give idle budget back.")
        recallTimeouts = registry.counter(
            "holdfast_counter_recall_timeouts_total", "Recalls that a holder did not answer.")
        commits = registry.counter(
            "holdfast_counter_commits_total", "Store transactions.")
        accountWrites = registry.counter(
            "holdfast_counter_account_writes_total", "Accounts written.")
        conflicts = registry.counter(
            "holdfast_counter_conflicts_total",
            "Accounts that another counter had written first.")
        storeFailures = registry.counter(
            "holdfast_counter_store_failures_total", "Store calls that failed.")
        frozenAccounts = registry.counter(
            "holdfast_counter_frozen_accounts_total",
            "Accounts frozen because the store lost a write. Page on any increase.")
        learningRounds = registry.counter(
            "holdfast_counter_learning_total",
            "Times that the store may have lost writes and nothing was granted for a while.")
        deadSessions = registry.counter(
            "holdfast_counter_dead_sessions_total",
            "Sessions closed because no counter had seen them for long.")
        pauses = registry.counter(
            "holdfast_counter_pauses_total",
            "Times that an edge was not read from because the store was behind.")
        commitLatency = registry.histogram(
            "holdfast_counter_commit_seconds", "Time of one store transaction.")
    }
}
