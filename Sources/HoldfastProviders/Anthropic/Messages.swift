import HoldfastCore

/// Anthropic's messages.
struct Messages: Endpoint {
    let dialect = Dialect.anthropic
    let route = Route(method: "POST", path: "/v1/messages")
    let outputLimitMember = "max_tokens"
    let takesServiceTier = true

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        try RequestReader.read(body) { (reader) throws(JSONError) in
            var request = AnthropicRequest()
            return try request.read(&reader)
        }
    }

    /// Betas mostly need a field of the body too, and are judged by it. The exceptions are the names
    /// `context-1m-…`, which let a prompt be longer than the context that the price is known for.
    func read(
        headers values: (_ name: String) -> [String], into facts: inout RequestFacts
    ) throws(RequestError) {
        for value in values("anthropic-beta") {
            for beta in value.utf8.split(separator: UInt8(ascii: ",")) {
                guard let tokens = Self.contextTokens(beta) else { continue }
                facts.contextTokensAsked = max(facts.contextTokensAsked, tokens)
            }
        }
    }

    /// One million for `context-1m-2025-08-07`; `nil` for another kind of beta, for example
    /// `context-management-2025-06-27`.
    private static func contextTokens(_ beta: Substring.UTF8View) -> UInt64? {
        let name = beta.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
            .map { $0 | 0x20 }
        guard name.starts(with: "context-".utf8) else { return nil }
        let size = name.dropFirst(8)
        let digits = size.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        guard !digits.isEmpty else { return nil }
        let number = UInt64(String(decoding: digits, as: UTF8.self)) ?? Limits.amountMax
        let unit: UInt64
        switch size.dropFirst(digits.count).first {
        case UInt8(ascii: "m"): unit = 1_000_000
        case UInt8(ascii: "k"): unit = 1_000
        default: unit = 1
        }
        let (tokens, overflow) = number.multipliedReportingOverflow(by: unit)
        return overflow ? Limits.amountMax : tokens
    }

    func meter(for facts: RequestFacts) -> ResponseMeter {
        ResponseMeter(
            AnthropicTracker(), hidesUsage: false, usesLongCacheWrite: facts.usesLongCacheWrite)
    }
}
