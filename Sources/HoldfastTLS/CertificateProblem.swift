package import FoundationEssentials

/// What is wrong with a node's certificate, ours or the peer's. Reads on after "the certificate …".
package enum CertificateProblem: Error, Hashable, Sendable {
    /// It is no certificate that could be read.
    case unreadable
    case wrongAuthority(issuer: String)
    case expired(Date)
    case notYetValid(Date)
    case noIdentity(String)
    case otherCluster(NodeIdentity, expected: String)
    case wrongRole(NodeIdentity, needed: NodeRole)
    case wrongKeyUsage(needed: NodeRole)
    /// Some other rule for certificates is broken.
    case notValid(String)
}

extension CertificateProblem: CustomStringConvertible {
    package var description: String {
        switch self {
        case .unreadable:
            "cannot be read as an X.509 certificate: issue a new one with 'holdfast certs issue'"
        case .wrongAuthority(let issuer):
            """
            is issued by '\(issuer)', which is not the authority that 'node_tls.authority' names \
            here: issue it with this cluster's ca.key ('holdfast certs issue'), or add its \
            authority to that file
            """
        case .expired(let date):
            """
            expired on \(date.text): issue a new one with 'holdfast certs issue' and replace its \
            files; no restart is needed
            """
        case .notYetValid(let date):
            "is valid from \(date.text) only: compare the clocks of the machines"
        case .noIdentity(let reason):
            "names no Holdfast node, \(reason): issue one with 'holdfast certs issue'"
        case .otherCluster(let identity, let expected):
            """
            is that of \(identity), and this is cluster '\(expected)': use a certificate of this \
            cluster, or correct 'cluster' in the configuration
            """
        case .wrongRole(let identity, let needed):
            """
            is that of \(identity), which is no \(needed.rawValue): issue one with 'holdfast \
            certs issue --\(needed.rawValue) NAME', or --node NAME for a process that is both
            """
        case .wrongKeyUsage(let needed):
            """
            must not be used by a TLS \(needed == .counter ? "server" : "client"), as a \
            \(needed.rawValue) is: issue one with 'holdfast certs issue'
            """
        case .notValid(let reason):
            "breaks a rule for certificates, \(reason): issue a new one with 'holdfast certs issue'"
        }
    }
}

extension Date {
    /// `2026-03-01T12:00:00Z`.
    package var text: String { formatted(.iso8601) }
}
