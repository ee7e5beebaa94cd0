internal import Synchronization

/// The metrics of one process, and their Prometheus text exposition (format 0.0.4).
///
/// Names are registered once, at start; registering one twice is a programming error and traps.
package final class MetricRegistry: Sendable {
    private let sections = Mutex<[any MetricSection]>([])

    package init() {}

    package func counter(
        _ name: String, _ help: String, scale: MetricScale = .one
    ) -> MetricCounter {
        counters(name, help, labels: [], scale: scale).with()
    }

    package func counters(
        _ name: String, _ help: String, labels: [String], scale: MetricScale = .one,
        seriesMax: Int = 100
    ) -> MetricFamily<MetricCounter> {
        register(
            MetricFamily(
                name: name, help: help, kind: "counter", labelNames: labels, seriesMax: seriesMax,
                make: { MetricCounter(scale: scale) }))
    }

    package func gauge(_ name: String, _ help: String) -> MetricGauge {
        gauges(name, help, labels: []).with()
    }

    package func gauges(
        _ name: String, _ help: String, labels: [String], seriesMax: Int = 100
    ) -> MetricFamily<MetricGauge> {
        register(
            MetricFamily(
                name: name, help: help, kind: "gauge", labelNames: labels, seriesMax: seriesMax,
                make: { MetricGauge() }))
    }

    package func histogram(
        _ name: String, _ help: String, bounds: [UInt64] = MetricHistogram.latencyBounds,
        scale: MetricScale = .nano
    ) -> MetricHistogram {
        histograms(name, help, labels: [], bounds: bounds, scale: scale).with()
    }

    /// - Parameter bounds: upper bounds, inclusive, rising, in `scale`.
    package func histograms(
        _ name: String, _ help: String, labels: [String],
        bounds: [UInt64] = MetricHistogram.latencyBounds, scale: MetricScale = .nano,
        seriesMax: Int = 100
    ) -> MetricFamily<MetricHistogram> {
        precondition(
            zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 },
            "the bounds of \(name) do not rise")
        precondition(!labels.contains("le"), "the label le of \(name) is taken")
        return register(
            MetricFamily(
                name: name, help: help, kind: "histogram", labelNames: labels,
                seriesMax: seriesMax, make: { MetricHistogram(bounds: bounds, scale: scale) }))
    }

    /// A gauge that is asked at each scrape.
    ///
    /// - Parameter read: the series, each with labels of its own, no two the same. The first
    ///   `seriesMax` are shown; a comment in the exposition says how many were left out.
    package func gauge(
        _ name: String, _ help: String, seriesMax: Int = 1_000,
        read: @escaping @Sendable () -> [(labels: [(String, String)], value: MetricValue)]
    ) {
        _ = register(
            MetricCallback(name: name, help: help, kind: "gauge", seriesMax: seriesMax, read: read))
    }

    /// Like `gauge(_:_:seriesMax:read:)`, for totals that something else keeps.
    package func counter(
        _ name: String, _ help: String, seriesMax: Int = 1_000,
        read: @escaping @Sendable () -> [(labels: [(String, String)], value: MetricValue)]
    ) {
        _ = register(
            MetricCallback(
                name: name, help: help, kind: "counter", seriesMax: seriesMax, read: read))
    }

    /// Everything, in the order of registration.
    package func render() -> String {
        // Callbacks run outside the lock: they may take locks of their own.
        let sections = sections.withLock { $0 }
        var out = ""
        for section in sections { section.render(to: &out) }
        return out
    }

    private func register<Section: MetricSection>(_ section: Section) -> Section {
        precondition(
            MetricText.isName(section.name), "\(section.name) is not a Prometheus metric name")
        sections.withLock { sections in
            precondition(
                !sections.contains { $0.name == section.name },
                "the metric \(section.name) is registered twice")
            sections.append(section)
        }
        return section
    }
}

/// A metric with labels: one instrument for each combination of label values, up to a bound.
///
/// The bound protects the process and whoever stores the metrics from label values that callers
/// choose. Past it, new combinations share one series whose labels are all `_other`.
package final class MetricFamily<Instrument: Sendable>: Sendable {
    fileprivate let name: String
    private let help: String
    private let kind: String
    private let labelNames: [String]
    private let seriesMax: Int
    private let make: @Sendable () -> Instrument
    private let series = Mutex<[[String]: Instrument]>([:])

    init(
        name: String, help: String, kind: String, labelNames: [String], seriesMax: Int,
        make: @escaping @Sendable () -> Instrument
    ) {
        precondition(seriesMax >= 1, "a family without series")
        precondition(
            labelNames.allSatisfy(MetricText.isLabelName), "a label of \(name) is not a label name")
        precondition(
            Set(labelNames).count == labelNames.count, "a label of \(name) is there twice")
        self.name = name
        self.help = help
        self.kind = kind
        self.labelNames = labelNames
        self.seriesMax = seriesMax
        self.make = make
    }

    /// The instrument for these label values, made when it is new. Takes a lock: hot paths look it
    /// up once and keep it.
    package func with(_ values: String...) -> Instrument {
        precondition(
            values.count == labelNames.count, "\(name) takes \(labelNames.count) label values")
        return series.withLock { series in
            if let known = series[values] { return known }
            let isFull = series.count >= seriesMax
            let key = isFull ? labelNames.map { _ in MetricText.other } : values
            if isFull, let known = series[key] { return known }
            let new = make()
            series[key] = new
            return new
        }
    }

    fileprivate func sortedSeries() -> [(labels: String, instrument: Instrument)] {
        series.withLock { $0 }
            .sorted { $0.key.lexicographicallyPrecedes($1.key) }
            .map { (MetricText.labels(Array(zip(labelNames, $0.key))), $0.value) }
    }

    fileprivate func renderHeader(to out: inout String) {
        out += MetricText.header(name: name, help: help, kind: kind)
    }
}

private protocol MetricSection: Sendable {
    var name: String { get }
    func render(to out: inout String)
}

extension MetricFamily: MetricSection where Instrument: MetricInstrument {
    fileprivate func render(to out: inout String) {
        renderHeader(to: &out)
        for (labels, instrument) in sortedSeries() {
            instrument.render(name: name, labels: labels, to: &out)
        }
    }
}

private struct MetricCallback: MetricSection {
    let name: String
    let help: String
    let kind: String
    let seriesMax: Int
    let read: @Sendable () -> [(labels: [(String, String)], value: MetricValue)]

    func render(to out: inout String) {
        out += MetricText.header(name: name, help: help, kind: kind)
        let all = read()
        for (labels, value) in all.prefix(seriesMax) {
            for (label, _) in labels {
                precondition(MetricText.isLabelName(label), "\(label) is not a label name")
            }
            out += "\(name)\(MetricText.braced(MetricText.labels(labels))) \(value.text)\n"
        }
        if all.count > seriesMax {
            out += "# \(name): \(all.count - seriesMax) series left out\n"
        }
    }
}

/// The text format's own rules.
enum MetricText {
    static let other = "_other"

    static func header(name: String, help: String, kind: String) -> String {
        "# HELP \(name) \(escapedHelp(help))\n# TYPE \(name) \(kind)\n"
    }

    static func braced(_ labels: String) -> String { labels.isEmpty ? "" : "{\(labels)}" }

    static func labels(_ pairs: [(String, String)]) -> String {
        pairs.map { "\($0)=\"\(escapedValue($1))\"" }.joined(separator: ",")
    }

    static func isName(_ text: String) -> Bool {
        isLabelName(text.replacing(":", with: "_"))
    }

    static func isLabelName(_ text: String) -> Bool {
        guard let first = text.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9") ~= first)
        else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
    }

    private static func escapedHelp(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
    }

    private static func escapedValue(_ text: String) -> String {
        escapedHelp(text).replacing("\"", with: "\\\"")
    }
}
