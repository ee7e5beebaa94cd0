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
        // Always takes the signal of the batch that it takes: signals left over would add up under
        // load and each wake the taker for nothing later.
        _ = arrived.wait(timeout: .now() + .milliseconds(timeoutMilliseconds))
        return state.withLock { state in
            let items = state.items
            state.items = []
            return items
        }
    }

    func close() {
        state.withLock { $0.isClosed = true }
        arrived.signal()
    }
}
