import HoldfastAdmin
import Testing

@Suite struct AdminMetricTests {
    @Test func `the exposition is exact and in the order of registration`() {
        let registry = MetricRegistry()
        let spent = registry.counter("spent_usd_total", "Money spent.", scale: .nano)
        let refused = registry.counters(
            "refusals_total", "Refused requests.", labels: ["reason", "cap"])
        let open = registry.gauge("holds", "Open holds.")
        registry.gauge("limit_usd", "Limits in force.") {
            [([("cap", "team")], .nanos(500_000_000_000)), ([("cap", "key")], .nanos(1))]
        }
        spent.increment(by: 37_500_000)
        refused.with("spent", "z").increment()
        refused.with("in_flight", "a").increment(by: 2)
        refused.with("spent", "z").increment()
        open.increment(by: 3)
        open.decrement(by: 5)
        #expect(
            registry.render() == """
                # HELP spent_usd_total Money spent.
                # TYPE spent_usd_total counter
                spent_usd_total 0.0375
                # HELP refusals_total Refused requests.
                # TYPE refusals_total counter
                refusals_total{reason="in_flight",cap="a"} 2
                refusals_total{reason="spent",cap="z"} 2
                # HELP holds Open holds.
                # TYPE holds gauge
                holds -2
                # HELP limit_usd Limits in force.
                # TYPE limit_usd gauge
                limit_usd{cap="team"} 500
                limit_usd{cap="key"} 0.000000001

                """)
    }

    @Test func `a bucket holds what is at most its bound`() {
        let registry = MetricRegistry()
        let family = registry.histograms(
            "wait_seconds", "Waiting.", labels: ["phase"], bounds: [5_000_000, 1_000_000_000])
        let admit = family.with("admit")
        admit.observe(5_000_000)
        admit.observe(5_000_001)
        admit.observe(.seconds(2))
        admit.observe(.seconds(-2))
        #expect(admit.count == 4)
        #expect(
            registry.render() == """
                # HELP wait_seconds Waiting.
                # TYPE wait_seconds histogram
                wait_seconds_bucket{phase="admit",le="0.005"} 2
                wait_seconds_bucket{phase="admit",le="1"} 3
                wait_seconds_bucket{phase="admit",le="+Inf"} 4
                wait_seconds_sum{phase="admit"} 2.010000001
                wait_seconds_count{phase="admit"} 4

                """)
    }

    @Test func `integers become decimal text without rounding`() {
        check(.one, 0, "0")
        check(.one, .max, "18446744073709551615")
        check(.micro, 1, "0.000001")
        check(.micro, 2_500_000, "2.5")
        check(.nano, 0, "0")
        check(.nano, 999_999_999, "0.999999999")
        check(.nano, 1_000_000_000, "1")
        check(.nano, .max, "18446744073.709551615")
    }

    @Test func `a full family counts new combinations under other`() {
        let registry = MetricRegistry()
        let family = registry.counters("calls_total", "Calls.", labels: ["model"], seriesMax: 2)
        for model in ["a", "b", "c", "d", "a", "c"] { family.with(model).increment() }
        let text = registry.render()
        #expect(text.contains("calls_total{model=\"a\"} 2\n"))
        #expect(text.contains("calls_total{model=\"b\"} 1\n"))
        #expect(text.contains("calls_total{model=\"_other\"} 3\n"))
        #expect(!text.contains("\"c\""))
    }

    @Test func `a callback past its bound says how much it left out`() {
        let registry = MetricRegistry()
        registry.gauge("spent", "Spent.", seriesMax: 1) {
            (0..<3).map { ([("cap", "\($0)")], .signed(-$0)) }
        }
        let text = registry.render()
        #expect(text.contains("spent{cap=\"0\"} 0\n# spent: 2 series left out\n"))
        #expect(!text.contains("cap=\"1\""))
    }

    @Test func `labels and help cannot break the format`() {
        let registry = MetricRegistry()
        let family = registry.counters("odd_total", "Two\nlines \\ here.", labels: ["name"])
        family.with("a\"b\\c\nd").increment()
        #expect(
            registry.render() == """
                # HELP odd_total Two\\nlines \\\\ here.
                # TYPE odd_total counter
                odd_total{name="a\\"b\\\\c\\nd"} 1

                """)
    }

    @Test func `counting from many tasks loses nothing`() async {
        let registry = MetricRegistry()
        let family = registry.counters("hits_total", "Hits.", labels: ["task"])
        await withTaskGroup { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<1_000 { family.with("same").increment() }
                }
            }
        }
        #expect(family.with("same").value == 8_000)
    }

    private func check(
        _ scale: MetricScale, _ value: UInt64, _ text: String,
        at location: SourceLocation = #_sourceLocation
    ) {
        #expect(scale.text(value) == text, sourceLocation: location)
    }
}
