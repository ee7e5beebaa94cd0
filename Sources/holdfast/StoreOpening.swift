import HoldfastConfig
import HoldfastLedger
import HoldfastStore
import Logging

/// Opens the store that a configuration names.
struct StoreOpening {
    let config: Config
    let logger: Logger

    /// - Parameters:
    ///   - isRestored: the store is older than what it has acknowledged, see `SQLiteStore`.
    ///   - isUnsafeAllowed: it may lose what it acknowledges, see `PostgresProfile`.
    func open(isRestored: Bool, isUnsafeAllowed: Bool) throws(StoreError) -> any AccountStore {
        switch config.store {
        case .sqlite(let path):
            return try SQLiteStore(path: path, isRestored: isRestored)
        case .postgres(let shards):
            var options = PostgresStore.Options()
            options.cluster = config.cluster
            options.isUnsafeAllowed = isUnsafeAllowed
            options.warn = { [logger] in logger.warning("\($0)") }
            let locations = shards.map {
                PostgresStore.Location(uri: $0.uri, name: $0.description)
            }
            return try ShardedStore.open(locations, options: options, isRestored: isRestored)
        }
    }

    /// Whether other counters may write the store, too.
    var isShared: Bool {
        switch config.store {
        case .sqlite: false
        case .postgres: true
        }
    }
}
