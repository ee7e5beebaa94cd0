enum XAI {
    static let api = ProviderAPI(
        id: "xai", defaultBaseURL: "https://api.x.ai", endpoints: [ChatCompletions()])
}
