import Foundation
import HoldfastCore
import HoldfastEgress
import HoldfastTestKit
import NIOCore
import Synchronization

/// Clients that send requests through the edge until it refuses for good.
struct DemoTraffic {
    let port: Int
    let egress: Egress
    let bill: Bill

    private struct Progress {
        var requests = 0
        var refused = 0
        var clamped = 0
        var failed = 0
        var refusal: String?
    }

    /// In case the cap were never reached: the demo ends all the same.
    private static let limit = Duration.seconds(60)

    func run(clients: Int, limit: NanoUSD, screen: DemoScreen) async throws -> DemoResult {
        let started = ContinuousClock.now
        let shared = SharedProgress()
        await withTaskGroup(of: Void.self) { tasks in
            for number in 0..<clients {
                tasks.addTask { await client(number, shared, until: started + Self.limit) }
            }
            tasks.addTask {
                while !shared.isOver {
                    screen.progress(billed: billed, requests: shared.read { $0.requests })
                    await pause(milliseconds: 100)
                }
            }
        }
        let done = shared.read { $0 }
        screen.progress(billed: billed, requests: done.requests)
        return DemoResult(
            limit: limit, billed: billed, requestCount: done.requests, refusedCount: done.refused,
            clampedCount: done.clamped, failedCount: done.failed,
            duration: started.duration(to: .now), refusal: done.refusal ?? "")
    }

    /// Rounded up: a bill that is a fraction above the cap must not look as if it were not.
    private var billed: NanoUSD { NanoUSD(UInt64((bill.totalPicoUSD + 999) / 1_000)) }

    private func client(
        _ number: Int, _ progress: SharedProgress, until end: ContinuousClock.Instant
    ) async {
        var round = 0
        while !progress.isOver, ContinuousClock.now < end {
            round += 1
            let streams = (number + round).isMultiple(of: 2)
            let request = Self.request(port: port, streams: streams)
            do {
                let response = try await egress.fetch(request)
                progress.update { $0.requests += 1 }
                take(response, progress)
                if response.status == 429 { await pause(milliseconds: 100) }
            } catch {
                progress.update { $0.failed += 1 }
                await pause(milliseconds: 100)
            }
        }
        progress.finish()
    }

    private func take(_ response: EgressResponse, _ progress: SharedProgress) {
        if response.headers.contains(where: { $0.name.lowercased() == "x-holdfast-clamped" }) {
            progress.update { $0.clamped += 1 }
        }
        switch response.status {
        case 200: break
        case 402:
            progress.update { state in
                state.refused += 1
                state.refusal = state.refusal ?? Self.text(response)
            }
            progress.finish()
        case 429, 503: break
        default: progress.update { $0.failed += 1 }
        }
    }

    static func request(port: Int, streams: Bool) -> EgressRequest {
        let body = """
            {"model":"\(DemoStage.model)","stream":\(streams),"max_tokens":400,\
            "messages":[{"role":"user","content":"Tell me about anchors."}]}
            """
        return EgressRequest(
            method: "POST", url: "http://127.0.0.1:\(port)/v1/chat/completions",
            headers: [
                ("authorization", "Bearer \(DemoStage.key)"), ("content-type", "application/json"),
            ], body: Array(body.utf8))
    }

    /// The refusal as a client sees it: status, headers that matter, body.
    private static func text(_ response: EgressResponse) -> String {
        let shown = ["x-should-retry", "x-holdfast", "content-type"]
        let headers = response.headers.filter { header in
            shown.contains { header.name.lowercased().hasPrefix($0) }
        }
        return
            (["HTTP/1.1 \(response.status) Payment Required"]
            + headers.map { "\($0.name): \($0.value)" } + ["", pretty(response.body)])
            .joined(separator: "\n")
    }

    private static func pretty(_ body: ByteBuffer) -> String {
        do {
            let value = try JSONSerialization.jsonObject(with: Data(body.readableBytesView))
            let data = try JSONSerialization.data(
                withJSONObject: value,
                options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
            return String(decoding: data, as: UTF8.self)
        } catch {
            return String(buffer: body)
        }
    }

    private func pause(milliseconds: Int) async {
        do {
            try await Task.sleep(for: .milliseconds(milliseconds))
        } catch {
            return
        }
    }

    /// Shared by the clients of one run.
    private final class SharedProgress: Sendable {
        private let state = Mutex(Progress())
        private let over = Atomic<Bool>(false)

        var isOver: Bool { over.load(ordering: .acquiring) }

        func finish() { over.store(true, ordering: .releasing) }

        func update(_ change: (inout Progress) -> Void) { state.withLock { change(&$0) } }

        func read<Value: Sendable>(_ value: (Progress) -> Value) -> Value {
            state.withLock { value($0) }
        }
    }
}
