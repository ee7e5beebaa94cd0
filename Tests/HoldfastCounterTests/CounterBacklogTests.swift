import HoldfastAdmin
import HoldfastCore
import HoldfastCounter
import HoldfastLedger
import HoldfastWire
import Testing

/// What happens while the store is slow, and at the end.
@Suite(.timeLimit(.minutes(1))) struct CounterBacklogTests {
    /// Reads of a socket that were under way when it was stopped bring so much more at the most.
    private static let oneRead = 512 << 10
    private static let frameCount = 400

    private static let bounds: BacklogBounds = {
        var bounds = BacklogBounds()
        bounds.perConnection = 32 << 10
        return bounds
    }()

    /// 20 accounts with long names: about 6 KB.
    private static func frame(spent: UInt64) -> [UInt8] {
        let entries = (1...20).map { (number: UInt32) in
            ReportEntry(
                reference: number,
                key: AccountKey(
                    cap: "acme", unit: .tokens, period: .day,
                    periodID: CounterSite.account.periodID,
                    values: ["\(number)" + String(repeating: "x", count: 250)]),
                report: LeaseReport(
                    spent: Amount(spent), overrun: Amount(spent)))
        }
        return FrameCodec.encode(.report(entries))
    }

    @Test func `edges are not read from while the store is behind, and nothing is lost`()
        async throws
    {
        let gate = StoreGate()
        try await CounterSite.run(gate: gate, backlog: Self.bounds) { site in
            let edge = try await site.join()
            gate.close(.commit)
            try await edge.send(Self.frame(spent: 1))
            try await until { gate.isWaitedFor(.commit) }
            let bytes = (2...Self.frameCount).flatMap { Self.frame(spent: UInt64($0)) }
            edge.post(bytes)
            let bound = Self.bounds.perConnection + Self.oneRead
            try await until { site.core.backlog.byteCount > Self.bounds.perConnection }
            var before = 0
            while before != site.core.backlog.byteCount {
                before = site.core.backlog.byteCount
                try await Task.sleep(for: .milliseconds(300))
            }
            #expect(site.core.backlog.byteCount <= bound)
            // The rest waits in sockets, and in the edge.
            #expect(site.core.backlog.byteCount * 2 < bytes.count)
            gate.open(.commit)
            let last = try await edge.grant(20) { $0.spent >= Amount(UInt64(Self.frameCount)) }
            #expect(last.spent == Amount(UInt64(Self.frameCount)))
            #expect(site.core.backlog.byteCount == 0)
            #expect(!site.registry.render().contains("holdfast_counter_pauses_total 0"))
        }
    }

    @Test func `an edge that floods does not stop another from being heard`() async throws {
        let gate = StoreGate()
        try await CounterSite.run(gate: gate, backlog: Self.bounds) { site in
            let flood = try await site.join()
            let other = try await site.join()
            gate.close(.commit)
            try await flood.send(Self.frame(spent: 1))
            try await until { gate.isWaitedFor(.commit) }
            let bytes = (2...100).flatMap { Self.frame(spent: UInt64($0)) }
            flood.post(bytes)
            try await until { site.core.backlog.byteCount > Self.bounds.perConnection }
            try await other.report(wants: 40)
            gate.open(.commit)
            #expect(try await other.grant().granted == Amount(40))
            _ = try await flood.grant(20) { $0.spent == Amount(100) }
        }
    }

    @Test func `grants go on while an operator reads`() async throws {
        let gate = StoreGate()
        try await CounterSite.run(gate: gate) { site in
            let edge = try await site.join()
            gate.close(.scan)
            async let accounts = site.get("/accounts")
            try await until { gate.isWaitedFor(.scan) }
            for need: UInt64 in [10, 20, 30] {
                try await edge.report(wants: need)
                #expect(try await edge.answerToWish().granted == Amount(need))
            }
            gate.open(.scan)
            let answer = try await accounts
            #expect(answer.status == 200)
            // What was granted meanwhile is in it: the engine is asked after the store.
            #expect(answer.body.contains(#""outstanding":"30""#))
        }
    }

    @Test func `what comes during the last batch is answered too`() async throws {
        let gate = StoreGate()
        try await CounterSite.run(gate: gate) { site in
            let edge = try await site.join()
            gate.close(.commit)
            try await edge.report(wants: 10)
            try await until { gate.isWaitedFor(.commit) }
            async let stopped: Void = site.core.stop()
            try await edge.report(wants: 20)
            try await until { site.core.backlog.itemCount == 2 }
            gate.letOnePass(.commit)
            try await until { site.core.backlog.itemCount == 0 && gate.isWaitedFor(.commit) }
            async let answer = site.get("/accounts")
            async let result = site.core.perform(.unfreeze(CounterSite.account, reason: "test"))
            try await until { site.core.backlog.itemCount == 2 }
            gate.open(.commit)
            #expect(try await answer.status == 503)
            #expect(await result == .refused("the counter is stopping"))
            await stopped
        }
    }

    @Test func `whoever asks while the counter stops gets an answer`() async throws {
        try await CounterSite.run { site in
            let answers = try await withThrowingTaskGroup(of: Int.self) { tasks in
                for number in 0..<300 {
                    tasks.addTask {
                        if number == 100 {
                            await site.core.stop()
                            return 0
                        }
                        if number.isMultiple(of: 2) {
                            return try await site.get("/accounts").status
                        }
                        let result = await site.core.perform(
                            .unfreeze(CounterSite.account, reason: "test"))
                        guard case .refused = result else { return 500 }
                        return 409
                    }
                }
                var statuses: [Int] = []
                for try await status in tasks { statuses.append(status) }
                return statuses
            }
            #expect(answers.count == 300)
            #expect(Set(answers).isSubset(of: [0, 200, 409, 503]))
            #expect(try await site.get("/accounts").status == 503)
        }
    }
}

/// The test's time limit ends the wait for what never comes.
func until(_ condition: () -> Bool) async throws {
    while !condition() { try await Task.sleep(for: .milliseconds(1)) }
}
