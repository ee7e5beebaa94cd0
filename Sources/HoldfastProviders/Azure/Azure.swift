/// Azure OpenAI by its `/openai/v1` paths. `model` names a deployment: `models` in the configuration
/// says which model is behind it.
/// What its content filter stops is answered with 400, and billed.
enum Azure {
    static let api = ProviderAPI(
        id: "azure", defaultBaseURL: nil, credential: .header("api-key"), pathPrefix: "/openai",
        endpoints: OpenAI.endpoints, queryParameters: ["api-version"], mayBillBadRequests: true)
}
