import HoldfastCore

extension EdgePolicy {
    var message: Holdfast_Lease_V1_Policy {
        var out = Holdfast_Lease_V1_Policy()
        out.version = version
        out.caps = caps.map(\.message)
        out.prices = prices
        out.windows = windows.message
        return out
    }

    init(_ message: Holdfast_Lease_V1_Policy) throws(WireError) {
        var caps: [Cap] = []
        var names: Set<String> = []
        for rule in message.caps {
            let cap = try Cap(rule)
            // Two caps of one name would share their accounts.
            guard names.insert(cap.name).inserted else { throw .malformed(field: "name") }
            caps.append(cap)
        }
        let windows = try PolicyWindows(message.windows)
        guard windows.caps.count == caps.count, windows.policyVersion == message.version else {
            throw .malformed(field: "windows")
        }
        self.init(
            version: message.version, caps: caps, prices: message.prices, windows: windows)
    }
}

extension PolicyWindows {
    var message: Holdfast_Lease_V1_Windows {
        var out = Holdfast_Lease_V1_Windows()
        out.policyVersion = policyVersion
        out.counterTimeMs = counterTimeMilliseconds
        out.caps = caps.map { spans in
            var cap = Holdfast_Lease_V1_CapWindows()
            cap.spans = spans.map { window in
                var span = Holdfast_Lease_V1_PeriodSpan()
                span.id = window.id
                span.startsAt = window.startsAt.seconds
                span.endsAt = window.endsAt.seconds
                return span
            }
            return cap
        }
        return out
    }

    init(_ message: Holdfast_Lease_V1_Windows) throws(WireError) {
        var caps: [[PeriodWindow]] = []
        for cap in message.caps {
            var spans: [PeriodWindow] = []
            for span in cap.spans { spans.append(try PeriodWindow(span)) }
            caps.append(spans)
        }
        self.init(
            policyVersion: message.policyVersion, caps: caps,
            counterTimeMilliseconds: try time(message.counterTimeMs, "counter_time_ms"))
    }
}

extension PeriodWindow {
    fileprivate init(_ message: Holdfast_Lease_V1_PeriodSpan) throws(WireError) {
        let start = try time(message.startsAt, "starts_at")
        let end = try time(message.endsAt, "ends_at")
        guard start < end else { throw .malformed(field: "window") }
        self.init(id: message.id, startsAt: UnixTime(start), endsAt: UnixTime(end))
    }
}

extension Cap {
    fileprivate var message: Holdfast_Lease_V1_CapRule {
        var out = Holdfast_Lease_V1_CapRule()
        out.name = name
        out.unit = UInt32(unit.rawValue)
        out.limit = limit.rawValue
        out.period = UInt32(period.rawValue)
        out.zone = zone
        out.scope = scopeMessages(scope)
        out.each = each.map { UInt32($0.rawValue) }
        out.mode = UInt32(mode.rawValue)
        out.fallback = fallback ?? ""
        return out
    }

    fileprivate init(_ message: Holdfast_Lease_V1_CapRule) throws(WireError) {
        let name = try text(message.name, atMost: Limits.capNameByteCountMax, "name")
        // The text of an account of such a cap is no key.
        guard !name.isEmpty else { throw .malformed(field: "name") }
        let fallback = try text(
            message.fallback, atMost: Limits.scopeValueByteCountMax, "fallback")
        self.init(
            name: name, unit: try known(message.unit, "unit"),
            limit: try amount(message.limit, "limit"),
            period: try known(message.period, "period"), zone: message.zone,
            scope: try scopeValues(message.scope, "scope"),
            each: try scopeDimensions(message.each, "each"), mode: try known(message.mode, "mode"),
            fallback: fallback.isEmpty ? nil : fallback)
    }
}

extension KeyPolicy {
    init?(_ answer: Holdfast_Lease_V1_KeyAnswer) throws(WireError) {
        guard answer.found else { return nil }
        let callerSettable = try scopeDimensions(answer.callerSettable, "caller_settable")
        // The others say who pays and what is called: a caller who sets them chooses the cap.
        guard callerSettable.allSatisfy(\.isCallerSettable) else {
            throw .malformed(field: "caller_settable")
        }
        self.init(
            name: try text(answer.name, atMost: Limits.scopeValueByteCountMax, "name"),
            fixed: try scopeValues(answer.fixed, "fixed"), callerSettable: Set(callerSettable))
    }
}

func scopeMessages(_ scope: [ScopeDimension: String]) -> [Holdfast_Lease_V1_ScopeValue] {
    ScopeDimension.allCases.compactMap { dimension in
        guard let value = scope[dimension] else { return nil }
        var out = Holdfast_Lease_V1_ScopeValue()
        out.dimension = UInt32(dimension.rawValue)
        out.value = value
        return out
    }
}

private func scopeValues(
    _ messages: [Holdfast_Lease_V1_ScopeValue], _ field: String
) throws(WireError) -> [ScopeDimension: String] {
    let dimensions = try scopeDimensions(messages.map(\.dimension), field)
    var out: [ScopeDimension: String] = [:]
    for (dimension, message) in zip(dimensions, messages) {
        out[dimension] = try text(message.value, atMost: Limits.scopeValueByteCountMax, "value")
    }
    return out
}

/// Each at most once: which of two values counts would be a guess.
private func scopeDimensions(
    _ values: [UInt32], _ field: String
) throws(WireError) -> [ScopeDimension] {
    var out: [ScopeDimension] = []
    for value in values {
        let dimension: ScopeDimension = try known(value, "dimension")
        guard !out.contains(dimension) else { throw .malformed(field: field) }
        out.append(dimension)
    }
    return out
}
