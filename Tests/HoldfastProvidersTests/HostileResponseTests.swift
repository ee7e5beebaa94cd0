import HoldfastCore
import Testing

@testable import HoldfastProviders

/// Responses whose usage record is not the whole bill.
@Suite struct `Hostile response` {
    private static let usage =
        #"data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}"# + "\n\n"
    private static let content = #"data: {"choices":[{"delta":{"content":"x"}}]}"# + "\n\n"
    private static let running =
        #"data: {"choices":[{}],"usage":{"prompt_tokens":10,"completion_tokens":6}}"# + "\n\n"
    private static let done = "data: [DONE]\n\n"

    private func output(_ events: [String]) -> UInt64? {
        var meter = ResponseMeter(OpenAITracker(), hidesUsage: false, usesLongCacheWrite: false)
        meter.start(status: 200, contentType: "text/event-stream", contentEncoding: nil)
        for event in events { meter.consume(Array(event.utf8)) { _ in } }
        return meter.finish { _ in }?.usage.output
    }

    @Test func `what is generated after the usage record makes it useless`() {
        func check(
            _ events: [String], _ expected: UInt64?,
            at location: SourceLocation = #_sourceLocation
        ) {
            #expect(output(events) == expected, sourceLocation: location)
        }
        check([Self.content, Self.usage, Self.done], 5)
        check([Self.usage, Self.content, Self.done], nil)
        check([Self.content, Self.usage, Self.done, Self.content], nil)
        check([Self.running, Self.content, Self.done], nil)
        // A newer record counts everything again.
        check([Self.usage, Self.content, Self.running, Self.done], 6)
        // Lower than before: which of the two is billed cannot be told.
        check([Self.running, Self.content, Self.usage, Self.done], nil)
        check([Self.usage, Self.usage, Self.done], 5)
    }
}
