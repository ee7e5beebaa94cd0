import HoldfastCore
import HoldfastLedger
import HoldfastProviders

/// Times the decision on one request, warm, by the code that serves requests: no network, no HTTP.
package struct DecisionBenchmark {
    /// Nanoseconds per decision: quantiles of single measurements.
    package struct Quantiles: Sendable {
        package let p50: Int64
        package let p99: Int64
        package let max: Int64

        init(_ samples: [Int64]) {
            let sorted = samples.sorted()
            p50 = sorted[sorted.count / 2]
            p99 = sorted[sorted.count * 99 / 100]
            max = sorted[sorted.count - 1]
        }
    }

    /// One line of the result.
    package struct Row: Sendable {
        package let name: String
        package let quantiles: Quantiles
    }

    private let capCount: Int
    private let policy: CompiledPolicy
    private let table: LeaseTable
    private let scopes: ScopeValues
    private let now = UnixTime(1_795_000_000)
    private let endpoint = ProviderCatalog.standard[.openAI]?.endpoints.first
    private let body = Array(
        """
        {"model":"gpt-4o-mini","max_tokens":200,"messages":[{"role":"system","content":"Be brief."},\
        {"role":"user","content":"What is the depth of an anchor's holding ground?"}]}
        """.utf8)

    /// - Parameter capCount: caps that apply to the request, each with an account of its own; every
    ///   third one has an account per user.
    package init(capCount: Int) throws {
        self.capCount = capCount
        let caps = (0..<capCount).map { index in
            Cap(
                name: "cap-\(index)", unit: index % 3 == 2 ? .tokens : .usd,
                limit: Amount(1 << 50), period: .day,
                scope: index % 3 == 1 ? [:] : [.tenant: "acme"],
                each: index % 3 == 1 ? [.user] : [])
        }
        let window = PeriodKind.day.window(containing: now, in: .utc)
        policy = try CompiledPolicy(
            EdgePolicy(
                version: 1, caps: caps, prices: PriceBook.builtIn.tsv,
                windows: PolicyWindows(
                    policyVersion: 1, caps: caps.map { _ in [window] },
                    counterTimeMilliseconds: now.seconds * 1_000)))
        table = LeaseTable(
            nodeName: "benchmark", newAccountsPerMinuteMax: 1_000, clock: CounterTime())
        var scopes = ScopeValues()
        scopes[.key] = "support"
        scopes[.tenant] = "acme"
        scopes[.user] = "user-17"
        scopes[.provider] = "openai"
        scopes[.model] = "gpt-4o-mini"
        self.scopes = scopes
    }

    /// - Returns: the decision (caps and price looked up, ceiling computed, everything held), the
    ///   settling, and the reading of the body, which comes before.
    package func run(iterations: Int) -> [Row] {
        warmUp()
        var reading: [Int64] = []
        var deciding: [Int64] = []
        var settling: [Int64] = []
        let clock = ContinuousClock()
        for _ in 0..<iterations {
            let t0 = clock.now
            guard let facts = facts() else {
                preconditionFailure("the benchmark's body is refused")
            }
            let t1 = clock.now
            guard let hold = decide(facts) else { preconditionFailure("the slice is spent") }
            let t2 = clock.now
            _ = table.settle(hold, usd: .zero, tokens: 0)
            let t3 = clock.now
            reading.append(t0.duration(to: t1).wholeNanoseconds)
            deciding.append(t1.duration(to: t2).wholeNanoseconds)
            settling.append(t2.duration(to: t3).wholeNanoseconds)
        }
        return [
            Row(name: "decision, \(capCount) caps", quantiles: Quantiles(deciding)),
            Row(name: "settle, \(capCount) caps", quantiles: Quantiles(settling)),
            Row(name: "read a body of \(body.count) bytes", quantiles: Quantiles(reading)),
        ]
    }

    private func facts() -> RequestFacts? {
        do {
            return try endpoint?.facts(of: body)
        } catch {
            return nil
        }
    }

    /// What `Exchange` does between the parsed request and the hold.
    private func decide(_ facts: RequestFacts) -> LeaseTable.Hold? {
        guard let request = request(facts),
            case .answered(.held(let hold)) = table.admit(request, onAnswer: { _ in })
        else { return nil }
        return hold
    }

    private func request(_ facts: RequestFacts) -> AdmissionRequest? {
        guard let targets = policy.targets(for: scopes, now: now),
            let quote = policy.prices.quote(
                provider: "openai", model: facts.model, from: now,
                lasting: EdgeSettings.Provider.priceHorizonSeconds)
        else { return nil }
        let rates: HoldRates
        do {
            rates = try quote.holdRates(
                promptTokensMax: facts.promptTokensMax, serviceTier: facts.serviceTier,
                longCacheWrite: facts.usesLongCacheWrite, fast: facts.isFast,
                multiplierTenths: facts.rateMultiplierTenths)
        } catch {
            return nil
        }
        return AdmissionRequest(
            targets: targets,
            formula: CeilingFormula(
                promptTokens: facts.promptTokensMax, choices: facts.choices,
                extraOutputTokens: facts.extraOutputTokens, rates: rates),
            outputWanted: facts.outputLimit ?? 0, outputMinimum: 16, keyName: "support")
    }

    /// The first request waits for its slices; the grants make all later ones local.
    private func warmUp() {
        let link = EdgeSession.LinkID(1)
        let welcome = CounterFrame.Welcome(
            session: SessionID(1), keyPepper: [], counterTimeMilliseconds: 0,
            leaseTTLMilliseconds: 30_000)
        _ = table.advance { $0.connected(link, at: 0) }
        _ = table.advance { $0.received(.welcome(welcome), on: link, at: 0) }
        guard let facts = facts(), let request = request(facts),
            case .waiting = table.admit(request, onAnswer: { _ in })
        else { preconditionFailure("a cold edge had budget") }
        var grants: [GrantEntry] = []
        for case .send(_, .report(let entries)) in table.advance({ $0.flush() }) {
            grants += entries.map { entry in
                GrantEntry(
                    reference: entry.reference,
                    grant: LeaseGrant(
                        granted: Amount(1 << 49), exposure: Amount(1 << 49),
                        limit: Amount(1 << 50)))
            }
        }
        precondition(grants.count == capCount, "not every cap applies")
        _ = table.advance {
            $0.received(.grants(grants, counterTimeMilliseconds: 0), on: link, at: 0)
        }
        for _ in 0..<1_000 {
            guard let hold = decide(facts) else { preconditionFailure("a warm edge is short") }
            _ = table.settle(hold, usd: .zero, tokens: 0)
        }
    }
}
