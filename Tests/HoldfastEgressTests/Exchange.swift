import HoldfastEgress
import NIOCore
import Synchronization
import Testing

/// One transfer and all of its events. `next` follows them as they come; `outcome` waits for the
/// last one.
final class Exchange: Sendable {
    let transfer: EgressTransfer
    private let log: EventLog
    private let stream: AsyncStream<EgressEvent>

    /// - Parameter isConsumed: count body bytes as passed on as soon as they arrive.
    init(_ egress: Egress, _ request: EgressRequest) {
        let log = EventLog()
        let (stream, continuation) = AsyncStream.makeStream(of: EgressEvent.self)
        transfer = egress.start(request) { event in
            log.append(event)
            continuation.yield(event)
            if event.isLast { continuation.finish() }
        }
        self.log = log
        self.stream = stream
    }

    var events: AsyncStream<EgressEvent> { stream }

    /// Everything that has happened, after the last event.
    func outcome() async -> Outcome {
        for await _ in stream {}
        return Outcome(log.events)
    }

    /// How many last events there were: exactly one, always.
    var lastEventCount: Int { log.events.count(where: \.isLast) }

    struct Outcome {
        var status: Int?
        var headers: [(name: String, value: String)] = []
        var headCount = 0
        var body: [UInt8] = []
        var failure: EgressFailure?

        init(_ events: [EgressEvent]) {
            for event in events {
                switch event {
                case .head(let status, let headers):
                    self.status = status
                    self.headers = headers
                    headCount += 1
                case .body(let bytes): body += bytes.readableBytesView
                case .end: break
                case .failed(let failure): self.failure = failure
                }
            }
        }

        var text: String { String(decoding: body, as: UTF8.self) }
    }
}

private final class EventLog: Sendable {
    private let log = Mutex<[EgressEvent]>([])

    var events: [EgressEvent] { log.withLock { $0 } }

    func append(_ event: EgressEvent) {
        log.withLock { $0.append(event) }
    }
}

extension EgressEvent {
    var isLast: Bool {
        switch self {
        case .head, .body: false
        case .end, .failed: true
        }
    }
}

extension EgressRequest {
    static func post(
        _ url: String, _ body: String = #"{"model":"m"}"#, headers: [(String, String)] = [],
        connectTimeout: Duration = .seconds(10), idleTimeout: Duration = .seconds(20),
        totalTimeout: Duration? = nil
    ) -> EgressRequest {
        EgressRequest(
            method: "POST", url: url, headers: headers, body: Array(body.utf8),
            connectTimeout: connectTimeout, idleTimeout: idleTimeout, totalTimeout: totalTimeout)
    }
}

/// Runs `body` with a server and an egress, and stops both.
func withServer(
    bufferByteCountMax: Int = 32 << 20, threadCount: Int = 1,
    _ script: @escaping @Sendable (RawConnection) -> Void,
    _ body: (Egress, RawServer) async throws -> Void
) async throws {
    let server = RawServer(script)
    let egress = try Egress(threadCount: threadCount, bufferByteCountMax: bufferByteCountMax)
    defer {
        egress.shutdown()
        server.stop()
    }
    try await body(egress, server)
    #expect(egress.transferCount == 0, "a transfer was left behind")
}

/// A test waits on it, never on time.
final class Gate: Sendable {
    private let waiters: AsyncStream<Void>
    private let opener: AsyncStream<Void>.Continuation

    init() {
        (waiters, opener) = AsyncStream.makeStream(of: Void.self)
    }

    func open() {
        opener.yield()
    }

    func pass() async {
        var iterator = waiters.makeAsyncIterator()
        _ = await iterator.next()
    }
}
