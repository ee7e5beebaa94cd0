private import CPostgres
import Glibc
import Synchronization

/// One connection to the writable server of a PostgreSQL cluster.
///
/// Statements are prepared once and sent as a pipeline: a whole transaction is one round trip.
/// Nothing is ever cancelled: a cancelled wait for the synchronous standby makes a commit visible
/// that the standby does not have.
final class PostgresConnection: @unchecked Sendable {
    // Proof of Sendable: `PostgresPool` hands it to one thread at a time.

    struct Command {
        var statement: PostgresStatement
        var parameters = PostgresParameters()
    }

    enum Failure: Error {
        /// The server refused a statement, and the transaction with it: nothing was written.
        case refused(state: String, message: String)
        /// No answer. What was sent may or may not have been done.
        case lost(String)
        /// Done, but with a notice at its end: the standby may not have it.
        case noticed(String)
    }

    /// Libpq's notices since they were last taken.
    private final class Notices: Sendable {
        let texts = Mutex<[String]>([])
    }

    private let handle: OpaquePointer
    private let notices = Notices()
    /// Longer than any commit of a healthy cluster takes, shorter than the patience of edges.
    private let answerSeconds: Double

    /// - Parameters:
    ///   - uri: may name several hosts; the writable one is taken.
    ///   - answerSeconds: after so long without an answer the connection is given up.
    init(uri: String, answerSeconds: Double) throws(Failure) {
        let settings: [(String, String)] = [
            ("target_session_attrs", "read-write"), ("connect_timeout", "2"),
            ("application_name", "holdfast"), ("client_encoding", "UTF8"),
            ("keepalives_idle", "5"), ("keepalives_interval", "2"), ("keepalives_count", "3"),
            ("tcp_user_timeout", "5000"),
            // Last: what the URI says itself wins, except that it must be writable.
            ("dbname", uri), ("target_session_attrs", "read-write"),
        ]
        let opened = Self.withCStrings(settings.map(\.0)) { keywords in
            Self.withCStrings(settings.map(\.1)) { values in
                PQconnectdbParams(keywords, values, 1)
            }
        }
        guard let opened else { throw .lost("out of memory") }
        self.handle = opened
        self.answerSeconds = answerSeconds
        guard PQstatus(opened) == CONNECTION_OK else {
            let reason = Self.message(of: opened)
            throw .lost(reason)
        }
        PQsetnonblocking(opened, 1)
        PQsetNoticeReceiver(
            opened,
            { context, result in
                guard let context else { return }
                let notices = Unmanaged<Notices>.fromOpaque(context).takeUnretainedValue()
                let text = PQresultErrorMessage(result).map { String(cString: $0) } ?? "a notice"
                notices.texts.withLock { $0.append(text.trimmed) }
            }, Unmanaged.passUnretained(notices).toOpaque())
        guard PQenterPipelineMode(opened) == 1 else { throw .lost("no pipeline mode") }
    }

    deinit { PQfinish(handle) }

    /// Whether libpq can read it. Its own messages quote what it cannot, and that may be a password.
    static func isReadable(uri: String) -> Bool {
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(uri, &message) else {
            PQfreemem(message)
            return false
        }
        PQconninfoFree(options)
        return true
    }

    // MARK: - Statements

    func prepare(_ statements: [PostgresStatement]) throws(Failure) {
        for statement in statements {
            guard PQsendPrepare(handle, statement.name, statement.sql, 0, nil) == 1 else {
                throw .lost(Self.message(of: handle))
            }
        }
        _ = try answers(to: statements.count)
    }

    /// Runs commands in one round trip. After a refused one those behind it do nothing, and a
    /// transaction that was begun is rolled back.
    ///
    /// - Returns: the rows of each.
    func run(_ commands: [Command]) throws(Failure) -> [PostgresRows] {
        for command in commands {
            let isSent = command.parameters.withPointers { values, lengths, formats in
                PQsendQueryPrepared(
                    handle, command.statement.name, CInt(command.parameters.count), values, lengths,
                    formats, 1) == 1
            }
            guard isSent else { throw .lost(Self.message(of: handle)) }
        }
        return try answers(to: commands.count)
    }

    /// One statement that is not prepared, with texts for parameters.
    func query(_ sql: String, _ parameters: PostgresParameters = PostgresParameters())
        throws(Failure)
        -> PostgresRows
    {
        let isSent = parameters.withPointers { values, lengths, formats in
            PQsendQueryParams(
                handle, sql, CInt(parameters.count), nil, values, lengths, formats, 1) == 1
        }
        guard isSent else { throw .lost(Self.message(of: handle)) }
        return try answers(to: 1)[0]
    }

    /// Of what was said since the last call; a commit that was followed by any has an unknown
    /// outcome.
    func takeNotices() -> [String] {
        notices.texts.withLock { texts in
            defer { texts = [] }
            return texts
        }
    }

    var isInFailedTransaction: Bool { PQtransactionStatus(handle) == PQTRANS_INERROR }

    // MARK: - Answers

    private func answers(to count: Int) throws(Failure) -> [PostgresRows] {
        guard PQpipelineSync(handle) == 1 else { throw .lost(Self.message(of: handle)) }
        let deadline = Self.now() + answerSeconds
        var rows: [PostgresRows] = []
        var refusal: Failure?
        while true {
            guard let result = try nextResult(deadline) else { continue }
            switch PQresultStatus(result) {
            case PGRES_PIPELINE_SYNC:
                PQclear(result)
                if let refusal { throw refusal }
                guard rows.count == count else { throw .lost("an answer is missing") }
                return rows
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK:
                rows.append(PostgresRows(owning: result))
            case PGRES_PIPELINE_ABORTED:
                PQclear(result)
            default:
                if refusal == nil { refusal = Self.refusal(result) }
                PQclear(result)
                // After a fatal error no more answers come.
                if PQstatus(handle) != CONNECTION_OK { throw .lost(Self.message(of: handle)) }
            }
        }
    }

    /// `nil`: the answers to one command are complete.
    private func nextResult(_ deadline: Double) throws(Failure) -> OpaquePointer? {
        while true {
            let flushed = PQflush(handle)
            guard flushed >= 0 else { throw .lost(Self.message(of: handle)) }
            if flushed == 0, PQisBusy(handle) == 0 { break }
            try waitForServer(toWrite: flushed == 1, deadline)
            guard PQconsumeInput(handle) == 1 else { throw .lost(Self.message(of: handle)) }
        }
        guard let result = PQgetResult(handle) else {
            guard PQstatus(handle) == CONNECTION_OK else { throw .lost(Self.message(of: handle)) }
            guard Self.now() < deadline else { throw .lost("its answers have no end") }
            return nil
        }
        return result
    }

    private func waitForServer(toWrite: Bool, _ deadline: Double) throws(Failure) {
        var descriptor = pollfd(
            fd: PQsocket(handle), events: Int16(toWrite ? POLLIN | POLLOUT : POLLIN), revents: 0)
        while true {
            let left = deadline - Self.now()
            guard left > 0 else {
                throw .lost("no answer for \(Int(answerSeconds.rounded())) s")
            }
            let ready = poll(&descriptor, 1, CInt((left * 1_000).rounded(.up)))
            if ready > 0 { return }
            if ready < 0, errno != EINTR { throw .lost(String(cString: strerror(errno))) }
        }
    }

    private static func refusal(_ result: OpaquePointer) -> Failure {
        let state = PQresultErrorField(result, diagnosticState).map { String(cString: $0) }
        let message = PQresultErrorField(result, diagnosticMessage).map { String(cString: $0) }
        // Only the server gives a state. What libpq fails at says nothing of what the server did.
        guard let state, !state.isEmpty else { return .lost(message ?? "no details") }
        return .refused(state: state, message: message ?? "no details")
    }

    /// `PG_DIAG_SQLSTATE` and `PG_DIAG_MESSAGE_PRIMARY`, which are character literals in C.
    private static let diagnosticState = CInt(UInt8(ascii: "C"))
    private static let diagnosticMessage = CInt(UInt8(ascii: "M"))

    private static func message(of handle: OpaquePointer) -> String {
        String(cString: PQerrorMessage(handle)).trimmed
    }

    private static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static func withCStrings<Result>(
        _ strings: [String], _ body: ([UnsafePointer<CChar>?]) -> Result
    ) -> Result {
        let copies = strings.map { strdup($0) }
        defer { for copy in copies { free(copy) } }
        return body(copies.map { UnsafePointer($0) } + [nil])
    }
}

extension String {
    /// On one line, without space at the ends: libpq's messages have several.
    var trimmed: String {
        split(whereSeparator: \.isNewline).map { line in
            String(line.drop { $0 == " " || $0 == "\t" })
        }.joined(separator: "; ")
    }
}
