enum DeepSeek {
    static let api = ProviderAPI(
        id: "deepseek", defaultBaseURL: "https://api.deepseek.com",
        endpoints: [ChatCompletions(outputLimitMember: "max_tokens", takesServiceTier: false)])
}
