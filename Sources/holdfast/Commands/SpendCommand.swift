import ArgumentParser
import Foundation

struct SpendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "spend", abstract: "What has been spent, account by account.",
        discussion: """
            Asks the admin listener of a running 'holdfast serve' or 'holdfast counter'.
            Exit code 4 when it does not answer.
            """)

    @OptionGroup var options: AdminOptions

    @Option(help: "Accounts to show, the most spent first.")
    var limit = 100

    @Flag(help: "The accounts as JSON.")
    var json = false

    func run() async throws {
        let client = try options.client()
        let data = try await client.get("/accounts?limit=\(max(1, limit))")
        if json {
            Terminal.say(String(decoding: data, as: UTF8.self))
            return
        }
        let report: AccountReport = try client.decode(data)
        report.print()
        if report.accounts.isEmpty { Terminal.note("nothing has been spent in the open periods") }
    }
}

/// `GET /accounts`.
struct AccountReport: Decodable {
    struct Account: Decodable {
        var account, cap, scope, period, unit, mode, limit, spent, outstanding, status: String
        var resets_at: String?

        var statusForPeople: String {
            status == "pending"
                ? "pending: lowered limit, \(money(outstanding, unit)) outstanding" : status
        }
    }

    var accounts: [Account]
    var left_out: Int
    var is_complete: Bool
    var accounts_read: Int

    func print() {
        var table = TextTable(
            "CAP", "SCOPE", "LIMIT", "SPENT", "OUTSTANDING", "PER", "RESETS", "STATUS")
        for account in accounts {
            table.add(
                account.cap, account.scope, money(account.limit, account.unit),
                money(account.spent, account.unit), money(account.outstanding, account.unit),
                account.period, account.resets_at ?? "never", account.statusForPeople)
        }
        table.print()
        noteWhatIsMissing()
    }

    func noteWhatIsMissing() {
        if left_out > 0 {
            Terminal.note("\(left_out) more accounts; --limit shows up to 1000")
        }
        if !is_complete {
            Terminal.note(
                "warning: only the first \(accounts_read) accounts of the store were looked at; "
                    + "there are more")
        }
    }
}

/// An amount as the counter writes it, with the sign of its unit.
func money(_ amount: String, _ unit: String) -> String { unit == "usd" ? "$" + amount : amount }
