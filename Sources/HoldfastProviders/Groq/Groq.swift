/// Groq. Its compound models call tools and other models by themselves; they have no price here and
/// are refused for that.
enum Groq {
    static let api = ProviderAPI(
        id: "groq", defaultBaseURL: "https://api.groq.com/openai", pathPrefix: "/openai",
        endpoints: [ChatCompletions()])
}
