import HoldfastCore
import HoldfastProviders
import Synchronization

/// The policy in force. Readers take the reference and use it for a whole request.
final class PolicyBox: Sendable {
    private let current = Mutex<CompiledPolicy?>(nil)
    private let taken = Atomic<UInt64>(0)

    var policy: CompiledPolicy? { current.withLock { $0 } }

    func replace(_ policy: EdgePolicy) throws(PriceBookError) {
        let generation = taken.wrappingAdd(1, ordering: .relaxed).newValue
        let compiled = try CompiledPolicy(policy, generation: generation)
        current.withLock { $0 = compiled }
    }

    func update(_ windows: PolicyWindows) {
        current.withLock { current in
            if let updated = current?.with(windows) { current = updated }
        }
    }
}
