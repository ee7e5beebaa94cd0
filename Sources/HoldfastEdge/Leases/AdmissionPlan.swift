import HoldfastCore
import HoldfastLedger
import HoldfastProviders

/// What a request asks for: a ceiling that depends on its output limit, on some accounts.
struct AdmissionRequest: Sendable {
    let targets: [AccountTarget]
    let formula: CeilingFormula
    /// Per choice: the request's own limit, or the model's maximum.
    let outputWanted: UInt64
    /// The smallest output worth admitting; the wanted one where clamping is off.
    let outputMinimum: UInt64
    /// Made-up scope values are bounded per key.
    let keyName: String
    /// Of the policy that the targets come from.
    var policyGeneration: UInt64 = 0
}

extension Ceiling {
    func amount(in unit: CapUnit) -> Amount {
        switch unit {
        case .usd: Amount(usd.rawValue)
        case .tokens: Amount(tokens)
        }
    }
}

/// Why budget was refused, and by which cap: the strictest of those that refuse.
struct AdmissionRefusal: Error, Sendable {
    enum Reason: Sendable, Equatable {
        /// What is left of the cap does not pay for even the smallest form of this request.
        case capSpent
        /// Not even the whole cap would pay for it.
        case exceedsCap
        /// There is room, but requests in flight hold it.
        case inFlight
        /// The account is frozen until an operator has looked.
        case frozen
    }

    var reason: Reason
    var target: AccountTarget
    var standing: EdgeLedger.Standing?
    /// This request's ceiling in the cap's unit; `nil` when it is beyond any limit.
    var ceiling: Amount?
    /// The largest output limit with which it would fit what is left; `nil` when none would.
    var outputThatFits: UInt64?
}

/// How much output the tightest cap pays for. Pure, so that tables can test it.
enum AdmissionPlan {
    enum Outcome {
        case output(UInt64)
        case refuse(AdmissionRefusal)
    }

    /// - Parameter budget: what an account could pay at most, for example what is not spent of it.
    static func plan(
        _ request: AdmissionRequest, standings: [EdgeLedger.Standing?],
        budget: (AccountTarget, EdgeLedger.Standing?) -> Amount, ifShort: AdmissionRefusal.Reason
    ) -> Outcome {
        var output = request.outputWanted
        var tightest: (index: Int, affordable: UInt64?)?
        let wanted = request.formula.ceiling(outputTokensPerChoice: request.outputWanted)
        for (index, target) in request.targets.enumerated() where target.isEnforced {
            let budget = budget(target, standings[index])
            if let wanted, wanted.amount(in: target.cap.unit) <= budget { continue }
            let affordable = request.formula.affordable(budget, in: target.cap.unit)
            if let affordable { output = min(output, affordable) }
            if tightest.map({ isTighter(affordable, than: $0.affordable) }) ?? true {
                tightest = (index, affordable)
            }
        }
        guard let tightest,
            (tightest.affordable ?? 0) < request.outputMinimum
                || tightest.affordable == nil
        else { return .output(output) }
        let target = request.targets[tightest.index]
        let ever = request.formula.affordable(target.cap.limit, in: target.cap.unit)
        let fitsEver = ever.map { $0 >= request.outputMinimum } ?? false
        return .refuse(
            AdmissionRefusal(
                reason: fitsEver ? ifShort : .exceedsCap, target: target,
                standing: standings[tightest.index],
                ceiling: wanted?.amount(in: target.cap.unit), outputThatFits: tightest.affordable))
    }

    private static func isTighter(_ lhs: UInt64?, than rhs: UInt64?) -> Bool {
        guard let rhs else { return false }
        guard let lhs else { return true }
        return lhs < rhs
    }

    /// All that the request could ever get: what nobody has spent.
    static func room(_ target: AccountTarget, _ standing: EdgeLedger.Standing?) -> Amount {
        min(target.cap.limit, standing?.room ?? target.cap.limit)
    }

    /// What could be held right now, here and at the counter.
    static func payableNow(_ target: AccountTarget, _ standing: EdgeLedger.Standing?) -> Amount {
        min(target.cap.limit, standing?.payableNow ?? .zero)
    }

    /// The largest output limit that an account could pay for right now; zero where there is none.
    static func outputPayableNow(
        _ request: AdmissionRequest, _ target: AccountTarget, _ standing: EdgeLedger.Standing?
    ) -> UInt64 {
        request.formula.affordable(payableNow(target, standing), in: target.cap.unit) ?? 0
    }
}

extension CeilingFormula {
    func affordable(_ budget: Amount, in unit: CapUnit) -> UInt64? {
        switch unit {
        case .usd: affordableOutput(usd: NanoUSD(budget.rawValue), tokens: nil)
        case .tokens: affordableOutput(usd: nil, tokens: budget.rawValue)
        }
    }
}
