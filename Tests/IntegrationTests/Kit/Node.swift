import Foundation
import HoldfastEgress
import NIOCore
import Testing

/// A running `serve`, `edge` or `counter`.
struct Node: Sendable {
    let site: Site
    let process: ProcessUnderTest
    /// Callers' port, or the counter's.
    let port: Int
    let adminPort: Int

    func send(_ call: Call) async throws -> CallResponse {
        CallResponse(
            try await site.egress.fetch(call.request(port: port), bodyByteCountMax: 16 << 20))
    }

    func admin(_ path: String) async throws -> (status: Int, text: String) {
        try await site.get("http://127.0.0.1:\(adminPort)\(path)")
    }

    func ready() async throws {
        _ = try await eventually("\(process.name) to be ready") {
            try await self.admin("/readyz").status == 200 ? true : nil
        }
    }

    /// The sum of a metric's series.
    func metric(_ name: String) async throws -> String? {
        let text = try await admin("/metrics").text
        let line = text.split(separator: "\n").first { $0.hasPrefix(name + " ") }
        return line.map { String($0.dropFirst(name.count + 1)) }
    }

    /// Whatever happened, nothing may be left over: no hold, no request, and the process lives.
    func settled(at location: SourceLocation = #_sourceLocation) async throws {
        do {
            _ = try await eventually("no hold and no request in flight", within: .seconds(10)) {
                let holds = try await self.metric("holdfast_holds_open")
                let requests = try await self.metric("holdfast_requests_in_flight")
                return holds == "0" && requests == "0" ? true : nil
            }
        } catch {
            Issue.record("\(error)\n\(process.log.suffix(2_000))", sourceLocation: location)
        }
        #expect(process.isRunning, "\(process.log.suffix(2_000))", sourceLocation: location)
    }

    /// The access log's line of a request.
    func record(of requestID: String) async throws -> [String: String] {
        try await eventually("the access log of \(requestID)", within: .seconds(10)) {
            self.process.events("request").first { $0["request_id"] == requestID }
        }
    }

    func accounts() async throws -> [Account] {
        struct Answer: Decodable { var accounts: [Account] }
        let answer = try await admin("/accounts")
        #expect(answer.status == 200, "\(answer.text)")
        return try JSONDecoder().decode(Answer.self, from: Data(answer.text.utf8)).accounts
    }

    func account(_ cap: String) async throws -> Account? {
        try await accounts().first { $0.cap == cap }
    }

    /// Waits until every slice has come back and the books show what the provider billed.
    func booksEqual(
        _ provider: Provider, cap: String, at location: SourceLocation = #_sourceLocation
    ) async throws {
        var last = "nothing"
        do {
            _ = try await eventually("the books to be closed", within: .seconds(15)) {
                let bill = try await provider.bill()
                let account = try await self.account(cap)
                last = "bill \(bill.nanoUSDRoundedUp), account \(String(describing: account))"
                return account?.reservedNanoUSD == 0
                    && account?.spentNanoUSD == bill.nanoUSDRoundedUp && bill.in_flight == 0
                    ? true : nil
            }
        } catch {
            Issue.record("\(error): \(last)", sourceLocation: location)
        }
    }
}

/// One row of `GET /accounts`.
struct Account: Decodable, Sendable {
    var cap, scope, unit, limit, spent, reserved, status: String

    var spentNanoUSD: UInt64? { nanoUSD(dollars: spent) }
    var reservedNanoUSD: UInt64? { nanoUSD(dollars: reserved) }
}

/// `0.50` as 500,000,000; `nil` for what is no amount of dollars with at most nine decimals.
/// Written anew on purpose: a judge does not borrow the arithmetic of the judged.
func nanoUSD(dollars text: String) -> UInt64? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count <= 2, let whole = UInt64(parts[0]) else { return nil }
    let decimals = parts.count == 2 ? String(parts[1]) : ""
    guard decimals.utf8.count <= 9,
        let nanos = UInt64(decimals + String(repeating: "0", count: 9 - decimals.utf8.count))
    else { return nil }
    return whole * 1_000_000_000 + nanos
}

/// The fake provider: the judge.
struct Provider: Sendable {
    struct Bill: Decodable, Sendable {
        var total_pico_usd: UInt64
        var requests: Int
        var received: Int
        var in_flight: Int

        var nanoUSDRoundedUp: UInt64 { (total_pico_usd + 999) / 1_000 }
    }

    let site: Site
    let port: Int

    func bill() async throws -> Bill {
        let answer = try await site.get("http://127.0.0.1:\(port)/bill")
        return try JSONDecoder().decode(Bill.self, from: Data(answer.text.utf8))
    }

    /// Once nothing is generated any more.
    func finalBill() async throws -> Bill {
        try await eventually("the provider to be idle") {
            let bill = try await self.bill()
            return bill.in_flight == 0 ? bill : nil
        }
    }
}

/// A whole response.
struct CallResponse: Sendable {
    let status: Int
    let headers: [(name: String, value: String)]
    let text: String

    init(_ response: EgressResponse) {
        status = response.status
        headers = response.headers
        text = String(buffer: response.body)
    }

    func header(_ name: String) -> String? {
        headers.first { $0.name.lowercased() == name }?.value
    }

    /// The `error` of a body in either dialect.
    var error: [String: Any] {
        do {
            let body = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
            return body?["error"] as? [String: Any] ?? [:]
        } catch {
            return [:]
        }
    }

    /// Our own part of an error.
    var holdfast: [String: Any] { error["holdfast"] as? [String: Any] ?? [:] }
    var reason: String? { holdfast["reason"] as? String }
}
