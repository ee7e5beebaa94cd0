/// Chat completions as OpenAI sends them.
struct OpenAIReply: FakeReply {
    private let answer: FakeAnswer
    private let chunkHead: String
    private let chunkTail: String
    /// What comes before and after the text of a token, made once: tokens are many.
    private let tokenHeads: [String]
    private let tokenTail: String

    init(answer: FakeAnswer) {
        self.answer = answer
        chunkHead = "data: {\(Self.identity(answer, object: "chat.completion.chunk")),\"choices\":["
        chunkTail = (Self.sendsUsage(answer) ? "],\"usage\":null}" : "]}") + "\n\n"
        let isTool = answer.request.toolName != nil
        let field =
            isTool ? "\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":" : "\"content\":"
        let head = chunkHead
        tokenHeads = answer.lengths.indices.map { "\(head){\"index\":\($0),\"delta\":{\(field)" }
        tokenTail =
            (isTool ? "}}]" : "") + "},\"logprobs\":null,\"finish_reason\":null}" + chunkTail
    }

    func opening() -> String {
        answer.lengths.indices.map { choice in
            guard let tool = answer.request.toolName else {
                return chunk(
                    choice, delta: "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}")
            }
            return chunk(
                choice,
                delta: "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":0,"
                    + "\"id\":\"\(callID(choice))\",\"type\":\"function\",\"function\":"
                    + "{\"name\":\(FakeJSON.quoted(tool)),\"arguments\":\"\"}}]}")
        }.joined()
    }

    func appendToken(choice: Int, index: Int, to events: inout String) {
        events += tokenHeads[choice]
        events += answer.piece(choice: choice, index: index)
        events += tokenTail
    }

    func closing() -> String {
        var out = answer.lengths.indices
            .map { chunk($0, delta: "{}", finish: "\"\(finishReason($0))\"") }
            .joined()
        if Self.sendsUsage(answer) {
            let total = answer.tokenCount(0..<answer.stepCount)
            if answer.request.steering.fault == .usageTwice { out += usageChunk(output: total / 2) }
            out += usageChunk(output: total)
        }
        return out + "data: [DONE]\n\n"
    }

    func errorEvent() -> String {
        "data: {\"error\":{\"message\":\"The server had an error while processing your request.\","
            + "\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n"
    }

    func hugeEvent(byteCount: Int) -> String {
        "\(chunkHead){\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":null}],"
            + "\"obfuscation\":\"\(String(repeating: "x", count: byteCount))\"}\n\n"
    }

    func body(hugeFieldByteCount: Int) -> String {
        let fault = answer.request.steering.fault
        var out = "{\(Self.identity(answer, object: "chat.completion")),\"choices\":["
        out += answer.lengths.indices.map(choiceJSON).joined(separator: ",") + "]"
        if fault != .noUsage {
            let usage = ",\"usage\":" + usage(output: answer.tokenCount(0..<answer.stepCount))
            out += usage
            if fault == .usageTwice { out += usage }
        }
        if hugeFieldByteCount > 0 {
            out += ",\"obfuscation\":\"\(String(repeating: "x", count: hugeFieldByteCount))\""
        }
        return out + "}"
    }

    private static func sendsUsage(_ answer: FakeAnswer) -> Bool {
        answer.request.includesUsage && answer.request.steering.fault != .noUsage
    }

    private static func identity(_ answer: FakeAnswer, object: String) -> String {
        "\"id\":\"\(answer.id)\",\"object\":\"\(object)\",\"created\":\(answer.createdUnixSeconds),"
            + "\"model\":\(FakeJSON.quoted(answer.request.modelName)),"
            + "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_fake\""
    }

    private func chunk(_ choice: Int, delta: String, finish: String = "null") -> String {
        "\(chunkHead){\"index\":\(choice),\"delta\":\(delta),\"logprobs\":null,"
            + "\"finish_reason\":\(finish)}\(chunkTail)"
    }

    private func usageChunk(output: Int) -> String {
        "\(chunkHead)],\"usage\":\(usage(output: output))}\n\n"
    }

    private func choiceJSON(_ choice: Int) -> String {
        let content: String
        if let tool = answer.request.toolName {
            content =
                "null,\"refusal\":null,\"tool_calls\":[{\"id\":\"\(callID(choice))\","
                + "\"type\":\"function\",\"function\":{\"name\":\(FakeJSON.quoted(tool)),"
                + "\"arguments\":\(answer.text(choice: choice))}}]"
        } else {
            content = "\(answer.text(choice: choice)),\"refusal\":null"
        }
        return "{\"index\":\(choice),\"message\":{\"role\":\"assistant\",\"content\":\(content)},"
            + "\"logprobs\":null,\"finish_reason\":\"\(finishReason(choice))\"}"
    }

    private func finishReason(_ choice: Int) -> String {
        if answer.isCut(choice: choice) { return "length" }
        return answer.request.toolName == nil ? "stop" : "tool_calls"
    }

    private func callID(_ choice: Int) -> String { "call_\(answer.id)_\(choice)" }

    /// `prompt_tokens` includes what was read from and written to the cache.
    private func usage(output: Int) -> String {
        let prompt = answer.prompt
        let input = Int(prompt.input)
        let writes =
            answer.rates.cacheWrite == nil ? "" : "\"cache_write_tokens\":\(prompt.cacheWrite),"
        return "{\"prompt_tokens\":\(input),\"completion_tokens\":\(output),"
            + "\"total_tokens\":\(input + output),"
            + "\"prompt_tokens_details\":{\"cached_tokens\":\(prompt.cacheRead),"
            + "\(writes)\"audio_tokens\":0},"
            + "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0,"
            + "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}"
    }
}
