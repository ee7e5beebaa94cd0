/// The shape of requests, streams and errors, which several providers may share.
public enum Dialect: Hashable, Sendable, CaseIterable {
    case openai
    case anthropic
    case cohere
    case gemini
    case bedrock
}

/// A kind of request that we can bound, or that costs nothing. All others are refused.
public struct Route: Hashable, Sendable, CustomStringConvertible {
    private static let modelMark = "{model}"

    public let method: String
    /// Without query, which callers may add to. `{model}` stands for one part of a path, or for a part
    /// up to what follows.
    public let path: String
    private let beforeModel: String
    /// `nil`: the path has no model.
    private let afterModel: String?

    public init(method: String, path: String) {
        self.method = method
        self.path = path
        let parts = path.split(separator: Self.modelMark, omittingEmptySubsequences: false)
        precondition(parts.count <= 2, "a path with two models")
        beforeModel = parts.first.map(String.init) ?? ""
        afterModel = parts.count == 2 ? String(parts[1]) : nil
    }

    public var description: String { "\(method) \(path)" }

    enum Match: Equatable {
        case whole
        /// With the model as it stands in the path.
        case model(Substring)
    }

    /// - Parameter path: without query.
    func match(method: String, path: Substring) -> Match? {
        guard method == self.method else { return nil }
        guard let afterModel else { return path == self.path ? .whole : nil }
        guard path.utf8.count > beforeModel.utf8.count + afterModel.utf8.count,
            path.hasPrefix(beforeModel), path.hasSuffix(afterModel)
        else { return nil }
        let model = path.dropFirst(beforeModel.count).dropLast(afterModel.count)
        return model.utf8.contains(UInt8(ascii: "/")) ? nil : .model(model)
    }
}

/// Everything that Holdfast knows about one kind of request of a provider. Pure: bytes in, values out.
///
/// For each request field ask: can it make the bill larger than prompt bound × input price plus
/// choices × output limit × output price? Then bound it or refuse it.
public protocol Endpoint: Sendable {
    var dialect: Dialect { get }
    /// As the provider has it, behind its base URL.
    var route: Route { get }
    /// Whether the provider bills nothing for it: passed on without a hold.
    var isFree: Bool { get }

    /// Reads a request body. Throws rather than guesses: a request that we cannot bound is a
    /// request that we cannot cap.
    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts

    /// Reads what the caller's headers do to the cost. A header that changes the price in a way that
    /// cannot be bounded is refused like a field.
    ///
    /// - Parameter values: all values of a header, by its name in lower case.
    func read(
        headers values: (_ name: String) -> [String], into facts: inout RequestFacts
    ) throws(RequestError)

    /// Whether a request may name a service tier in its member `service_tier`.
    var takesServiceTier: Bool { get }

    /// The member in which the request's output limit goes where the caller has not set one.
    var outputLimitMember: String { get }

    func meter(for facts: RequestFacts) -> ResponseMeter
}

extension Endpoint {
    public var isFree: Bool { false }
    public var takesServiceTier: Bool { false }

    public func read(
        headers values: (_ name: String) -> [String], into facts: inout RequestFacts
    ) throws(RequestError) {}

    /// The body to send, given the facts that were read from this same body: byte for byte the
    /// caller's, but for the output limit (`nil`: left alone), what makes streams report usage, and
    /// what the facts say besides.
    public func upstreamBody(
        _ body: [UInt8], facts: RequestFacts, outputLimit: UInt64?
    ) -> [UInt8] {
        var splices: [Splice] = []
        if let outputLimit {
            switch facts.outputLimitField {
            case .value(let range):
                splices.append(Splice(range, String(outputLimit)))
            case .nested(let index, let before, let after):
                splices.append(Splice(index..<index, before + String(outputLimit) + after))
            case .absent(let index):
                splices.append(Splice(index..<index, "\"\(outputLimitMember)\":\(outputLimit),"))
            }
        }
        return Splice.apply(splices + facts.splices, to: body)
    }
}
