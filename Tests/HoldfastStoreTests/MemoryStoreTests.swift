import HoldfastLedger
import Testing

/// The store that the counter's tests run on, which would prove little if it had other rules than
/// the real ones. `MemoryStore.swift` is a link to theirs.
@Suite struct `Memory store` {
    @Test(arguments: StoreConformance.allCases)
    func `it keeps the promises of every store`(promise: StoreConformance) throws {
        let store = MemoryStore()
        try promise.check { isRestored in store.reopened(isRestored: isRestored) }
    }
}
