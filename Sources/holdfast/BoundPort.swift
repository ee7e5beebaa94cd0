import Synchronization

/// A port that is known once something has bound it. Waiting for it ends with the waiting task: what
/// binds it may fail, and then nobody should wait for ever.
final class BoundPort: Sendable {
    private struct State {
        var port: Int?
        var nextWaiter = 0
        var waiting: [Int: CheckedContinuation<Int, any Error>] = [:]
    }

    private let state = Mutex(State())

    func set(_ port: Int) {
        let waiting = state.withLock { state in
            state.port = port
            defer { state.waiting = [:] }
            return state.waiting
        }
        for continuation in waiting.values { continuation.resume(returning: port) }
    }

    /// Throws `CancellationError` when the task is cancelled first.
    func get() async throws -> Int {
        let number = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let known = state.withLock { state -> Int? in
                    if state.port == nil { state.waiting[number] = continuation }
                    return state.port
                }
                if let known {
                    continuation.resume(returning: known)
                } else if Task.isCancelled {
                    // The handler may have run before there was anything to resume.
                    cancel(number)
                }
            }
        } onCancel: {
            cancel(number)
        }
    }

    private func cancel(_ number: Int) {
        let continuation = state.withLock { $0.waiting.removeValue(forKey: number) }
        continuation?.resume(throwing: CancellationError())
    }
}
