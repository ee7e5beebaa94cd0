import HoldfastCore
import HoldfastEgress
import HoldfastLedger
import HoldfastProviders

/// Why a caller gets an answer of ours instead of a provider's.
///
/// Closed on purpose: status, code, message, metric label and retry advice below are exhaustive, so
/// that a new case does not compile until all of them are decided.
enum Refusal: Error, Sendable {
    case budget(AdmissionRefusal, prompt: UInt64)
    case noKey
    case unknownKey
    case unknownRoute(method: String, path: String, routes: [String])
    case providerNotConfigured(String)
    case request(RequestError)
    case unknownModel(provider: String, model: String)
    case unpriceable(PriceError)
    case bodyTooLarge(byteCountMax: Int)
    case headersTooLarge
    case malformedHTTP
    case badScope(ScopeDimension)
    case tooManyNewAccounts(perMinute: Int)
    case tooManyCaps
    case saturated
    case counterUnavailable(String)
    case journalUnavailable(String)
    case draining
    case upstream(EgressFailure)
}

extension Refusal {
    /// Stable across releases: dashboards, alerts and programs are built on it.
    var code: String {
        switch self {
        case .budget(let refusal, _):
            switch refusal.reason {
            case .capSpent: "spend_cap_reached"
            case .exceedsCap: "request_exceeds_cap"
            case .inFlight: "budget_in_flight"
            case .frozen: "account_frozen"
            }
        case .noKey: "missing_api_key"
        case .unknownKey: "invalid_api_key"
        case .unknownRoute: "unknown_route"
        case .providerNotConfigured: "provider_not_configured"
        case .request(let error): error.code
        case .unknownModel: "model_not_priced"
        case .unpriceable: "price_unknown"
        case .bodyTooLarge: "request_too_large"
        case .headersTooLarge: "headers_too_large"
        case .malformedHTTP: "malformed_http"
        case .badScope: "invalid_scope_value"
        case .tooManyNewAccounts: "too_many_new_scope_values"
        case .tooManyCaps: "too_many_caps"
        case .saturated: "edge_saturated"
        case .counterUnavailable: "counter_unavailable"
        case .journalUnavailable: "journal_unavailable"
        case .draining: "edge_draining"
        case .upstream(let failure):
            switch failure.kind {
            case .timeout, .timeoutBeforeSend: "upstream_timeout"
            case .resolve, .connect, .tls: "upstream_unreachable"
            case .badResponse: "upstream_invalid_response"
            case .sendFailed, .reset, .cancelled, .bufferOverflow, .other: "upstream_failed"
            }
        }
    }

    var status: Int {
        switch self {
        case .budget(let refusal, _):
            switch refusal.reason {
            case .capSpent, .exceedsCap: 402
            case .inFlight: 429
            case .frozen: 503
            }
        case .noKey, .unknownKey: 401
        case .unknownRoute, .providerNotConfigured, .unknownModel: 404
        case .request(let error): error.status
        case .malformedHTTP, .badScope, .unpriceable: 400
        case .bodyTooLarge: 413
        case .headersTooLarge: 431
        case .tooManyNewAccounts: 429
        case .tooManyCaps: 500
        case .saturated, .counterUnavailable, .journalUnavailable, .draining: 503
        case .upstream(let failure):
            switch failure.kind {
            case .timeout, .timeoutBeforeSend: 504
            case .resolve, .connect, .tls, .badResponse, .sendFailed, .reset, .cancelled,
                .bufferOverflow, .other:
                502
            }
        }
    }

    /// What the official SDKs are told. `nil`: their own rules for the status apply.
    var shouldRetry: Bool? {
        switch self {
        case .budget(let refusal, _):
            switch refusal.reason {
            case .capSpent, .exceedsCap: false
            case .inFlight: true
            case .frozen: false
            }
        case .noKey, .unknownKey, .unknownRoute, .providerNotConfigured, .request, .unknownModel,
            .unpriceable, .bodyTooLarge, .headersTooLarge, .malformedHTTP, .badScope,
            .tooManyNewAccounts, .tooManyCaps:
            false
        case .saturated, .counterUnavailable, .journalUnavailable, .draining: true
        case .upstream(let failure):
            // What was sent may have been billed: sending it again is the caller's decision.
            failure.requestWasSent ? false : true
        }
    }

    /// Seconds. Never on a 402: some SDKs sleep for whatever it says.
    var retryAfterSeconds: Int? {
        switch self {
        case .budget(let refusal, _): refusal.reason == .inFlight ? 1 : nil
        case .saturated, .counterUnavailable, .journalUnavailable, .draining: 1
        case .noKey, .unknownKey, .unknownRoute, .providerNotConfigured, .request, .unknownModel,
            .unpriceable, .bodyTooLarge, .headersTooLarge, .malformedHTTP, .badScope,
            .tooManyNewAccounts, .tooManyCaps, .upstream:
            nil
        }
    }

    /// The error type in the caller's dialect.
    func type(_ dialect: Dialect) -> String {
        switch dialect {
        case .openai:
            switch status {
            case 402: "insufficient_quota"
            case 429: "rate_limit_error"
            case 500...: "server_error"
            default: "invalid_request_error"
            }
        case .cohere: code
        case .gemini:
            switch status {
            case 401: "UNAUTHENTICATED"
            case 402: "FAILED_PRECONDITION"
            case 404: "NOT_FOUND"
            case 429: "RESOURCE_EXHAUSTED"
            case 503: "UNAVAILABLE"
            case 504: "DEADLINE_EXCEEDED"
            case 500...: "INTERNAL"
            default: "INVALID_ARGUMENT"
            }
        case .bedrock:
            switch status {
            case 401: "UnrecognizedClientException"
            case 402: "ServiceQuotaExceededException"
            case 404: "ResourceNotFoundException"
            case 429: "ThrottlingException"
            case 503: "ServiceUnavailableException"
            case 504: "ModelTimeoutException"
            case 500...: "InternalServerException"
            default: "ValidationException"
            }
        case .anthropic:
            switch status {
            case 401: "authentication_error"
            case 402: "billing_error"
            case 404: "not_found_error"
            case 413: "request_too_large"
            case 429: "rate_limit_error"
            case 504: "timeout_error"
            case 500...: "api_error"
            default: "invalid_request_error"
            }
        }
    }

    var param: String? {
        switch self {
        case .request(let error): error.param
        case .unknownModel: "model"
        default: nil
        }
    }
}

extension Refusal {
    /// Tells the caller what to do. Carries no secret, no prompt and nothing the provider said.
    var message: String {
        switch self {
        case .budget(let refusal, _): refusal.message
        case .noKey:
            "No API key. Send a Holdfast key as 'Authorization: Bearer …' or 'x-api-key: …'."
        case .unknownKey:
            "This API key is not known here. Use a key from the 'keys' section of the Holdfast "
                + "configuration, not the provider's own key."
        case .unknownRoute(let method, let path, let routes):
            "\(method) \(path) is not served: nothing that is not metered is passed on. "
                + "Served: \(routes.joined(separator: ", "))."
        case .providerNotConfigured(let name):
            "The provider '\(name)' is not configured on this edge. Add it to 'providers'."
        case .request(let error): error.message
        case .unknownModel(let provider, let model):
            "The price of the model '\(model.prefix(128))' of \(provider) is not known, so its "
                + "cost cannot be capped. Use a priced model, or add it to 'prices'."
        case .unpriceable(let error): "\(error)"
        case .bodyTooLarge(let max): "The request body is larger than \(max) bytes."
        case .headersTooLarge: "The request headers are too large."
        case .malformedHTTP: "The request is not valid HTTP/1.1."
        case .badScope(let dimension):
            "The value for '\(dimension.name)' is empty, longer than "
                + "\(Limits.scopeValueByteCountMax) bytes, or not UTF-8 text."
        case .tooManyNewAccounts(let max):
            "This key has named more than \(max) new users, sessions or other scope values within "
                + "a minute. Known ones still work."
        case .tooManyCaps:
            "More than \(Limits.capsPerRequestMax) caps apply to this request; merge some of them."
        case .saturated: "This edge has too many requests in flight. Try again shortly."
        case .counterUnavailable(let reason):
            "The spending counter cannot be asked and the leased budget does not suffice "
                + "(\(reason)). Try again shortly."
        case .journalUnavailable(let reason):
            "There is budget, but this edge must write down what it uses before it does, and "
                + "cannot (\(reason)). Try again shortly."
        case .draining: "This edge is shutting down. Try again."
        case .upstream(let failure):
            "The provider could not be used: \(failure.message)"
                + (failure.requestWasSent
                    ? " The request had been sent and may have been billed." : "")
        }
    }
}

extension AdmissionRefusal {
    var limitText: String { target.cap.limit.formatted(target.cap.unit) }

    /// Spent by everyone, as the counter last said.
    var spent: Amount { standing?.counter?.totalSpent ?? .zero }

    /// In holds or leased to edges, as the counter last said.
    var held: Amount {
        guard let counter = standing?.counter else { return .zero }
        return counter.exposure.excess(over: counter.totalSpent)
    }

    var scopeText: String { target.cap.scopeDescription(of: target.key) }

    var resetsAt: String? {
        target.cap.period == .total ? nil : target.window.endsAt.rfc3339
    }

    private var periodText: String {
        target.cap.period == .total ? "in total" : "per \(target.cap.period.name)"
    }

    fileprivate var message: String {
        let unit = target.cap.unit
        let cap = "'\(target.cap.name)' caps \(scopeText) at \(limitText) \(periodText)"
        let cost = ceiling.map { "up to \($0.formatted(unit))" } ?? "more than any cap"
        let reset =
            resetsAt.map { " It resets at \($0). Not retryable before that." }
            ?? " It never resets: not retryable."
        switch reason {
        case .capSpent:
            return "Spend cap reached: \(cap); \(spent.formatted(unit)) is spent and this request "
                + "could cost \(cost).\(reset)"
        case .exceedsCap:
            return "This request alone exceeds a spend cap: \(cap), and it could cost \(cost). "
                + "Lower max_tokens or shorten the prompt. Not retryable as it is."
        case .inFlight:
            return "Spend cap busy: \(cap); requests in flight hold what is left. "
                + "Retry in a moment."
        case .frozen:
            return "The account of \(cap) is frozen until an operator has looked at it."
        }
    }

    var remedies: [String] {
        switch reason {
        case .capSpent: ["lower_max_tokens", "use_cheaper_model", "wait_for_reset", "raise_cap"]
        case .exceedsCap: ["lower_max_tokens", "shorten_prompt", "use_cheaper_model", "raise_cap"]
        case .inFlight: ["retry_after", "lower_max_tokens"]
        case .frozen: ["ask_operator"]
        }
    }
}
