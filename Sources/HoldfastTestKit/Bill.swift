import Synchronization

/// Token counts as a provider bills them; the buckets do not overlap.
package struct BilledTokens: Hashable, Sendable {
    package var uncachedInput: UInt64 = 0
    package var cacheRead: UInt64 = 0
    package var cacheWrite: UInt64 = 0
    package var cacheWriteLong: UInt64 = 0
    package var output: UInt64 = 0

    package init() {}

    package var input: UInt64 { uncachedInput + cacheRead + cacheWrite + cacheWriteLong }

    static func += (lhs: inout BilledTokens, rhs: BilledTokens) {
        lhs.uncachedInput += rhs.uncachedInput
        lhs.cacheRead += rhs.cacheRead
        lhs.cacheWrite += rhs.cacheWrite
        lhs.cacheWriteLong += rhs.cacheWriteLong
        lhs.output += rhs.output
    }
}

/// What the fake provider will charge: the judge of every spending test.
///
/// Exact, in picoUSD; it shares no arithmetic with the product. Tokens are added as they are
/// generated, so at any moment it includes the requests in flight.
package final class Bill: Sendable {
    /// What one API key spent on one model.
    package struct Line: Hashable, Sendable {
        /// As sent by the client, in full.
        package let key: String
        package let model: String
        /// Requests whose generation began; refused ones are not billed.
        package fileprivate(set) var requests: UInt64 = 0
        package fileprivate(set) var tokens = BilledTokens()
        package fileprivate(set) var picoUSD: UInt128 = 0
    }

    private struct LineID: Hashable {
        let key: String
        let model: String
    }

    private struct State {
        var lines: [LineID: Line] = [:]
        var received: UInt64 = 0
        var inFlight: Int = 0

        mutating func change(key: String, model: String, _ body: (inout Line) -> Void) {
            body(&lines[LineID(key: key, model: model), default: Line(key: key, model: model)])
        }
    }

    private let state = Mutex(State())

    package init() {}

    package var totalPicoUSD: UInt128 {
        state.withLock { $0.lines.values.reduce(0) { $0 + $1.picoUSD } }
    }

    /// Billed requests, in flight or ended.
    package var requests: UInt64 {
        state.withLock { $0.lines.values.reduce(0) { $0 + $1.requests } }
    }

    /// Calls of a billed route, refused ones included: what reached the provider at all.
    package var received: UInt64 { state.withLock { $0.received } }

    /// Requests that are generating now.
    package var inFlight: Int { state.withLock { $0.inFlight } }

    /// Sorted by key and model.
    package var lines: [Line] {
        state.withLock { Array($0.lines.values) }
            .sorted { ($0.key, $0.model) < ($1.key, $1.model) }
    }

    package func picoUSD(key: String) -> UInt128 {
        lines.filter { $0.key == key }.reduce(0) { $0 + $1.picoUSD }
    }

    /// Starts from zero. Requests in flight go on and bill what they generate from here on.
    package func reset() {
        state.withLock { state in
            state.lines = [:]
            state.received = 0
        }
    }

    func receive() {
        state.withLock { $0.received += 1 }
    }

    /// Generation begins: the prompt is owed from now on, whatever becomes of the answer.
    func begin(key: String, model: String, prompt: BilledTokens, rates: FakeRates) {
        state.withLock { state in
            state.inFlight += 1
            state.change(key: key, model: model) { line in
                line.requests += 1
                line.add(prompt, rates: rates)
            }
        }
    }

    func generate(outputTokens: UInt64, key: String, model: String, rates: FakeRates) {
        var tokens = BilledTokens()
        tokens.output = outputTokens
        state.withLock { state in
            state.change(key: key, model: model) { $0.add(tokens, rates: rates) }
        }
    }

    func end() {
        state.withLock { state in
            precondition(state.inFlight > 0, "a request ended twice")
            state.inFlight -= 1
        }
    }
}

extension Bill.Line {
    fileprivate mutating func add(_ more: BilledTokens, rates: FakeRates) {
        tokens += more
        picoUSD += rates.picoUSD(more)
    }
}

extension Bill {
    /// The body of `GET /bill`. Keys are shortened to their last four characters.
    package var json: String {
        // One reading of the state, so that the total is the sum of the lines shown.
        let (lines, received, inFlight) = state.withLock { state in
            (Array(state.lines.values), state.received, state.inFlight)
        }
        let total = lines.reduce(UInt128(0)) { $0 + $1.picoUSD }
        let requests = lines.reduce(UInt64(0)) { $0 + $1.requests }
        let byKey = Dictionary(grouping: lines, by: \.key).sorted { $0.key < $1.key }
            .map { key, lines in Self.keyJSON(key, lines) }
        return "{\"total_usd\":\"\(Self.dollars(total))\",\"total_pico_usd\":\(total),"
            + "\"requests\":\(requests),\"received\":\(received),\"in_flight\":\(inFlight),"
            + "\"by_key\":[\(byKey.joined(separator: ","))]}"
    }

    /// Dollars with all twelve decimals, exact.
    package static func dollars(_ picoUSD: UInt128) -> String {
        let (whole, rest) = picoUSD.quotientAndRemainder(dividingBy: 1_000_000_000_000)
        let digits = String(rest)
        return "\(whole)." + String(repeating: "0", count: 12 - digits.utf8.count) + digits
    }

    private static func keyJSON(_ key: String, _ lines: [Line]) -> String {
        let total = lines.reduce(UInt128(0)) { $0 + $1.picoUSD }
        let requests = lines.reduce(UInt64(0)) { $0 + $1.requests }
        let models = lines.sorted { $0.model < $1.model }.map { line in
            "{\"model\":\(FakeJSON.quoted(line.model)),\"requests\":\(line.requests),"
                + "\"input_tokens\":\(line.tokens.input),"
                + "\"cached_tokens\":\(line.tokens.cacheRead),"
                + "\"cache_write_tokens\":\(line.tokens.cacheWrite + line.tokens.cacheWriteLong),"
                + "\"output_tokens\":\(line.tokens.output),"
                + "\"usd\":\"\(dollars(line.picoUSD))\",\"pico_usd\":\(line.picoUSD)}"
        }
        return "{\"key\":\(FakeJSON.quoted("…" + key.suffix(4))),\"requests\":\(requests),"
            + "\"usd\":\"\(dollars(total))\",\"pico_usd\":\(total),"
            + "\"models\":[\(models.joined(separator: ","))]}"
    }
}
