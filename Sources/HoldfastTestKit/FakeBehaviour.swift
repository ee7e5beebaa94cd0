import HTTPTypes
import Synchronization

/// How the fake provider behaves where a request does not say otherwise.
package struct FakeBehaviour: Sendable {
    /// Decides the random lengths: the n-th request of a run always gets the same one.
    package var seed: UInt64
    /// Time to generate one token of each choice.
    package var tokenDelay: Duration
    /// Tokens that are due within this time leave in one write, as separate events. Keeps hundreds
    /// of streams cheap; zero writes each token by itself.
    package var writeInterval: Duration
    /// Longest random answer.
    package var outputTokensMax: Int
    /// Size of the event of the fault `huge-event`.
    package var hugeEventByteCount: Int

    package init(
        seed: UInt64 = 1, tokenDelay: Duration = .milliseconds(2),
        writeInterval: Duration = .milliseconds(20), outputTokensMax: Int = 400,
        hugeEventByteCount: Int = 1 << 20
    ) {
        precondition(outputTokensMax >= 1, "an answer has at least one token")
        self.seed = seed
        self.tokenDelay = tokenDelay
        self.writeInterval = writeInterval
        self.outputTokensMax = outputTokensMax
        self.hugeEventByteCount = hugeEventByteCount
    }
}

/// What can go wrong on purpose.
///
/// Wherever a client could not tell what it owes, the bill takes the dearest possibility: the whole
/// answer was generated.
package enum FakeFault: String, CaseIterable, Sendable {
    /// Refused before generation: not billed.
    case status429 = "status-429"
    case status500 = "status-500"
    case status503 = "status-503"
    /// Answers in full, without any usage.
    case noUsage = "no-usage"
    /// Generates everything, then resets the connection without a byte of the answer.
    case resetBeforeHead = "reset-before-head"
    /// Resets the connection: streams after half of the tokens, and only those are billed;
    /// otherwise after half of the body, and everything is billed.
    case resetMidStream = "reset-mid-stream"
    /// Generates everything, sends 200 with a body that is not JSON.
    case garbage
    /// Generates everything, sends nothing, keeps the connection open.
    case hang
    /// Compresses the answer, whether or not the client asked for it.
    case gzip
    /// Streams: a usage record of half of the tokens, then the final one. Otherwise the field is
    /// there twice.
    case usageTwice = "usage-twice"
    /// One event (or field) of a megabyte.
    case hugeEvent = "huge-event"
    /// Sends an error after half of the tokens and ends; only those are billed.
    case errorMidStream = "error-mid-stream"
}

/// What a request asks of the fake provider: by header (`x-fake-…`), or by marks such as
/// `[[tokens=7]]` in the last user message, which pass through proxies and SDKs. A header wins.
struct FakeSteering: Sendable {
    var outputTokens: Int?
    /// At most the bytes of the prompt: tests of worst-case bounds set it to just that.
    var inputTokens: Int?
    var cachedTokens = 0
    /// Only for models that bill cache writes.
    var cacheWriteTokens = 0
    var cacheWriteLongTokens = 0
    var tokenDelay: Duration?
    var fault: FakeFault?
    var wantsTool = false

    init(headers: HTTPFields, lastUserText: String) throws(FakeRefusal) {
        for (name, value) in Self.marks(in: lastUserText) {
            try set(name, value)
        }
        for (field, name) in Self.headerNames {
            if let value = headers[field] { try set(name, value) }
        }
    }

    private static let headerNames: [(field: HTTPField.Name, name: String)] = [
        ("x-fake-output-tokens", "tokens"), ("x-fake-input-tokens", "input"),
        ("x-fake-cached-tokens", "cached"), ("x-fake-cache-write-tokens", "cache-write"),
        ("x-fake-cache-write-long-tokens", "cache-write-long"),
        ("x-fake-token-delay-ms", "delay"), ("x-fake-fault", "fault"), ("x-fake-tool", "tool"),
    ].map { field, name in
        guard let fieldName = HTTPField.Name(field) else {
            preconditionFailure("\(field) is not a header name")
        }
        return (fieldName, name)
    }

    private mutating func set(_ name: String, _ value: String) throws(FakeRefusal) {
        switch name {
        case "tokens": outputTokens = max(1, try Self.count(name, value))
        case "input": inputTokens = try Self.count(name, value)
        case "cached": cachedTokens = try Self.count(name, value)
        case "cache-write": cacheWriteTokens = try Self.count(name, value)
        case "cache-write-long": cacheWriteLongTokens = try Self.count(name, value)
        case "delay": tokenDelay = .milliseconds(try Self.count(name, value))
        case "tool": wantsTool = true
        case "fault":
            guard let fault = FakeFault(rawValue: value) else {
                let known = FakeFault.allCases.map(\.rawValue).joined(separator: ", ")
                throw .invalid("The fake provider has no fault \(value); it has \(known).")
            }
            self.fault = fault
        default: break  // Not ours: prompts may contain double brackets.
        }
    }

    private static func count(_ name: String, _ value: String) throws(FakeRefusal) -> Int {
        guard let number = Int(value), (0...10_000_000).contains(number) else {
            throw .invalid("The fake provider's \(name) takes a whole number, not \(value).")
        }
        return number
    }

    private static func marks(in text: String) -> [(String, String)] {
        var found: [(String, String)] = []
        var rest = text[...]
        while let open = rest.firstRange(of: "[[") {
            rest = rest[open.upperBound...]
            guard let close = rest.firstRange(of: "]]") else { break }
            let parts = rest[..<close.lowerBound].split(separator: "=", maxSplits: 1)
            if let name = parts.first {
                found.append((String(name), parts.count == 2 ? String(parts[1]) : ""))
            }
            rest = rest[close.upperBound...]
        }
        return found
    }
}

/// SplitMix64 over a shared counter: lock-free, and the n-th number depends only on the seed.
final class SeededNumbers: Sendable {
    private let state: Atomic<UInt64>

    init(seed: UInt64) {
        state = Atomic(seed)
    }

    /// Uniform enough for lengths: the bias of the remainder is below 2^-50.
    func next(in range: ClosedRange<Int>) -> Int {
        var z = state.wrappingAdd(0x9E37_79B9_7F4A_7C15, ordering: .relaxed).newValue
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        z ^= z >> 31
        return range.lowerBound + Int(z % UInt64(range.count))
    }
}
