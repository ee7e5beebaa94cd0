/// What happens next: a binary heap by time, and by the order of scheduling within a millisecond.
struct EventQueue<Event> {
    private struct Entry {
        var at: UInt64
        var number: UInt64
        var event: Event

        func isBefore(_ other: Entry) -> Bool {
            at != other.at ? at < other.at : number < other.number
        }
    }

    private var heap: [Entry] = []
    private var nextNumber: UInt64 = 0

    var isEmpty: Bool { heap.isEmpty }
    var nextTime: UInt64? { heap.first?.at }

    mutating func schedule(_ event: Event, at time: UInt64) {
        heap.append(Entry(at: time, number: nextNumber, event: event))
        nextNumber += 1
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].isBefore(heap[parent]) else { return }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func removeFirst() -> (at: UInt64, event: Event)? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            sink()
        }
        return (first.at, first.event)
    }

    private mutating func sink() {
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && heap[child].isBefore(heap[least]) {
                least = child
            }
            guard least != parent else { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
