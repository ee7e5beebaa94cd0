/// What is prepared on every connection.
///
/// `$reporting` of a batch is checked under row locks that only closing a session conflicts with. All
/// statements behind it in the same transaction see the same answer, so each of them asks for itself
/// whether it may write: the whole batch is one round trip.
struct PostgresStatement: Sendable {
    let name: String
    let sql: String

    // MARK: - Transactions

    static let begin = PostgresStatement(name: "begin", sql: "BEGIN ISOLATION LEVEL READ COMMITTED")
    static let commit = PostgresStatement(name: "commit", sql: "COMMIT")
    static let rollback = PostgresStatement(name: "rollback", sql: "ROLLBACK")

    // MARK: - Accounts

    /// Nested loops in the order of the keys, see `PostgresOpening.sessionSettings`: two counters
    /// that write the same accounts lock them in the same order.
    static let update = PostgresStatement(
        name: "update",
        sql: """
            UPDATE holdfast.account AS a SET version = p.version, value = p.value
            FROM unnest($1::bytea[], $2::bigint[], $3::bytea[])
                WITH ORDINALITY AS p(key, version, value, n)
            WHERE a.key = p.key AND a.version = p.version - 1 AND \(isOpen(4))
            RETURNING p.n
            """)

    static let insert = PostgresStatement(
        name: "insert",
        sql: """
            INSERT INTO holdfast.account (key, version, value)
            SELECT p.key, 1, p.value FROM unnest($1::bytea[], $2::bytea[]) AS p(key, value)
            WHERE \(isOpen(3))
            ON CONFLICT (key) DO NOTHING RETURNING key
            """)

    static let load = PostgresStatement(
        name: "load",
        sql: """
            SELECT k.n, a.version, a.value
            FROM unnest($1::bytea[]) WITH ORDINALITY AS k(key, n)
            JOIN holdfast.account AS a ON a.key = k.key
            """)

    static let scan = PostgresStatement(
        name: "scan",
        sql: """
            SELECT key, version, value FROM holdfast.account
            WHERE key > $1 ORDER BY key LIMIT $2
            """)

    /// `$3` is the key of the period's account without values; `$4` and `$5` bound those with.
    static let scanPeriod = PostgresStatement(
        name: "scan_period",
        sql: """
            SELECT key, version, value FROM holdfast.account
            WHERE key > $1 AND key >= $3 AND key < $5 AND (key = $3 OR key >= $4)
            ORDER BY key LIMIT $2
            """)

    // MARK: - Sessions

    static let lockReporting = PostgresStatement(
        name: "lock_reporting",
        sql: """
            SELECT id FROM holdfast.session WHERE id = ANY ($1::bigint[]) AND closed_at IS NULL
            ORDER BY id FOR KEY SHARE
            """)

    static let lockClosing = PostgresStatement(
        name: "lock_closing",
        sql: """
            SELECT id FROM holdfast.session WHERE id = ANY ($1::bigint[]) ORDER BY id FOR UPDATE
            """)

    static let closeSessions = PostgresStatement(
        name: "close_sessions",
        sql: """
            UPDATE holdfast.session SET closed_at = \(floor)
            WHERE id = ANY ($1::bigint[]) AND closed_at IS NULL AND \(isOpen(2))
            """)

    /// In the order of the ids, because every counter is connected to every session.
    static let seen = PostgresStatement(
        name: "seen",
        sql: """
            UPDATE holdfast.session SET seen_at = \(floor)
            WHERE id IN (
                SELECT id FROM holdfast.session
                WHERE id = ANY ($1::bigint[]) AND seen_at < \(floor) AND \(isOpen(2))
                ORDER BY id FOR NO KEY UPDATE)
            """)

    static let openSession = PostgresStatement(
        name: "open_session",
        sql: """
            WITH issued AS (
                UPDATE holdfast.store SET last_session = last_session + 1
                RETURNING last_session, generation)
            INSERT INTO holdfast.session (id, edge, opened_at, seen_at)
            SELECT last_session, $1::bytea, $2::bigint, $2::bigint FROM issued
            RETURNING id, (SELECT generation FROM issued)
            """)

    static let adoptSession = PostgresStatement(
        name: "adopt_session",
        sql: """
            INSERT INTO holdfast.session (id, edge, opened_at, seen_at)
            SELECT $1::bigint, $2::bytea, $3::bigint, $3::bigint
            WHERE $1::bigint >> 32 < (SELECT generation FROM holdfast.store)
            ON CONFLICT (id) DO NOTHING
            """)

    /// Issued by another database of the same store.
    static let keepSession = PostgresStatement(
        name: "keep_session",
        sql: """
            INSERT INTO holdfast.session (id, edge, opened_at, seen_at)
            VALUES ($1::bigint, $2::bytea, $3::bigint, $3::bigint) ON CONFLICT (id) DO NOTHING
            """)

    static let session = PostgresStatement(
        name: "session", sql: "SELECT \(sessionColumns) FROM holdfast.session WHERE id = $1")

    /// `$3`: only open ones. `$4`: only those not seen since; NULL for all.
    static let sessions = PostgresStatement(
        name: "sessions",
        sql: """
            SELECT \(sessionColumns) FROM holdfast.session
            WHERE id > $1 AND ($3::bigint = 0 OR closed_at IS NULL)
                AND ($4::bigint IS NULL OR seen_at < $4)
            ORDER BY id LIMIT $2
            """)

    // MARK: - Everything else

    /// Each store writes a row of its own, so that counters do not wait for each other's commits,
    /// and at most once a second.
    static let raiseFloor = PostgresStatement(
        name: "raise_floor",
        sql: """
            UPDATE holdfast.clock SET floor = $1
            WHERE slot = $2 AND floor < $1 AND \(isOpen(3))
            """)

    /// And whether commits still wait for a standby, which can be turned off at any time.
    static let clockFloor = PostgresStatement(
        name: "clock_floor",
        sql: "SELECT \(floor), current_setting('synchronous_standby_names') <> ''")

    static let learned = PostgresStatement(
        name: "learned",
        sql: """
            UPDATE holdfast.store SET learned = greatest(learned, $1)
            WHERE generation >= $1 AND \(isOpen(2))
            """)

    static let generation = PostgresStatement(
        name: "generation", sql: "SELECT generation, learned FROM holdfast.store")

    static let record = PostgresStatement(
        name: "record",
        sql: """
            INSERT INTO holdfast.operator_record (action, at, account, session, amount, reason)
            SELECT $1::bigint, $2::bigint, $3::bytea, $4::bigint, $5::bigint, $6::bytea
            WHERE \(isOpen(7))
            """)

    static let records = PostgresStatement(
        name: "records",
        sql: """
            SELECT action, at, account, session, amount, reason FROM holdfast.operator_record
            ORDER BY id DESC LIMIT $1
            """)

    static let secret = PostgresStatement(
        name: "secret", sql: "SELECT value FROM holdfast.secret WHERE name = $1")

    static let keepSecret = PostgresStatement(
        name: "keep_secret",
        sql: "INSERT INTO holdfast.secret (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")

    /// Writes, so that its commit waits for the standby: everything that was read before it is there
    /// then, too.
    static let barrier = PostgresStatement(
        name: "barrier", sql: "UPDATE holdfast.store SET barrier = barrier + 1")

    /// By the database's clock, which all counters share.
    static let meet = PostgresStatement(
        name: "meet",
        sql: """
            INSERT INTO holdfast.node (name, address, seen_at) VALUES ($1::bytea, $2::bytea, \(databaseTime))
            ON CONFLICT (name) DO UPDATE SET address = excluded.address, seen_at = excluded.seen_at
            """)

    static let nodes = PostgresStatement(
        name: "nodes",
        sql: """
            SELECT name, address FROM holdfast.node
            WHERE seen_at > \(databaseTime) - $1 ORDER BY name
            """)

    static let leave = PostgresStatement(
        name: "leave", sql: "DELETE FROM holdfast.node WHERE name = $1")

    static let all: [PostgresStatement] = [
        begin, commit, rollback, update, insert, load, scan, scanPeriod, lockReporting, lockClosing,
        closeSessions, seen, openSession, adoptSession, keepSession, session, sessions, raiseFloor,
        clockFloor,
        learned, generation, record, records, secret, keepSecret, barrier, meet, nodes, leave,
    ]

    // MARK: - Parts

    private static let sessionColumns = "id, edge, opened_at, seen_at, closed_at"
    private static let floor = "(SELECT max(floor) FROM holdfast.clock)"
    private static let databaseTime = "extract(epoch FROM clock_timestamp())::bigint"

    /// Whether every session of the parameter is open.
    private static func isOpen(_ parameter: Int) -> String {
        """
        (SELECT count(*) FROM holdfast.session
            WHERE id = ANY ($\(parameter)::bigint[]) AND closed_at IS NULL)
            = coalesce(array_length($\(parameter)::bigint[], 1), 0)
        """
    }
}
