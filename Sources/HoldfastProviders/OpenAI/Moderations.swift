/// Moderations, which cost nothing.
struct Moderations: Endpoint {
    let dialect = Dialect.openai
    let route = Route(method: "POST", path: "/v1/moderations")
    let isFree = true
    /// Never used: there is no output.
    let outputLimitMember = "max_tokens"

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        try RequestFacts.ofFree(body)
    }

    func meter(for facts: RequestFacts) -> ResponseMeter { .passing }
}
