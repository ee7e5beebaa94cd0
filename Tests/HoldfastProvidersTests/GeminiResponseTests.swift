import HoldfastCore
import Testing

@testable import HoldfastProviders

/// Gemini's responses. Streams are cut at every byte, which must change nothing.
@Suite struct `Gemini response` {
    struct Row: Sendable, CustomTestStringConvertible {
        var file: String
        var usage: MeteredUsage?
        var sawOutput = true
        var sawEnd = true
        var choices: UInt64 = 1

        var testDescription: String { file }
    }

    private struct Outcome: Equatable {
        var forwarded: [UInt8] = []
        var usage: MeteredUsage?
        var sawOutput = false
        var sawEnd = false
    }

    static func metered(
        _ input: UInt64, read: UInt64 = 0, _ output: UInt64, tier: String? = nil
    ) -> MeteredUsage {
        MeteredUsage(
            usage: TokenUsage(uncachedInput: input, cacheRead: read, output: output),
            serviceTier: tier, model: "gemini-3.8-flash")
    }

    static let streams = [
        Row(file: "basic.sse", usage: metered(20, 9)),
        Row(file: "thinking.sse", usage: metered(20, 45)),
        Row(file: "cached.sse", usage: metered(904, read: 4_096, 2, tier: "priority")),
        Row(file: "tools.sse", usage: metered(60, 42)),
        Row(file: "blocked.sse", usage: metered(8, 0), sawOutput: false),
        Row(file: "candidates.sse", usage: metered(20, 4), choices: 2),
        // One of three never came to its end.
        Row(file: "candidates.sse", usage: nil, sawEnd: false, choices: 3),
        Row(file: "error-midway.sse", usage: nil, sawEnd: false),
        Row(file: "no-usage.sse", usage: nil),
        Row(file: "cut.sse", usage: nil, sawEnd: false),
    ]

    static let documents = [
        Row(file: "plain.json", usage: metered(176, read: 1_024, 500)),
        Row(file: "plain.json", usage: metered(176, read: 1_024, 500), choices: 2),
        Row(file: "array.json", usage: metered(20, 9)),
        Row(file: "array-error.json", usage: nil, sawEnd: false),
        Row(file: "error.json", usage: nil, sawOutput: false, sawEnd: false),
    ]

    @Test(arguments: streams)
    func `a stream passes byte for byte`(row: Row) throws {
        for lineEnd in ["\n", "\r\n"] {
            let stream = try fixture("gemini/\(row.file)", lineEnd: lineEnd)
            check(row, stream, type: "text/event-stream")
        }
    }

    @Test(arguments: documents)
    func `a response that is not events is read at its end`(row: Row) throws {
        check(row, try fixture("gemini/\(row.file)"), type: "application/json; charset=UTF-8")
    }

    @Test(arguments: streams + documents)
    func `a response cut off anywhere never reports less than a whole one`(row: Row) throws {
        let body = try fixture("gemini/\(row.file)")
        let isStream = row.file.hasSuffix(".sse")
        for length in 0..<body.count {
            let outcome = run(
                [Array(body[..<length])], row,
                type: isStream ? "text/event-stream" : "application/json")
            #expect(outcome.usage == nil || outcome.usage == row.usage, "cut at \(length)")
        }
    }

    // MARK: - Numbers

    @Test(
        arguments: [
            (
                #"{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15}"#,
                [10, 0, 5]
            ),
            (
                #"{"promptTokenCount":10,"candidatesTokenCount":5,"thoughtsTokenCount":7,"#
                    + #""totalTokenCount":22}"#, [10, 0, 12]
            ),
            // Thoughts are inside the candidates, by the total, or not: the dearer.
            (
                #"{"promptTokenCount":10,"candidatesTokenCount":12,"thoughtsTokenCount":7,"#
                    + #""totalTokenCount":22}"#, [10, 0, 19]
            ),
            (
                #"{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":40}"#,
                [10, 0, 30]
            ),
            (#"{"promptTokenCount":10,"thoughtsTokenCount":7,"totalTokenCount":3}"#, [10, 0, 7]),
            (
                #"{"promptTokenCount":10,"candidatesTokenCount":5,"toolUsePromptTokenCount":6,"#
                    + #""totalTokenCount":21}"#, [16, 0, 5]
            ),
            (
                #"{"promptTokenCount":10,"candidatesTokenCount":5,"cachedContentTokenCount":8,"#
                    + #""totalTokenCount":15}"#, [2, 8, 5]
            ),
            // More cached than there is: no discount.
            (
                #"{"promptTokenCount":10,"candidatesTokenCount":5,"cachedContentTokenCount":11,"#
                    + #""totalTokenCount":15}"#, [10, 0, 5]
            ),
            (
                #"{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15,"#
                    + #""promptTokensDetails":[{"modality":"IMAGE","tokenCount":4},"#
                    + #"{"modality":"AUDIO"}],"#
                    + #""candidatesTokensDetails":[{"modality":"TEXT","tokenCount":5}]}"#,
                [10, 0, 5]
            ),
        ] as [(String, [UInt64])])
    func `numbers are read on the dear side`(usage: String, tokens: [UInt64]) {
        let expected = TokenUsage(uncachedInput: tokens[0], cacheRead: tokens[1], output: tokens[2])
        #expect(document(usage)?.usage == expected)
        #expect(stream([chunk("x", usage: usage, end: true)])?.usage == expected)
    }

    @Test(arguments: [
        // Without a total nobody knows what was left out.
        #"{"promptTokenCount":10,"candidatesTokenCount":5}"#,
        #"{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":null}"#,
        "{}", "[]", "7", "null", #"{"candidatesTokenCount":10}"#,
        // Something was generated, and nothing reported for it.
        #"{"promptTokenCount":10,"totalTokenCount":10}"#,
        #"{"promptTokenCount":"10","candidatesTokenCount":5,"totalTokenCount":15}"#,
        #"{"promptTokenCount":-10,"candidatesTokenCount":5,"totalTokenCount":15}"#,
        #"{"promptTokenCount":10,"candidatesTokenCount":5.5,"totalTokenCount":15}"#,
        #"{"promptTokenCount":10,"promptTokenCount":1,"candidatesTokenCount":5,"#
            + #""totalTokenCount":15}"#,
        #"{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15,"#
            + #""promptTokensDetails":{}}"#,
        #"{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15,"#
            + #""promptTokensDetails":[{"modality":"AUDIO","tokenCount":1}]}"#,
        #"{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15,"#
            + #""cacheTokensDetails":[{"modality":"AUDIO","tokenCount":1}]}"#,
        #"{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15,"#
            + #""candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":1}]}"#,
    ])
    func `numbers that cannot be trusted are not used`(usage: String) {
        #expect(document(usage) == nil)
        #expect(stream([chunk("x", usage: usage, end: true)]) == nil)
    }

    @Test func `only the numbers of the last chunk with content count`() {
        let few = #"{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15}"#
        let many = #"{"promptTokenCount":10,"candidatesTokenCount":9,"totalTokenCount":19}"#
        let usageOnly = "data: {\"usageMetadata\":\(many)}\n\n"
        func check(
            _ events: [String], _ output: UInt64?, at location: SourceLocation = #_sourceLocation
        ) {
            #expect(stream(events)?.usage.output == output, sourceLocation: location)
        }
        check([chunk("x", usage: few), chunk("y", usage: many, end: true)], 9)
        check([chunk("x", usage: few), chunk("y", usage: nil, end: true)], nil)
        check([chunk("x", usage: few), chunk("y", usage: nil, end: true), usageOnly], 9)
        check([chunk("x", usage: few, end: true), chunk("y", usage: nil)], nil)
        // Lower than before: which of the two is billed cannot be told.
        check([chunk("x", usage: many), chunk("y", usage: few, end: true)], nil)
        check([chunk("x", usage: many), "data: {\"cand\n\n"], nil)
        check(["data: {\"cand\n\n", chunk("y", usage: many, end: true)], 9)
        check([chunk("x", usage: many)], nil)
        check([chunk("x", usage: many, end: true), "data: {\"error\":{\"code\":500}}\n\n"], nil)
    }

    @Test func `of prompts that differ the larger counts`() {
        let first = #"{"promptTokenCount":11,"totalTokenCount":11}"#
        let last = #"{"promptTokenCount":10,"candidatesTokenCount":9,"totalTokenCount":19}"#
        let result = stream([
            chunk("a", usage: first), chunk("b", usage: first), chunk("c", usage: last, end: true),
        ])
        #expect(result?.usage == TokenUsage(uncachedInput: 11, output: 9))
    }

    @Test func `a reason that says nothing is no end`() {
        let usage = #"{"promptTokenCount":10,"candidatesTokenCount":9}"#
        for reason in ["null", "\"FINISH_REASON_UNSPECIFIED\"", "\"\"", "1"] {
            let body =
                #"{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":\#(reason)}],"#
                + #""usageMetadata":\#(usage)}"#
            #expect(stream(["data: \(body)\n\n"]) == nil)
            #expect(run([Array(body.utf8)], Row(file: ""), type: "application/json").usage == nil)
        }
    }

    // MARK: - Checking

    private func chunk(_ text: String, usage: String?, end: Bool = false) -> String {
        let reason = end ? #","finishReason":"STOP""# : ""
        let usage = usage.map { ",\"usageMetadata\":\($0)" } ?? ""
        return #"data: {"candidates":[{"content":{"parts":[{"text":"\#(text)"}]}\#(reason)}]"#
            + "\(usage)}\n\n"
    }

    private func document(_ usage: String) -> MeteredUsage? {
        let body =
            #"{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}],"#
            + #""usageMetadata":\#(usage)}"#
        return run([Array(body.utf8)], Row(file: ""), type: "application/json").usage
    }

    private func stream(_ events: [String]) -> MeteredUsage? {
        run(events.map { Array($0.utf8) }, Row(file: ""), type: "text/event-stream").usage
    }

    private func check(_ row: Row, _ body: [UInt8], type: String) {
        let expected = Outcome(
            forwarded: body, usage: row.usage, sawOutput: row.sawOutput, sawEnd: row.sawEnd)
        for cuts in cutsOf(body) {
            let outcome = run(cuts, row, type: type)
            if outcome != expected {
                Issue.record("\(row.file) cut at \(cuts[0].count) of \(body.count): \(outcome)")
                return
            }
        }
    }

    private func run(_ pieces: [[UInt8]], _ row: Row, type: String) -> Outcome {
        var facts = RequestFacts(model: "gemini-3.8-flash")
        facts.choices = row.choices
        var meter = GeminiGenerate(isStreamed: true, version: "v1beta").meter(for: facts)
        var outcome = Outcome()
        meter.start(status: 200, contentType: type, contentEncoding: nil)
        for piece in pieces { meter.consume(piece) { outcome.forwarded += $0 } }
        outcome.usage = meter.finish { outcome.forwarded += $0 }
        outcome.sawOutput = meter.sawOutputEvents
        outcome.sawEnd = meter.sawTerminalEvent
        return outcome
    }
}
