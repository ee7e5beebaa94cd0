import Foundation
import HoldfastCore
public import HoldfastLedger
import Synchronization

/// The store of a cluster: a PostgreSQL database with a synchronous standby, shared by any number of
/// counters.
///
/// Why what is said of it is kept:
///
/// * A commit counts only when the server answers `COMMIT` without any notice. A cancelled wait for
///   the standby says `COMMIT` too, with a warning, and leaves rows that everybody sees and a
///   failover loses: its outcome is unknown.
/// * Whatever counters tell edges follows a commit that waited for the standby, and so has in the
///   log behind it all that was read before. Only after an unknown outcome is something read that no
///   commit follows; `load` then commits a write of its own first (`barrier`).
/// * Each new connection is asked how the server is set up, and which history it has: another
///   timeline begins a new generation, and the counters listen before they grant.
public final class PostgresStore: AccountStore {
    /// What to connect to.
    public struct Location: Sendable {
        /// Libpq's connection URI, with its password.
        public var uri: String
        /// The same for people, without.
        public var name: String
        public var shard = 0
        public var shardCount = 1

        public init(uri: String, name: String) {
            self.uri = uri
            self.name = name
        }
    }

    public struct Options: Sendable {
        /// The name of the cluster, which the database is marked with.
        public var cluster = "holdfast"
        /// Uses a server that may lose what it has acknowledged.
        public var isUnsafeAllowed = false
        /// Seconds after which a server that does not answer is given up.
        public var answerSeconds = 4.0
        /// Told of what is no reason to stop, such as an unsafe server that was allowed.
        public var warn: @Sendable (String) -> Void = { _ in }

        public init() {}
    }

    let location: Location
    let options: Options
    let pool: PostgresPool
    let opening: PostgresOpening
    /// The row of `clock` that this store writes.
    let clockSlot: Int64
    /// What may be read may be in that server only: from each new set of connections, and from each
    /// commit with unknown outcome, until a write behind it has been kept.
    let doubts = Mutex<(raised: UInt64, settled: UInt64)>((1, 0))
    /// That the counter was told last.
    let toldGeneration = Mutex<UInt64>(0)

    /// Connects, and makes the tables in an empty database.
    ///
    /// Pass `isRestored` when the database is older than the newest that was acknowledged and its
    /// timeline does not tell, see `SQLiteStore`.
    public convenience init(
        _ location: Location, options: Options = Options(), isRestored: Bool = false
    ) throws(StoreError) {
        try self.init(location, options: options, isRestored: isRestored, at: Self.systemTime)
    }

    init(
        _ location: Location, options: Options, isRestored: Bool,
        at time: @escaping @Sendable () -> UnixTime
    ) throws(StoreError) {
        self.location = location
        self.options = options
        clockSlot = Int64.random(in: 0..<PostgresSchema.clockSlotCount)
        let opening = PostgresOpening(location: location, options: options, time: time)
        self.opening = opening
        pool = PostgresPool(name: location.name) { () throws(StoreError) in try opening.connect() }
        try opening.prepare(isRestored: isRestored)
        // The first connection finds what else may be wrong, and is there when it is needed.
        _ = try generation()
    }

    /// Another database of the same store may have lost writes.
    func beginGeneration() throws(StoreError) { try opening.beginGeneration() }

    public func close() { pool.close() }

    deinit { close() }

    private static let systemTime: @Sendable () -> UnixTime = {
        UnixTime(Int64(Date().timeIntervalSince1970))
    }

    // MARK: - Access

    /// Runs commands that write nothing.
    ///
    /// - Parameter isGenerationBound: fails in a generation that the counter has not been told of.
    func read(
        _ commands: PostgresConnection.Command..., isGenerationBound: Bool = false
    ) throws(StoreError) -> [PostgresRows] {
        let result = try pool.with { connection throws(PostgresConnection.Failure) in
            if isGenerationBound { try checkGeneration() }
            return try connection.run(commands)
        }
        switch result {
        case .success(let rows): return rows
        case .failure(let failure):
            raiseDoubt(failure)
            throw StoreError(failure, store: location.name, isWrite: false)
        }
    }

    /// Runs commands in one transaction, in one round trip. Durable when it returns.
    ///
    /// - Returns: the rows of each of them.
    func write(
        _ commands: [PostgresConnection.Command], isGenerationBound: Bool = false
    ) throws(StoreError) -> [PostgresRows] {
        let result = try pool.with { connection throws(PostgresConnection.Failure) in
            if isGenerationBound { try checkGeneration() }
            return try Self.transaction(commands, on: connection)
        }
        return try settled(result)
    }

    /// The rows of a transaction that was kept.
    func settled<Value>(
        _ result: Result<Value, PostgresConnection.Failure>
    ) throws(StoreError) -> Value {
        switch result {
        case .success(let value): return value
        case .failure(let failure):
            raiseDoubt(failure)
            throw StoreError(failure, store: location.name, isWrite: true)
        }
    }

    private func raiseDoubt(_ failure: PostgresConnection.Failure) {
        switch failure {
        case .lost, .noticed: doubts.withLock { $0.raised += 1 }
        case .refused: break
        }
    }

    /// The doubts that a write which is sent now will settle, when it is kept; `nil`: none.
    var openDoubt: UInt64? {
        doubts.withLock { $0.raised == $0.settled ? nil : $0.raised }
    }

    func settle(_ doubt: UInt64?) {
        guard let doubt else { return }
        doubts.withLock { $0.settled = max($0.settled, doubt) }
    }

    /// A generation that the counter has not heard of is said as a failure, which makes it ask, also
    /// where somebody else has found it first: before that nothing of the store may be used. Asked
    /// when the connection is there, because making it may have found one.
    func checkGeneration() throws(PostgresConnection.Failure) {
        let newest = opening.newest
        guard toldGeneration.withLock({ $0 }) == newest else {
            throw .refused(
                state: "generation",
                message: "generation \(newest) has begun: it may have lost writes")
        }
    }

    static func transaction(
        _ commands: [PostgresConnection.Command], on connection: PostgresConnection
    ) throws(PostgresConnection.Failure) -> [PostgresRows] {
        _ = connection.takeNotices()
        do throws(PostgresConnection.Failure) {
            let rows = try connection.run(
                [.init(statement: .begin)] + commands + [.init(statement: .commit)])
            try confirm(rows[rows.count - 1], connection)
            return Array(rows.dropFirst().dropLast())
        } catch {
            try rollBack(connection)
            throw error
        }
    }

    /// Says whether a commit is known to be kept.
    static func confirm(
        _ rows: PostgresRows, _ connection: PostgresConnection
    ) throws(PostgresConnection.Failure) {
        let notices = connection.takeNotices()
        guard notices.isEmpty else { throw .noticed(notices.joined(separator: "; ")) }
        guard rows.tag == "COMMIT" else { throw .lost("the commit was answered `\(rows.tag)`") }
    }

    static func rollBack(
        _ connection: PostgresConnection
    ) throws(PostgresConnection.Failure) {
        guard connection.isInFailedTransaction else { return }
        _ = try connection.run([.init(statement: .rollback)])
    }
}
