import ArgumentParser
import Foundation
import HoldfastConfig
import HoldfastEgress
import NIOCore

struct SpendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "spend", abstract: "What has been spent, account by account.",
        discussion: """
            Asks the admin listener of a running 'holdfast serve' or 'holdfast counter'.
            Exit code 4 when it does not answer.
            """)

    @Option(name: [.short, .long], help: "The configuration file, for 'admin.listen'.")
    var config = "holdfast.yaml"

    @Option(help: "The counter's admin address, instead of the file's.")
    var admin: String?

    @Option(help: "Accounts to show, the most spent first.")
    var limit = 100

    @Flag(help: "The accounts as JSON.")
    var json = false

    private struct Answer: Decodable {
        struct Account: Decodable {
            var cap, scope, period, unit, mode, limit, spent, reserved, status: String
            var resets_at: String?
        }
        var accounts: [Account]
    }

    func run() async throws {
        let address: String
        if let admin {
            address = admin
        } else {
            address = try ConfigFile.load(config).adminListen.description
        }
        let bytes = try await fetch("http://\(address)/accounts?limit=\(max(1, limit))")
        if json {
            Terminal.say(String(decoding: bytes, as: UTF8.self))
            return
        }
        let answer = try JSONDecoder().decode(Answer.self, from: bytes)
        for line in Self.table(answer.accounts) { Terminal.say(line) }
        if answer.accounts.isEmpty { Terminal.note("nothing has been spent in the open periods") }
    }

    private func fetch(_ url: String) async throws -> Data {
        do {
            let egress = try Egress(threadCount: 1, bufferByteCountMax: 64 << 20)
            defer { egress.shutdown() }
            let response = try await egress.fetch(
                EgressRequest(
                    method: "GET", url: url, connectTimeout: .seconds(3),
                    idleTimeout: .seconds(10)), bodyByteCountMax: 64 << 20)
            guard response.status == 200 else {
                Terminal.note(
                    "error: \(url) answered \(response.status): "
                        + String(buffer: response.body))
                throw ExitCode(Exit.counterUnreachable)
            }
            return Data(response.body.readableBytesView)
        } catch let failure as EgressFailure {
            Terminal.note("error: no counter answers at \(url): \(failure.message)")
            throw ExitCode(Exit.counterUnreachable)
        }
    }

    private static func table(_ accounts: [Answer.Account]) -> [String] {
        guard !accounts.isEmpty else { return [] }
        var rows = [["CAP", "SCOPE", "LIMIT", "SPENT", "RESERVED", "PER", "RESETS", "STATUS"]]
        for account in accounts {
            let sign = account.unit == "usd" ? "$" : ""
            rows.append([
                account.cap, account.scope, sign + account.limit, sign + account.spent,
                sign + account.reserved, account.period, account.resets_at ?? "never",
                account.status,
            ])
        }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            zip(row, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }
                .joined(separator: "  ").trimmingCharacters(in: .whitespaces)
        }
    }
}
