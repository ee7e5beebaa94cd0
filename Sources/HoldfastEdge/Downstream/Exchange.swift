import HoldfastAdmin
import HoldfastCore
import HoldfastEgress
import HoldfastLedger
import HoldfastProviders
import NIOCore
import NIOHTTP1

/// One request and its response, from the first phase to the last. `Phases/` has a file for each:
///
///     authenticate → resolve → bound → admit → forward → meter → settle → record
///
/// Confined to the event loop of the caller's connection. Money moves in two phases: `admit` takes a
/// hold, `settle` gives it up, exactly once whatever happens in between.
final class Exchange {
    enum Phase: String, Sendable {
        case authenticate, resolve, bound, admit, forward, meter, settle, record
    }

    let context: EdgeContext
    let loop: any EventLoop
    let head: HTTPRequestHead
    let body: [UInt8]
    let requestID: String
    let started = ContinuousClock.now
    /// Where the response goes; `nil` once the caller is gone.
    var downstream: DownstreamWriter?
    private let onEnd: () -> Void

    var phase = Phase.authenticate
    lazy var dialect = likelyDialect()
    var key: KeyPolicy?

    // What the phases find out, in their order.
    var endpoint: (any Endpoint)?
    var provider: EdgeSettings.Provider?
    var upstreamPath = ""
    var facts: RequestFacts?
    var quote: PriceQuote?
    var scopes = ScopeValues()
    var targets: [AccountTarget] = []
    var policyGeneration: UInt64 = 0
    var formula: CeilingFormula?
    var promptBound: UInt64 = 0
    var outputWanted: UInt64 = 0
    var waiter: EdgeLedger.WaiterID?
    var waitStarted: ContinuousClock.Instant?
    var waitTimer: Scheduled<Void>?
    var expiredCount = 0
    var hold: LeaseTable.Hold?
    var clampedBy: String?
    /// What was asked for first, when another model answers.
    var fallenBackFrom: Fallback?
    /// Caps in observe mode that would have refused.
    var wouldRefuse: [String] = []
    var transfer: EgressTransfer?
    var meter: ResponseMeter?
    var upstreamStatus: Int?
    var upstreamStarted: ContinuousClock.Instant?
    var isResponseBegun = false
    /// Bytes of the response's body that the provider has announced and not sent yet.
    var announcedByteCount: Int?
    var abandonedTimer: Scheduled<Void>?
    var endTimer: Scheduled<Void>?
    var metered: MeteredUsage?
    var charged: NanoUSD?
    var chargedTokens: UInt64?
    var chargeBasis: ChargeBasis?
    var outcome = "failed"
    var refusalCode: String?
    private(set) var isEnded = false

    init(
        context: EdgeContext, loop: any EventLoop, head: HTTPRequestHead, body: [UInt8],
        downstream: DownstreamWriter, onEnd: @escaping () -> Void
    ) {
        self.context = context
        self.loop = loop
        self.head = head
        self.body = body
        self.downstream = downstream
        self.onEnd = onEnd
        requestID = RequestID.from(head.headers)
        context.began()
    }

    deinit {
        precondition(hold == nil, "a request ended without settling its hold")
    }

    /// The path without its query, which callers may add to.
    var path: Substring { head.uri.prefix { $0 != "?" } }
    var query: Substring { head.uri.dropFirst(path.count) }

    // MARK: - The straight way

    func start() {
        authenticate()
    }

    func authenticated(_ key: KeyPolicy) {
        self.key = key
        do throws(Refusal) {
            phase = .resolve
            if let list = try models() { return answer(list.body(dialect)) }
            try resolve()
            if endpoint?.isFree == true { return forwardFree() }
            phase = .bound
            try bound()
        } catch {
            return refuse(error)
        }
        phase = .admit
        admit()
    }

    private func models() throws(Refusal) -> ModelList? {
        guard head.method == .GET else { return nil }
        guard let policy = context.policy.policy, let now = context.clock.now() else {
            throw .counterUnavailable("no counter has sent its policy yet")
        }
        return ModelList(
            method: head.method, path: path, routing: context.routing, prices: policy.prices,
            now: now)
    }

    /// Answers by ourselves.
    private func answer(_ body: [UInt8]) {
        outcome = "answered"
        let downstream = downstream
        self.downstream = nil
        end()
        downstream?.respond(
            .ok, [("content-type", "application/json"), ("x-request-id", requestID)], body)
    }

    /// What costs nothing needs no room: also with a spent cap one may ask how long a prompt is.
    private func forwardFree() {
        phase = .forward
        forward()
    }

    func admitted(_ hold: LeaseTable.Hold) {
        self.hold = hold
        guard downstream != nil else {
            // The caller left while the request waited. Nothing was sent: nothing is charged.
            phase = .settle
            settle(.nothing)
            return end()
        }
        phase = .forward
        forward()
    }

    // MARK: - The ways out

    /// Answers with an error of ours. Nothing was sent to the provider, or what was is settled.
    func refuse(_ refusal: Refusal) {
        precondition(hold == nil, "refused with an open hold")
        refusalCode = refusal.code
        if outcome == "failed" {
            switch refusal {
            case .upstream: outcome = "upstream_error"
            default:
                outcome = "refused"
                context.metrics.refusals.with(refusal.code).increment()
            }
        }
        let downstream = downstream
        self.downstream = nil
        // Before the answer: writing its end can bring the next request of the connection.
        end()
        downstream?.respond(
            HTTPResponseStatus(statusCode: refusal.status),
            refusal.headers(dialect, requestID: requestID),
            refusal.body(dialect, requestID: requestID))
    }

    /// The last step of every way. The hold is settled by now, or there never was one.
    func end() {
        guard !isEnded else { return }
        precondition(hold == nil, "a request ends without settling its hold")
        isEnded = true
        phase = .record
        record()
        context.ended()
        onEnd()
    }

    /// The caller's connection is gone. Before the request was sent nothing is owed; after that, the
    /// response is read on for a while, because it is billed anyway and only its end says how much.
    func downstreamClosed() {
        downstream = nil
        outcome = "abandoned"
        if let waiter {
            context.table.withdraw(waiter)
            self.waiter = nil
            waitTimer?.cancel()
            end()
        } else if let transfer {
            let limit = TimeAmount.nanoseconds(
                context.settings.abandonedReadMax.wholeNanoseconds)
            abandonedTimer = loop.scheduleTask(in: limit) { transfer.cancel() }
        }
    }

    /// Of a caller that was not let in yet.
    private func likelyDialect() -> Dialect {
        let found = context.routing.destinations(method: head.method.rawValue, path: path).first
        if let found { return found.endpoint.dialect }
        if let (provider, _) = context.routing.named(in: path),
            let endpoint = provider.api.endpoints.first
        {
            return endpoint.dialect
        }
        return head.headers.contains(name: "anthropic-version") ? .anthropic : .openai
    }
}

/// What a charge rests on.
enum ChargeBasis: String, Sendable {
    /// The provider's own usage record.
    case usage
    /// The provider said nothing that can be trusted: the most it can have been.
    case ceiling
    /// The provider cannot have billed anything.
    case nothing
}

enum Charge {
    case metered(MeteredUsage)
    case ceiling
    case nothing
}

enum RequestID {
    /// The caller's own if it is a decent one, else a new one.
    static func from(_ headers: HTTPHeaders) -> String {
        if let given = headers.first(name: "x-request-id"), (1...128).contains(given.utf8.count),
            given.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        {
            return given
        }
        var generator = SystemRandomNumberGenerator()
        let high = String(generator.next(), radix: 36)
        let low = String(generator.next(), radix: 36)
        return "req_" + high + low
    }
}

extension Duration {
    var wholeNanoseconds: Int64 {
        components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000
    }
}
