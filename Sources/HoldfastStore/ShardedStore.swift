public import HoldfastLedger

/// Several PostgreSQL databases as one store.
public enum ShardedStore {
    public static func open(
        _ locations: [PostgresStore.Location], options: PostgresStore.Options, isRestored: Bool
    ) throws(StoreError) -> any AccountStore {
        try PostgresStore(locations[0], options: options, isRestored: isRestored)
    }
}
