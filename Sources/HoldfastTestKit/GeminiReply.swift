/// Answers of Gemini's `generateContent`.
///
/// Every chunk of a stream has running numbers. The call of a function comes whole, in the last
/// one, and the chunks before it have nothing but numbers.
struct GeminiReply: FakeReply {
    private let answer: FakeAnswer
    private let tool: String?

    init(answer: FakeAnswer) {
        self.answer = answer
        tool = answer.request.toolName
    }

    /// Google begins with the first token.
    func opening() -> String { "" }

    func appendToken(choice: Int, index: Int, to events: inout String) {
        let parts =
            tool == nil
            ? ",\"parts\":[{\"text\":\(answer.piece(choice: choice, index: index))}]" : ""
        let before = answer.tokenCount(0..<index)
        let now = answer.lengths[...choice].count(where: { index < $0 })
        events += chunk(
            "{\"content\":{\"role\":\"model\"\(parts)},\"index\":\(choice)}",
            output: before + now)
    }

    func closing() -> String {
        let candidates = answer.lengths.indices.map { candidate($0, text: "\"\"") }
        return chunk(candidates.joined(separator: ","), output: tokenCount)
    }

    func errorEvent() -> String {
        "data: {\"error\":{\"code\":500,\"status\":\"INTERNAL\","
            + "\"message\":\"The server had an error while processing your request.\"}}\n\n"
    }

    /// In a member that its SDKs know: they refuse others.
    func hugeEvent(byteCount: Int) -> String {
        "data: {\"responseId\":\"\(String(repeating: "x", count: byteCount))\"}\n\n"
    }

    func body(hugeFieldByteCount: Int) -> String {
        let candidates = answer.lengths.indices.map {
            candidate($0, text: answer.text(choice: $0))
        }
        var out = "{\"candidates\":[\(candidates.joined(separator: ","))]"
        out += usage(output: tokenCount)
        if answer.request.steering.fault == .usageTwice { out += usage(output: tokenCount) }
        let id =
            hugeFieldByteCount > 0 ? String(repeating: "x", count: hugeFieldByteCount) : answer.id
        return out + ",\(version),\"responseId\":\"\(id)\"}"
    }

    private var tokenCount: Int { answer.tokenCount(0..<answer.stepCount) }

    private var version: String {
        "\"modelVersion\":\(FakeJSON.quoted(answer.request.modelName))"
    }

    private func chunk(_ candidates: String, output: Int) -> String {
        "data: {\"candidates\":[\(candidates)]\(usage(output: output)),\(version),"
            + "\"responseId\":\"\(answer.id)\"}\n\n"
    }

    /// A candidate at its end.
    ///
    /// - Parameter text: a JSON string literal.
    private func candidate(_ choice: Int, text: String) -> String {
        let part =
            if let tool {
                "{\"functionCall\":{\"id\":\"call_\(answer.id)_\(choice)\","
                    + "\"name\":\(FakeJSON.quoted(tool)),"
                    + "\"args\":\(answer.toolInput(choice: choice))}}"
            } else {
                "{\"text\":\(text)}"
            }
        let reason = answer.isCut(choice: choice) ? "MAX_TOKENS" : "STOP"
        return "{\"content\":{\"role\":\"model\",\"parts\":[\(part)]},"
            + "\"finishReason\":\"\(reason)\",\"index\":\(choice)}"
    }

    /// The member with a comma before it, or nothing where that is the fault. Google leaves out
    /// zeros.
    private func usage(output: Int) -> String {
        if answer.request.steering.fault == .noUsage { return "" }
        let prompt = answer.prompt
        let cached =
            prompt.cacheRead == 0 ? "" : "\"cachedContentTokenCount\":\(prompt.cacheRead),"
        return ",\"usageMetadata\":{\"promptTokenCount\":\(prompt.input),"
            + "\"candidatesTokenCount\":\(output),\(cached)"
            + "\"totalTokenCount\":\(Int(prompt.input) + output),"
            + "\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":\(prompt.input)}]}"
    }
}
