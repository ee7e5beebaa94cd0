package import FoundationEssentials
import X509

/// What a certificate says, for `holdfast certs show`.
package struct CertificateFacts: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        case node(NodeIdentity)
        /// An authority, and the cluster that it names.
        case authority(cluster: String?)
        case other(CertificateProblem)
    }

    package var kind: Kind
    package var subject: String
    package var issuer: String
    package var notValidBefore: Date
    package var notValidAfter: Date

    /// One for each certificate in the file.
    package static func read(_ path: String) throws -> [CertificateFacts] {
        try CredentialFile(reading: path).certificates().map(CertificateFacts.init(of:))
    }

    private init(of certificate: Certificate) throws {
        subject = "\(certificate.subject)"
        issuer = "\(certificate.issuer)"
        notValidBefore = certificate.notValidBefore
        notValidAfter = certificate.notValidAfter
        if case .isCertificateAuthority = try certificate.extensions.basicConstraints {
            let uri = try NodeIdentity.uris(of: certificate).first {
                $0.hasPrefix(NodeIdentity.scheme)
            }
            kind = .authority(
                cluster: uri.map { String($0.dropFirst(NodeIdentity.scheme.count)) })
            return
        }
        do {
            kind = .node(try NodeIdentity(of: certificate))
        } catch {
            kind = .other(error)
        }
    }
}
