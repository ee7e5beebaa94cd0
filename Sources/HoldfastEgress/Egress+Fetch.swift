import NIOCore
import Synchronization

extension Egress {
    /// One whole response. Cancelling the task cancels the transfer.
    ///
    /// - Parameter bodyByteCountMax: a longer body fails with `.bufferOverflow`.
    package func fetch(
        _ request: EgressRequest, bodyByteCountMax: Int = 8 << 20
    ) async throws(EgressFailure) -> EgressResponse {
        let collector = ResponseCollector()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                // Nothing is consumed, so the buffer's bound is the body's bound.
                let transfer = start(request, bufferByteCountMax: bodyByteCountMax) { event in
                    if let result = collector.take(event) { continuation.resume(returning: result) }
                }
                collector.attach(transfer)
            }
        } onCancel: {
            collector.cancel()
        }
        return try result.get()
    }
}

/// Gathers one response, and lets a cancellation that comes first wait for its transfer.
private final class ResponseCollector: Sendable {
    private struct State {
        var status: Int?
        var headers: [(name: String, value: String)] = []
        var body = ByteBuffer()
        var transfer: EgressTransfer?
        var isCancelled = false
    }

    private let state = Mutex(State())

    func attach(_ transfer: EgressTransfer) {
        let isCancelled = state.withLock { state in
            state.transfer = transfer
            return state.isCancelled
        }
        if isCancelled { transfer.cancel() }
    }

    func cancel() {
        let transfer = state.withLock { state in
            state.isCancelled = true
            return state.transfer
        }
        transfer?.cancel()
    }

    /// - Returns: the outcome, once, with the last event.
    func take(_ event: EgressEvent) -> Result<EgressResponse, EgressFailure>? {
        state.withLock { state in
            switch event {
            case .head(let status, let headers):
                state.status = status
                state.headers = headers
                return nil
            case .body(let bytes):
                state.body.writeImmutableBuffer(bytes)
                return nil
            case .failed(let failure):
                return .failure(failure)
            case .end:
                guard let status = state.status else {
                    preconditionFailure("the end of a response without a head")
                }
                return .success(
                    EgressResponse(status: status, headers: state.headers, body: state.body))
            }
        }
    }
}
