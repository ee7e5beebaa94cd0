/// Mistral. Streams report their usage unasked, and members that it does not know are an error.
enum Mistral {
    static let api = ProviderAPI(
        id: "mistral", defaultBaseURL: "https://api.mistral.ai",
        endpoints: [
            ChatCompletions(
                outputLimitMember: "max_tokens", takesServiceTier: false, asksForUsage: false),
            Completions(
                path: "/v1/fim/completions", defaultOutputLimit: nil, asksForUsage: false),
            Embeddings(),
        ])
}
