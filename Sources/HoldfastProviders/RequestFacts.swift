internal import HoldfastCore

/// Where a clamped output limit goes in a request body.
public enum OutputLimitField: Hashable, Sendable {
    /// Replaces the value at this range of the body.
    case value(Range<Int>)
    /// The body has none: a new member goes in front of the byte at this offset.
    case absent(insertAt: Int)
    /// The body has none, and its place in an object of its own neither, or that is empty.
    case nested(insertAt: Int, prefix: String, suffix: String)
}

/// Everything that later phases need from a request body, read in one pass.
public struct RequestFacts: Hashable, Sendable {
    public var model: String
    public var isStream = false
    /// Most output tokens of one choice, as the caller gave it; `nil` when the caller left it to
    /// the provider. Includes reasoning.
    public var outputLimit: UInt64?
    public var outputLimitField = OutputLimitField.absent(insertAt: 1)
    /// The smallest output limit with which the provider accepts this request: a clamp below it
    /// would turn a payable request into an error.
    public var outputLimitMin: UInt64 = 1
    /// How many answers are generated, each up to the output limit.
    public var choices: UInt64 = 1
    /// Output tokens that can be billed beyond `choices` × the output limit, in total over all
    /// choices: rejected tokens of a predicted output.
    public var extraOutputTokens: UInt64 = 0
    /// At least the tokens of the prompt, as far as its bytes tell: see `PromptBound`.
    public var promptTokensMax: UInt64 = 0
    /// Whether the prompt has parts whose tokens do not follow from the bytes of the body (images,
    /// documents, URLs, file ids, …). `promptTokensMax` is then no bound; the model's context is.
    public var promptIsUnboundedByBytes = false
    /// The context that the request asks for by header, beyond what the model has by itself; zero
    /// when it does not.
    public var contextTokensAsked: UInt64 = 0
    /// Whether the request asks for the provider's long cache lifetime, whose writes cost more.
    public var usesLongCacheWrite = false
    /// As given; `nil` when absent, which is whatever the project is set to.
    public var serviceTier: String?
    /// Whether the body has the field at all, perhaps as `null`.
    var hasServiceTierMember = false
    /// Multiplies every price: 10 is one time, 11 is 1.1 times.
    public var rateMultiplierTenths: UInt64 = 10
    /// Whether the request asks for the fast mode, which has prices of its own.
    public var isFast = false
    /// The caller's own name for its user.
    public var metadataUser: String?
    /// The caller's own labels.
    public var metadata: [String: String] = [:]
    /// Whether the caller asked for the usage chunk at the end of a stream, so that it stays in.
    public var callerAskedForUsage = false

    /// What makes a stream report its usage; `nil` when nothing has to change for that.
    var usageSplice: Splice?

    /// Where the first member of the body may be put.
    var firstMemberIndex = 1
    /// Names a service tier where the caller left it open; `nil` when nothing has to be added.
    var tierSplice: Splice?
    /// The value of the member `model`.
    var modelRange: Range<Int>?
    /// Another name for the model than the caller's; `nil` when it stays.
    var modelSplice: Splice?
    /// Whether the output limit must be sent, because the caller has given none and what the server
    /// does then is not known.
    public var outputLimitIsOurs = false
    var priceSplice: Splice?
    /// Whether the body has the member `provider`, perhaps as `null`.
    public var hasProviderMember = false
    /// Whether the prompt is many, each of which may be as long as the model's context.
    public var promptsAreSeparate = false

    public init(model: String) {
        self.model = model
    }

    /// What changes in the body but for the output limit.
    var splices: [Splice] {
        [usageSplice, tierSplice, modelSplice, priceSplice].compactMap { $0 }
    }

    public var isModelInBody: Bool { modelRange != nil }

    /// Has the request served at these prices or not at all. Not for a body with a member `provider`,
    /// which would be the one that counts.
    public mutating func limitPrices(to rates: HoldRates) {
        precondition(!hasProviderMember, "a second member `provider`")
        var value = JSONWriter()
        value.object { writer in
            writer.key("max_price")
            writer.object { writer in
                writer.key("prompt")
                writer.decimal(NanoUSD(rates.input.nanoUSDPerMillionTokens).dollars)
                writer.key("completion")
                writer.decimal(NanoUSD(rates.output.nanoUSDPerMillionTokens).dollars)
            }
        }
        priceSplice = Splice(
            firstMemberIndex..<firstMemberIndex,
            "\"provider\":\(String(decoding: value.bytes, as: UTF8.self)),")
    }

    /// Asks for the model under this name.
    public mutating func sendModel(as name: String) {
        guard let modelRange else { preconditionFailure("a model from nowhere") }
        model = name
        var value = JSONWriter()
        value.string(name)
        modelSplice = Splice(modelRange, String(decoding: value.bytes, as: UTF8.self))
    }

    /// Reads the member `model`, whose value comes next.
    mutating func readModel(_ reader: inout RequestReader) throws(JSONError) -> String? {
        reader.scanner.skipSpace()
        let start = reader.scanner.index
        let model = try reader.string("model")
        modelRange = start..<reader.scanner.index
        return model
    }

    private enum FreeKey: String, CaseIterable { case model }

    private static let freeKeys = KeyTable(FreeKey.self)

    /// The model that a body names; empty when it names none.
    public static func model(of body: [UInt8]) throws(RequestError) -> String {
        try ofFree(body).model
    }

    /// Of a request that costs nothing: its model, which may be missing.
    static func ofFree(_ body: [UInt8]) throws(RequestError) -> RequestFacts {
        try RequestReader.read(body) { (reader) throws(JSONError) in
            var facts = RequestFacts(model: "")
            try reader.scanner.enterObject()
            facts.firstMemberIndex = reader.scanner.index
            var keys = KnownKeys(freeKeys)
            while try keys.next(&reader.scanner) != nil {
                facts.model = try facts.readModel(&reader) ?? ""
            }
            reader.check(keys)
            return facts
        }
    }

    /// Asks for this tier if the caller left it to the provider, so that the request need not be held
    /// at the dearest one that the project may be set to.
    public mutating func pinServiceTier(_ tier: String) {
        guard serviceTier == nil, !hasServiceTierMember else { return }
        serviceTier = tier
        var value = JSONWriter()
        value.string(tier)
        // In front of another member: a body without any has been refused.
        tierSplice = Splice(
            firstMemberIndex..<firstMemberIndex,
            "\"service_tier\":\(String(decoding: value.bytes, as: UTF8.self)),")
    }
}

/// Upper bounds for the tokens of a prompt.
///
/// **Text.** Today's models of the providers in the catalog split text with byte-level BPE. It
/// starts from one token per byte of UTF-8 and only ever joins neighbours, so tokens ≤ bytes. The
/// bytes that are counted are those of the whole body, which are at least those of the texts in it:
/// a character of a JSON string stands for itself or is escaped, and every escape is longer than
/// what it stands for (`\n` two bytes for one, `\uXXXX` six for at most three, a surrogate pair
/// twelve for four). Names of roles and fields that the provider renders in its own way are in the
/// body too, with their quotes, colons and braces on top.
///
/// This rests on the tokenizer not rewriting text into a longer form first. OpenAI's do not.
/// Anthropic's current one is not published, and is taken not to either; the one of Claude 2
/// did, for some rare characters (Unicode's compatibility forms).
///
/// **What the provider adds** is not in the body and cannot be proved from it, so it is allowed
/// for, several times over what is documented: 3-4 tokens per message and 3 per request (16 and 64
/// here), and the hidden instructions that come with tools.
enum PromptBound {
    static let perMessage: UInt64 = 16
    static let perTool: UInt64 = 16
    static let perRequest: UInt64 = 64

    static func tokens(
        bodyByteCount: Int, messages: UInt64, tools: UInt64, hidden: UInt64
    ) -> UInt64 {
        UInt64(bodyByteCount) + perMessage * messages + perTool * tools + perRequest + hidden
    }
}

/// One replacement in a body. All other bytes stay as they are.
struct Splice: Hashable, Sendable {
    var range: Range<Int>
    var bytes: [UInt8]

    init(_ range: Range<Int>, _ text: String) {
        self.range = range
        bytes = Array(text.utf8)
    }

    /// Ranges must not overlap; insertions at the same place keep their order.
    static func apply(_ splices: [Splice], to body: [UInt8]) -> [UInt8] {
        guard !splices.isEmpty else { return body }
        var out: [UInt8] = []
        out.reserveCapacity(body.count + splices.reduce(0) { $0 + $1.bytes.count })
        var copied = 0
        for splice in splices.sorted(by: { $0.range.lowerBound < $1.range.lowerBound }) {
            precondition(splice.range.lowerBound >= copied, "splices overlap")
            out.append(contentsOf: body[copied..<splice.range.lowerBound])
            out.append(contentsOf: splice.bytes)
            copied = splice.range.upperBound
        }
        out.append(contentsOf: body[copied...])
        return out
    }
}
