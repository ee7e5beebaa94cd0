import ArgumentParser
import Foundation

struct AccountsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "accounts", abstract: "Accounts that grant nothing until somebody has looked.",
        discussion: """
            An account is frozen when an edge says that it was granted more than the store knows: \
            the store has lost a write, and what else it lost cannot be known from there.
            """,
        subcommands: [AccountsFrozenCommand.self, AccountsUnfreezeCommand.self])
}

struct AccountsFrozenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "frozen", abstract: "The accounts that are frozen.")

    @OptionGroup var options: AdminOptions

    @Flag(help: "The accounts as JSON.")
    var json = false

    func run() async throws {
        let client = try options.client()
        let data = try await client.get("/accounts?status=frozen")
        if json { return Terminal.say(String(decoding: data, as: UTF8.self)) }
        let report: AccountReport = try client.decode(data)
        var table = TextTable("ACCOUNT", "CAP", "SCOPE", "LIMIT", "SPENT", "OUTSTANDING")
        for account in report.accounts {
            table.add(
                account.account, account.cap, account.scope, money(account.limit, account.unit),
                money(account.spent, account.unit), money(account.outstanding, account.unit))
        }
        table.print()
        report.noteWhatIsMissing()
        if report.accounts.isEmpty { Terminal.note("no account of an open period is frozen") }
    }
}

struct AccountsUnfreezeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unfreeze", abstract: "Lets a frozen account grant again.",
        discussion: """
            First find out what the store has lost, and compare with the provider's bill: what was \
            spent and is not known here can be spent again. Recorded with the reason, see \
            'holdfast operator-log'.

            Example: holdfast accounts unfreeze 'acme|usd|day|20778' --reason "disk replaced"
            """)

    @OptionGroup var options: AdminOptions

    @Argument(help: "The account, as 'holdfast accounts frozen' shows it; quote it.")
    var account: String

    @Option(help: "Why; kept with the record. At most 500 bytes.")
    var reason: String

    @Flag(help: "The record as JSON.")
    var json = false

    func validate() throws { try Reason.validate(reason) }

    private struct Request: Encodable {
        var account, reason: String
    }

    func run() async throws {
        let (data, done) = try await options.clientWithToken().post(
            "/accounts/unfreeze", Request(account: account, reason: reason),
            as: RecordReport.self)
        if json { return Terminal.say(String(decoding: data, as: UTF8.self)) }
        done.print()
    }
}
