/// Why a file of `node_tls`, or what `holdfast certs` was given, cannot be used.
package struct CredentialError: Error, Hashable, Sendable {
    package enum Reason: Hashable, Sendable {
        case unreadable(String)
        case notPEM(expected: String, reason: String)
        case encryptedKey
        case otherKey(certificate: String)
        case certificate(CertificateProblem)
        /// BoringSSL does not take it.
        case unusable(String)
    }

    package var file: String
    package var reason: Reason
}

extension CredentialError: CustomStringConvertible {
    package var description: String {
        switch reason {
        case .unreadable(let reason):
            """
            cannot read \(file): \(reason); 'holdfast certs init' and 'holdfast certs issue' make \
            such files
            """
        case .notPEM(let expected, let reason):
            """
            \(file) holds no \(expected) in PEM form ('-----BEGIN …'): \(reason); name a file that \
            does
            """
        case .encryptedKey:
            """
            the key in \(file) is encrypted, and nobody is there to type a passphrase: decrypt it, \
            for example with 'openssl pkey'
            """
        case .otherKey(let certificate):
            """
            the key in \(file) is not that of the certificate in \(certificate): name two files \
            that were issued together
            """
        case .certificate(let problem): "the certificate in \(file) \(problem)"
        case .unusable(let reason):
            "TLS does not take the certificate in \(file): \(reason); issue a new one"
        }
    }
}
