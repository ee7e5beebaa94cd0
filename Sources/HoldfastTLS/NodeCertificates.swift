package import FoundationEssentials
import NIOSSL
import SwiftASN1
import X509

/// The files of `node_tls` as they were at one time, checked.
package struct NodeCertificates: Sendable {
    package let identity: NodeIdentity
    package let notValidAfter: Date
    /// What can go on, and should not.
    package let warnings: [String]
    /// Which certificate this is, for messages.
    package let summary: String
    private let authority: [Certificate]
    /// For each role of the process: a counter is a TLS server, an edge a client.
    private let contexts: [NodeRole: NIOSSLContext]

    private static let expiryWarning: TimeInterval = 14 * 86_400

    init(
        reading files: NodeCredentials.Files, cluster: String, roles: Set<NodeRole>
    ) async throws(CredentialError) {
        authority = try CredentialFile(reading: files.authority).certificates()
        let chain = try CredentialFile(reading: files.certificate).certificates()
        let keyFile = try CredentialFile(reading: files.key)
        let key = try keyFile.key()
        guard let leaf = chain.first else { preconditionFailure("a file without certificates") }
        guard key.publicKey == leaf.publicKey else {
            throw CredentialError(
                file: files.key, reason: .otherKey(certificate: files.certificate))
        }
        identity = try await Self.check(
            chain, authority: authority, cluster: cluster, roles: roles, file: files.certificate)
        notValidAfter = leaf.notValidAfter
        summary = """
            \(files.certificate) (\(identity), issued by '\(leaf.issuer)', valid until \
            \(leaf.notValidAfter.text))
            """
        warnings = Self.warnings(leaf, files, keyFile)
        contexts = try Self.contexts(chain, key, authority, roles, file: files.certificate)
    }

    func verification(of role: NodeRole) -> PeerVerification {
        PeerVerification(authority: authority, cluster: identity.cluster, role: role)
    }

    func context(as role: NodeRole) -> NIOSSLContext {
        guard let context = contexts[role] else {
            preconditionFailure("a connection in a role that this process does not have")
        }
        return context
    }

    // MARK: - Checks

    private static func check(
        _ chain: [Certificate], authority: [Certificate], cluster: String, roles: Set<NodeRole>,
        file: String
    ) async throws(CredentialError) -> NodeIdentity {
        let leaf = chain[0]
        do throws(CertificateProblem) {
            let identity = try NodeIdentity(of: leaf)
            for role in NodeRole.allCases where roles.contains(role) {
                let verification = PeerVerification(
                    authority: authority, cluster: cluster, role: role)
                try await verification.check(
                    leaf, issuers: Array(chain.dropFirst()), at: Date())
                try verification.check(identity, of: leaf)
            }
            return identity
        } catch {
            throw CredentialError(file: file, reason: .certificate(error))
        }
    }

    private static func warnings(
        _ leaf: Certificate, _ files: NodeCredentials.Files, _ keyFile: CredentialFile
    ) -> [String] {
        var warnings: [String] = []
        if keyFile.isWorldReadable {
            warnings.append(
                "every user of this machine can read the key \(files.key): chmod 600 \(files.key)")
        }
        if leaf.notValidAfter < Date() + expiryWarning {
            warnings.append(
                """
                the certificate in \(files.certificate) expires on \(leaf.notValidAfter.text): \
                issue a new one with 'holdfast certs issue'
                """)
        }
        return warnings
    }

    // MARK: - BoringSSL

    private static func contexts(
        _ chain: [Certificate], _ key: Certificate.PrivateKey, _ authority: [Certificate],
        _ roles: Set<NodeRole>, file: String
    ) throws(CredentialError) -> [NodeRole: NIOSSLContext] {
        do {
            let sources = try chain.map { NIOSSLCertificateSource.certificate(try $0.forTLS()) }
            let key = NIOSSLPrivateKeySource.privateKey(
                try NIOSSLPrivateKey(bytes: key.serializeAsPEM().derBytes, format: .der))
            let roots = NIOSSLTrustRoots.certificates(try authority.map { try $0.forTLS() })
            var contexts: [NodeRole: NIOSSLContext] = [:]
            for role in roles {
                var configuration: TLSConfiguration
                switch role {
                case .counter:
                    configuration = .makeServerConfigurationWithMTLS(
                        certificateChain: sources, privateKey: key, trustRoots: roots)
                case .edge:
                    configuration = .makeClientConfiguration()
                    configuration.certificateChain = sources
                    configuration.privateKey = key
                    configuration.trustRoots = roots
                }
                configuration.minimumTLSVersion = .tlsv13
                // The peer must show a certificate; `PeerVerification` says whose it has to be.
                configuration.certificateVerification = .noHostnameVerification
                contexts[role] = try NIOSSLContext(configuration: configuration)
            }
            return contexts
        } catch {
            throw CredentialError(file: file, reason: .unusable("\(error)"))
        }
    }
}

extension Certificate {
    fileprivate func forTLS() throws -> NIOSSLCertificate {
        var serializer = DER.Serializer()
        try serializer.serialize(self)
        return try NIOSSLCertificate(bytes: serializer.serializedBytes, format: .der)
    }
}
