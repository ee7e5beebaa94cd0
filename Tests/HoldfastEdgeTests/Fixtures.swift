import HoldfastCore
import HoldfastLedger
import HoldfastProviders
import HoldfastWire
import Synchronization

@testable import HoldfastEdge

/// One nano-dollar per token, in and out.
let oneNanoPerToken = HoldRates(
    input: TokenPrice(nanoUSDPerMillionTokens: 1_000_000),
    output: TokenPrice(nanoUSDPerMillionTokens: 1_000_000))

let day = PeriodKind.day.window(containing: UnixTime(1_795_000_000), in: .utc)

/// A cap with one account, or one for each user.
func target(
    _ name: String, limit: UInt64, unit: CapUnit = .tokens, mode: CapMode = .enforce,
    period: PeriodKind = .day, scope: [ScopeDimension: String] = [:], user: String? = nil
) -> AccountTarget {
    let cap = Cap(
        name: name, unit: unit, limit: Amount(limit), period: period, scope: scope,
        each: user == nil ? [] : [.user], mode: mode)
    return AccountTarget(
        reference: CapReference(cap), window: day,
        key: AccountKey(
            cap: name, unit: unit, period: period, periodID: day.id,
            values: user.map { [$0] } ?? []))
}

/// Costs its prompt plus its output, in tokens and in nano-dollars.
func request(
    _ targets: [AccountTarget], prompt: UInt64 = 10, wanted: UInt64 = 90, minimum: UInt64 = 16,
    keyName: String = "support"
) -> AdmissionRequest {
    AdmissionRequest(
        targets: targets,
        formula: CeilingFormula(
            promptTokens: prompt, choices: 1, extraOutputTokens: 0, rates: oneNanoPerToken),
        outputWanted: wanted, outputMinimum: minimum, keyName: keyName)
}

/// A lease table and the counter's side of its accounts, without a counter.
final class TableFixture: Sendable {
    let table: LeaseTable
    private let link = EdgeSession.LinkID(1)
    private let answersSoFar = Mutex<[LeaseTable.Answer]>([])

    init(newAccountsPerMinuteMax: Int = 1_000, isJournaled: Bool = false) {
        table = LeaseTable(
            nodeName: "test", newAccountsPerMinuteMax: newAccountsPerMinuteMax,
            clock: CounterTime(), isJournaled: isJournaled)
        let welcome = CounterFrame.Welcome(
            session: SessionID(1), keyPepper: [], counterTimeMilliseconds: 0,
            leaseTTLMilliseconds: 30_000)
        _ = table.advance { $0.connected(self.link, at: 0) }
        _ = table.advance { $0.received(.welcome(welcome), on: self.link, at: 0) }
    }

    func hangUp() { _ = table.advance { $0.disconnected(self.link) } }

    /// Of requests that had to wait, in the order in which they came.
    var answers: [LeaseTable.Answer] { answersSoFar.withLock { $0 } }

    func admit(_ request: AdmissionRequest) -> LeaseTable.Step {
        table.admit(request) { answer in self.answersSoFar.withLock { $0.append(answer) } }
    }

    /// The number of the request that waits; `nil` when it was answered at once.
    func wait(_ request: AdmissionRequest) -> EdgeLedger.WaiterID? {
        guard case .waiting(let id) = admit(request) else { return nil }
        return id
    }

    /// What the counter says about every account that has something to report.
    func answer(
        totalGranted: UInt64, limit: UInt64, totalSpent: UInt64 = 0, exposure: UInt64? = nil,
        isFrozen: Bool = false, isClosed: Bool = false, isLearning: Bool = false,
        isUnmet: Bool = false
    ) {
        var grants: [GrantEntry] = []
        for case .send(_, .report(let entries)) in table.advance({ $0.flush() }) {
            grants += entries.map { entry in
                GrantEntry(
                    reference: entry.reference,
                    grant: LeaseGrant(
                        granted: Amount(totalGranted), released: entry.report.released,
                        spent: entry.report.spent, totalSpent: Amount(totalSpent),
                        exposure: Amount(exposure ?? totalGranted), limit: Amount(limit),
                        isFrozen: isFrozen, isClosed: isClosed, isLearning: isLearning,
                        unmetWish: isUnmet ? entry.report.wish?.number ?? 0 : 0))
            }
        }
        _ = table.advance {
            $0.received(.grants(grants, counterTimeMilliseconds: 0), on: self.link, at: 0)
        }
    }
}

extension LeaseTable.Answer {
    var hold: LeaseTable.Hold? {
        guard case .held(let hold) = self else { return nil }
        return hold
    }

    /// The case, and the reason where it has one.
    var name: String {
        switch self {
        case .held: "held"
        case .refused(let refusal): "refused: \(refusal.reason)"
        case .expired: "expired"
        case .saturated: "saturated"
        case .unavailable: "unavailable"
        case .notJournaled: "not journaled"
        case .tooManyNewAccounts: "too many new accounts"
        }
    }
}

extension LeaseTable.Step {
    var name: String {
        switch self {
        case .answered(let answer): answer.name
        case .waiting: "waiting"
        }
    }
}

/// Formulas whose dollars and tokens differ.
enum HoldRatesFixture {
    /// 10,000 nano-dollars per token.
    static let manyNanosPerToken = CeilingFormula(
        promptTokens: 10, choices: 1, extraOutputTokens: 0,
        rates: HoldRates(
            input: TokenPrice(nanoUSDPerMillionTokens: 10_000_000_000),
            output: TokenPrice(nanoUSDPerMillionTokens: 10_000_000_000)))
}
