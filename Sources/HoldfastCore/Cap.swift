public enum CapMode: UInt8, Hashable, Sendable {
    case enforce = 0
    /// Decides, counts and labels; never refuses.
    case observe = 1

    public var name: String {
        switch self {
        case .enforce: "enforce"
        case .observe: "observe"
        }
    }
}

/// A rule: at most `limit` per period, for the requests that its scope selects.
public struct Cap: Hashable, Sendable {
    /// Unique, chosen by the operator; also the identity under which spending is kept, so a cap that
    /// is deleted and made again within its period does not start from zero.
    public var name: String
    public var unit: CapUnit
    public var limit: Amount
    public var period: PeriodKind
    /// IANA name of the zone its periods start in.
    public var zone: String
    /// Requests must have exactly these values. Empty: every request.
    public var scope: [ScopeDimension: String]
    /// One account for each combination of values of these dimensions; requests that lack one of
    /// them are not counted. Empty: one account for all.
    public var each: [ScopeDimension]
    public var mode: CapMode
    /// The model that is asked instead when this cap cannot pay for the one that was asked for, by its
    /// name or with its provider in front (`groq/llama-…`); `nil`: the request is refused.
    public var fallback: String?

    public init(
        name: String, unit: CapUnit, limit: Amount, period: PeriodKind, zone: String = "UTC",
        scope: [ScopeDimension: String] = [:], each: [ScopeDimension] = [],
        mode: CapMode = .enforce, fallback: String? = nil
    ) {
        precondition(limit.rawValue <= Limits.amountMax, "a limit above Limits.amountMax")
        self.name = name
        self.unit = unit
        self.limit = limit
        self.period = period
        self.zone = zone
        self.scope = scope
        self.each = each
        self.mode = mode
        self.fallback = fallback
    }

    /// The values that tell this cap's accounts apart for such a request, or `nil` when the cap does
    /// not apply to it.
    public func accountValues(for request: ScopeValues) -> [String]? {
        guard scope.allSatisfy({ dimension, value in request[dimension] == value }) else {
            return nil
        }
        var values: [String] = []
        for dimension in each {
            guard let value = request[dimension] else { return nil }
            values.append(value)
        }
        return values
    }

    /// What the cap is counted against, for people: `tenant=acme`, `each user`, `global`.
    public var scopeDescription: String { describe(each.map { "each \($0.name)" }) }

    /// What one of its accounts is counted against: `tenant=acme, user=u-17`.
    public func scopeDescription(of account: AccountKey) -> String {
        describe(zip(each, account.values).map { "\($0.name)=\($1)" })
    }

    private func describe(_ varying: [String]) -> String {
        let fixed = ScopeDimension.allCases.compactMap { dimension in
            scope[dimension].map { "\(dimension.name)=\($0)" }
        }
        let parts = fixed + varying
        return parts.isEmpty ? "global" : parts.joined(separator: ", ")
    }
}
