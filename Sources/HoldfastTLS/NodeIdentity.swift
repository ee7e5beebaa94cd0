import SwiftASN1
package import X509

/// Who a node is, as its certificate says: one URI `spiffe://CLUSTER/holdfast/ROLE/NAME` for each
/// of its roles.
///
/// Host names are not verified. Only this cluster's own authority issues such certificates, so a
/// name that it has written is worth more than an address; and addresses are learnt at run time,
/// from other counters too. What a node may be is its role, and that is checked.
package struct NodeIdentity: Hashable, Sendable {
    package var cluster: String
    package var roles: Set<NodeRole>
    package var name: String

    package init(cluster: String, roles: Set<NodeRole>, name: String) {
        precondition(!roles.isEmpty, "a node without a role")
        self.cluster = cluster
        self.roles = roles
        self.name = name
    }

    /// One for each role.
    package var uris: [String] {
        sortedRoles.map { "\(Self.scheme)\(cluster)\(Self.path)\($0.rawValue)/\(name)" }
    }

    private var sortedRoles: [NodeRole] { NodeRole.allCases.filter(roles.contains) }

    package init(of certificate: Certificate) throws(CertificateProblem) {
        var found: Set<NodeIdentity> = []
        for uri in try Self.uris(of: certificate) {
            if let identity = try Self.parse(uri) { found.insert(identity) }
        }
        guard let first = found.first else {
            throw .noIdentity("it has no URI \(Self.scheme)CLUSTER\(Self.path)ROLE/NAME")
        }
        guard found.allSatisfy({ $0.cluster == first.cluster && $0.name == first.name }) else {
            throw .noIdentity("its URIs name more than one node")
        }
        self.init(
            cluster: first.cluster, roles: found.reduce(into: []) { $0.formUnion($1.roles) },
            name: first.name)
    }

    // MARK: - URIs

    static let scheme = "spiffe://"
    private static let path = "/holdfast/"
    /// Longer names are nobody's.
    package static let nameByteCountMax = 128

    /// Letters, digits, `.`, `_` and `-`: what needs no escapes in a URI, a file name or a log.
    package static func isName(_ text: some StringProtocol) -> Bool {
        (1...nameByteCountMax).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                    || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_")
                    || byte == UInt8(ascii: "-")
            }
    }

    static func uris(of certificate: Certificate) throws(CertificateProblem) -> [String] {
        let names: SubjectAlternativeNames?
        do {
            names = try certificate.extensions.subjectAlternativeNames
        } catch {
            throw .noIdentity("its alternative names cannot be read")
        }
        return (names ?? SubjectAlternativeNames()).compactMap { name in
            guard case .uniformResourceIdentifier(let uri) = name else { return nil }
            return uri
        }
    }

    /// `nil` for a URI that is not ours.
    private static func parse(_ uri: String) throws(CertificateProblem) -> NodeIdentity? {
        guard uri.hasPrefix(scheme) else { return nil }
        let parts = uri.dropFirst(scheme.count)
            .split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count > 1, parts[1] == "holdfast" else { return nil }
        guard parts.count == 4, isName(parts[0]), isName(parts[3]) else {
            throw .noIdentity("a URI in it is not \(scheme)CLUSTER\(path)ROLE/NAME")
        }
        guard let role = NodeRole(rawValue: String(parts[2])) else {
            throw .noIdentity("a URI in it has a role that is neither 'edge' nor 'counter'")
        }
        return NodeIdentity(cluster: String(parts[0]), roles: [role], name: String(parts[3]))
    }
}

extension NodeIdentity: CustomStringConvertible {
    /// `edge 'e1' of cluster 'prod'`.
    package var description: String { "\(roleText) '\(name)' of cluster '\(cluster)'" }

    package var roleText: String { sortedRoles.map(\.rawValue).joined(separator: " and ") }
}
