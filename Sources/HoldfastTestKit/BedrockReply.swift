/// Answers of AWS Bedrock's Converse, the same for all models.
struct BedrockReply: FakeReply {
    private let answer: FakeAnswer
    private let tool: String?

    init(answer: FakeAnswer) {
        self.answer = answer
        tool = answer.request.toolName
    }

    /// A text has no start of its own.
    func opening() -> String {
        let start = event("messageStart", "\"role\":\"assistant\"")
        guard let tool else { return start }
        return start
            + event(
                "contentBlockStart",
                "\"contentBlockIndex\":0,\"start\":{\"toolUse\":{\"toolUseId\":\"\(toolUseID)\","
                    + "\"name\":\(FakeJSON.quoted(tool))}}")
    }

    func appendToken(choice: Int, index: Int, to events: inout String) {
        events += delta(answer.piece(choice: choice, index: index))
    }

    func closing() -> String {
        var out = event("contentBlockStop", "\"contentBlockIndex\":0")
        out += event("messageStop", "\"stopReason\":\"\(stopReason)\"")
        if answer.request.steering.fault == .usageTwice {
            out += event("metadata", metadata(output: answer.stepCount / 2))
        }
        return out + event("metadata", metadata(output: answer.stepCount))
    }

    func errorEvent() -> String {
        event(
            "internalServerException",
            "\"message\":\"The server had an error while processing your request.\"")
    }

    /// Bedrock pads its events with a member of this name, so that lengths tell nothing.
    func hugeEvent(byteCount: Int) -> String {
        delta("\"\"", more: ",\"p\":\"\(String(repeating: "x", count: byteCount))\"")
    }

    func body(hugeFieldByteCount: Int) -> String {
        let content =
            if let tool {
                "{\"toolUse\":{\"toolUseId\":\"\(toolUseID)\",\"name\":\(FakeJSON.quoted(tool)),"
                    + "\"input\":\(answer.toolInput(choice: 0))}}"
            } else {
                "{\"text\":\(answer.text(choice: 0))}"
            }
        var out = "{\"output\":{\"message\":{\"role\":\"assistant\",\"content\":[\(content)]}},"
        out += "\"stopReason\":\"\(stopReason)\",\(metadata(output: answer.stepCount))"
        if answer.request.steering.fault == .usageTwice {
            out += ",\(usage(output: answer.stepCount))"
        }
        if hugeFieldByteCount > 0 {
            out += ",\"padding\":\"\(String(repeating: "x", count: hugeFieldByteCount))\""
        }
        return out + "}"
    }

    private var toolUseID: String { "tooluse_\(answer.id)" }

    private var stopReason: String {
        if answer.isCut(choice: 0) { return "max_tokens" }
        return tool == nil ? "end_turn" : "tool_use"
    }

    private func event(_ name: String, _ fields: String) -> String {
        "event: \(name)\ndata: {\(fields)}\n\n"
    }

    /// - Parameter piece: a JSON string literal.
    private func delta(_ piece: String, more: String = "") -> String {
        let delta = tool == nil ? "\"text\":\(piece)" : "\"toolUse\":{\"input\":\(piece)}"
        return event(
            "contentBlockDelta", "\"contentBlockIndex\":0,\"delta\":{\(delta)}\(more)")
    }

    /// The members with the numbers, which are those of the last event as well.
    private func metadata(output: Int) -> String {
        let rest = "\"metrics\":{\"latencyMs\":1},\"serviceTier\":{\"type\":\"default\"}"
        if answer.request.steering.fault == .noUsage { return rest }
        return "\(usage(output: output)),\(rest)"
    }

    /// `inputTokens` excludes what was read from and written to the cache, and the total does not.
    private func usage(output: Int) -> String {
        let prompt = answer.prompt
        let writes = [("5m", prompt.cacheWrite), ("1h", prompt.cacheWriteLong)]
            .filter { $0.1 > 0 }
            .map { "{\"ttl\":\"\($0.0)\",\"inputTokens\":\($0.1)}" }
        let details = writes.isEmpty ? "" : ",\"cacheDetails\":[\(writes.joined(separator: ","))]"
        return "\"usage\":{\"inputTokens\":\(prompt.uncachedInput),\"outputTokens\":\(output),"
            + "\"totalTokens\":\(Int(prompt.input) + output),"
            + "\"cacheReadInputTokens\":\(prompt.cacheRead),"
            + "\"cacheWriteInputTokens\":\(prompt.cacheWrite + prompt.cacheWriteLong)\(details)}"
    }
}
