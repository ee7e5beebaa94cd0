import Foundation
import HoldfastTLS
import NIOCore
import NIOSSL
import Testing

/// Real connections. The counter is the server, the edge the client.
@Suite struct NodeHandshakeTests {
    private let cluster: ClusterFiles
    private let counter: Side
    private let edge: Side

    init() async throws {
        cluster = try ClusterFiles(from: Date() - 50 * 86_400)
        counter = try await Self.node(cluster.issue("c1", [.counter]), [.counter])
        edge = try await Self.node(cluster.issue("e1", [.edge]), [.edge])
    }

    @Test func `nodes of one cluster know each other`() async throws {
        try await check(
            counter, edge, server: "edge 'e1' of cluster 'prod'",
            client: "counter 'c1' of cluster 'prod'")
        let both = try await Self.node(cluster.issue("n", [.edge, .counter]), [.edge, .counter])
        try await check(
            both, both, server: "edge and counter 'n' of cluster 'prod'",
            client: "edge and counter 'n' of cluster 'prod'")
    }

    @Test func `an edge of another authority is refused, and both say so`() async throws {
        let stranger = try ClusterFiles()
        var files = try stranger.issue("e1", [.edge])
        files.authority = try stranger.write("both", stranger.authorityPEM + cluster.authorityPEM)
        try await check(
            counter, try await Self.node(files, [.edge]),
            server: "the edge's certificate is issued by", client: "refuse", files.certificate)
    }

    @Test func `a counter of another authority is refused, and both say so`() async throws {
        let stranger = try ClusterFiles()
        var files = try stranger.issue("c1", [.counter])
        files.authority = try stranger.write("both", stranger.authorityPEM + cluster.authorityPEM)
        try await check(
            try await Self.node(files, [.counter]), edge,
            server: "the edge refused this counter's certificate \(files.certificate)",
            client: "the counter's certificate is issued by", "node_tls.authority")
    }

    @Test func `an edge's certificate must be the right one`() async throws {
        func check(
            _ files: NodeCredentials.Files, _ text: String,
            at location: SourceLocation = #_sourceLocation
        ) async throws {
            let client = try Side.any(files, isServer: false)
            let server = "the edge's certificate \(text)"
            try await self.check(counter, client, server: server, client: "", at: location)
        }
        try await check(cluster.issue("e2", [.edge], start: -10, days: 5), "expired on 20")
        try await check(cluster.issue("e2", [.edge], start: 1), "is valid from 20")
        try await check(
            cluster.issue("c2", [.counter]),
            "is that of counter 'c2' of cluster 'prod', which is no edge")
        try await check(
            cluster.issue("e2", [.edge], cluster: "test"),
            "is that of edge 'e2' of cluster 'test', and this is cluster 'prod'")
        let odd = try selfSigned(uris: ["spiffe://prod/holdfast/edge/e1"])
        let files = NodeCredentials.Files(
            authority: "",
            certificate: try cluster.write(
                "odd.crt", odd.certificatePEM),
            key: try cluster.write("odd.key", odd.keyPEM))
        try await check(files, "is issued by 'CN=odd'")
    }

    @Test func `a counter's certificate must be the right one`() async throws {
        func check(
            _ files: NodeCredentials.Files, _ text: String,
            at location: SourceLocation = #_sourceLocation
        ) async throws {
            let server = try Side.any(files, isServer: true)
            let client = "the counter's certificate \(text)"
            try await self.check(server, edge, server: "", client: client, at: location)
        }
        try await check(cluster.issue("c2", [.counter], start: -10, days: 5), "expired on 20")
        try await check(
            cluster.issue("e2", [.edge]),
            "is that of edge 'e2' of cluster 'prod', which is no counter")
        try await check(
            cluster.issue("c2", [.counter], cluster: "test"),
            "is that of counter 'c2' of cluster 'test', and this is cluster 'prod'")
    }

    @Test func `a chain of many authorities is not followed`() async throws {
        let files = try cluster.issue("e2", [.edge])
        let leaf = try String(contentsOfFile: files.certificate, encoding: .utf8)
        try cluster.write(
            "e2.crt", leaf + String(repeating: cluster.authorityPEM, count: 5))
        try await check(
            counter, try Side.any(files, isServer: false),
            server: "the edge's certificate breaks a rule for certificates, it comes with more",
            client: "")
    }

    @Test func `an edge without a certificate is refused`() async throws {
        try await check(
            counter, try Side.any(nil, isServer: false),
            server: "the edge showed no certificate: set 'node_tls'", client: "")
    }

    @Test func `older TLS is refused`() async throws {
        let files = try cluster.issue("e2", [.edge])
        try await check(
            counter, try Side.any(files, isServer: false, tls: .tlsv12),
            server: "the edge offers no TLS 1.3", client: "")
    }

    @Test func `plain text on either side is called that`() async throws {
        try await check(
            counter, .plainText, server: "the edge does not speak TLS: set 'node_tls'",
            client: "the counter speaks TLS", "no 'node_tls'")
        try await check(
            .plainText, edge, server: "an edge speaks TLS",
            client: "the counter hung up during the TLS handshake", "Perhaps it has no 'node_tls'")
    }

    @Test func `new connections use new files`() async throws {
        let counter = try await Self.node(
            cluster.issue("c2", [.counter]), [.counter], checkInterval: .zero)
        let edge = try await Self.node(
            cluster.issue("e2", [.edge]), [.edge], checkInterval: .zero)
        try await check(counter, edge, server: "edge 'e2'", client: "counter 'c2'")
        let renewed = try cluster.authority.issue(name: "e3", roles: [.edge], days: 3)
        try cluster.write("e2.crt", renewed.certificatePEM)
        try cluster.write("e2.key", renewed.keyPEM)
        try await check(counter, edge, server: "edge 'e3'", client: "counter 'c2'")
        try cluster.write("e2.crt", "no longer a certificate")
        try await check(counter, edge, server: "edge 'e3'", client: "counter 'c2'")
    }

    // MARK: - Checks

    private static func node(
        _ files: NodeCredentials.Files, _ roles: Set<NodeRole>,
        checkInterval: Duration = .seconds(1)
    ) async throws -> Side {
        .node(
            try await NodeCredentials(
                files: files, cluster: "prod", roles: roles, checkInterval: checkInterval))
    }

    private func check(
        _ counter: Side, _ edge: Side, server: String, client: String...,
        at location: SourceLocation = #_sourceLocation
    ) async throws {
        let words = try await connect(server: counter, client: edge)
        #expect(words.server.hasPrefix(server), "\(words.server)", sourceLocation: location)
        for text in client where !text.isEmpty {
            #expect(words.client.contains(text), "\(words.client)", sourceLocation: location)
        }
    }
}
