import ArgumentParser
import Foundation

struct SessionsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sessions",
        abstract: "Edges, what is in their hands, and refunds of dead ones.",
        subcommands: [SessionsListCommand.self, SessionsRefundCommand.self],
        defaultSubcommand: SessionsListCommand.self)
}

struct SessionsListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Sessions and what each may still spend.",
        discussion: """
            A session is one life of one edge. States: connected; away, for less than a lease's \
            lifetime; lost, so that what it holds counts as spent; closed. Only accounts of open \
            periods are shown.
            """)

    @OptionGroup var options: AdminOptions

    @Flag(help: "Also accounts in which nothing is outstanding.")
    var all = false

    @Flag(help: "All of it as JSON.")
    var json = false

    func run() async throws {
        let client = try options.client()
        let data = try await client.get("/sessions")
        if json {
            Terminal.say(String(decoding: data, as: UTF8.self))
            return
        }
        let report: SessionReport = try client.decode(data)
        report.print(all: all)
        if report.sessions.isEmpty { Terminal.note("there is no session") }
    }
}

struct SessionsRefundCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "refund", abstract: "Gives back what a dead edge was presumed to have spent.",
        discussion: """
            Only when the edge's process is gone for good, and with it every response that it was \
            streaming. One that is cut off and still runs could spend the same money again. The \
            session is closed by it. Recorded with the reason, see 'holdfast operator-log'.

            Example: holdfast sessions refund 4294967297 --reason "node-7 was scrapped"
            """)

    @OptionGroup var options: AdminOptions

    @Argument(help: "The session, as 'holdfast sessions' shows it.")
    var session: UInt64

    @Option(help: "Why; kept with the refund. At most 500 bytes.")
    var reason: String

    @Option(help: "Only this account, as 'holdfast sessions --json' shows it; may be repeated.")
    var account: [String] = []

    @Flag(help: "Do not ask.")
    var yes = false

    @Flag(help: "The records as JSON.")
    var json = false

    func validate() throws { try Reason.validate(reason) }

    private struct Request: Encodable {
        var session, reason: String
        var accounts: [String]?
    }

    func run() async throws {
        let client = try options.clientWithToken()
        let report = try await client.get("/sessions?session=\(session)", as: SessionReport.self)
        guard let found = report.sessions.first else {
            Terminal.note("error: the store never issued session \(session)")
            throw ExitCode(Exit.failure)
        }
        try explain(found, report)
        if !yes { try Terminal.confirm("Refund session \(session)?", flag: "--yes") }
        let request = Request(
            session: String(session), reason: reason, accounts: account.isEmpty ? nil : account)
        let (data, done) = try await client.post(
            "/sessions/refund", request, as: RecordReport.self)
        if json { return Terminal.say(String(decoding: data, as: UTF8.self)) }
        done.print()
    }

    /// What would come back, and what it means. To standard error: it is no data.
    private func explain(_ found: SessionReport.Session, _ report: SessionReport) throws {
        var selected = found.accounts
        if !account.isEmpty {
            selected = selected.filter { account.contains($0.account) }
            let known = selected.map(\.account)
            if let unknown = account.first(where: { !known.contains($0) }) {
                Terminal.note(
                    "error: session \(session) has nothing in account "
                        + TextTable.printable(unknown))
                throw ExitCode(Exit.failure)
            }
        }
        selected = selected.filter(\.isOutstanding)
        guard !selected.isEmpty else {
            Terminal.note("error: session \(session) has nothing to give back")
            throw ExitCode(Exit.failure)
        }
        Terminal.note(
            TextTable.printable(
                "session \(found.id) of edge \(found.edge): \(found.state), last seen "
                    + found.seen_at))
        var table = TextTable("CAP", "SCOPE", "SPENT", "COMES BACK")
        for line in selected {
            table.add(
                line.cap, line.scope ?? line.account, money(line.spent, line.unit),
                money(line.outstanding, line.unit))
        }
        for line in table.lines { Terminal.note(line) }
        report.noteWhatIsMissing()
        Terminal.note(
            """
            This is right only if the edge's process is gone for good. If it is cut off and still \
            runs, it can spend this money a second time, and the provider bills both. The session \
            is closed: the edge cannot go on with it.
            """)
    }
}

/// `GET /sessions`.
struct SessionReport: Decodable {
    struct Line: Decodable {
        var account, cap, unit, granted, released, spent, outstanding: String
        var scope: String?

        var isOutstanding: Bool { outstanding.contains { $0 != "0" && $0 != "." } }
    }

    struct Session: Decodable {
        var id, edge, state, opened_at, seen_at: String
        var closed_at: String?
        var accounts: [Line]
    }

    var sessions: [Session]
    var is_complete: Bool
    var accounts_read: Int

    func print(all: Bool) {
        var table = TextTable(
            "SESSION", "EDGE", "STATE", "SEEN", "CAP", "SCOPE", "GRANTED", "RELEASED", "SPENT",
            "OUTSTANDING")
        var hiddenCount = 0
        for session in sessions {
            let lines = session.accounts.filter { all || $0.isOutstanding }
            hiddenCount += session.accounts.count - lines.count
            for line in lines {
                table.add(
                    session.id, session.edge, session.state, session.seen_at, line.cap,
                    line.scope ?? line.account, money(line.granted, line.unit),
                    money(line.released, line.unit), money(line.spent, line.unit),
                    money(line.outstanding, line.unit))
            }
            // A closed session of which nothing is outstanding is history.
            guard lines.isEmpty, all || session.state != "closed" else { continue }
            table.add(
                session.id, session.edge, session.state, session.seen_at, "-", "-", "-", "-", "-",
                "-")
        }
        table.print()
        if hiddenCount > 0 {
            Terminal.note("\(hiddenCount) with nothing outstanding are left out; --all shows them")
        }
        noteWhatIsMissing()
    }

    func noteWhatIsMissing() {
        guard !is_complete else { return }
        Terminal.note(
            "warning: only the first \(accounts_read) accounts of the store were looked at; there "
                + "is more")
    }
}
