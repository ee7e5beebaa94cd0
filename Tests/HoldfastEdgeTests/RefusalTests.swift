import HoldfastCore
import HoldfastEgress
import HoldfastLedger
import HoldfastProviders
import Testing

@testable import HoldfastEdge

@Suite struct RefusalTests {
    /// Every case, and every reason of the one that has some.
    private static let all: [Refusal] =
        [
            AdmissionRefusal.Reason.capSpent, .exceedsCap, .inFlight, .frozen,
        ].map { .budget(budget($0), prompt: 10) } + [
            .noKey, .unknownKey, .unknownRoute(method: "GET", path: "/v2", routes: ["POST /v1/x"]),
            .providerNotConfigured("openai"), .request(.missing(param: "model")),
            .unknownModel(provider: "openai", model: "gpt-\"0\""),
            .unpriceable(.noFastPrice), .bodyTooLarge(byteCountMax: 5), .headersTooLarge,
            .malformedHTTP, .badScope(.user), .tooManyNewAccounts(perMinute: 3), .tooManyCaps,
            .saturated, .counterUnavailable("none has answered"),
            .journalUnavailable("no space left"), .draining,
            .upstream(
                EgressFailure(kind: .reset, requestWasSent: true, message: "it closed")),
            .upstream(
                EgressFailure(kind: .connect, requestWasSent: false, message: "refused")),
        ]

    private static func budget(
        _ reason: AdmissionRefusal.Reason, period: PeriodKind = .day, user: String = "u\r\n1"
    ) -> AdmissionRefusal {
        AdmissionRefusal(
            reason: reason,
            target: target(
                "each-user", limit: 3_000_000_000, unit: .usd, period: period, user: user),
            standing: nil, ceiling: Amount(5_000_000), outputThatFits: 7)
    }

    private func header(_ name: String, _ refusal: Refusal, _ dialect: Dialect) -> String? {
        refusal.headers(dialect, requestID: "req_1").first { $0.0 == name }?.1
    }

    @Test(arguments: Dialect.allCases)
    func `every refusal is whole in each dialect`(_ dialect: Dialect) throws {
        for refusal in Self.all {
            let body = try object(refusal.body(dialect, requestID: "req_1"))
            // Cohere and Bedrock have no object around it.
            let error = body["error"] as? [String: Any] ?? body
            #expect((error["message"] as? String)?.isEmpty == false)
            let details = try #require(error["holdfast"] as? [String: Any])
            #expect((details["reason"] as? String) == refusal.code)
            #expect((details["request_id"] as? String) == "req_1")
            switch dialect {
            case .openai:
                #expect((error["code"] as? String) == refusal.code)
                #expect((error["type"] as? String) == refusal.type(dialect))
            case .anthropic:
                #expect((body["type"] as? String) == "error")
                #expect((error["type"] as? String) == refusal.type(dialect))
            case .gemini:
                #expect((error["code"] as? Int) == refusal.status)
                #expect((error["status"] as? String) == refusal.type(dialect))
            case .bedrock:
                #expect(header("x-amzn-errortype", refusal, dialect) == refusal.type(dialect))
            case .cohere: #expect(body["error"] == nil)
            }
            #expect((400..<600).contains(refusal.status))
            #expect(header("x-request-id", refusal, dialect) == "req_1")
            #expect(header("x-holdfast-reason", refusal, dialect) == refusal.code)
        }
    }

    @Test func `a spent cap says when to come back and never how long to sleep`() throws {
        var spentCount = 0
        for refusal in Self.all {
            for dialect in Dialect.allCases {
                if refusal.status == 402 {
                    spentCount += 1
                    #expect(header("retry-after", refusal, dialect) == nil)
                    #expect(header("x-should-retry", refusal, dialect) == "false")
                    #expect(
                        header("x-holdfast-resets-at", refusal, dialect)
                            == day.endsAt.rfc3339)
                } else if header("retry-after", refusal, dialect) != nil {
                    #expect([429, 503].contains(refusal.status))
                    #expect(header("x-should-retry", refusal, dialect) == "true")
                }
            }
        }
        #expect(spentCount == 2 * Dialect.allCases.count)
    }

    @Test func `programs find everything about the cap`() throws {
        let refusal = Refusal.budget(Self.budget(.capSpent, user: "u1"), prompt: 10)
        let error = try #require(
            object(refusal.body(.openai, requestID: "req_1"))["error"] as? [String: Any])
        let details = try #require(error["holdfast"] as? [String: Any])
        let expected: [String: String] = [
            "cap": "each-user", "scope": "user=u1", "period": "day", "unit": "usd",
            "limit": "3.00", "spent": "0.00", "held": "0.00", "remaining": "3.00",
            "resets_at": day.endsAt.rfc3339,
        ]
        for (name, value) in expected { #expect((details[name] as? String) == value, "\(name)") }
        #expect((details["ceiling"] as? String) == "0.005")
        #expect((details["max_output_tokens_that_fit"] as? Int) == 7)
        #expect((details["remedies"] as? [String])?.contains("raise_cap") == true)
    }

    @Test func `a cap that never resets does not promise that it will`() throws {
        let refusal = Refusal.budget(Self.budget(.capSpent, period: .total), prompt: 10)
        #expect(header("x-holdfast-resets-at", refusal, .openai) == nil)
        #expect(refusal.message.hasSuffix("It never resets: not retryable."))
        let daily = Refusal.budget(Self.budget(.capSpent), prompt: 10)
        #expect(daily.message.hasSuffix("Not retryable before that."))
    }

    @Test func `values that callers choose cannot become headers of their own`() {
        let refusal = Refusal.budget(Self.budget(.capSpent), prompt: 10)
        for dialect in Dialect.allCases {
            for (name, value) in refusal.headers(dialect, requestID: "req_1") {
                #expect(value.utf8.allSatisfy { (0x20...0x7E).contains($0) }, "\(name)")
            }
        }
        #expect(header("x-holdfast-cap-scope", refusal, .openai) == "user=u??1")
    }

    @Test func `what was sent is not to be sent again by itself`() {
        func retry(_ kind: EgressFailure.Kind, sent: Bool) -> Bool? {
            Refusal.upstream(
                EgressFailure(kind: kind, requestWasSent: sent, message: "")
            ).shouldRetry
        }
        for kind in EgressFailure.Kind.allCases {
            #expect(retry(kind, sent: true) == false)
            #expect(retry(kind, sent: false) == true)
        }
    }
}
