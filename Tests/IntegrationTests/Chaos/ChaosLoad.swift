import HoldfastEgress
import Synchronization

/// Callers on all edges: at a steady pace first, and then as fast as they can into the cap.
final class ChaosLoad: Sendable {
    enum Stage: Sendable {
        case steady
        /// Large requests until the first refusal, then small ones until refused for good.
        case spurt
        case stopped
    }

    struct Tally: Sendable {
        var served = 0
        /// 402.
        var spentCap = 0
        /// 429: the rest of the cap is in the hands of others.
        var busy = 0
        /// 503.
        var unavailable = 0
        /// 502, and connections that ended.
        var broken = 0
        /// Statuses that nothing here can cause.
        var strange: [Int] = []
        /// While the load was steady.
        var longestGap = Duration.zero
        /// Refusals by the cap before its end was near.
        var refusedEarly = 0
    }

    fileprivate struct State {
        var stage = Stage.steady
        var tally = Tally()
        var lastServed = ContinuousClock.now
        var running = 0
    }

    private static let callersPerEdge = 6
    private static let refusalsInARow = 4
    private static let largeTokens = 12_000

    private let egress: Egress
    private let ports: [Int]
    private let seed: UInt64
    private let hasLargeOnes: Bool
    private let state = Mutex(State())

    /// - Parameter hasLargeOnes: one request in eight may cost, and hold, many times as much as the
    ///   others do.
    init(_ chaos: ChaosSite, seed: UInt64, hasLargeOnes: Bool = true) {
        self.hasLargeOnes = hasLargeOnes
        egress = chaos.site.egress
        ports = chaos.edgePorts
        self.seed = seed
    }

    /// With the time that has passed since the last one was served.
    var tally: Tally {
        state.withLock { state in
            var tally = state.tally
            if state.stage == .steady {
                tally.longestGap = max(tally.longestGap, state.lastServed.duration(to: .now))
            }
            return tally
        }
    }

    /// Runs the callers until they are refused for good or stopped, and `body` meanwhile.
    func run<Value: Sendable>(
        _ body: @escaping @Sendable (ChaosLoad) async throws -> Value
    ) async throws -> Value {
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            let count = ports.count * Self.callersPerEdge
            state.withLock { state in
                state.running = count
                state.lastServed = .now
            }
            for number in 0..<count { tasks.addTask { await self.caller(number) } }
            defer { enter(.stopped) }
            return try await body(self)
        }
    }

    func enter(_ stage: Stage) {
        state.withLock { state in
            if state.stage == .steady {
                let gap = state.lastServed.duration(to: .now)
                state.tally.longestGap = max(state.tally.longestGap, gap)
            }
            state.stage = stage
        }
    }

    /// Waits until each caller has had its last answer: nobody hangs.
    func ended(within limit: Duration) async throws {
        _ = try await eventually("the callers to have their answers", within: limit) {
            self.state.withLock { $0.running } == 0 ? true : nil
        }
    }

    // MARK: - Callers

    private func caller(_ number: Int) async {
        defer { state.withLock { $0.running -= 1 } }
        var random = SeededRandom(seed: seed &* 1_000 &+ UInt64(number))
        var refusals = 0
        while refusals < Self.refusalsInARow {
            let stage = state.withLock { $0.stage }
            let call: Call
            switch stage {
            case .stopped: return
            case .steady: call = steadyCall(&random)
            case .spurt: call = Self.spurtCall(refusals: refusals, &random)
            }
            switch await send(call, port: ports[number % ports.count]) {
            case 200: refusals = 0
            case 402: refusals += stage == .spurt ? 1 : 0
            case 429: break
            default: await pause(milliseconds: 100)
            }
            if stage == .steady { await pause(milliseconds: .random(in: 50...150, using: &random)) }
        }
    }

    private func steadyCall(_ random: inout SeededRandom) -> Call {
        let dialect: Call.Dialect = Bool.random(using: &random) ? .openAI : .anthropic
        let isLarge = hasLargeOnes && Int.random(in: 0..<8, using: &random) == 0
        let limit = Int.random(in: isLarge ? 1_000...4_000 : 10...200, using: &random)
        let prompt = isLarge ? String(repeating: "Haul away. ", count: 400) : ""
        return Call(
            dialect, mark: "[[tokens=\(limit / (isLarge ? 8 : 2))]][[delay=1]] \(prompt)",
            maxTokens: limit, isStreamed: Bool.random(using: &random))
    }

    private static func spurtCall(refusals: Int, _ random: inout SeededRandom) -> Call {
        let limit = refusals == 0 ? largeTokens : Int.random(in: 1...20, using: &random)
        let dialect: Call.Dialect = Bool.random(using: &random) ? .openAI : .anthropic
        return Call(
            dialect, mark: "[[tokens=\(largeTokens)]][[delay=0]]", maxTokens: limit,
            isStreamed: refusals > 0 && Bool.random(using: &random))
    }

    /// - Returns: `nil` when the connection broke.
    private func send(_ call: Call, port: Int) async -> Int? {
        do {
            let response = CallResponse(
                try await egress.fetch(call.request(port: port), bodyByteCountMax: 16 << 20))
            state.withLock { $0.count(response.status) }
            return response.status
        } catch {
            state.withLock { $0.tally.broken += 1 }
            return nil
        }
    }

    /// What a caller does between two requests; not a wait for something to happen.
    private func pause(milliseconds: Int) async {
        do {
            try await Task.sleep(for: .milliseconds(milliseconds))
        } catch {
            return
        }
    }
}

extension ChaosLoad.State {
    fileprivate mutating func count(_ status: Int) {
        switch status {
        case 200:
            let now = ContinuousClock.now
            if stage == .steady {
                tally.longestGap = max(tally.longestGap, lastServed.duration(to: now))
            }
            lastServed = now
            tally.served += 1
        case 402:
            tally.spentCap += 1
            if stage == .steady { tally.refusedEarly += 1 }
        case 429: tally.busy += 1
        case 503: tally.unavailable += 1
        case 502: tally.broken += 1
        default: tally.strange.append(status)
        }
    }
}
