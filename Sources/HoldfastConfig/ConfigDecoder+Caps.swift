import HoldfastCore
import Yams

/// A cap and where it stands, for checks that need the rest of the file.
struct CapNode {
    let cap: Cap
    let node: Node
}

extension ConfigDecoder {
    mutating func decodeCaps(_ top: Fields) -> [CapNode] {
        var caps: [CapNode] = []
        var lines: [String: Int] = [:]
        for node in list(top, "caps") ?? [] {
            guard let cap = decodeCap(node) else { continue }
            if let line = lines[cap.name] {
                fail("there is already a cap '\(cap.name)', at line \(line)", at: node)
            }
            lines[cap.name] = lines[cap.name] ?? node.mark?.line ?? 0
            caps.append(CapNode(cap: cap, node: node))
        }
        return caps
    }

    private mutating func decodeCap(_ node: Node) -> Cap? {
        let keys = ["name", "limit", "per", "scope", "each", "mode", "timezone", "on_exceed"]
        guard let fields = fields(of: node, what: "a cap", keys: keys) else { return nil }
        let name = parsed(fields, "name", isRequired: true, parseName)
        let limit = parsed(fields, "limit", isRequired: true, CapLimit.init(_:))
        let period = parsed(fields, "per", isRequired: true, parsePeriod)
        let zone = parsed(fields, "timezone", parseZone)
        let mode = parsed(fields, "mode", parseMode)
        let fallback = decodeFallback(fields, isObserved: mode == .observe)
        let scope = decodeScope(fields)
        let each = dimensions(fields, "each")
        for dimension in each where scope[dimension] != nil {
            fail(
                "'each: \(dimension.name)' and 'scope' with '\(dimension.name)' in one cap",
                at: fields.byName["each"] ?? node,
                suggestion: "with one \(dimension.name) there is only one account: drop 'each'")
        }
        guard let name, let limit, let period else { return nil }
        if limit.amount == .zero {
            warn(
                "cap '\(name)' has a limit of zero: it blocks every request that it applies to",
                at: fields.byName["limit"] ?? node)
        }
        return Cap(
            name: name, unit: limit.unit, limit: limit.amount, period: period,
            zone: zone ?? "UTC", scope: scope, each: each, mode: mode ?? .enforce,
            fallback: fallback)
    }

    private mutating func decodeFallback(_ cap: Fields, isObserved: Bool) -> String? {
        guard let fields = section(cap, "on_exceed", keys: ["fallback"]) else { return nil }
        let fallback = parsed(fields, "fallback", isRequired: true, parseScopeValue)
        if isObserved {
            warn("'on_exceed' of a cap in observe mode never happens", at: fields.node)
        }
        return fallback
    }

    private mutating func decodeScope(_ cap: Fields) -> [ScopeDimension: String] {
        guard let node = cap.byName["scope"] else { return [:] }
        if case .scalar = node {
            guard let text = text(node, named: "scope"), text.value != "global" else { return [:] }
            let hint = ScopeDimension(name: text.value).map { "did you mean 'each: \($0.name)'?" }
            fail(
                "'scope' must be 'global' or a map", at: node,
                suggestion: hint ?? "write scope: { tenant: acme }")
            return [:]
        }
        let names = ScopeDimension.allCases.map(\.name)
        guard let fields = fields(of: node, what: "'scope'", keys: names) else { return [:] }
        return scopeValues(fields, of: ScopeDimension.allCases)
    }

    mutating func scopeValues(
        _ fields: Fields, of dimensions: [ScopeDimension]
    ) -> [ScopeDimension: String] {
        var values: [ScopeDimension: String] = [:]
        for dimension in dimensions {
            values[dimension] = parsed(fields, dimension.name, parseScopeValue)
        }
        return values
    }

    /// One dimension, or a list of them without repetition.
    mutating func dimensions(_ parent: Fields, _ key: String) -> [ScopeDimension] {
        guard let node = parent.byName[key] else { return [] }
        var nodes = [node]
        if case .sequence(let sequence) = node { nodes = Array(sequence) }
        var dimensions: [ScopeDimension] = []
        for node in nodes {
            guard let dimension = parsed(node, named: key, parseDimension) else { continue }
            if dimensions.contains(dimension) {
                fail("'\(key)' has '\(dimension.name)' twice", at: node)
            } else {
                dimensions.append(dimension)
            }
        }
        return dimensions
    }
}

// MARK: - Caps that no request can meet

extension ConfigDecoder {
    /// A cap that never applies looks like protection and is none.
    mutating func checkReach(of capNode: CapNode, in config: Config) {
        let cap = capNode.cap
        if let provider = cap.scope[.provider], !config.providers.isEmpty,
            config.providers[provider] == nil
        {
            warn(
                "cap '\(cap.name)' never applies: there is no provider '\(provider)'",
                at: capNode.node,
                suggestion: didYouMean(provider, among: config.providers.keys.sorted()))
        }
        // Without keys here they are kept elsewhere, and nothing can be said.
        guard !config.keys.isEmpty else { return }
        let policies = config.keys.map(\.policy)
        if let key = cap.scope[.key], !policies.contains(where: { $0.name == key }) {
            warn(
                "cap '\(cap.name)' never applies: there is no key '\(key)'", at: capNode.node,
                suggestion: didYouMean(key, among: policies.map(\.name)))
        }
        for (dimension, value) in cap.scope.sorted(by: { $0.key.rawValue < $1.key.rawValue })
        where dimension.isCallerSettable {
            let isReached = policies.contains { policy in
                policy.fixed[dimension].map { $0 == value }
                    ?? policy.callerSettable.contains(dimension)
            }
            if !isReached {
                warn(
                    "cap '\(cap.name)' never applies: no key has or allows "
                        + "\(dimension.name) '\(value)'", at: capNode.node)
            }
        }
        for dimension in cap.each where dimension.isCallerSettable {
            let isReached = policies.contains {
                $0.fixed[dimension] != nil || $0.callerSettable.contains(dimension)
            }
            if !isReached {
                warn(
                    "cap '\(cap.name)' never applies: no key has or allows '\(dimension.name)'",
                    at: capNode.node)
            }
        }
    }
}

// MARK: - Words

private func parsePeriod(_ text: String) throws(ValueError) -> PeriodKind {
    if let period = PeriodKind.allCases.first(where: { $0.name == text }) { return period }
    let otherWords = [
        "hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month", "forever": "total",
        "lifetime": "total", "never": "total",
    ]
    let names = PeriodKind.allCases.map(\.name)
    throw ValueError(
        "is not a period",
        suggestion: otherWords[text].map { "did you mean '\($0)'?" }
            ?? didYouMean(text, among: names) ?? "there are \(names.joined(separator: ", "))")
}

private func parseMode(_ text: String) throws(ValueError) -> CapMode {
    switch text {
    case CapMode.enforce.name: return .enforce
    case CapMode.observe.name: return .observe
    default: throw ValueError("is not a mode", suggestion: "there are enforce and observe")
    }
}

private func parseZone(_ text: String) throws(ValueError) -> String {
    guard zoneOffsets(text) != nil else {
        throw ValueError(
            "is not a time zone",
            suggestion: didYouMean(text, among: knownZoneNames())
                ?? "use a name such as Europe/Tallinn")
    }
    return text
}
