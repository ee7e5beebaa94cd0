import HoldfastCore
import HoldfastLedger

/// The tables, and whose they are. All in the schema `holdfast`:
///
///     account          key (the text of `AccountKey`), version, value (see `AccountRecord`)
///     session          id (see `SessionID.generation`), edge, opened_at, seen_at, closed_at
///     operator_record  action, at, account, session, amount, reason
///     secret           name, value
///     clock            one row for each writer: floor; the latest of them counts
///     node             name, address, seen_at: the counters that are there
///     store            one row: what the database is marked with, generation, newest session
///
/// Times are seconds since 1970; texts are bytes, because a zero byte cannot be in a TEXT.
enum PostgresSchema {
    /// Raise it with every change of the tables or of `AccountRecord`.
    static let version: Int64 = 1
    /// Rows of `clock`: two writers on one row wait for each other, nothing else.
    static let clockSlotCount: Int64 = 64

    /// What the one row of `store` says.
    struct Mark: Equatable {
        var version: Int64
        var cluster: String
        var shard: Int64
        var shardCount: Int64
        /// Of the database cluster and its history when the generation began: another one may lack
        /// what was acknowledged.
        var history: String
        var generation: UInt64
        var learned: UInt64
    }

    /// `nil` when the schema is not there yet.
    static func readMark(
        _ connection: PostgresConnection
    ) throws(PostgresConnection.Failure) -> Mark? {
        let found = try connection.query("SELECT to_regclass('holdfast.store') IS NOT NULL")
        guard found.bytes(0, 0) == [1] else { return nil }
        // Only the version is sure to be there in every version.
        let version = try connection.query("SELECT version FROM holdfast.store")
        guard version.count == 1, let number = version.integer(0, 0), number <= Self.version else {
            return Mark(
                version: version.count == 1 ? version.integer(0, 0) ?? 0 : 0, cluster: "", shard: 0,
                shardCount: 1, history: "", generation: 0, learned: 0)
        }
        let rows = try connection.query(
            """
            SELECT cluster, shard, shard_count, history, generation, learned FROM holdfast.store
            """)
        return Mark(
            version: number, cluster: rows.text(0, 0) ?? "", shard: rows.integer(0, 1) ?? 0,
            shardCount: rows.integer(0, 2) ?? 1, history: rows.text(0, 3) ?? "",
            generation: UInt64(clamping: rows.integer(0, 4) ?? 0),
            learned: UInt64(clamping: rows.integer(0, 5) ?? 0))
    }

    /// The database cluster, and how often its history has branched: a promotion, or a recovery to a
    /// point in time, begins another timeline.
    static func readHistory(
        _ connection: PostgresConnection
    ) throws(PostgresConnection.Failure) -> String {
        let rows = try connection.query(
            """
            SELECT (SELECT system_identifier::text FROM pg_control_system()) || '/'
                || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
            """)
        return rows.text(0, 0) ?? ""
    }

    static func create(
        _ connection: PostgresConnection, cluster: String, shard: Int, shardCount: Int,
        history: String
    ) throws(PostgresConnection.Failure) {
        var parameters = PostgresParameters()
        parameters.add(cluster)
        parameters.add(Int64(shard))
        parameters.add(Int64(shardCount))
        parameters.add(history)
        _ = try connection.query("BEGIN")
        do throws(PostgresConnection.Failure) {
            for statement in tables { _ = try connection.query(statement) }
            _ = try connection.query(
                """
                INSERT INTO holdfast.store
                    (id, version, cluster, shard, shard_count, history, generation, learned,
                     last_session, barrier)
                VALUES (1, \(version), $1, $2, $3, $4, \(firstGeneration), \(firstGeneration),
                    \(SessionID.origin(of: firstGeneration).rawValue), 0)
                """, parameters)
            _ = try connection.query("COMMIT")
        } catch {
            if connection.isInFailedTransaction { _ = try connection.query("ROLLBACK") }
            throw error
        }
    }

    /// Begins a generation, unless another counter has done so for the same reason.
    static func beginGeneration(
        _ connection: PostgresConnection, _ generation: UInt64, from old: Mark, history: String
    ) throws(PostgresConnection.Failure) {
        var parameters = PostgresParameters()
        parameters.add(Int64(generation))
        parameters.add(Int64(SessionID.origin(of: generation).rawValue))
        parameters.add(history)
        parameters.add(Int64(old.generation))
        _ = try connection.query(
            """
            UPDATE holdfast.store SET generation = $1, last_session = $2, history = $3
            WHERE generation = $4
            """, parameters)
    }

    private static let firstGeneration: UInt64 = 1

    private static let tables = [
        "CREATE SCHEMA IF NOT EXISTS holdfast",
        """
        CREATE TABLE holdfast.store (
            id bigint PRIMARY KEY CHECK (id = 1),
            version bigint NOT NULL,
            cluster bytea NOT NULL,
            shard bigint NOT NULL,
            shard_count bigint NOT NULL,
            history bytea NOT NULL,
            generation bigint NOT NULL,
            learned bigint NOT NULL,
            last_session bigint NOT NULL,
            barrier bigint NOT NULL)
        """,
        // Most of an update stays in its page: no index changes, and no vacuum is needed for it.
        """
        CREATE TABLE holdfast.account (
            key bytea PRIMARY KEY,
            version bigint NOT NULL,
            value bytea NOT NULL) WITH (fillfactor = 50)
        """,
        // Compressing values that are written thousands of times a second costs more than it saves.
        "ALTER TABLE holdfast.account ALTER COLUMN value SET STORAGE EXTERNAL",
        """
        CREATE TABLE holdfast.session (
            id bigint PRIMARY KEY,
            edge bytea NOT NULL,
            opened_at bigint NOT NULL,
            seen_at bigint NOT NULL,
            closed_at bigint) WITH (fillfactor = 50)
        """,
        """
        CREATE TABLE holdfast.operator_record (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            action bigint NOT NULL,
            at bigint NOT NULL,
            account bytea NOT NULL,
            session bigint,
            amount bigint NOT NULL,
            reason bytea NOT NULL)
        """,
        "CREATE TABLE holdfast.secret (name bytea PRIMARY KEY, value bytea NOT NULL)",
        """
        CREATE TABLE holdfast.clock (slot bigint PRIMARY KEY, floor bigint NOT NULL)
            WITH (fillfactor = 10)
        """,
        """
        INSERT INTO holdfast.clock (slot, floor)
        SELECT slot, 0 FROM generate_series(0, \(clockSlotCount - 1)) AS slot
        """,
        """
        CREATE TABLE holdfast.node (
            name bytea PRIMARY KEY,
            address bytea NOT NULL,
            seen_at bigint NOT NULL) WITH (fillfactor = 10)
        """,
    ]
}
