/// Chats as version 2 of Cohere's API sends them.
struct CohereReply: FakeReply {
    /// What Cohere puts around a prompt and an answer, and counts without billing it: who takes the
    /// wrong count charges too much.
    private static let templateTokens = (input: 66, output: 2)

    private let answer: FakeAnswer
    private let tool: String?

    init(answer: FakeAnswer) {
        self.answer = answer
        tool = answer.request.toolName
    }

    func opening() -> String {
        event(
            "message-start",
            "\"id\":\"\(answer.id)\",\"delta\":{\"message\":{\"role\":\"assistant\","
                + "\"content\":[],\"tool_plan\":\"\",\"tool_calls\":[],\"citations\":[]}}")
            + event(
                tool == nil ? "content-start" : "tool-call-start",
                delta(
                    tool == nil
                        ? "\"content\":{\"type\":\"text\",\"text\":\"\"}"
                        : "\"tool_calls\":\(toolCall(arguments: "\"\""))"))
    }

    func appendToken(choice: Int, index: Int, to events: inout String) {
        let piece = answer.piece(choice: choice, index: index)
        events +=
            tool == nil
            ? event("content-delta", delta("\"content\":{\"text\":\(piece)}"))
            : event(
                "tool-call-delta",
                delta("\"tool_calls\":{\"function\":{\"arguments\":\(piece)}}"))
    }

    func closing() -> String {
        var out = event(tool == nil ? "content-end" : "tool-call-end", "\"index\":0")
        if answer.request.steering.fault == .usageTwice {
            out += messageEnd(output: answer.stepCount / 2)
        }
        return out + messageEnd(output: answer.stepCount)
    }

    func errorEvent() -> String {
        event(
            "message-end",
            "\"id\":\"\(answer.id)\",\"delta\":{\"finish_reason\":\"ERROR\","
                + "\"error\":\"The server had an error while processing your request.\"}")
    }

    func hugeEvent(byteCount: Int) -> String {
        event("debug", "\"prompt\":\"\(String(repeating: "x", count: byteCount))\"")
    }

    func body(hugeFieldByteCount: Int) -> String {
        let fault = answer.request.steering.fault
        let text = answer.text(choice: 0)
        let content =
            tool == nil
            ? "\"content\":[{\"type\":\"text\",\"text\":\(text)}]"
            : "\"tool_plan\":\"\",\"tool_calls\":[\(toolCall(arguments: text))]"
        var out = "{\"id\":\"\(answer.id)\",\"finish_reason\":\"\(finishReason)\","
        out += "\"message\":{\"role\":\"assistant\",\(content)}"
        out += usage(output: answer.stepCount)
        if fault == .usageTwice { out += usage(output: answer.stepCount) }
        if hugeFieldByteCount > 0 {
            out += ",\"padding\":\"\(String(repeating: "x", count: hugeFieldByteCount))\""
        }
        return out + "}"
    }

    private var finishReason: String {
        if answer.isCut(choice: 0) { return "MAX_TOKENS" }
        return tool == nil ? "COMPLETE" : "TOOL_CALL"
    }

    private func event(_ name: String, _ fields: String) -> String {
        "event: \(name)\ndata: {\"type\":\"\(name)\",\(fields)}\n\n"
    }

    private func delta(_ members: String) -> String {
        "\"index\":0,\"delta\":{\"message\":{\(members)}}"
    }

    /// - Parameter arguments: a JSON string literal.
    private func toolCall(arguments: String) -> String {
        "{\"id\":\"call_\(answer.id)\",\"type\":\"function\",\"function\":{"
            + "\"name\":\(FakeJSON.quoted(tool ?? "")),\"arguments\":\(arguments)}}"
    }

    private func messageEnd(output: Int) -> String {
        event(
            "message-end",
            "\"id\":\"\(answer.id)\",\"delta\":{\"finish_reason\":\"\(finishReason)\""
                + "\(usage(output: output))}")
    }

    /// The member with a comma before it, or nothing where that is the fault.
    private func usage(output: Int) -> String {
        if answer.request.steering.fault == .noUsage { return "" }
        let input = Int(answer.prompt.input)
        let template = Self.templateTokens
        return ",\"usage\":{\"billed_units\":"
            + "{\"input_tokens\":\(input),\"output_tokens\":\(output)},"
            + "\"tokens\":{\"input_tokens\":\(input + template.input),"
            + "\"output_tokens\":\(output + template.output)},"
            + "\"cached_tokens\":\(answer.prompt.cacheRead)}"
    }
}
