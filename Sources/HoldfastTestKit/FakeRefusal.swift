/// An error reply, rendered in the dialect of the route.
struct FakeRefusal: Error {
    /// That of most dialects: see `httpStatus(_:)`.
    let status: Int
    let message: String
    var openAIType = "invalid_request_error"
    var openAICode: String?
    var openAIParameter: String?
    var anthropicType = "invalid_request_error"

    static func invalid(_ message: String, parameter: String? = nil, code: String? = nil) -> Self {
        FakeRefusal(
            status: 400, message: message, openAICode: code, openAIParameter: parameter)
    }

    static let missingKey = FakeRefusal(
        status: 401,
        message: "You didn't provide an API key. Send one as a bearer token, in x-api-key "
            + "or in x-goog-api-key.",
        anthropicType: "authentication_error")

    static func unknownModel(_ name: String) -> FakeRefusal {
        FakeRefusal(
            status: 404,
            message: "The model `\(name)` does not exist or you do not have access to it.",
            openAICode: "model_not_found", anthropicType: "not_found_error")
    }

    static let bodyTooLarge = FakeRefusal(
        status: 413, message: "The request body is too large.", anthropicType: "request_too_large")

    static func fault(_ fault: FakeFault) -> FakeRefusal? {
        switch fault {
        case .status429:
            FakeRefusal(
                status: 429, message: "Rate limit reached. Try again later.",
                openAIType: "requests", openAICode: "rate_limit_exceeded",
                anthropicType: "rate_limit_error")
        case .status500:
            FakeRefusal(
                status: 500, message: "The server had an error while processing your request.",
                openAIType: "server_error", anthropicType: "api_error")
        case .status503:
            FakeRefusal(
                status: 503, message: "The server is overloaded. Try again later.",
                openAIType: "server_error", openAICode: "overloaded",
                anthropicType: "overloaded_error")
        case .noUsage, .resetBeforeHead, .resetMidStream, .garbage, .hang, .gzip, .usageTwice,
            .hugeEvent, .errorMidStream:
            nil
        }
    }

    func body(_ dialect: FakeDialect, requestID: String) -> String {
        switch dialect {
        case .openAI, .responses:
            "{\"error\":{\"message\":\(FakeJSON.quoted(message)),\"type\":\"\(openAIType)\","
                + "\"param\":\(openAIParameter.map(FakeJSON.quoted) ?? "null"),"
                + "\"code\":\(openAICode.map(FakeJSON.quoted) ?? "null")}}"
        case .anthropic:
            "{\"type\":\"error\",\"error\":{\"type\":\"\(anthropicType)\","
                + "\"message\":\(FakeJSON.quoted(message))},\"request_id\":\"\(requestID)\"}"
        case .cohere:
            "{\"id\":\"\(requestID)\",\"message\":\(FakeJSON.quoted(message))}"
        case .gemini:
            "{\"error\":{\"code\":\(httpStatus(dialect)),\"message\":\(FakeJSON.quoted(message)),"
                + "\"status\":\"\(geminiStatus)\"}}"
        case .bedrock:
            "{\"message\":\(FakeJSON.quoted(message))}"
        }
    }

    func httpStatus(_ dialect: FakeDialect) -> Int {
        switch (dialect, status) {
        // Neither says 401 to who has no key.
        case (.gemini, 401), (.bedrock, 401): 403
        default: status
        }
    }

    private var geminiStatus: String {
        switch status {
        case 401: "PERMISSION_DENIED"
        case 404: "NOT_FOUND"
        case 429: "RESOURCE_EXHAUSTED"
        case 500: "INTERNAL"
        case 503: "UNAVAILABLE"
        default: "INVALID_ARGUMENT"
        }
    }

    /// AWS has the kind of an error in a header.
    var bedrockType: String {
        switch status {
        case 401: "AccessDeniedException"
        case 404: "ResourceNotFoundException"
        case 429: "ThrottlingException"
        case 500: "InternalServerException"
        case 503: "ServiceUnavailableException"
        default: "ValidationException"
        }
    }
}

enum FakeJSON {
    static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\u{0}"..."\u{1F}":
                let hex = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - hex.utf8.count) + hex
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}
