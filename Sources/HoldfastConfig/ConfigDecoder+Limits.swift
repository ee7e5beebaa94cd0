import HoldfastCore
import Yams

// MARK: - Prices

extension ConfigDecoder {
    mutating func decodePrices(_ top: Fields) -> [PriceOverride] {
        var prices: [PriceOverride] = []
        for node in list(top, "prices") ?? [] {
            guard let price = decodePrice(node) else { continue }
            if prices.contains(where: { $0.provider == price.provider && $0.model == price.model })
            {
                fail("there is already a price of \(price.provider) '\(price.model)'", at: node)
            }
            prices.append(price)
        }
        return prices
    }

    private mutating func decodePrice(_ node: Node) -> PriceOverride? {
        let keys = [
            "provider", "model", "input", "output", "cache_read", "cache_write", "context",
            "max_output",
        ]
        guard let fields = fields(of: node, what: "a price", keys: keys) else { return nil }
        let known = knownProviders?.union(ownProviders)
        let provider = parsed(fields, "provider", isRequired: true) {
            (text) throws(ValueError) in try parseProviderName(text, known: known)
        }
        let model = parsed(fields, "model", isRequired: true, parseScopeValue)
        let input = parsed(fields, "input", isRequired: true, parsePrice)
        let output = parsed(fields, "output", isRequired: true, parsePrice)
        let cacheRead = parsed(fields, "cache_read", parsePrice)
        let cacheWrite = parsed(fields, "cache_write", parsePrice)
        let context = parsedTokens(fields, "context")
        let outputMax = parsedTokens(fields, "max_output")
        guard let provider, let model, let input, let output else { return nil }
        if input == .zero || output == .zero {
            warn(
                "\(provider) '\(model)' has tokens that cost nothing: caps in dollars will not "
                    + "stop them", at: node)
        }
        if let context, let outputMax, outputMax > context {
            fail("'max_output' is more than 'context'", at: fields.byName["max_output"] ?? node)
        }
        return PriceOverride(
            provider: provider, model: model, input: input, output: output, cacheRead: cacheRead,
            cacheWrite: cacheWrite, contextTokens: context, outputTokensMax: outputMax)
    }

    private mutating func parsedTokens(_ fields: Fields, _ key: String) -> UInt64? {
        parsed(fields, key, in: 1...1_000_000_000, parseTokens) { "\($0) tokens" }
    }
}

private func parsePrice(_ text: String) throws(ValueError) -> TokenPrice {
    TokenPrice(nanoUSDPerMillionTokens: try parseDollars(text).rawValue)
}

// MARK: - Limits

extension ConfigDecoder {
    mutating func decodeLimits(_ top: Fields) -> EdgeLimits {
        var limits = EdgeLimits()
        let keys = [
            "body", "header", "new_accounts_per_minute", "wait", "drain", "stream_buffer", "clamp",
            "clamp_minimum", "header_scope",
        ]
        guard let fields = section(top, "limits", keys: keys) else { return limits }
        decodeSizes(fields, into: &limits)
        if let count = parsed(
            fields, "new_accounts_per_minute", in: 1...1_000_000, parseCount,
            describe: \.description)
        {
            limits.newAccountsPerMinuteMax = count
        }
        if let wait = parsed(
            fields, "wait", in: .zero ... .seconds(60), parseDuration, describe: \.brief)
        {
            limits.wait = wait
        }
        if let drain = parsed(
            fields, "drain", in: .zero ... .seconds(3_600), parseDuration, describe: \.brief)
        {
            limits.drain = drain
        }
        if let clamps = parsed(fields, "clamp", parseBool) { limits.clamps = clamps }
        if let tokens = parsed(
            fields, "clamp_minimum", in: 1...1_000_000, parseTokens, describe: { "\($0) tokens" })
        {
            limits.clampMinimumTokens = tokens
        }
        limits.scopeHeaders = decodeScopeHeaders(fields)
        return limits
    }

    private mutating func decodeSizes(_ fields: Fields, into limits: inout EdgeLimits) {
        if let body = parsed(
            fields, "body", in: 1 << 10...1 << 30, parseByteCount, describe: byteCountText)
        {
            limits.bodyByteCountMax = body
        }
        if let header = parsed(
            fields, "header", in: 1 << 10...1 << 20, parseByteCount, describe: byteCountText)
        {
            limits.headerByteCountMax = header
        }
        if let buffer = parsed(
            fields, "stream_buffer", in: 64 << 10...1 << 30, parseByteCount, describe: byteCountText
        ) {
            limits.streamBufferByteCountMax = buffer
        }
    }

    /// `header_scope: { tenant: X-Tenant-Id }`.
    private mutating func decodeScopeHeaders(_ limits: Fields) -> [ScopeDimension: String] {
        let settable = ScopeDimension.allCases.filter(\.isCallerSettable)
        guard let fields = section(limits, "header_scope", keys: settable.map(\.name)) else {
            return [:]
        }
        var headers: [ScopeDimension: String] = [:]
        for dimension in settable {
            guard let header = parsed(fields, dimension.name, parseHeaderName) else { continue }
            if let other = headers.first(where: { $0.value == header })?.key {
                fail(
                    "the header '\(header)' sets both '\(other.name)' and '\(dimension.name)'",
                    at: fields.byName[dimension.name] ?? fields.node)
            }
            headers[dimension] = header
        }
        return headers
    }
}

func parseCount(_ text: String) throws(ValueError) -> Int {
    guard text.utf8.allSatisfy(\.isDigit), let count = Int(text) else {
        throw ValueError("is not a whole number")
    }
    return count
}

/// Letters, digits and `-_`: what every proxy on the way lets through.
private func parseHeaderName(_ text: String) throws(ValueError) -> String {
    guard text.utf8.count <= 128,
        text.utf8.allSatisfy({ $0.isNameByte && $0 != UInt8(ascii: ".") })
    else { throw ValueError("is not the name of a header", suggestion: "write it as X-Tenant-Id") }
    let name = text.lowercased()
    let credentials = ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"]
    guard !credentials.contains(name) else {
        throw ValueError("is a header for credentials, which would end up in metrics and logs")
    }
    return name
}
