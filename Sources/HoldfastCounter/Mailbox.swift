import Foundation
import Synchronization

/// What arrives while the core is busy. Taken all at once, so that a commit under way gathers the
/// next batch.
///
/// Bounded by telling senders to stop: what has been sent is never thrown away, because the peer
/// would not know.
final class Mailbox<Item: Sendable, Sender: Hashable & Sendable>: Sendable {
    enum Receipt: Sendable {
        case accepted
        /// Accepted too, but the sender must stop until a delivery names it. Said again with
        /// everything that it sends until then.
        case full
        /// Too late: nobody takes it any more.
        case closed
    }

    struct Delivery: Sendable {
        var items: [Item] = []
        /// Told to stop, each once. They may go on now.
        var stopped: [Sender] = []
    }

    private struct Backlog {
        var weight = 0
        var isStopped = false
    }

    private struct State {
        var delivery = Delivery()
        var weight = 0
        var backlogs: [Sender: Backlog] = [:]
        var isClosed = false
    }

    private let bounds: BacklogBounds
    private let state = Mutex(State())
    private let arrived = DispatchSemaphore(value: 0)

    init(bounds: BacklogBounds) {
        self.bounds = bounds
    }

    /// What waits now.
    var backlog: (itemCount: Int, weight: Int) {
        state.withLock { ($0.delivery.items.count, $0.weight) }
    }

    /// From inside the process: not bounded.
    @discardableResult
    func post(_ item: Item) -> Receipt {
        post(item) { _ in .accepted }
    }

    /// - Parameter weight: bytes.
    func post(_ item: Item, from sender: Sender, weight: Int) -> Receipt {
        let bounds = bounds
        return post(item) { state in
            state.weight += weight
            state.backlogs[sender, default: Backlog()].weight += weight
            guard let backlog = state.backlogs[sender],
                state.weight > bounds.total || backlog.weight > bounds.perConnection
            else { return .accepted }
            if !backlog.isStopped { state.delivery.stopped.append(sender) }
            state.backlogs[sender]?.isStopped = true
            return .full
        }
    }

    private func post(_ item: Item, _ weigh: (inout State) -> Receipt) -> Receipt {
        let (isFirst, receipt) = state.withLock { state -> (Bool, Receipt) in
            guard !state.isClosed else { return (false, .closed) }
            state.delivery.items.append(item)
            return (state.delivery.items.count == 1, weigh(&state))
        }
        // One signal per batch: the taker empties the box.
        if isFirst { arrived.signal() }
        return receipt
    }

    /// Blocks until something is there or the time is over.
    func takeAll(timeoutMilliseconds: Int) -> Delivery {
        // Always takes the signal of the batch that it takes: signals left over would add up under
        // load and each wake the taker for nothing later.
        _ = arrived.wait(timeout: .now() + .milliseconds(timeoutMilliseconds))
        return empty(closing: false)
    }

    /// - Returns: what came after the last delivery. Nothing comes any more.
    func close() -> [Item] {
        empty(closing: true).items
    }

    private func empty(closing: Bool) -> Delivery {
        state.withLock { state in
            let delivery = state.delivery
            state = State(isClosed: closing || state.isClosed)
            return delivery
        }
    }
}

/// How much may wait for the core before connections are not read any more. Bytes.
package struct BacklogBounds: Sendable {
    /// What a frame weighs besides its bytes: an empty one takes memory and time as well.
    static let frameOverhead = 1 << 10

    /// About 10,000 reports of a few accounts each. Each connection that sends more stops.
    package var total = 16 << 20
    /// About 500 such reports of one edge.
    package var perConnection = 512 << 10

    package init() {}
}
