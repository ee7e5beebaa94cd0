/// Messages as Anthropic sends them.
struct AnthropicReply: FakeReply {
    private let answer: FakeAnswer

    init(answer: FakeAnswer) {
        self.answer = answer
    }

    func opening() -> String {
        let usage = sendsUsage ? ",\"usage\":\(usage(output: 1))" : ""
        let block =
            if let tool = answer.request.toolName {
                "{\"type\":\"tool_use\",\"id\":\"\(toolUseID)\",\"name\":\(FakeJSON.quoted(tool)),"
                    + "\"input\":{}}"
            } else {
                "{\"type\":\"text\",\"text\":\"\"}"
            }
        return event(
            "message_start",
            "\"message\":{\(identity),\"content\":[],\"stop_reason\":null,"
                + "\"stop_sequence\":null\(usage)}")
            + event("content_block_start", "\"index\":0,\"content_block\":\(block)")
            + event("ping", "")
    }

    func appendToken(choice: Int, index: Int, to events: inout String) {
        events += "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
        events +=
            answer.request.toolName == nil
            ? "\"delta\":{\"type\":\"text_delta\",\"text\":"
            : "\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":"
        events += answer.piece(choice: choice, index: index)
        events += "}}\n\n"
    }

    func closing() -> String {
        var out = event("content_block_stop", "\"index\":0")
        if answer.request.steering.fault == .usageTwice {
            // Usage is cumulative: who adds both records up counts too much.
            out += messageDelta(stopReason: "null", output: max(1, answer.stepCount / 2))
        }
        out += messageDelta(stopReason: "\"\(stopReason)\"", output: answer.stepCount)
        return out + event("message_stop", "")
    }

    func errorEvent() -> String {
        event("error", "\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}")
    }

    func hugeEvent(byteCount: Int) -> String {
        event("ping", "\"padding\":\"\(String(repeating: "x", count: byteCount))\"")
    }

    func body(hugeFieldByteCount: Int) -> String {
        let fault = answer.request.steering.fault
        let content =
            if let tool = answer.request.toolName {
                "{\"type\":\"tool_use\",\"id\":\"\(toolUseID)\",\"name\":\(FakeJSON.quoted(tool)),"
                    + "\"input\":\(answer.toolInput(choice: 0))}"
            } else {
                "{\"type\":\"text\",\"text\":\(answer.text(choice: 0))}"
            }
        var out = "{\(identity),\"content\":[\(content)],"
        out += "\"stop_reason\":\"\(stopReason)\",\"stop_sequence\":null"
        if sendsUsage {
            let usage = ",\"usage\":" + usage(output: answer.stepCount)
            out += usage
            if fault == .usageTwice { out += usage }
        }
        if hugeFieldByteCount > 0 {
            out += ",\"padding\":\"\(String(repeating: "x", count: hugeFieldByteCount))\""
        }
        return out + "}"
    }

    private var sendsUsage: Bool { answer.request.steering.fault != .noUsage }

    private var identity: String {
        "\"id\":\"\(answer.id)\",\"type\":\"message\",\"role\":\"assistant\","
            + "\"model\":\(FakeJSON.quoted(answer.request.modelName))"
    }

    private var toolUseID: String { "toolu_\(answer.id)" }

    private var stopReason: String {
        if answer.isCut(choice: 0) { return "max_tokens" }
        return answer.request.toolName == nil ? "end_turn" : "tool_use"
    }

    private func event(_ name: String, _ fields: String) -> String {
        let separator = fields.isEmpty ? "" : ","
        return "event: \(name)\ndata: {\"type\":\"\(name)\"\(separator)\(fields)}\n\n"
    }

    private func messageDelta(stopReason: String, output: Int) -> String {
        let usage = sendsUsage ? ",\"usage\":\(deltaUsage(output: output))" : ""
        return event(
            "message_delta",
            "\"delta\":{\"stop_reason\":\(stopReason),\"stop_sequence\":null}\(usage)")
    }

    /// `input_tokens` excludes what was read from and written to the cache.
    private var inputUsage: String {
        let prompt = answer.prompt
        return "\"input_tokens\":\(prompt.uncachedInput),"
            + "\"cache_creation_input_tokens\":\(prompt.cacheWrite + prompt.cacheWriteLong),"
            + "\"cache_read_input_tokens\":\(prompt.cacheRead)"
    }

    private func deltaUsage(output: Int) -> String {
        "{\(inputUsage),\"output_tokens\":\(output)}"
    }

    private func usage(output: Int) -> String {
        "{\(inputUsage),\"cache_creation\":"
            + "{\"ephemeral_5m_input_tokens\":\(answer.prompt.cacheWrite),"
            + "\"ephemeral_1h_input_tokens\":\(answer.prompt.cacheWriteLong)},"
            + "\"output_tokens\":\(output),\"service_tier\":\"standard\"}"
    }
}
