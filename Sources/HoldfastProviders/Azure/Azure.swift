/// Azure OpenAI by its `/openai/v1` paths. `model` names a deployment: `models` in the configuration
/// says which model is behind it.
enum Azure {
    static let api = ProviderAPI(
        id: "azure", defaultBaseURL: nil, credential: .header("api-key"), pathPrefix: "/openai",
        endpoints: OpenAI.endpoints)
}
