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
        for rule in message.caps { caps.append(try Cap(rule)) }
        let windows = try PolicyWindows(message.windows)
        guard windows.caps.count == caps.count else { throw .malformed(field: "windows") }
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
            for span in cap.spans {
                guard span.startsAt < span.endsAt else { throw .malformed(field: "window") }
                spans.append(
                    PeriodWindow(
                        id: span.id, startsAt: UnixTime(span.startsAt),
                        endsAt: UnixTime(span.endsAt)))
            }
            caps.append(spans)
        }
        self.init(
            policyVersion: message.policyVersion, caps: caps,
            counterTimeMilliseconds: message.counterTimeMs)
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
        return out
    }

    fileprivate init(_ message: Holdfast_Lease_V1_CapRule) throws(WireError) {
        guard let unit = UInt8(exactly: message.unit).flatMap(CapUnit.init(rawValue:)) else {
            throw .malformed(field: "unit")
        }
        guard let period = UInt8(exactly: message.period).flatMap(PeriodKind.init(rawValue:))
        else { throw .malformed(field: "period") }
        guard let mode = UInt8(exactly: message.mode).flatMap(CapMode.init(rawValue:)) else {
            throw .malformed(field: "mode")
        }
        self.init(
            name: message.name, unit: unit, limit: try amount(message.limit, "limit"),
            period: period, zone: message.zone, scope: try scopeValues(message.scope),
            each: try scopeDimensions(message.each), mode: mode)
    }
}

extension KeyPolicy {
    init?(_ answer: Holdfast_Lease_V1_KeyAnswer) throws(WireError) {
        guard answer.found else { return nil }
        self.init(
            name: answer.name, fixed: try scopeValues(answer.fixed),
            callerSettable: Set(try scopeDimensions(answer.callerSettable)))
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
    _ messages: [Holdfast_Lease_V1_ScopeValue]
) throws(WireError) -> [ScopeDimension: String] {
    var out: [ScopeDimension: String] = [:]
    for message in messages { out[try scopeDimension(message.dimension)] = message.value }
    return out
}

private func scopeDimensions(_ values: [UInt32]) throws(WireError) -> [ScopeDimension] {
    var out: [ScopeDimension] = []
    for value in values { out.append(try scopeDimension(value)) }
    return out
}

private func scopeDimension(_ value: UInt32) throws(WireError) -> ScopeDimension {
    guard let dimension = UInt8(exactly: value).flatMap(ScopeDimension.init(rawValue:)) else {
        throw .malformed(field: "dimension")
    }
    return dimension
}
