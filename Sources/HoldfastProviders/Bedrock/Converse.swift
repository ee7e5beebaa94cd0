/// Bedrock's Converse, and ConverseStream, whose requests are the same: which one it is, is in the
/// path, and so is the model.
struct Converse: Endpoint {
    /// InvokeModel's names for what Converse has in its body. Nothing says that Converse does not
    /// heed them, and its SDKs never send them.
    private static let pricedHeaders = [
        "x-amzn-bedrock-guardrailidentifier", "x-amzn-bedrock-performanceconfig-latency",
        "x-amzn-bedrock-service-tier",
    ]

    let dialect = Dialect.bedrock
    let route: Route
    let outputLimitMember = "maxTokens"
    private let isStreamed: Bool

    init(isStreamed: Bool) {
        self.isStreamed = isStreamed
        route = Route(
            method: "POST",
            path: isStreamed ? "/model/{model}/converse-stream" : "/model/{model}/converse")
    }

    func facts(of body: [UInt8]) throws(RequestError) -> RequestFacts {
        var facts = try RequestReader.read(body) { (reader) throws(JSONError) in
            var request = ConverseRequest()
            return try request.read(&reader)
        }
        facts.isStream = isStreamed
        return facts
    }

    func read(
        headers values: (_ name: String) -> [String], into facts: inout RequestFacts
    ) throws(RequestError) {
        for name in Self.pricedHeaders where !values(name).isEmpty {
            throw .unboundable(
                param: name, because: "it may change the price, and Converse has it in the body")
        }
    }

    func meter(for facts: RequestFacts) -> ResponseMeter {
        ResponseMeter(
            ConverseTracker(), hidesUsage: false, usesLongCacheWrite: facts.usesLongCacheWrite)
    }
}
