import Foundation
import Testing

/// Certificates between edges and counters, from `holdfast certs` to the request.
extension Integration {
    @Suite struct NodeTLSTests {
        @Test func `certificates are written once, and the keys for their owner only`() async throws
        {
            try await withSite { site in
                let made = try await certs(site, "init", "--cluster", "prod", "--counter", "c1")
                #expect(made.code == 0, "\(made)")
                for text in ["c1.crt", "ca.key secret", "cluster: prod", "key: certs/c1.key"] {
                    #expect(made.output.contains(text), "\(made.output)")
                }
                try check(site, "certs", mode: 0o700)
                for file in ["certs/ca.key", "certs/c1.key"] { try check(site, file, mode: 0o600) }
                let key = try text(site, "certs/c1.key")
                let again = try await certs(site, "issue", "--edge", "e1", "--counter", "c1")
                #expect(again.code == 1 && again.errors.contains("not overwritten"), "\(again)")
                let once = try await certs(site, "init", "--edge", "e9")
                #expect(once.code == 1 && once.errors.contains("certs/ca.key is there"), "\(once)")
                #expect(try text(site, "certs/c1.key") == key)
                let files = try FileManager.default.contentsOfDirectory(
                    atPath: site.directory.appendingPathComponent("certs").path)
                #expect(files.sorted() == ["c1.crt", "c1.key", "ca.crt", "ca.key"])
            }
        }

        @Test func `certificates of more nodes are issued and shown`() async throws {
            try await withSite { site in
                _ = try await certs(site, "init", "--cluster", "prod", "--counter", "c1")
                let issued = try await certs(
                    site, "issue", "--edge", "e1", "--node", "n1", "--days", "7")
                #expect(issued.code == 0, "\(issued)")
                let shown = try await site.run(
                    [
                        "certs", "show", "certs/ca.crt", "certs/c1.crt", "certs/e1.crt",
                        "certs/n1.crt",
                    ])
                #expect(shown.code == 0 && shown.errors.isEmpty, "\(shown)")
                let rows = shown.output.split(separator: "\n").dropFirst()
                let expected = [
                    ["authority", "prod"], ["counter", "c1", "prod"], ["edge", "e1", "prod"],
                    ["edge and counter", "n1", "prod"],
                ]
                #expect(rows.count == expected.count)
                for (row, words) in zip(rows, expected) {
                    for word in words { #expect(row.contains(word), "\(row)") }
                }
                for (arguments, text) in [
                    (["issue"], "name the nodes"),
                    (["issue", "--edge", "../e"], "is no name"),
                    (["issue", "--edge", "e2", "--counter", "e2"], "use --node"),
                    (["issue", "--edge", "e2", "--days", "0"], "--days"),
                    (["issue", "--edge", "e2", "--days", "3650"], "--days"),
                    (["issue", "--edge", "e2", "--dir", "nowhere"], "no such file"),
                    (["show", "holdfast.yaml"], "holdfast.yaml"),
                ] {
                    let result = try await site.run(["certs"] + arguments)
                    #expect(result.code != 0, "\(arguments)")
                    #expect(result.errors.contains(text), "\(result)")
                }
            }
        }

        @Test func `an edge and a counter with certificates serve a request`() async throws {
            try await withSite { site in
                let provider = try await site.fakeProvider()
                _ = try await certs(
                    site, "init", "--cluster", "prod", "--counter", "c1", "--edge", "e1")
                try write(site, provider, "c1")
                let counter = try await site.counter()
                try write(site, provider, "e1", more: "name: impostor\n")
                let edge = try await site.edge(counter: counter.port)
                try await edge.ready()
                #expect(try await edge.send(Call()).status == 200)
                let sessions = try await counter.admin("/sessions").text
                #expect(sessions.contains("e1") && !sessions.contains("impostor"), "\(sessions)")
                #expect(edge.process.log.contains("by its certificate's name"))
                try await edge.settled()
                try await counter.booksEqual(provider, cap: "cap")
            }
        }

        @Test func `one process that is both uses its certificate for both`() async throws {
            try await withSite { site in
                let provider = try await site.fakeProvider()
                _ = try await certs(
                    site, "init", "--cluster", "prod", "--node", "n1", "--edge", "e1")
                try write(site, provider, "n1")
                let process = try site.start(["serve", "--config", site.configFile.path])
                let node = Node(
                    site: site, process: process,
                    port: try await process.port(announcedBy: "edge is up"),
                    adminPort: try await process.port(announcedBy: "admin listener is up"))
                try await node.ready()
                #expect(try await node.send(Call()).status == 200)
                try await node.settled()
                try write(site, provider, "e1")
                let wrong = try await site.run(["serve", "--config", site.configFile.path])
                #expect(wrong.code == 1 && wrong.errors.contains("--node NAME"), "\(wrong)")
            }
        }

        @Test func `a certificate that is not this node's stops the start`() async throws {
            try await withSite { site in
                let provider = try await site.fakeProvider()
                _ = try await certs(
                    site, "init", "--cluster", "prod", "--counter", "c1", "--edge", "e1")
                func check(
                    _ command: String, _ name: String, cluster: String = "prod", _ text: String,
                    at location: SourceLocation = #_sourceLocation
                ) async throws {
                    try write(site, provider, name, cluster: cluster)
                    var arguments = [command, "--config", site.configFile.path]
                    if command == "edge" { arguments += ["--counter", "127.0.0.1:1"] }
                    let result = try await site.run(arguments)
                    let got = Comment("\(command) \(name): \(result)")
                    #expect(result.code == 1, got, sourceLocation: location)
                    #expect(
                        result.errors.hasPrefix("error: node_tls: "), got, sourceLocation: location)
                    #expect(result.errors.contains(text), got, sourceLocation: location)
                }
                try await check("counter", "e1", "which is no counter")
                try await check("edge", "c1", "which is no edge")
                try await check("counter", "c1", cluster: "test", "this is cluster 'test'")
                try await check("edge", "e2", "node_tls: cannot read certs/e2.crt: there is no")
            }
        }

        @Test func `a certificate of another authority keeps an edge out`() async throws {
            try await withSite { site in
                let provider = try await site.fakeProvider()
                _ = try await certs(site, "init", "--cluster", "prod", "--counter", "c1")
                let other = ["--dir", "other", "--cluster", "prod", "--edge", "e1"]
                _ = try await site.run(["certs", "init"] + other)
                let both = try text(site, "certs/ca.crt") + text(site, "other/ca.crt")
                try Data(both.utf8).write(
                    to: site.directory.appendingPathComponent("other/both.crt"))
                try write(site, provider, "c1")
                let counter = try await site.counter()
                // It does not believe the counter.
                try write(site, provider, "e1", directory: "other")
                var edge = try await site.edge(counter: counter.port)
                try await says(
                    edge, "counter not reached", "the counter's certificate is issued by")
                try await says(
                    counter, "no connection with an edge", "refused this counter's certificate")
                await edge.process.stop()
                // It does, but is not believed.
                try write(site, provider, "e1", authority: "both.crt", directory: "other")
                edge = try await site.edge(counter: counter.port)
                try await says(
                    counter, "no connection with an edge", "the edge's certificate is issued by")
                try await says(edge, "counter connection lost", "other/e1.crt")
                let ready = try await edge.admin("/readyz")
                #expect(ready.status == 503)
                #expect(ready.text.contains("no counter has answered yet"))
            }
        }

        @Test func `plain text and TLS do not understand each other, and say so`() async throws {
            try await withSite { site in
                let provider = try await site.fakeProvider()
                _ = try await certs(
                    site, "init", "--cluster", "prod", "--counter", "c1", "--edge", "e1")
                try write(site, provider, "c1")
                var counter = try await site.counter()
                try site.write(Self.config(provider))
                var edge = try await site.edge(counter: counter.port)
                try await says(
                    counter, "no connection with an edge", "the edge does not speak TLS")
                try await says(edge, "counter connection lost", "the counter speaks TLS")
                await edge.process.stop()
                await counter.process.stop()
                counter = try await site.counter()
                try write(site, provider, "e1")
                edge = try await site.edge(counter: counter.port)
                try await says(
                    counter, "an edge sent bytes that are no frame", "an edge speaks TLS")
                try await says(edge, "counter not reached", "Perhaps it has no 'node_tls'")
            }
        }

        // MARK: - Checks

        private static func config(_ provider: Provider) -> SiteConfig {
            SiteConfig(provider: provider.port, caps: ["name: cap, limit: $5, per: total"])
        }

        private func certs(
            _ site: Site, _ arguments: String...
        ) async throws -> (code: Int32, output: String, errors: String) {
            try await site.run(["certs"] + arguments)
        }

        /// The configuration of one node.
        private func write(
            _ site: Site, _ provider: Provider, _ name: String, cluster: String = "prod",
            authority: String = "ca.crt", directory: String = "certs", more: String = ""
        ) throws {
            let files =
                "authority: \(directory)/\(authority), "
                + "certificate: \(directory)/\(name).crt, key: \(directory)/\(name).key"
            try site.write(
                yaml: Self.config(provider).yaml
                    + "cluster: \(cluster)\nnode_tls: { \(files) }\n" + more)
        }

        /// Waits for a line of the log.
        private func says(
            _ node: Node, _ message: String, _ text: String
        ) async throws {
            _ = try await eventually("\(node.process.name) to say '\(text)'") {
                node.process.events(message).first { $0["error"]?.contains(text) == true }
            }
        }

        private func text(_ site: Site, _ file: String) throws -> String {
            try String(
                contentsOf: site.directory.appendingPathComponent(file), encoding: .utf8)
        }

        private func check(
            _ site: Site, _ file: String, mode: Int, at location: SourceLocation = #_sourceLocation
        ) throws {
            let attributes = try FileManager.default.attributesOfItem(
                atPath: site.directory.appendingPathComponent(file).path)
            let found = attributes[.posixPermissions] as? Int
            #expect(found == mode, "\(file)", sourceLocation: location)
        }
    }
}
