import Crypto
import Foundation
import HoldfastTLS
import SwiftASN1
import Testing
import X509

/// An authority and a directory for the files of its nodes, which goes with it.
final class ClusterFiles: Sendable {
    let directory: URL
    let authority: CertificateAuthority
    let authorityPEM: String
    let authorityKeyPEM: String

    init(cluster: String = "prod", from start: Date = Date(), days: Int = 100) throws {
        directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("holdfast-tls-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let (authority, issued) = try CertificateAuthority.make(
            cluster: cluster, from: start, days: days)
        self.authority = authority
        authorityPEM = issued.certificatePEM
        authorityKeyPEM = issued.keyPEM
        _ = try write("ca.crt", authorityPEM)
        _ = try write("ca.key", authorityKeyPEM)
    }

    deinit {
        do {
            try FileManager.default.removeItem(at: directory)
        } catch {
            Issue.record("\(error)")
        }
    }

    func path(_ name: String) -> String { directory.appendingPathComponent(name).path }

    /// Replaces what is there, as a rename does it.
    @discardableResult
    func write(_ name: String, _ text: String, mode: Int = 0o600) throws -> String {
        try Data(text.utf8).write(to: directory.appendingPathComponent(name), options: .atomic)
        try FileManager.default.setAttributes(
            [.posixPermissions: mode], ofItemAtPath: path(name))
        return path(name)
    }

    /// - Parameters:
    ///   - start: days from now.
    ///   - cluster: `nil` for the authority's own.
    func issue(
        _ name: String, _ roles: Set<NodeRole>, start: Int = 0, days: Int = 30,
        cluster: String? = nil
    ) throws -> NodeCredentials.Files {
        let authority = try CertificateAuthority(
            certificate: path("ca.crt"), key: path("ca.key"), cluster: cluster)
        let issued = try authority.issue(
            name: name, roles: roles, from: Date() + Double(start) * 86_400, days: days)
        return NodeCredentials.Files(
            authority: path("ca.crt"),
            certificate: try write("\(name).crt", issued.certificatePEM),
            key: try write("\(name).key", issued.keyPEM))
    }
}

/// A certificate that signs itself, with whatever URIs.
func selfSigned(
    uris: [String]
) throws -> (certificate: Certificate, certificatePEM: String, keyPEM: String) {
    let signingKey = P256.Signing.PrivateKey()
    let key = Certificate.PrivateKey(signingKey)
    let name = try DistinguishedName { CommonName("odd") }
    let certificate = try Certificate(
        version: .v3, serialNumber: .init(), publicKey: key.publicKey,
        notValidBefore: Date() - 60, notValidAfter: Date() + 3_600, issuer: name, subject: name,
        signatureAlgorithm: .ecdsaWithSHA256,
        extensions: try Certificate.Extensions {
            SubjectAlternativeNames(
                [.dnsName("localhost")] + uris.map { .uniformResourceIdentifier($0) })
        },
        issuerPrivateKey: key)
    return (
        certificate, try certificate.serializeAsPEM().pemString, signingKey.pemRepresentation
    )
}
