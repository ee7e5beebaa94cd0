import Crypto
import Foundation
import SwiftASN1
import X509

/// A certificate of 127.0.0.1 that is its own authority, and its key, in PEM form.
struct SelfSigned {
    let certificate: String
    let key: String

    init(_ name: String, until end: Date = .now + 86_400) throws {
        let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let subject = try DistinguishedName { CommonName(name) }
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: key.publicKey,
            notValidBefore: .now - 10 * 86_400, notValidAfter: end, issuer: subject,
            subject: subject, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                SubjectAlternativeNames([
                    .ipAddress(ASN1OctetString(contentBytes: [127, 0, 0, 1]))
                ])
            },
            issuerPrivateKey: key)
        self.certificate = try certificate.serializeAsPEM().pemString + "\n"
        self.key = try key.serializeAsPEM().pemString + "\n"
    }

    /// Where `SiteConfig.hasTLS` expects them. The key first, as a careful operator does it.
    @discardableResult
    func write(to site: Site) throws -> SelfSigned {
        try Data(key.utf8).write(to: site.directory.appendingPathComponent("tls.key"))
        try Data(certificate.utf8).write(to: site.directory.appendingPathComponent("tls.crt"))
        return self
    }
}
