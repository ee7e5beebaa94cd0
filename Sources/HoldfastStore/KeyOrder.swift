import Glibc
import HoldfastCore
import HoldfastLedger

/// The order in which stores write the accounts of a batch: that of the UTF-8 of their keys.
enum KeyOrder {
    /// The positions of the puts, and their keys' texts, in that order.
    static func sorted(_ puts: [StoreBatch.Put]) -> [(index: Int, key: [UInt8])] {
        let sorted = puts.indices.map { (index: $0, key: puts[$0].key.textBytes) }
            .sorted { precedes($0.key, $1.key) }
        for (put, next) in zip(sorted, sorted.dropFirst()) {
            precondition(precedes(put.key, next.key), "a batch has a key twice")
        }
        for put in puts { precondition(!put.key.cap.isEmpty, "an account without a cap") }
        return sorted
    }

    private static func precedes(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        let order = memcmp(left, right, min(left.count, right.count))
        return order < 0 || order == 0 && left.count < right.count
    }
}

extension CommitResult {
    /// - Parameter isWritten: of each put; the others are in conflict.
    init(_ puts: [StoreBatch.Put], isWritten: [Bool]) {
        self.init()
        written.reserveCapacity(puts.count)
        for (put, isWritten) in zip(puts, isWritten) {
            if isWritten {
                written.append(Written(put.key, put.expected + 1))
            } else {
                conflicts.append(put.key)
            }
        }
    }
}
