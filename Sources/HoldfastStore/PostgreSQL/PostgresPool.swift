import Glibc
import HoldfastLedger
import Synchronization

/// Connections that are used by one thread at a time.
///
/// When one is lost, all are given up: after a failover the others may still lead to a server that
/// is not the cluster's any more.
final class PostgresPool: Sendable {
    private struct State {
        var idle: [PostgresConnection] = []
        /// Counts losses. A connection of an earlier epoch is not used again.
        var epoch = 0
        var isClosed = false
        /// Until then nobody tries to connect: the caller's thread serves edges, too.
        var failure: (error: StoreError, until: ContinuousClock.Instant)?
    }

    /// Between two tries to connect to a cluster that does not answer.
    private static let pause = Duration.milliseconds(250)

    private let name: String
    private let open: @Sendable () throws(StoreError) -> PostgresConnection
    private let state = Mutex(State())

    init(name: String, open: @escaping @Sendable () throws(StoreError) -> PostgresConnection) {
        self.name = name
        self.open = open
    }

    /// Runs `body` on a connection that nobody else uses meanwhile.
    func with<Value>(
        _ body: (PostgresConnection) throws(PostgresConnection.Failure) -> Value
    ) throws(StoreError) -> Result<Value, PostgresConnection.Failure> {
        let (connection, epoch) = try take()
        do throws(PostgresConnection.Failure) {
            let value = try body(connection)
            give(connection, epoch)
            return .success(value)
        } catch {
            switch error {
            case .lost: forgetAll()
            // A server that was demoted refuses writes from then on.
            case .refused(let state, _) where StoreError.isDemotion(state): forgetAll()
            case .refused, .noticed: give(connection, epoch)
            }
            return .failure(error)
        }
    }

    func close() {
        state.withLock { state in
            state.isClosed = true
            state.idle = []
        }
    }

    private func take() throws(StoreError) -> (PostgresConnection, epoch: Int) {
        let (found, epoch, problem) = state.withLock {
            state -> (PostgresConnection?, Int, StoreError?) in
            guard !state.isClosed else {
                return (nil, 0, .unavailable("\(name) has been closed."))
            }
            if let failure = state.failure, failure.until > .now {
                return (nil, 0, failure.error)
            }
            return (state.idle.popLast(), state.epoch, nil)
        }
        if let problem { throw problem }
        if let found { return (found, epoch) }
        do throws(StoreError) {
            let connection = try open()
            state.withLock { $0.failure = nil }
            return (connection, epoch)
        } catch {
            if case .unavailable = error {
                state.withLock { $0.failure = (error, .now + Self.pause) }
            }
            throw error
        }
    }

    private func give(_ connection: PostgresConnection, _ epoch: Int) {
        state.withLock { state in
            guard !state.isClosed, state.epoch == epoch else { return }
            state.idle.append(connection)
        }
    }

    private func forgetAll() {
        state.withLock { state in
            state.epoch += 1
            state.idle = []
        }
    }
}
