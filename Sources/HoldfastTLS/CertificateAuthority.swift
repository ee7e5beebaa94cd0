import Crypto
package import FoundationEssentials
import SwiftASN1
package import X509

/// Issues the certificates of a cluster's nodes. For operators at a terminal; no node has its key.
package struct CertificateAuthority: Sendable {
    /// What `certs init` and `certs issue` write.
    package struct Issued: Sendable {
        package var certificatePEM: String
        package var keyPEM: String
        package var notValidAfter: Date
    }

    package enum Failure: Error, Hashable, Sendable, CustomStringConvertible {
        case otherKey(certificate: String, key: String)
        case noCluster(certificate: String)
        case endsBefore(Date)

        package var description: String {
            switch self {
            case .otherKey(let certificate, let key):
                """
                the key in \(key) is that of no certificate in \(certificate): name the two files \
                that 'holdfast certs init' has written together
                """
            case .noCluster(let certificate):
                "the certificate in \(certificate) names no cluster: say which with --cluster NAME"
            case .endsBefore(let date):
                "the authority itself ends on \(date.text): choose fewer --days, or make a new one"
            }
        }
    }

    package let cluster: String
    package let certificate: Certificate
    private let key: Certificate.PrivateKey

    /// Clocks of machines differ a little.
    private static let backdating: TimeInterval = 300

    /// A new one, with a key of its own.
    package static func make(
        cluster: String, from start: Date = Date(), days: Int
    ) throws -> (authority: CertificateAuthority, files: Issued) {
        let signingKey = P256.Signing.PrivateKey()
        let key = Certificate.PrivateKey(signingKey)
        let identifier = SubjectKeyIdentifier(hash: key.publicKey)
        // Two authorities of a cluster must have two names, in messages too.
        let number = identifier.keyIdentifier.prefix(4).map { hexadecimal($0) }.joined()
        let name = try DistinguishedName {
            OrganizationName("Holdfast")
            CommonName("authority \(number) of \(cluster)".commonName)
        }
        let end = start + TimeInterval(days) * 86_400
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: key.publicKey,
            notValidBefore: start - backdating, notValidAfter: end, issuer: name, subject: name,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                identifier
                SubjectAlternativeNames([
                    .uniformResourceIdentifier(NodeIdentity.scheme + cluster)
                ])
            },
            issuerPrivateKey: key)
        let files = Issued(
            certificatePEM: try certificate.serializeAsPEM().pemString + "\n",
            keyPEM: signingKey.pemRepresentation + "\n", notValidAfter: end)
        return (
            CertificateAuthority(cluster: cluster, certificate: certificate, key: key), files
        )
    }

    /// - Parameters:
    ///   - path: may hold several certificates: the one that the key is for is used.
    ///   - cluster: `nil` for the one that the certificate names.
    package init(certificate path: String, key keyPath: String, cluster: String? = nil) throws {
        let key = try CredentialFile(reading: keyPath).key()
        let certificates = try CredentialFile(reading: path).certificates()
        guard let certificate = certificates.first(where: { $0.publicKey == key.publicKey }) else {
            throw Failure.otherKey(certificate: path, key: keyPath)
        }
        let named = try NodeIdentity.uris(of: certificate).lazy
            .filter { $0.hasPrefix(NodeIdentity.scheme) }
            .map { String($0.dropFirst(NodeIdentity.scheme.count)) }
            .first(where: NodeIdentity.isName)
        guard let cluster = cluster ?? named else { throw Failure.noCluster(certificate: path) }
        self.init(cluster: cluster, certificate: certificate, key: key)
    }

    private init(cluster: String, certificate: Certificate, key: Certificate.PrivateKey) {
        self.cluster = cluster
        self.certificate = certificate
        self.key = key
    }

    /// A certificate and a new key for one node of the cluster.
    package func issue(
        name: String, roles: Set<NodeRole>, from start: Date = Date(), days: Int
    ) throws -> Issued {
        let identity = NodeIdentity(cluster: cluster, roles: roles, name: name)
        let end = start + TimeInterval(days) * 86_400
        guard end <= certificate.notValidAfter else {
            throw Failure.endsBefore(certificate.notValidAfter)
        }
        let nodeKey = P256.Signing.PrivateKey()
        let publicKey = Certificate.PublicKey(nodeKey.publicKey)
        let issued = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: publicKey,
            notValidBefore: start - Self.backdating, notValidAfter: end,
            issuer: certificate.subject,
            subject: try DistinguishedName {
                OrganizationName("Holdfast")
                CommonName(name.commonName)
            },
            extensions: try extensions(for: identity, publicKey), issuerPrivateKey: key)
        return Issued(
            certificatePEM: try issued.serializeAsPEM().pemString + "\n",
            keyPEM: nodeKey.pemRepresentation + "\n", notValidAfter: end)
    }

    /// `localhost` and the name are there for other tools: nodes look at the URIs only.
    private func extensions(
        for identity: NodeIdentity, _ publicKey: Certificate.PublicKey
    ) throws -> Certificate.Extensions {
        var usages: [ExtendedKeyUsage.Usage] = []
        if identity.roles.contains(.counter) { usages.append(.serverAuth) }
        if identity.roles.contains(.edge) { usages.append(.clientAuth) }
        let loopback: [[UInt8]] = [[127, 0, 0, 1], [UInt8](repeating: 0, count: 15) + [1]]
        var names = identity.uris.map { GeneralName.uniformResourceIdentifier($0) }
        names += ["localhost", identity.name].map { .dnsName($0) }
        names += loopback.map { .ipAddress(ASN1OctetString(contentBytes: $0[...])) }
        return try Certificate.Extensions {
            Critical(BasicConstraints.notCertificateAuthority)
            Critical(KeyUsage(digitalSignature: true))
            try ExtendedKeyUsage(usages)
            SubjectKeyIdentifier(hash: publicKey)
            SubjectAlternativeNames(names)
            if let issuer = try certificate.extensions.subjectKeyIdentifier {
                AuthorityKeyIdentifier(keyIdentifier: issuer.keyIdentifier)
            }
        }
    }
}

extension String {
    /// X.509 allows 64 characters; the whole name is in the URIs.
    fileprivate var commonName: String { String(prefix(64)) }
}

private func hexadecimal(_ byte: UInt8) -> String {
    (byte < 16 ? "0" : "") + String(byte, radix: 16)
}
