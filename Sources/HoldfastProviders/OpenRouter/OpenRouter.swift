/// OpenRouter, which passes requests on to others at their prices: each request carries the listed ones
/// as the highest. Models without a price here are refused: `openrouter/auto` and names with a suffix
/// that adds to the price (`:online`) among them.
enum OpenRouter {
    static let api = ProviderAPI(
        id: "openrouter", defaultBaseURL: "https://openrouter.ai/api", pathPrefix: "/api",
        endpoints: [ChatCompletions(outputLimitMember: "max_tokens", takesServiceTier: false)],
        takesPriceLimit: true)
}
