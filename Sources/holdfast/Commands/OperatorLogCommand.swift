import ArgumentParser
import Foundation

struct OperatorLogCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "operator-log",
        abstract: "What operators have changed by hand, and why, newest first.")

    @OptionGroup var options: AdminOptions

    @Option(help: "Records to show.")
    var limit = 100

    @Flag(help: "The records as JSON.")
    var json = false

    func run() async throws {
        let client = try options.client()
        let data = try await client.get("/operator-log?limit=\(max(1, limit))")
        if json { return Terminal.say(String(decoding: data, as: UTF8.self)) }
        let report: RecordReport = try client.decode(data)
        report.print()
        if report.records.isEmpty { Terminal.note("nothing has been changed by hand") }
    }
}

/// `GET /operator-log`, and what an operation answers.
struct RecordReport: Decodable {
    struct Record: Decodable {
        var at, action, account, unit, amount, reason: String
        var session: String?
    }

    var records: [Record]

    func print() {
        var table = TextTable("AT", "ACTION", "ACCOUNT", "SESSION", "GIVEN BACK", "REASON")
        for record in records {
            table.add(
                record.at, record.action, record.account, record.session ?? "-",
                record.session == nil ? "-" : money(record.amount, record.unit), record.reason)
        }
        table.print()
    }
}

/// Why an operator does something: kept with the record of it.
enum Reason {
    static let byteCountMax = 500

    static func validate(_ reason: String) throws {
        let trimmed = reason.trimmingCharacters(in: .whitespacesAndNewlines)
        guard (1...byteCountMax).contains(trimmed.utf8.count) else {
            throw ValidationError("--reason must have between 1 and \(byteCountMax) bytes")
        }
        guard trimmed.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw ValidationError("--reason must be one line of text")
        }
    }
}
