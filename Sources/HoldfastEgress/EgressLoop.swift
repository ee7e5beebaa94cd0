import CCurl
import Synchronization

/// The time, read once per turn of the loop, and the moment by which deadlines must be looked at.
final class LoopClock {
    private(set) var now = ContinuousClock.now
    private(set) var nextCheckAt: ContinuousClock.Instant?

    func advance() {
        now = .now
    }

    func watch(_ deadline: ContinuousClock.Instant) {
        nextCheckAt = min(nextCheckAt ?? deadline, deadline)
    }

    /// Whether the deadlines are due; forgets the moment if so.
    func takeCheck() -> Bool {
        guard let moment = nextCheckAt, now >= moment else { return false }
        nextCheckAt = nil
        return true
    }
}

/// One thread's transfers: one `CURLM`, its easy handles, their deadlines.
///
/// Deadlines only move later while bytes flow, so no heap is kept: all are looked at when the
/// earliest one known has passed, at most every 10 ms. That is exact to 10 ms and costs nothing per
/// byte.
final class EgressLoop {
    /// Handles kept for the next transfers; each is about 6 KiB plus its buffers.
    static let idleHandleCountMax = 256
    private static let checkInterval = Duration.milliseconds(10)
    private static let pollMillisecondsMax = 60_000

    private let multi: MultiHandle
    private let configuration: EgressConfiguration
    private let counts: EgressCounts
    private let clock = LoopClock()
    private var active: [ObjectIdentifier: ActiveTransfer] = [:]
    private var idleHandles: [EasyHandle] = []

    init(multi: MultiHandle, configuration: EgressConfiguration, counts: EgressCounts) {
        self.multi = multi
        self.configuration = configuration
        self.counts = counts
    }

    func apply(_ commands: [EgressCommand]) {
        for command in commands {
            switch command {
            case .start(let order): start(order)
            case .cancel(let transfer): cancel(transfer)
            }
        }
    }

    /// Moves bytes, reports what is over, then waits for sockets, deadlines or a wake-up.
    func turn() {
        var runningCount: CInt = 0
        let performed = curl_multi_perform(multi.pointer, &runningCount)
        finishCompleted()
        guard performed == CURLM_OK else { return failAll(Self.brokenLoop(performed)) }
        checkDeadlines()
        let polled = curl_multi_poll(multi.pointer, nil, 0, CInt(pollMilliseconds), nil)
        if polled != CURLM_OK { failAll(Self.brokenLoop(polled)) }
        clock.advance()
    }

    /// Ends every transfer with what `failure` makes of it; `wasSent` comes from the transfer.
    func failAll(_ failure: (kind: EgressFailure.Kind, message: String)) {
        for transfer in active.values.map({ $0 }) {
            finish(
                transfer,
                EgressFailure(
                    kind: failure.kind, requestWasSent: transfer.wasSent,
                    message: failure.message))
        }
    }

    private static func brokenLoop(
        _ code: CURLMcode
    ) -> (kind: EgressFailure.Kind, message: String) {
        (.other, "libcurl failed: \(String(cString: curl_multi_strerror(code)))")
    }
}

// MARK: - Start and end of a transfer

extension EgressLoop {
    private func start(_ order: EgressOrder) {
        counts.transferCount.wrappingAdd(1, ordering: .relaxed)
        do throws(EgressFailure) {
            if let problem = order.request.problem {
                throw .setup("the request cannot be sent: \(problem)")
            }
            let easy = try takeHandle()
            let transfer = try ActiveTransfer(order: order, easy: easy, clock: clock)
            try transfer.configure(configuration)
            let code = curl_multi_add_handle(multi.pointer, easy.pointer)
            guard code == CURLM_OK else {
                throw .setup("libcurl refuses the transfer (code \(code.rawValue))")
            }
            active[ObjectIdentifier(order.transfer)] = transfer
            clock.watch(transfer.deadline)
        } catch {
            counts.transferCount.wrappingSubtract(1, ordering: .relaxed)
            order.onEvent(.failed(error))
        }
    }

    private func takeHandle() throws(EgressFailure) -> EasyHandle {
        if let idle = idleHandles.popLast() { return idle }
        return try EasyHandle(counts: counts)
    }

    private func cancel(_ transfer: EgressTransfer) {
        // Not there: it finished first.
        guard let found = active[ObjectIdentifier(transfer)] else { return }
        finish(
            found,
            EgressFailure(
                kind: .cancelled, requestWasSent: found.wasSent, message: "cancelled"))
    }

    private func finishCompleted() {
        var pointer: UnsafeMutableRawPointer?
        var code = CURLE_OK
        while c_holdfast_curl_multi_next_done(multi.pointer, &pointer, &code) == 1 {
            var context: UnsafeMutableRawPointer?
            let found = c_holdfast_curl_get_private(pointer, &context)
            guard found == CURLE_OK, let context else {
                preconditionFailure("a transfer without its context")
            }
            let transfer = ActiveTransfer.from(context)
            finish(transfer, transfer.failure(for: code))
        }
    }

    private func checkDeadlines() {
        guard clock.takeCheck() else { return }
        var expired: [ActiveTransfer] = []
        for transfer in active.values {
            let deadline = transfer.deadline
            if deadline <= clock.now {
                expired.append(transfer)
            } else {
                clock.watch(max(deadline, clock.now + Self.checkInterval))
            }
        }
        for transfer in expired { finish(transfer, transfer.timeoutFailure) }
    }

    /// The only exit: out of libcurl, out of the table, handle back to the pool, last event.
    private func finish(_ transfer: ActiveTransfer, _ failure: EgressFailure?) {
        let removed = curl_multi_remove_handle(multi.pointer, transfer.easy.pointer)
        precondition(removed == CURLM_OK, "curl_multi_remove_handle failed: \(removed.rawValue)")
        let known = active.removeValue(forKey: ObjectIdentifier(transfer.transfer))
        precondition(known === transfer, "a transfer that is not in the table")
        transfer.easy.reset()
        if idleHandles.count < Self.idleHandleCountMax { idleHandles.append(transfer.easy) }
        counts.transferCount.wrappingSubtract(1, ordering: .relaxed)
        transfer.finish(failure)
    }

    private var pollMilliseconds: Int {
        guard let moment = clock.nextCheckAt else { return Self.pollMillisecondsMax }
        let remaining = clock.now.duration(to: moment).wholeMilliseconds
        return max(0, min(remaining, Self.pollMillisecondsMax))
    }
}

extension Duration {
    /// Rounded up, so that a wait is never too short; bounded to what a C `long` and libcurl take.
    var wholeMilliseconds: Int {
        let (seconds, attoseconds) = components
        guard seconds < 2_000_000 else { return 2_000_000_000 }
        let perMillisecond: Int64 = 1_000_000_000_000_000
        return Int(seconds) * 1_000 + Int((attoseconds + perMillisecond - 1) / perMillisecond)
    }
}
