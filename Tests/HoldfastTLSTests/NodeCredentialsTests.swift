import Foundation
import HoldfastTLS
import Synchronization
import Testing

@Suite struct NodeCredentialsTests {
    @Test func `good files say who this node is`() async throws {
        let cluster = try ClusterFiles()
        for roles: Set<NodeRole> in [[.edge], [.counter], [.edge, .counter]] {
            let files = try cluster.issue("n", roles)
            let loaded = try await credentials(files, roles).current()
            #expect(loaded.identity == NodeIdentity(cluster: "prod", roles: roles, name: "n"))
            #expect(loaded.warnings.isEmpty, "\(loaded.warnings)")
            #expect(loaded.summary.contains(files.certificate))
        }
        // A node that could be both may be one of them.
        _ = try await credentials(cluster.issue("n", [.edge, .counter]), [.edge])
    }

    @Test func `one of several authorities is enough`() async throws {
        let (old, new) = (try ClusterFiles(), try ClusterFiles())
        var files = try new.issue("e1", [.edge])
        files.authority = try new.write("both.crt", old.authorityPEM + new.authorityPEM)
        _ = try await credentials(files, [.edge])
    }

    @Test func `files that cannot be used say what to do`() async throws {
        let cluster = try ClusterFiles()
        let good = try cluster.issue("e1", [.edge])
        let other = try cluster.issue("e2", [.edge])
        try await check(good.with { $0.authority += "x" }, "ca.crtx", "no such file")
        try await check(good.with { $0.certificate += "x" }, "e1.crtx", "certs issue")
        try await check(good.with { $0.key += "x" }, "e1.keyx", "no such file")
        try await check(good.with { $0.key = cluster.directory.path }, "it is a directory")
        let empty = try cluster.write("empty", "")
        try await check(good.with { $0.authority = empty }, "empty holds no certificate")
        try await check(good.with { $0.certificate = empty }, "empty holds no certificate")
        try await check(good.with { $0.key = empty }, "empty holds no private key")
        let text = try cluster.write("text", "-----BEGIN CERTIFICATE-----\nAAAA\n")
        try await check(good.with { $0.certificate = text }, "text holds no certificate", "PEM")
        let junk = try cluster.write(
            "junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        try await check(good.with { $0.certificate = junk }, "junk holds no X.509 certificate")
        try await check(good.with { $0.certificate = good.key }, "holds PRIVATE KEY only")
        try await check(good.with { $0.key = good.certificate }, "holds CERTIFICATE only")
        let locked = try cluster.write(
            "locked",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
        try await check(good.with { $0.key = locked }, "locked is encrypted", "openssl pkey")
        try await check(good.with { $0.key = other.key }, "e2.key is not that of", "e1.crt")
    }

    @Test func `a certificate that is not this node's is refused at the start`() async throws {
        let cluster = try ClusterFiles(from: Date() - 50 * 86_400)
        let expired = try cluster.issue("old", [.edge], start: -10, days: 9)
        try await check(expired, "old.crt expired on 20", "certs issue")
        try await check(
            cluster.issue("young", [.edge], start: 2), "young.crt is valid from 20", "clocks")
        let stranger = try ClusterFiles()
        try await check(
            stranger.issue("e1", [.edge]).with { $0.authority = cluster.path("ca.crt") },
            "is issued by", "ca.key")
        try await check(
            cluster.issue("e1", [.edge], cluster: "test"), "edge 'e1' of cluster 'test'",
            "this is cluster 'prod'")
        try await check(
            cluster.issue("e1", [.edge]), roles: [.counter], "which is no counter",
            "certs issue --counter NAME")
        try await check(cluster.issue("c1", [.counter]), "which is no edge", "--edge NAME")
        try await check(
            cluster.issue("c1", [.counter]), roles: [.edge, .counter], "which is no edge",
            "--node NAME")
        let odd = try selfSigned(uris: ["https://a.example"])
        let file = try cluster.write("odd.crt", odd.certificatePEM)
        try await check(
            .init(
                authority: file, certificate: file, key: try cluster.write("odd.key", odd.keyPEM)),
            "odd.crt names no Holdfast node")
    }

    @Test func `what can go on is a warning`() async throws {
        let cluster = try ClusterFiles()
        let files = try cluster.issue("e1", [.edge], days: 5)
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o644], ofItemAtPath: files.key)
        let warnings = try await credentials(files, [.edge]).current().warnings
        #expect(warnings.count == 2)
        #expect(warnings[0].contains("chmod 600 \(files.key)"))
        #expect(warnings[1].contains("expires on"))
    }

    @Test func `files that change are read again, and bad ones change nothing`() async throws {
        let cluster = try ClusterFiles()
        let events = Mutex<[String]>([])
        let files = try cluster.issue("e1", [.edge])
        let credentials = try await NodeCredentials(
            files: files, cluster: "prod", roles: [.edge], checkInterval: .zero,
            onEvent: { event in
                switch event {
                case .reloaded(let new): events.withLock { $0.append(new.identity.name) }
                case .notReloaded(let error): events.withLock { $0.append("\(error)") }
                }
            })
        func expect(
            _ name: String, _ expected: [String], at location: SourceLocation = #_sourceLocation
        ) async {
            // The second look finds nothing new, and says nothing.
            for _ in 0..<2 {
                let found = await credentials.current().identity.name
                #expect(found == name, sourceLocation: location)
            }
            let told = events.withLock { events in
                defer { events = [] }
                return events
            }
            #expect(told.count == expected.count, "\(told)", sourceLocation: location)
            for (told, text) in zip(told, expected) {
                #expect(told.contains(text), "\(told)", sourceLocation: location)
            }
        }
        await expect("e1", [])
        let next = try cluster.authority.issue(name: "e2", roles: [.edge], days: 5)
        try cluster.write("e1.crt", next.certificatePEM)
        await expect("e1", ["is not that of"])
        try cluster.write("e1.key", next.keyPEM)
        await expect("e2", ["e2"])
        try FileManager.default.removeItem(atPath: files.authority)
        await expect("e2", ["no such file"])
        try cluster.write("ca.crt", cluster.authorityPEM)
        await expect("e2", ["e2"])
    }

    @Test func `a directory behind a symbolic link can be exchanged`() async throws {
        let (old, new) = (try ClusterFiles(), try ClusterFiles())
        _ = try old.issue("n", [.edge])
        _ = try new.issue("n", [.edge], days: 7)
        let link = old.path("current")
        try FileManager.default.createSymbolicLink(
            atPath: link, withDestinationPath: old.directory.path)
        let credentials = try await NodeCredentials(
            files: .init(
                authority: link + "/ca.crt", certificate: link + "/n.crt", key: link + "/n.key"),
            cluster: "prod", roles: [.edge], checkInterval: .zero)
        let before = await credentials.current().notValidAfter
        try FileManager.default.removeItem(atPath: link)
        try FileManager.default.createSymbolicLink(
            atPath: link, withDestinationPath: new.directory.path)
        #expect(await credentials.current().notValidAfter < before)
    }

    @Test func `an authority issues for its own cluster and lifetime only`() throws {
        let cluster = try ClusterFiles(days: 10)
        #expect(throws: CertificateAuthority.Failure.self) {
            try cluster.authority.issue(name: "e1", roles: [.edge], days: 11)
        }
        let other = try ClusterFiles(cluster: "test")
        let error = #expect(throws: CertificateAuthority.Failure.self) {
            try CertificateAuthority(
                certificate: cluster.path("ca.crt"), key: other.path("ca.key"))
        }
        #expect(error?.description.contains("certs init") == true)
        let again = try CertificateAuthority(
            certificate: other.path("ca.crt"), key: other.path("ca.key"))
        #expect(again.cluster == "test")
    }

    // MARK: - Checks

    private func credentials(
        _ files: NodeCredentials.Files, _ roles: Set<NodeRole>
    ) async throws -> NodeCredentials {
        try await NodeCredentials(files: files, cluster: "prod", roles: roles)
    }

    private func check(
        _ files: NodeCredentials.Files, roles: Set<NodeRole> = [.edge], _ texts: String...,
        at location: SourceLocation = #_sourceLocation
    ) async throws {
        let error = await #expect(throws: CredentialError.self, sourceLocation: location) {
            try await credentials(files, roles)
        }
        let description = error?.description ?? "nothing"
        for text in texts {
            #expect(description.contains(text), "\(description)", sourceLocation: location)
        }
    }
}

extension NodeCredentials.Files {
    fileprivate func with(_ change: (inout Self) -> Void) -> Self {
        var copy = self
        change(&copy)
        return copy
    }
}
