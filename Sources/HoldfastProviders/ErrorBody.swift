/// Errors of our own in the shape of the caller's dialect, so that its SDK understands them.
///
/// `holdfast` writes the members of an object of that name, in which programs find what the dialect
/// has no place for.
public enum ErrorBody {
    /// - Parameters:
    ///   - type: for example `insufficient_quota`.
    ///   - param: the request's field in question.
    public static func openAI(
        message: String, type: String, code: String?, param: String? = nil,
        holdfast: ((inout JSONWriter) -> Void)? = nil
    ) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.object("error") { writer in
                writer.member("message", message)
                writer.member("type", type)
                writer.member("param", param)
                writer.member("code", code)
                if let holdfast { writer.object("holdfast", holdfast) }
            }
        }
        return writer.bytes
    }

    /// - Parameter type: for example `billing_error`.
    public static func anthropic(
        message: String, type: String, requestID: String?,
        holdfast: ((inout JSONWriter) -> Void)? = nil
    ) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("type", "error")
            writer.object("error") { writer in
                writer.member("type", type)
                writer.member("message", message)
                if let holdfast { writer.object("holdfast", holdfast) }
            }
            if let requestID { writer.member("request_id", requestID) }
        }
        return writer.bytes
    }

    /// Cohere's and Bedrock's: a message, and the kind in a header or nowhere.
    public static func message(
        _ message: String, holdfast: ((inout JSONWriter) -> Void)? = nil
    ) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("message", message)
            if let holdfast { writer.object("holdfast", holdfast) }
        }
        return writer.bytes
    }

    /// - Parameters:
    ///   - code: of HTTP.
    ///   - status: its name, for example `FAILED_PRECONDITION`.
    public static func gemini(
        message: String, code: Int, status: String,
        holdfast: ((inout JSONWriter) -> Void)? = nil
    ) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.object("error") { writer in
                writer.member("code", UInt64(code))
                writer.member("message", message)
                writer.member("status", status)
                if let holdfast { writer.object("holdfast", holdfast) }
            }
        }
        return writer.bytes
    }

    /// The same body as an event, for a stream that has begun. It may only follow a whole event
    /// (`ResponseMeter.isBetweenEvents`).
    ///
    /// - Returns: `nil` where the dialect has no event for it: only the end of the connection says then
    ///   that something is missing.
    public static func event(_ body: [UInt8], dialect: Dialect) -> [UInt8]? {
        switch dialect {
        case .openai, .gemini: Array("data: ".utf8) + body + Array("\n\n".utf8)
        case .anthropic: Array("event: error\ndata: ".utf8) + body + Array("\n\n".utf8)
        case .cohere: nil
        case .bedrock:
            // Of the kinds of exceptions, the one that clients do not send again.
            EventStreamMessage.encoded(
                headers: [
                    (":exception-type", "validationException"),
                    (":content-type", "application/json"), (":message-type", "exception"),
                ], payload: body)
        }
    }
}
