import Foundation
import Synchronization

/// What arrives while the core is busy. Taken all at once, so that a commit under way gathers the
/// next batch.
final class Mailbox<Item: Sendable>: Sendable {
    private struct State {
        var items: [Item] = []
        var isClosed = false
    }

    private let state = Mutex(State())
    private let arrived = DispatchSemaphore(value: 0)

    /// `false` once closed.
    @discardableResult
    func post(_ item: Item) -> Bool {
        let (isFirst, isOpen) = state.withLock { state -> (Bool, Bool) in
            guard !state.isClosed else { return (false, false) }
            state.items.append(item)
            return (state.items.count == 1, true)
        }
        // One signal per batch: the taker empties the box.
        if isFirst { arrived.signal() }
        return isOpen
    }

    /// Blocks until something is there or the time is over.
    func takeAll(timeoutMilliseconds: Int) -> [Item] {
        if let waiting = drain() { return waiting }
        _ = arrived.wait(timeout: .now() + .milliseconds(timeoutMilliseconds))
        return drain() ?? []
    }

    func close() {
        state.withLock { $0.isClosed = true }
        arrived.signal()
    }

    private func drain() -> [Item]? {
        state.withLock { state in
            guard !state.items.isEmpty else { return nil }
            let items = state.items
            state.items = []
            return items
        }
    }
}
