import HoldfastCore
import HoldfastProviders

/// A refusal as bytes on the wire, in the caller's dialect.
extension Refusal {
    func headers(_ dialect: Dialect, requestID: String) -> [(String, String)] {
        var headers = [
            ("content-type", "application/json"), ("x-request-id", requestID),
            ("x-holdfast-reason", code),
        ]
        if dialect == .bedrock { headers.append(("x-amzn-errortype", type(dialect))) }
        if dialect == .anthropic { headers.append(("request-id", requestID)) }
        if let shouldRetry { headers.append(("x-should-retry", shouldRetry ? "true" : "false")) }
        if let retryAfterSeconds { headers.append(("retry-after", "\(retryAfterSeconds)")) }
        if case .budget(let refusal, _) = self {
            headers.append(("x-holdfast-cap", refusal.target.cap.name))
            headers.append(("x-holdfast-cap-scope", refusal.scopeText.headerSafe))
            headers.append(("x-holdfast-cap-period", refusal.target.cap.period.name))
            if let resetsAt = refusal.resetsAt {
                headers.append(("x-holdfast-resets-at", resetsAt))
            }
        }
        return headers
    }

    func body(_ dialect: Dialect, requestID: String) -> [UInt8] {
        let details: (inout JSONWriter) -> Void = { writer in
            writer.member("reason", code)
            if case .budget(let refusal, let prompt) = self {
                refusal.write(to: &writer, promptTokens: prompt)
            }
            writer.member("request_id", requestID)
        }
        switch dialect {
        case .openai:
            return ErrorBody.openAI(
                message: message, type: type(dialect), code: code, param: param, holdfast: details)
        case .anthropic:
            return ErrorBody.anthropic(
                message: message, type: type(dialect), requestID: requestID, holdfast: details)
        case .cohere, .bedrock:
            return ErrorBody.message(message, holdfast: details)
        case .gemini:
            return ErrorBody.gemini(
                message: message, code: status, status: type(dialect), holdfast: details)
        }
    }
}

extension AdmissionRefusal {
    /// Amounts are decimal strings in the cap's unit: dollars, or tokens.
    fileprivate func write(to writer: inout JSONWriter, promptTokens: UInt64) {
        let unit = target.cap.unit
        writer.member("cap", target.cap.name)
        writer.member("scope", scopeText)
        writer.member("period", target.cap.period.name)
        writer.member("unit", unit.name)
        writer.member("limit", target.cap.limit.plain(unit))
        writer.member("spent", spent.plain(unit))
        writer.member("held", held.plain(unit))
        writer.member(
            "remaining",
            target.cap.limit.excess(over: spent.saturatingAdd(held)).plain(unit))
        let ceiling = ceiling.map { $0.plain(unit) }
        writer.member("ceiling", ceiling)
        writer.member("prompt_tokens_max", promptTokens)
        if let outputThatFits { writer.member("max_output_tokens_that_fit", outputThatFits) }
        writer.member("resets_at", resetsAt)
        writer.key("remedies")
        writer.array { writer in
            for remedy in remedies { writer.string(remedy) }
        }
    }
}

extension String {
    /// Scope values are chosen by callers and may hold anything; a header may not.
    var headerSafe: String {
        String(
            decoding: utf8.prefix(512).map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") },
            as: UTF8.self)
    }
}
