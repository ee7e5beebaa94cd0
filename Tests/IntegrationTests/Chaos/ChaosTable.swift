import Foundation
import Synchronization

/// What became of one scenario.
struct ChaosRow: Sendable {
    var name: String
    var tally = ChaosLoad.Tally()
    var billNanoUSD: UInt64 = 0
    var capNanoUSD: UInt64 = 1
    /// Requests served between the fault and its end.
    var servedMeanwhile = 0
    var recovery: Duration?
    var frozen = 0
    /// Presumed spent beyond the bill, for edges that were killed; `nil` where none was.
    var strandedNanoUSD: UInt64?
    var problems: [String] = []

    fileprivate var cells: [String] {
        [
            name, "\(tally.served)", "\(tally.spentCap)", "\(tally.busy)", "\(tally.unavailable)",
            "\(tally.broken)", "\(servedMeanwhile)", Self.percent(billNanoUSD, of: capNanoUSD),
            Self.dollars(Int64(billNanoUSD) - Int64(capNanoUSD)),
            tally.longestGap.milliseconds, recovery?.milliseconds ?? "none", "\(frozen)",
            strandedNanoUSD.map { Self.dollars(Int64($0)) } ?? "–",
            problems.isEmpty ? "yes" : "**NO**",
        ]
    }

    fileprivate static let titles = [
        "scenario", "served", "402", "429", "503", "broken", "served meanwhile", "billed of cap",
        "overshoot $", "longest gap ms", "recovery ms", "frozen", "stranded $", "held",
    ]

    /// Rounded down: what is short of the cap must not look as if it were not.
    private static func percent(_ part: UInt64, of whole: UInt64) -> String {
        let thousandths = part * 1_000 / (whole / 100)
        return "\(thousandths / 1_000)."
            + String(String(1_000 + thousandths % 1_000).dropFirst()) + " %"
    }

    private static func dollars(_ nanoUSD: Int64) -> String {
        let value = nanoUSD.magnitude
        let decimals = String(String(1_000_000_000 + value % 1_000_000_000).dropFirst())
        return (nanoUSD < 0 ? "−" : "") + "\(value / 1_000_000_000).\(decimals)"
    }
}

extension Duration {
    /// Whole ones, rounded up.
    var milliseconds: String { String(Int((self / .milliseconds(1)).rounded(.up))) }
}

/// The rows so far, and lines that say what else was measured.
enum ChaosTable {
    private struct Content {
        var rows: [ChaosRow] = []
        var notes: [String] = []
    }

    private static let content = Mutex(Content())

    static func add(_ row: ChaosRow) throws {
        try add { $0.rows.append(row) }
        print("chaos: " + row.cells.joined(separator: " | "))
    }

    static func add(note: String) throws {
        try add { $0.notes.append(note) }
        print("chaos: \(note)")
    }

    /// Written each time: a run that is broken off has a table, too.
    private static func add(_ change: (inout Content) -> Void) throws {
        let markdown = content.withLock { content in
            change(&content)
            return render(content)
        }
        guard let path = ChaosSettings.tablePath else { return }
        try Data(markdown.utf8).write(to: URL(fileURLWithPath: path))
    }

    private static func render(_ content: Content) -> String {
        var lines: [String] = []
        if !content.rows.isEmpty {
            let rows = [ChaosRow.titles] + content.rows.map(\.cells)
            let widths = ChaosRow.titles.indices.map { column in
                rows.map { $0[column].count }.max() ?? 0
            }
            lines = rows.map { row($0, widths) }
            let rule = widths.enumerated().map { index, width in
                index == 0
                    ? String(repeating: "-", count: width)
                    : String(repeating: "-", count: width - 1) + ":"
            }
            lines.insert(row(rule, widths), at: 1)
        }
        if !content.notes.isEmpty {
            if !lines.isEmpty { lines.append("") }
            lines += content.notes.map { "* \($0)" }
        }
        return lines.map { $0 + "\n" }.joined()
    }

    private static func row(_ cells: [String], _ widths: [Int]) -> String {
        let padded = zip(cells, widths).enumerated().map { index, pair in
            let space = String(repeating: " ", count: pair.1 - pair.0.count)
            return index == 0 ? pair.0 + space : space + pair.0
        }
        return "| " + padded.joined(separator: " | ") + " |"
    }
}
