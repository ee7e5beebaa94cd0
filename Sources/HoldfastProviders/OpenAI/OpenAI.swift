enum OpenAI {
    static let api = ProviderAPI(
        id: "openai", defaultBaseURL: "https://api.openai.com", endpoints: endpoints,
        multiplier: regionMultiplier)

    static let endpoints: [any Endpoint] = [
        ChatCompletions(),
        Responses(),
        ResponsesInputTokens(),
        // OpenAI's own default; other servers have others.
        Completions(defaultOutputLimit: 16),
        Embeddings(),
        Moderations(),
    ]

    /// Hosts of one region, `eu.api.openai.com`, cost a tenth more. Only for models since March 2026,
    /// which the price table does not tell apart: the dearer side.
    private static func regionMultiplier(_ host: Substring) -> UInt64 {
        host.hasSuffix(".api.openai.com") ? 11 : 10
    }
}
