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

    /// The same body as an event, for a stream that has begun. It may only follow a whole event
    /// (`ResponseMeter.isBetweenEvents`).
    public static func event(_ body: [UInt8], dialect: Dialect) -> [UInt8] {
        switch dialect {
        case .openai: Array("data: ".utf8) + body + Array("\n\n".utf8)
        case .anthropic: Array("event: error\ndata: ".utf8) + body + Array("\n\n".utf8)
        }
    }
}
