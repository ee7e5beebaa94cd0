/// Gemini's `generateContent`, whole or as a stream: the path says which, and the path names the
/// model, so the facts leave it empty.
///
/// A stream always reports usage. Without `?alt=sse` it is one JSON array, written piece by piece.
struct GeminiGenerate: Endpoint {
    let dialect = Dialect.gemini
    let route: Route
    /// Inside `generationConfig`.
    let outputLimitMember = GeminiRequest.outputLimitMember
    let takesServiceTier = true
    private let isStreamed: Bool

    /// - Parameter version: `v1` or `v1beta`. SDKs call either.
    init(isStreamed: Bool, version: String) {
        self.isStreamed = isStreamed
        let call = isStreamed ? "streamGenerateContent" : "generateContent"
        route = Route(method: "POST", path: "/\(version)/models/{model}:\(call)")
    }

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        var facts = try RequestReader.read(body) { (reader) throws(JSONError) in
            var request = GeminiRequest()
            return try request.read(&reader)
        }
        facts.isStream = isStreamed
        return facts
    }

    func meter(for facts: RequestFacts) -> ResponseMeter {
        ResponseMeter(
            GeminiTracker(choices: facts.choices), hidesUsage: false, usesLongCacheWrite: false)
    }
}

/// Walks over the members of one object, of which both spellings count: Google takes every name as
/// `maxOutputTokens` and as `max_output_tokens`, and no other.
struct GeminiKeys<Key: CaseIterable & RawRepresentable<String> & Hashable & Sendable> {
    /// The names of `Key`, which are in camel case, and those that are spelled differently in snake
    /// case.
    struct Table: Sendable {
        fileprivate let camel = KeyTable(Key.self)
        fileprivate let snake = KeyTable(SnakeKey<Key>.self)

        init() {}
    }

    private var camel: KnownKeys<Key>
    private var snake: KnownKeys<SnakeKey<Key>>
    private var seen: Set<Key> = []
    /// Came in both spellings.
    private var twice: Key?

    init(_ table: Table) {
        camel = KnownKeys(table.camel)
        snake = KnownKeys(table.snake)
    }

    /// What is wrong with the names themselves; parsers need not agree on which value counts.
    func refusal(at path: @autoclosure () -> String) -> RequestError? {
        let duplicate = camel.duplicate?.rawValue ?? snake.duplicate?.rawValue
        guard duplicate != nil || twice != nil else { return nil }
        let path = path()
        let prefix = path.isEmpty ? "" : "\(path)."
        if let duplicate { return .duplicate(param: prefix + duplicate) }
        return twice.map {
            .conflict(param: prefix + $0.rawValue, other: prefix + SnakeKey(key: $0).rawValue)
        }
    }

    /// The next known key, with `scanner` before its value; `nil` at the end of the object. Values
    /// of other members are skipped.
    mutating func next(_ scanner: inout JSONScanner) throws(JSONError) -> Key? {
        while let key = try scanner.nextKey() {
            if let known = match(key) { return known }
            try scanner.skipValue()
        }
        return nil
    }

    /// The known key that this is, if it is one and comes for the first time.
    mutating func match(_ key: JSONKey) -> Key? {
        guard let known = camel.match(key) ?? snake.match(key)?.key else { return nil }
        guard seen.insert(known).inserted else {
            twice = twice ?? known
            return nil
        }
        return known
    }
}

/// A key under its other name.
struct SnakeKey<Key: CaseIterable & RawRepresentable<String> & Sendable>: CaseIterable,
    RawRepresentable, Sendable
{
    let key: Key

    init(key: Key) {
        self.key = key
    }

    init?(rawValue: String) {
        guard let known = Self.allCases.first(where: { $0.rawValue == rawValue }) else {
            return nil
        }
        self = known
    }

    var rawValue: String {
        key.rawValue.reduce(into: "") { name, character in
            if character.isUppercase { name += "_" }
            name += character.lowercased()
        }
    }

    /// Without those that are spelled alike: they would be found twice.
    static var allCases: [SnakeKey<Key>] {
        Key.allCases.map(SnakeKey.init(key:)).filter { $0.rawValue != $0.key.rawValue }
    }
}
