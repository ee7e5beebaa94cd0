import Foundation
import HoldfastCore
import HoldfastLedger
import Synchronization

/// What a test keeps a store from doing for a while.
final class StoreGate: Sendable {
    enum Work: Hashable, Sendable {
        case commit
        case scan
    }

    private let closed = Mutex<Set<Work>>([])
    private let passes = Mutex<Set<Work>>([])
    private let waiting = Mutex<Set<Work>>([])

    func close(_ work: Work) { closed.withLock { _ = $0.insert(work) } }

    func open(_ work: Work) { closed.withLock { _ = $0.remove(work) } }

    /// Whatever comes next may pass a closed gate, once.
    func letOnePass(_ work: Work) { passes.withLock { _ = $0.insert(work) } }

    /// Whether something stands before the gate.
    func isWaitedFor(_ work: Work) -> Bool { waiting.withLock { $0.contains(work) } }

    fileprivate func pass(_ work: Work) {
        while closed.withLock({ $0.contains(work) }), !hasPass(work) {
            waiting.withLock { _ = $0.insert(work) }
            Thread.sleep(forTimeInterval: 0.001)
        }
        waiting.withLock { _ = $0.remove(work) }
    }

    private func hasPass(_ work: Work) -> Bool { passes.withLock { $0.remove(work) != nil } }
}

/// A store that is as slow as a test wants it.
final class GatedStore: AccountStore {
    private let store: MemoryStore
    private let gate: StoreGate

    init(_ store: MemoryStore, _ gate: StoreGate) {
        self.store = store
        self.gate = gate
    }

    func commit(_ batch: StoreBatch) throws(StoreError) -> CommitResult {
        gate.pass(.commit)
        return try store.commit(batch)
    }

    func scan(
        _ selection: AccountSelection, limit: Int, after: AccountKey?
    ) throws(StoreError) -> [ScannedAccount] {
        gate.pass(.scan)
        return try store.scan(selection, limit: limit, after: after)
    }

    func generation() throws(StoreError) -> StoreGeneration { try store.generation() }

    func meet(_ node: CounterNode, within seconds: Int64) throws(StoreError) -> [CounterNode] {
        [node]
    }

    func leave(_ node: CounterNode) throws(StoreError) {}

    func load(_ keys: [AccountKey]) throws(StoreError) -> LoadResult { try store.load(keys) }

    func openSession(edge: String, at time: UnixTime) throws(StoreError) -> SessionID {
        try store.openSession(edge: edge, at: time)
    }

    func adoptSession(_ id: SessionID, edge: String, at time: UnixTime) throws(StoreError) {
        try store.adoptSession(id, edge: edge, at: time)
    }

    func session(_ id: SessionID) throws(StoreError) -> SessionRecord? { try store.session(id) }

    func sessions(
        _ selection: SessionSelection, limit: Int, after: SessionID?
    ) throws(StoreError) -> [SessionRecord] {
        try store.sessions(selection, limit: limit, after: after)
    }

    func secret(named name: String, generate: () -> [UInt8]) throws(StoreError) -> [UInt8] {
        try store.secret(named: name, generate: generate)
    }

    func clockFloor() throws(StoreError) -> UnixTime { try store.clockFloor() }

    func operatorRecords(limit: Int) throws(StoreError) -> [OperatorRecord] {
        try store.operatorRecords(limit: limit)
    }

    func close() { store.close() }
}
