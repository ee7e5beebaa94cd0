/// Anything that speaks OpenAI's chat completions: vLLM, llama.cpp, LiteLLM, other providers.
enum OpenAICompatible {
    static let api = ProviderAPI(
        id: "openai-compatible", defaultBaseURL: nil,
        endpoints: [
            ChatCompletions(
                outputLimitMember: "max_tokens", takesServiceTier: false, alwaysLimits: true),
            Completions(defaultOutputLimit: nil),
            Embeddings(),
        ])
}
