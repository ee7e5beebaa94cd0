import HoldfastCore
import HoldfastProviders
import NIOHTTP1

/// `GET /v1/models`, of all providers or, below its name, of one: the models that this edge serves.
///
/// What has no price is not among them, because it would be refused.
struct ModelList {
    private struct Entry {
        let id: String
        let provider: String
        let contextTokens: UInt64?
        let maxOutputTokens: UInt64?
    }

    private static let path = "/v1/models"

    private let entries: [Entry]

    /// - Returns: `nil` when the request is for something else.
    init?(
        method: HTTPMethod, path: Substring, routing: Routing, prices: PriceBook, now: UnixTime
    ) {
        guard method == .GET else { return nil }
        if let (provider, rest) = routing.named(in: path) {
            guard rest == Self.path || rest == provider.api.pathPrefix + Self.path else {
                return nil
            }
            entries = Self.names(of: provider, prices, now).map { name in
                Self.entry(name, name, provider, prices, now)
            }
            return
        }
        guard path == Self.path else { return nil }
        // The name alone where it leads to the provider, else with the provider in front of it.
        var taken: Set<String> = []
        entries = routing.providers.flatMap { provider in
            Self.names(of: provider, prices, now).map { name in
                let id = taken.insert(name).inserted ? name : "\(provider.name)/\(name)"
                return Self.entry(id, name, provider, prices, now)
            }
        }
    }

    private static func names(
        of provider: EdgeSettings.Provider, _ prices: PriceBook, _ now: UnixTime
    ) -> [String] {
        let own = provider.models.keys.sorted()
        let listed = prices.models.lazy
            .filter { $0.provider == provider.priceProvider }
            .map(\.model)
            .filter { provider.models[$0] == nil }
        return (own + listed).filter { provider.quote(for: $0, in: prices, now: now) != nil }
    }

    private static func entry(
        _ id: String, _ name: String, _ provider: EdgeSettings.Provider, _ prices: PriceBook,
        _ now: UnixTime
    ) -> Entry {
        let quote = provider.quote(for: name, in: prices, now: now)
        return Entry(
            id: id, provider: provider.name, contextTokens: quote?.contextTokens,
            maxOutputTokens: quote?.maxOutputTokens)
    }

    /// In the shape that the caller's SDK reads.
    func body(_ dialect: Dialect) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            if dialect != .anthropic { writer.member("object", "list") }
            writer.array("data") { writer in
                for entry in entries { write(entry, dialect, to: &writer) }
            }
            if dialect == .anthropic {
                writer.member("has_more", false)
                writer.member("first_id", entries.first?.id)
                writer.member("last_id", entries.last?.id)
            }
        }
        return writer.bytes
    }

    private func write(_ entry: Entry, _ dialect: Dialect, to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("id", entry.id)
            switch dialect {
            case .openai, .cohere, .gemini, .bedrock:
                writer.member("object", "model")
                // When it was made is not known here, and SDKs want a number.
                writer.member("created", UInt64(0))
                writer.member("owned_by", entry.provider)
            case .anthropic:
                writer.member("type", "model")
                writer.member("display_name", entry.id)
                writer.member("created_at", UnixTime(0).rfc3339)
            }
            if let tokens = entry.contextTokens { writer.member("max_input_tokens", tokens) }
            if let tokens = entry.maxOutputTokens { writer.member("max_tokens", tokens) }
        }
    }
}
