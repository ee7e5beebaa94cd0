import HoldfastCore
import HoldfastLedger
import Synchronization

/// Opens connections, each only after it was found to lead to the right database, set up safely.
final class PostgresOpening: Sendable {
    private let location: PostgresStore.Location
    private let options: PostgresStore.Options
    private let time: @Sendable () -> UnixTime
    /// The newest that this process has seen: a server with an older one was left behind.
    private let newestGeneration = Mutex<UInt64>(0)

    init(
        location: PostgresStore.Location, options: PostgresStore.Options,
        time: @escaping @Sendable () -> UnixTime
    ) {
        self.location = location
        self.options = options
        self.time = time
    }

    /// Once at start: makes the tables, and begins another generation when asked to.
    func prepare(isRestored: Bool) throws(StoreError) {
        guard PostgresConnection.isReadable(uri: location.uri) else {
            throw .unavailable(
                "\(location.name): its URI cannot be read. Write other characters than letters, "
                    + "digits and -._~ in user and password as %XX.")
        }
        try explain { () throws(Problem) in
            let connection = try open()
            try checkProfile(connection, warns: true)
            if try mark(connection) == nil {
                guard !isRestored else {
                    throw Problem.unusable(
                        .unavailable(
                            "\(location.name) is empty, but is said to have been restored. Restore "
                                + "it first."))
                }
                try create(connection)
            }
            let mark = try checkMark(connection)
            if isRestored { try begin(connection, from: mark, history: mark.history) }
        }
    }

    /// The newest that any connection of this process has found.
    var newest: UInt64 { newestGeneration.withLock { $0 } }

    func beginGeneration() throws(StoreError) {
        try explain { () throws(Problem) in
            let connection = try open()
            let mark = try checkMark(connection)
            try begin(connection, from: mark, history: mark.history)
            let current = try checkMark(connection).generation
            newestGeneration.withLock { $0 = max($0, current) }
        }
    }

    /// Set here and not in the connection's `options`, which a URI may use for itself.
    ///
    /// No limit may cancel a statement while it waits for the standby. A wait for a row that another
    /// counter holds is ended by the server, which then has written nothing. Statements this short
    /// gain nothing from being compiled, and nested loops lock rows in the order of their keys.
    private static let sessionSettings =
        "SELECT "
        + [
            ("synchronous_commit", "on"), ("statement_timeout", "0"), ("lock_timeout", "2000"),
            ("idle_in_transaction_session_timeout", "10000"), ("search_path", "pg_catalog"),
            ("jit", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off"),
            ("enable_seqscan", "off"),
        ].map { "set_config('\($0)', '\($1)', false)" }.joined(separator: ", ")

    func connect() throws(StoreError) -> PostgresConnection {
        try explain { () throws(Problem) in
            let connection = try open()
            try checkProfile(connection, warns: false)
            let mark = try checkMark(connection)
            try checkHistory(connection, mark)
            try ask { () throws(PostgresConnection.Failure) in
                _ = try connection.query(Self.sessionSettings)
                try connection.prepare(PostgresStatement.all)
            }
            return connection
        }
    }

    // MARK: - Steps

    /// Two kinds of failure meet here: the connection's, and what it was found to lead to.
    private enum Problem: Error {
        case connection(PostgresConnection.Failure)
        case unusable(StoreError)
    }

    private func explain<Value>(
        _ body: () throws(Problem) -> Value
    ) throws(StoreError) -> Value {
        do {
            return try body()
        } catch {
            switch error {
            case .unusable(let error): throw error
            case .connection(let failure):
                throw StoreError(failure, store: location.name, isWrite: false)
            }
        }
    }

    private func open() throws(Problem) -> PostgresConnection {
        do throws(PostgresConnection.Failure) {
            return try PostgresConnection(
                uri: location.uri, answerSeconds: options.answerSeconds)
        } catch {
            guard case .lost(let reason) = error, reason.contains("session is read-only") else {
                throw .connection(error)
            }
            throw .unusable(
                .unavailable(
                    "\(location.name): every server that could be reached is a standby "
                        + "(\(reason)). Name the primary too, as in postgres://user@pg-1,pg-2/db: "
                        + "the writable one is found."))
        }
    }

    private func checkProfile(
        _ connection: PostgresConnection, warns: Bool
    ) throws(Problem) {
        let profile = try ask { () throws(PostgresConnection.Failure) in
            try PostgresProfile.read(connection)
        }
        if let obstacle = profile.obstacle {
            throw .unusable(.unavailable("\(location.name): \(obstacle)"))
        }
        let dangers = profile.dangers
        guard !dangers.isEmpty else { return }
        let reason = "\(location.name): " + dangers.joined(separator: " ")
        guard options.isUnsafeAllowed else {
            throw .unusable(
                .unavailable(
                    "\(reason) (Where the storage itself is replicated, or losing budget is "
                        + "acceptable: --allow-unsafe-store.)"))
        }
        if warns { options.warn("this store may lose what it has acknowledged: \(reason)") }
    }

    private func create(_ connection: PostgresConnection) throws(Problem) {
        let history = try ask { () throws(PostgresConnection.Failure) in
            try PostgresSchema.readHistory(connection)
        }
        do throws(PostgresConnection.Failure) {
            try PostgresSchema.create(
                connection, cluster: options.cluster, shard: location.shard,
                shardCount: location.shardCount, history: history)
        } catch {
            // Another counter that starts at the same moment may have been quicker.
            guard case .refused = error, try mark(connection) != nil else {
                throw .connection(error)
            }
        }
    }

    private func mark(_ connection: PostgresConnection) throws(Problem) -> PostgresSchema.Mark? {
        try ask { () throws(PostgresConnection.Failure) in
            try PostgresSchema.readMark(connection)
        }
    }

    private func checkMark(
        _ connection: PostgresConnection
    ) throws(Problem) -> PostgresSchema.Mark {
        guard let mark = try mark(connection) else {
            throw .unusable(
                .corrupt("\(location.name): its tables are gone, and a store never is empty"))
        }
        guard mark.version <= PostgresSchema.version else {
            throw .unusable(
                .newerSchema(found: Int(mark.version), supported: Int(PostgresSchema.version)))
        }
        guard mark.version == PostgresSchema.version, mark.generation >= mark.learned,
            mark.learned > 0, mark.generation <= SessionID.generationMax
        else {
            throw .unusable(.corrupt("\(location.name): its mark cannot be believed"))
        }
        guard mark.cluster == options.cluster else {
            throw .unusable(
                .unavailable(
                    "\(location.name) is the store of the cluster '\(mark.cluster)', and this is "
                        + "'\(options.cluster)'. Give this cluster a database of its own, or set "
                        + "cluster: \(mark.cluster)"))
        }
        guard mark.shard == location.shard, mark.shardCount == location.shardCount else {
            throw .unusable(
                .unavailable(
                    "\(location.name) is database \(mark.shard + 1) of \(mark.shardCount), and the "
                        + "configuration has it as \(location.shard + 1) of "
                        + "\(location.shardCount). List all of them, in the order of before: an "
                        + "account's place depends on it."))
        }
        return mark
    }

    /// A server whose history has branched may lack what was acknowledged.
    private func checkHistory(
        _ connection: PostgresConnection, _ mark: PostgresSchema.Mark
    ) throws(Problem) {
        let history = try ask { () throws(PostgresConnection.Failure) in
            try PostgresSchema.readHistory(connection)
        }
        if history != mark.history {
            try begin(connection, from: mark, history: history)
        }
        let current = try checkMark(connection).generation
        let newest = newestGeneration.withLock { newest in
            newest = max(newest, current)
            return newest
        }
        guard current == newest else {
            throw .unusable(
                .unavailable(
                    "\(location.name) has led to a server of generation \(current), after one of "
                        + "\(newest): an old primary is still running. Shut it down."))
        }
    }

    private func begin(
        _ connection: PostgresConnection, from mark: PostgresSchema.Mark, history: String
    ) throws(Problem) {
        guard let next = StoreGeneration.next(after: mark.generation, at: time()) else {
            throw .unusable(
                .unavailable(
                    "\(location.name) cannot begin another generation. Check the system's clock."))
        }
        try ask { () throws(PostgresConnection.Failure) in
            _ = connection.takeNotices()
            try PostgresSchema.beginGeneration(connection, next, from: mark, history: history)
            let notices = connection.takeNotices()
            guard notices.isEmpty else { throw .noticed(notices.joined(separator: "; ")) }
        }
    }

    private func ask<Value>(
        _ body: () throws(PostgresConnection.Failure) -> Value
    ) throws(Problem) -> Value {
        do {
            return try body()
        } catch {
            throw .connection(error)
        }
    }
}
