import HoldfastAdmin
import HoldfastCore
import HoldfastLedger
import HoldfastTLS
import HoldfastTransport
import HoldfastWire
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// Delivers the journal of an earlier life, over connections of its own and for as long as it
/// takes, while the new session serves already.
struct EdgeJournalRecovery: Sendable {
    /// A sound journal that an earlier life has left.
    struct Case: Equatable, Sendable {
        let path: String
        let reading: JournalFile.Reading
    }

    enum Outcome: Equatable, Sendable {
        /// The counter has taken it. Some accounts may not have been believed.
        case delivered(refused: Int, leftOut: Int)
        case refused(Rejection)
        /// The store is not the one that issued the session: its numbers mean nothing there.
        case otherStore
        /// Worth another try.
        case notReached(String)
    }

    private static let backoffMilliseconds: ClosedRange<Int64> = 200...30_000
    private static let answerMax = TimeAmount.seconds(10)

    let found: Case
    let addresses: [CounterAddress]
    let name: String
    var credentials: NodeCredentials?
    let metrics: EdgeMetrics
    let loop: any EventLoop
    let logger: Logger

    func run() async {
        var backoff = Self.backoffMilliseconds.lowerBound
        var number = 0
        while !Task.isCancelled {
            let outcome = await attempt(addresses[number % addresses.count])
            number += 1
            if finish(outcome) { return }
            do {
                try await Task.sleep(
                    for: .milliseconds(Int64.random(in: backoff / 2...backoff)))
            } catch {
                return
            }
            if number % addresses.count == 0 {
                backoff = min(backoff * 2, Self.backoffMilliseconds.upperBound)
            }
        }
    }

    // MARK: - One try

    private func attempt(_ address: CounterAddress) async -> Outcome {
        let promise = loop.makePromise(of: Outcome.self)
        let delivery = NIOLoopBoundBox.makeBoxSendingValue(
            Delivery(found.reading, name: name, promise: promise, logger: logger),
            eventLoop: loop)
        let certificates = await credentials?.current()
        do {
            let channel = try await ClientBootstrap(group: loop)
                .connectTimeout(.seconds(2))
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try certificates?.secure(channel, as: .edge)
                        try channel.pipeline.syncOperations.addHandlers(
                            ByteToMessageHandler(FrameDecoder()),
                            FrameReceiver(
                                onPayload: { payload, channel in
                                    delivery.value.received(payload, channel)
                                },
                                onClose: { error in
                                    let reason = error.map(LeaseClient.reason) ?? "it hung up"
                                    delivery.value.over(.notReached(reason))
                                }))
                    }
                }
                .connect(host: address.host, port: address.port)
                .flatMap { NodeCertificates.secured($0, by: certificates) }.get()
            let silence = loop.scheduleTask(in: Self.answerMax) {
                delivery.value.over(.notReached("it does not answer"))
            }
            loop.execute { delivery.value.connected(channel) }
            let outcome = try await withTaskCancellationHandler {
                try await promise.futureResult.get()
            } onCancel: {
                channel.close(promise: nil)
            }
            silence.cancel()
            channel.close(promise: nil)
            return outcome
        } catch {
            let reason = SocketFailure.reason(error)
            loop.execute { delivery.value.over(.notReached(reason)) }
            return .notReached(reason)
        }
    }

    // MARK: - The end

    /// Whether there is nothing more to do.
    private func finish(_ outcome: Outcome) -> Bool {
        var details: Logger.Metadata = [
            "session": "\(found.reading.header.session.rawValue)", "kept": "\(found.path)",
        ]
        let count = found.reading.entries.count
        do {
            switch outcome {
            case .notReached(let reason):
                details["error"] = "\(reason)"
                logger.debug(
                    "the journal of an earlier life is not delivered yet", metadata: details)
                return false
            case .delivered(let refused, let leftOut):
                counted(count - refused - leftOut, "delivered")
                counted(refused, "refused")
                counted(leftOut, "left_out")
                details["accounts"] = "\(count - refused - leftOut)"
                details["refused"] = "\(refused)"
                details["left_out"] = "\(leftOut)"
                logger.notice(
                    """
                    an earlier life of this edge has given back what it had not unlocked; the \
                    amounts are in 'holdfast operator-log'
                    """, metadata: details)
                if refused + leftOut == 0 {
                    try EdgeJournalDisk.remove(found.path)
                } else {
                    try keep()
                }
            case .refused(let rejection):
                counted(count, "refused")
                details["error"] = "\(rejection.reason): \(rejection.message)"
                logger.error(
                    "the counter does not take the journal of an earlier life", metadata: details)
                try keep()
            case .otherStore:
                counted(count, "refused")
                logger.error(
                    "the journal of an earlier life is of another store; nothing is given back",
                    metadata: details)
                try keep()
            }
        } catch {
            logger.warning(
                "the journal of an earlier life was delivered and not removed; that does no harm",
                metadata: ["error": "\(error)"])
        }
        return true
    }

    private func counted(_ count: Int, _ outcome: String) {
        guard count > 0 else { return }
        metrics.journalRecovered.with(outcome).increment(by: UInt64(count))
    }

    /// For whoever wants to look.
    private func keep() throws(EdgeJournalDisk.Failure) {
        let kept = found.path.replacing(".recovering-", with: ".old-", maxReplacements: 1)
        try EdgeJournalDisk.move(found.path, to: kept)
    }
}

/// One connection's part in it. Confined to the event loop.
private final class Delivery {
    private var machine: SessionRecovery
    private let mark: [UInt8]
    private let logger: Logger
    private var promise: EventLoopPromise<EdgeJournalRecovery.Outcome>?
    private var refusedCount = 0

    init(
        _ reading: JournalFile.Reading, name: String,
        promise: EventLoopPromise<EdgeJournalRecovery.Outcome>, logger: Logger
    ) {
        machine = EdgeSession.recovery(
            of: reading.header.session, name: name,
            entries: reading.entries.map { ($0.key, $0.unlocked) })
        mark = reading.header.mark
        self.promise = promise
        self.logger = logger
    }

    func connected(_ channel: any Channel) { carryOut(machine.connected(), channel) }

    func received(_ payload: [UInt8], _ channel: any Channel) {
        let frame: CounterFrame
        do {
            frame = try FrameCodec.decodeCounterFrame(payload)
        } catch {
            return over(.notReached("it sent bytes that are no frame"))
        }
        if case .welcome(let welcome) = frame {
            guard welcome.session == machine.session,
                EdgeJournal.mark(pepper: welcome.keyPepper) == mark
            else { return over(.otherStore) }
        }
        carryOut(machine.received(frame), channel)
    }

    func over(_ outcome: EdgeJournalRecovery.Outcome) {
        promise?.succeed(outcome)
        promise = nil
    }

    private func carryOut(_ outputs: [SessionRecovery.Output], _ channel: any Channel) {
        // Nothing more is said once it is decided.
        guard promise != nil else { return }
        for output in outputs {
            switch output {
            case .send(let frame):
                channel.writeAndFlush(
                    channel.allocator.buffer(bytes: FrameCodec.encode(frame)), promise: nil)
            case .refusedEntry(let key, let rejection):
                refusedCount += 1
                logger.warning(
                    "the counter does not believe a journal's word on an account",
                    metadata: ["account": "\(key.text)", "message": "\(rejection.message)"])
            case .refunded:
                over(
                    .delivered(refused: refusedCount, leftOut: machine.leftOutCount))
            case .refused(let rejection):
                switch rejection.reason {
                case .unavailable, .protocolVersion: over(.notReached(rejection.message))
                case .sessionClosed, .sessionUnknown, .notBelieved, .malformed, .unknown:
                    over(.refused(rejection))
                }
            }
        }
    }
}
