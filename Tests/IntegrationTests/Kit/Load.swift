import HoldfastEgress
import Synchronization

/// Callers that send one request after the other until they are refused for good.
final class Load: Sendable {
    struct Tally: Sendable, CustomStringConvertible {
        var sent = 0
        var served = 0
        var spentCap = 0
        var busy = 0
        var unavailable = 0
        /// What broke, each in the words of whoever noticed it.
        var failures: [String] = []
        var clamped = 0
        /// Statuses that nothing here can cause.
        var strange: [Int] = []

        var description: String {
            "\(sent) requests: \(served) served (\(clamped) clamped), \(spentCap) × 402, "
                + "\(busy) × 429, \(unavailable) × 503, \(failures.count) broken"
                + failures.prefix(3).map { "; \($0)" }.joined()
        }
    }

    static let clientCount = 64
    /// So many refusals in a row, and a caller takes them for permanent.
    private static let refusalsInARow = 4
    /// Each of these has waited for seconds: what holds the rest of the cap does not let go.
    private static let busyInARow = 5

    private let egress: Egress
    private let makeRequest: @Sendable (Call, _ port: Int) -> EgressRequest
    private let ports: [Int]
    private let seed: UInt64
    private let state = Mutex(Tally())

    init(site: Site, edges: [Node], seed: UInt64) {
        egress = site.egress
        makeRequest = { $0.request(port: $1) }
        ports = edges.map(\.port)
        self.seed = seed
    }

    init(caller: TLSCaller, edges: [Node], seed: UInt64) {
        egress = caller.egress
        makeRequest = { TLSCaller.request($0, port: $1) }
        ports = edges.map(\.port)
        self.seed = seed
    }

    var tally: Tally { state.withLock { $0 } }

    func run() async {
        await withTaskGroup(of: Void.self) { tasks in
            for number in 0..<Self.clientCount {
                tasks.addTask { await self.client(number) }
            }
        }
    }

    private func client(_ number: Int) async {
        var random = SeededRandom(seed: seed &* 1_000 &+ UInt64(number))
        var refusals = 0
        var busy = 0
        // In case the cap were never reached: the test must end, and then fail.
        let end = ContinuousClock.now + .seconds(100)
        while refusals < Self.refusalsInARow, busy < Self.busyInARow, ContinuousClock.now < end {
            let call = Call(
                mark: "", maxTokens: Int.random(in: 1...400, using: &random),
                isStreamed: Bool.random(using: &random))
            let status = await send(call, port: ports[number % ports.count])
            switch status {
            case 402: refusals += 1
            case 429: (refusals, busy) = (0, busy + 1)
            case 200: (refusals, busy) = (0, 0)
            default: await pause()
            }
        }
    }

    /// - Returns: `nil` when the connection broke.
    private func send(_ call: Call, port: Int) async -> Int? {
        state.withLock { $0.sent += 1 }
        do {
            let response = CallResponse(try await egress.fetch(makeRequest(call, port)))
            state.withLock { $0.count(response) }
            return response.status
        } catch {
            state.withLock { $0.failures.append("\(error)") }
            return nil
        }
    }

    /// What any client does that cannot connect; not a wait for something to happen.
    private func pause() async {
        do {
            try await Task.sleep(for: .milliseconds(100))
        } catch {
            return
        }
    }
}

extension Load.Tally {
    fileprivate mutating func count(_ response: CallResponse) {
        switch response.status {
        case 200: served += 1
        case 402: spentCap += 1
        case 429: busy += 1
        case 503: unavailable += 1
        case 502: failures.append("502: \(response.text)")
        default: strange.append(response.status)
        }
        if response.header("x-holdfast-clamped") != nil { clamped += 1 }
    }
}

/// SplitMix64: small, and the same everywhere.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
