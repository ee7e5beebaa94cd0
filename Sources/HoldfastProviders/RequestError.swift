/// Why a request body is refused before anything is spent.
///
/// Closed on purpose: message, code and status below are exhaustive, so that a new case does not
/// compile until all of them are decided. No case carries text of the prompt.
public enum RequestError: Error, Hashable, Sendable {
    case malformedJSON(JSONError)
    case notAnObject
    case missing(param: String)
    /// `expected` completes "must be …".
    case invalid(param: String, expected: String)
    /// A field that decides the cost comes twice, and parsers disagree on which one counts.
    case duplicate(param: String)
    case conflict(param: String, other: String)
    /// Valid for the provider, but its cost cannot be bounded from the request. `because` is a
    /// clause.
    case unboundable(param: String, because: String)
}

extension RequestError {
    /// For the caller: what is wrong and what to do about it.
    public var message: String {
        switch self {
        case .malformedJSON(let error):
            "The request body is not valid JSON: \(error). Send one JSON object encoded as UTF-8."
        case .notAnObject:
            "The request body must be a JSON object."
        case .missing(let param):
            "\(param): this field is required."
        case .invalid(let param, let expected):
            "\(param): must be \(expected)."
        case .duplicate(let param):
            "\(param): given more than once, so what would be billed is not certain. Send it once."
        case .conflict(let param, let other):
            "\(param) and \(other) cannot be used together. Send only one of them."
        case .unboundable(let param, let because):
            "\(param): the cost of this request cannot be bounded in advance, because \(because). "
                + "Remove it, or ask the operator for a route without a hard cap."
        }
    }

    /// The field in question, as a path such as `tools[2].type`.
    public var param: String? {
        switch self {
        case .malformedJSON, .notAnObject: nil
        case .missing(let param), .invalid(let param, _), .duplicate(let param),
            .conflict(let param, _), .unboundable(let param, _):
            param
        }
    }

    /// Stable across releases: programs and dashboards are built on it.
    public var code: String {
        switch self {
        case .malformedJSON: "malformed_json"
        case .notAnObject: "not_an_object"
        case .missing: "missing_field"
        case .invalid: "invalid_field"
        case .duplicate: "duplicate_field"
        case .conflict: "conflicting_fields"
        case .unboundable: "cost_unbounded"
        }
    }

    /// 400 where the provider itself would refuse. 422 where it would not: the request is well
    /// formed, and still not one that can be capped. No SDK retries either.
    public var status: Int {
        switch self {
        case .malformedJSON, .notAnObject, .missing, .invalid, .duplicate, .conflict: 400
        case .unboundable: 422
        }
    }
}
