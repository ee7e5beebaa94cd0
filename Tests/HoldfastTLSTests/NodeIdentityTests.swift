import HoldfastTLS
import Testing

@Suite struct NodeIdentityTests {
    @Test func `the URIs of a certificate say who a node is`() throws {
        try check(
            ["spiffe://prod/holdfast/edge/e1"],
            is: NodeIdentity(cluster: "prod", roles: [.edge], name: "e1"))
        try check(
            ["https://a.example/", "spiffe://prod/holdfast/counter/c.1_x", "spiffe://prod/ns/x"],
            is: NodeIdentity(cluster: "prod", roles: [.counter], name: "c.1_x"))
        let both = NodeIdentity(cluster: "Prod-2", roles: [.edge, .counter], name: "n")
        try check(both.uris, is: both)
        #expect("\(both)" == "edge and counter 'n' of cluster 'Prod-2'")
    }

    @Test func `a certificate that names no node, or two, is refused`() throws {
        try check([], isRefused: "no URI")
        try check(["spiffe://prod"], isRefused: "no URI")
        try check(["spiffe://prod/ns/default/sa/edge"], isRefused: "no URI")
        try check(["spiffe://prod/holdfast"], isRefused: "is not spiffe://")
        try check(["spiffe://prod/holdfast/edge"], isRefused: "is not spiffe://")
        try check(["spiffe://prod/holdfast/edge/"], isRefused: "is not spiffe://")
        try check(["spiffe:///holdfast/edge/e1"], isRefused: "is not spiffe://")
        try check(["spiffe://prod/holdfast/edge/e1/x"], isRefused: "is not spiffe://")
        try check(["spiffe://prod/holdfast/edge/e%31"], isRefused: "is not spiffe://")
        try check(["spiffe://prod/holdfast/edge/" + repeated(129)], isRefused: "is not spiffe://")
        try check(["spiffe://prod/holdfast/operator/o"], isRefused: "neither")
        try check(["spiffe://prod/holdfast/Edge/e1"], isRefused: "neither")
        let edge = "spiffe://prod/holdfast/edge/e1"
        try check([edge, "spiffe://prod/holdfast/counter/c1"], isRefused: "more than one")
        try check([edge, "spiffe://test/holdfast/edge/e1"], isRefused: "more than one")
    }

    @Test func `names need no escapes`() {
        for name in ["a", "A-1_b.c", repeated(128)] { #expect(NodeIdentity.isName(name)) }
        for name in ["", "a/b", "a b", "ä", "a'b", "a\n", repeated(129)] {
            #expect(!NodeIdentity.isName(name), "\(name)")
        }
    }

    private func repeated(_ count: Int) -> String { String(repeating: "a", count: count) }

    private func check(
        _ uris: [String], is expected: NodeIdentity,
        at location: SourceLocation = #_sourceLocation
    ) throws {
        let found = try NodeIdentity(of: selfSigned(uris: uris).certificate)
        #expect(found == expected, sourceLocation: location)
    }

    private func check(
        _ uris: [String], isRefused text: String, at location: SourceLocation = #_sourceLocation
    ) throws {
        let certificate = try selfSigned(uris: uris).certificate
        let problem = #expect(throws: CertificateProblem.self, sourceLocation: location) {
            try NodeIdentity(of: certificate)
        }
        let description = problem?.description ?? "nothing"
        #expect(description.contains(text), "\(description)", sourceLocation: location)
        #expect(description.contains("certs issue"), sourceLocation: location)
    }
}
