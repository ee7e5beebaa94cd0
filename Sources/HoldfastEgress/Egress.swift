import CCurl
import Synchronization

/// HTTP to providers, through libcurl on threads of our own.
///
/// A thread has one `CURLM` and keeps its connections; transfers go round robin. Threads share
/// nothing, so a few of them go a long way. Nothing is retried, redirected or decoded, no cookie is
/// kept. Proxies are taken from the usual environment variables (`https_proxy`, `no_proxy`, …), as
/// every curl does.
///
/// Transfers are never paused, which is unreliable in libcurl over HTTP/2. A reader that falls too
/// far behind loses its transfer instead, see `EgressTransfer.consumed`.
package final class Egress: Sendable {
    private let workers: [EgressWorker]
    private let threads: Mutex<[EgressThread]>
    private let counts: EgressCounts
    private let bufferByteCountMax: Int
    private let nextWorkerIndex = Atomic<UInt>(0)

    /// - Parameter bufferByteCountMax: body bytes that one transfer may deliver ahead of
    ///   `consumed`.
    /// - Parameter connectionsPerHostMax: in all threads together, at least one in each. A transfer
    ///   that finds no free connection waits within its connect timeout.
    /// - Parameter caFile: PEM file with the certificate authorities to trust instead of the
    ///   system's.
    /// - Throws: when this process cannot have another thread or libcurl cannot start.
    package init(
        threadCount: Int, bufferByteCountMax: Int, connectionsPerHostMax: Int = 1_024,
        caFile: String? = nil, isHTTP2Enabled: Bool = true
    ) throws(EgressFailure) {
        precondition(threadCount > 0, "no egress thread")
        precondition(bufferByteCountMax > 0, "no egress buffer")
        precondition(connectionsPerHostMax > 0, "no egress connection")
        guard Self.globalInit == CURLE_OK else {
            throw .setup("libcurl cannot start (code \(Self.globalInit.rawValue))")
        }
        let configuration = EgressConfiguration(
            connectionsPerHostMax: (connectionsPerHostMax + threadCount - 1) / threadCount,
            caFile: caFile, isHTTP2Enabled: isHTTP2Enabled)
        let counts = EgressCounts()
        var workers: [EgressWorker] = []
        var threads: [EgressThread] = []
        do throws(EgressFailure) {
            for _ in 0..<threadCount {
                let worker = try EgressWorker(configuration: configuration, counts: counts)
                threads.append(try EgressThread(worker))
                workers.append(worker)
            }
        } catch {
            for worker in workers { worker.stop() }
            for thread in threads { thread.join() }
            throw error
        }
        self.workers = workers
        self.threads = Mutex(threads)
        self.counts = counts
        self.bufferByteCountMax = bufferByteCountMax
    }

    deinit {
        // The last reference may be dropped on an egress thread, which cannot wait for itself.
        for worker in workers { worker.stop() }
        for thread in takeThreads() { thread.detach() }
    }

    /// Begins a transfer. `onEvent` is called on an egress thread, in order, and must not block:
    /// every other transfer of that thread waits. After `shutdown` it is called on the caller's.
    package func start(
        _ request: EgressRequest, onEvent: @escaping @Sendable (EgressEvent) -> Void
    ) -> EgressTransfer {
        start(request, bufferByteCountMax: bufferByteCountMax, onEvent: onEvent)
    }

    func start(
        _ request: EgressRequest, bufferByteCountMax: Int,
        onEvent: @escaping @Sendable (EgressEvent) -> Void
    ) -> EgressTransfer {
        let index = nextWorkerIndex.wrappingAdd(1, ordering: .relaxed).oldValue
        let worker = workers[Int(index % UInt(workers.count))]
        let transfer = EgressTransfer(worker: worker)
        let order = EgressOrder(
            transfer: transfer, request: request, bufferByteCountMax: bufferByteCountMax,
            onEvent: onEvent)
        if !worker.send(.start(order)) { onEvent(.failed(.shutDown)) }
        return transfer
    }

    /// Ends all transfers with `.cancelled` and waits for the threads. Not from `onEvent`, which
    /// would wait for itself. A second call does nothing.
    package func shutdown() {
        let threads = takeThreads()
        precondition(!threads.contains(where: \.isCurrent), "shutdown from an egress thread")
        for worker in workers { worker.stop() }
        for thread in threads { thread.join() }
    }

    /// Transfers under way.
    package var transferCount: Int { counts.transferCount.load(ordering: .relaxed) }

    /// libcurl handles that exist, in use or kept for reuse.
    package var handleCount: Int { counts.handleCount.load(ordering: .relaxed) }

    private func takeThreads() -> [EgressThread] {
        threads.withLock { threads in
            let taken = threads
            threads = []
            return taken
        }
    }

    /// Once per process, and before any other thread calls libcurl.
    private static let globalInit = curl_global_init(Int(CURL_GLOBAL_ALL))
}

/// A transfer, as its owner sees it.
package final class EgressTransfer: Sendable {
    private let worker: EgressWorker
    let consumedByteCount = Atomic<Int>(0)
    let isCancelled = Atomic<Bool>(false)

    init(worker: EgressWorker) {
        self.worker = worker
    }

    /// Ends the transfer with `failed(.cancelled)`, unless it is over already. Closes the
    /// connection (HTTP/2: the stream), so that the provider can stop. Any number of times, from
    /// any thread.
    package func cancel() {
        let wasCancelled = isCancelled.exchange(true, ordering: .acquiringAndReleasing)
        guard !wasCancelled else { return }
        // Refused only after a stop, which ends the transfer itself.
        _ = worker.send(.cancel(self))
    }

    /// Tells that the reader has passed on so many bytes of `body`. What is delivered and not
    /// consumed counts against the buffer; past it the transfer ends with `.bufferOverflow`.
    package func consumed(_ byteCount: Int) {
        precondition(byteCount >= 0, "a negative byte count")
        consumedByteCount.wrappingAdd(byteCount, ordering: .relaxed)
    }
}
