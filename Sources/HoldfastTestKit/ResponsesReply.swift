/// Responses as OpenAI sends them.
struct ResponsesReply: FakeReply {
    private let answer: FakeAnswer
    private let tool: String?

    init(answer: FakeAnswer) {
        self.answer = answer
        tool = answer.request.toolName
    }

    func opening() -> String {
        let response = response(status: "in_progress", output: "", usage: nil)
        var out = event("response.created", 0, "\"response\":\(response)")
        out += event("response.in_progress", 1, "\"response\":\(response)")
        out += event(
            "response.output_item.added", 2,
            "\"output_index\":0,\"item\":\(item(status: "in_progress", text: nil))")
        if tool == nil {
            out += event("response.content_part.added", 3, "\(partPlace),\"part\":\(part("\"\""))")
        }
        return out
    }

    func appendToken(choice: Int, index: Int, to events: inout String) {
        let piece = answer.piece(choice: choice, index: index)
        let shift = answer.request.steering.fault == .hugeEvent && index > 0 ? 1 : 0
        let number = openingCount + index + shift
        events +=
            tool == nil
            ? event(
                "response.output_text.delta", number,
                "\(partPlace),\"delta\":\(piece),\"logprobs\":[]")
            : event(
                "response.function_call_arguments.delta", number, "\(place),\"delta\":\(piece)")
    }

    func closing() -> String {
        let fault = answer.request.steering.fault
        let text = answer.text(choice: 0)
        let item = item(status: status, text: text)
        var number = openingCount + answer.stepCount + (fault == .hugeEvent ? 1 : 0)
        var out = ""
        func add(_ name: String, _ fields: String) {
            out += event(name, number, fields)
            number += 1
        }
        if tool == nil {
            add("response.output_text.done", "\(partPlace),\"text\":\(text),\"logprobs\":[]")
            add("response.content_part.done", "\(partPlace),\"part\":\(part(text))")
        } else {
            add("response.function_call_arguments.done", "\(place),\"arguments\":\(text)")
        }
        add("response.output_item.done", "\"output_index\":0,\"item\":\(item)")
        if fault == .usageTwice {
            let half = response(status: "in_progress", output: item, usage: answer.stepCount / 2)
            add("response.in_progress", "\"response\":\(half)")
        }
        let whole = response(
            status: status, output: item, usage: fault == .noUsage ? nil : answer.stepCount)
        add("response.\(status)", "\"response\":\(whole)")
        return out
    }

    func errorEvent() -> String {
        event(
            "error", openingCount + answer.halfStepCount,
            "\"code\":\"server_error\",\"param\":null,"
                + "\"message\":\"The server had an error while processing your request.\"")
    }

    func hugeEvent(byteCount: Int) -> String {
        event(
            "response.in_progress", openingCount + 1,
            "\"response\":\(response(status: "in_progress", output: "", usage: nil)),"
                + "\"obfuscation\":\"\(String(repeating: "x", count: byteCount))\"")
    }

    func body(hugeFieldByteCount: Int) -> String {
        let fault = answer.request.steering.fault
        var more = ""
        if fault == .usageTwice { more += ",\"usage\":\(usage(output: answer.stepCount))" }
        if hugeFieldByteCount > 0 {
            more += ",\"obfuscation\":\"\(String(repeating: "x", count: hugeFieldByteCount))\""
        }
        return response(
            status: status, output: item(status: status, text: answer.text(choice: 0)),
            usage: fault == .noUsage ? nil : answer.stepCount, more: more)
    }

    /// Events before the first token.
    private var openingCount: Int { tool == nil ? 4 : 3 }
    private var status: String { answer.isCut(choice: 0) ? "incomplete" : "completed" }
    private var itemID: String { (tool == nil ? "msg_" : "fc_") + answer.id }
    private var place: String { "\"item_id\":\"\(itemID)\",\"output_index\":0" }
    private var partPlace: String { "\(place),\"content_index\":0" }

    private func event(_ name: String, _ number: Int, _ fields: String) -> String {
        "event: \(name)\n"
            + "data: {\"type\":\"\(name)\",\"sequence_number\":\(number),\(fields)}\n\n"
    }

    /// - Parameter text: a JSON string literal.
    private func part(_ text: String) -> String {
        "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\(text)}"
    }

    /// - Parameter text: a JSON string literal; `nil` before the first token.
    private func item(status: String, text: String?) -> String {
        let head = "{\"id\":\"\(itemID)\",\"status\":\"\(status)\","
        guard let tool else {
            return head + "\"type\":\"message\",\"role\":\"assistant\","
                + "\"content\":[\(text.map(part) ?? "")]}"
        }
        return head + "\"type\":\"function_call\",\"call_id\":\"call_\(answer.id)\","
            + "\"name\":\(FakeJSON.quoted(tool)),\"arguments\":\(text ?? "\"\"")}"
    }

    /// - Parameters:
    ///   - output: items; empty for none.
    ///   - usage: output tokens; `nil` for no usage.
    ///   - more: members, with a comma before each.
    private func response(
        status: String, output: String, usage: Int?, more: String = ""
    ) -> String {
        let reason = status == "incomplete" ? "{\"reason\":\"max_output_tokens\"}" : "null"
        let limit = answer.request.outputLimit.map { "\($0)" } ?? "null"
        // Without usage at all where that is the fault; `null` until the response is there.
        var numbers = ""
        if let usage {
            numbers = ",\"usage\":\(self.usage(output: usage))"
        } else if answer.request.steering.fault != .noUsage {
            numbers = ",\"usage\":null"
        }
        return "{\"id\":\"\(answer.id)\",\"object\":\"response\","
            + "\"created_at\":\(answer.createdUnixSeconds),\"status\":\"\(status)\","
            + "\"background\":false,\"error\":null,\"incomplete_details\":\(reason),"
            + "\"instructions\":null,\"max_output_tokens\":\(limit),"
            + "\"model\":\(FakeJSON.quoted(answer.request.modelName)),\"output\":[\(output)],"
            + "\"parallel_tool_calls\":true,\"previous_response_id\":null,"
            + "\"service_tier\":\"default\",\"store\":true,\"temperature\":1.0,"
            + "\"text\":{\"format\":{\"type\":\"text\"}},\"tool_choice\":\"auto\",\"tools\":[],"
            + "\"top_p\":1.0,\"truncation\":\"disabled\",\"metadata\":{}\(numbers)\(more)}"
    }

    /// `input_tokens` includes what was read from and written to the cache.
    private func usage(output: Int) -> String {
        let prompt = answer.prompt
        let lifetimes =
            answer.rates.cacheWrite == nil
            ? ""
            : ",\"cache_write_tokens_details\":{\"ttl_30m_tokens\":\(prompt.cacheWrite),"
                + "\"ttl_12h_tokens\":0}"
        return "{\"input_tokens\":\(prompt.input),"
            + "\"input_tokens_details\":{\"cached_tokens\":\(prompt.cacheRead),"
            + "\"cache_write_tokens\":\(prompt.cacheWrite)\(lifetimes)},"
            + "\"output_tokens\":\(output),\"output_tokens_details\":{\"reasoning_tokens\":0},"
            + "\"total_tokens\":\(Int(prompt.input) + output)}"
    }
}
