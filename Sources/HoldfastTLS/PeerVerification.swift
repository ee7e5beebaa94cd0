import FoundationEssentials
import SwiftASN1
import X509

/// Decides whether a chain of certificates is that of a node of this cluster with the role that it
/// needs. For the peers' and for our own.
struct PeerVerification: Sendable {
    let authority: [Certificate]
    let cluster: String
    let role: NodeRole

    /// Among many certificates that have all signed each other there are too many ways to the
    /// authority, and whoever connects may send them.
    private static let chainCountMax = 5

    /// - Parameter chain: as shown in the handshake, the node's own first.
    func judge(_ chain: [[UInt8]]) async -> Result<NodeIdentity, CertificateProblem> {
        guard chain.count <= Self.chainCountMax else {
            return .failure(.notValid("it comes with more than \(Self.chainCountMax - 1) issuers"))
        }
        let certificates: [Certificate]
        do {
            certificates = try chain.map { try Certificate(derEncoded: $0) }
        } catch {
            return .failure(.unreadable)
        }
        guard let leaf = certificates.first else { return .failure(.unreadable) }
        do throws(CertificateProblem) {
            try await check(leaf, issuers: Array(certificates.dropFirst()), at: Date())
            let identity = try NodeIdentity(of: leaf)
            try check(identity, of: leaf)
            return .success(identity)
        } catch {
            return .failure(error)
        }
    }

    /// The chain, without what the certificate is for.
    func check(
        _ leaf: Certificate, issuers: [Certificate], at now: Date
    ) async throws(CertificateProblem) {
        var verifier = Verifier(rootCertificates: CertificateStore(authority)) {
            RFC5280Policy()
            CheckedAfterwards()
        }
        let result = await verifier.validate(
            leaf: leaf, intermediates: CertificateStore(issuers))
        guard case .couldNotValidate(let failures) = result else { return }
        // Only for the message: it is refused in any case.
        if leaf.notValidAfter < now { throw .expired(leaf.notValidAfter) }
        if leaf.notValidBefore > now { throw .notYetValid(leaf.notValidBefore) }
        guard let failure = failures.first else {
            throw .wrongAuthority(issuer: "\(leaf.issuer)".shortened)
        }
        if let issuer = failure.chain.dropFirst().first(where: { $0.notValidAfter < now }) {
            throw .notValid(
                "its authority '\(issuer.subject)' expired on \(issuer.notValidAfter.text)")
        }
        throw .notValid("\(failure.policyFailureReason)".shortened)
    }

    /// What the certificate is for.
    func check(
        _ identity: NodeIdentity, of leaf: Certificate
    ) throws(CertificateProblem) {
        guard identity.cluster == cluster else {
            throw .otherCluster(identity, expected: cluster)
        }
        guard identity.roles.contains(role) else { throw .wrongRole(identity, needed: role) }
        let usage: ExtendedKeyUsage?
        do {
            usage = try leaf.extensions.extendedKeyUsage
        } catch {
            throw .wrongKeyUsage(needed: role)
        }
        guard let usage else { return }
        let needed: ExtendedKeyUsage.Usage = role == .counter ? .serverAuth : .clientAuth
        guard usage.contains(needed) || usage.contains(.any) else {
            throw .wrongKeyUsage(needed: role)
        }
    }
}

/// Tells the verifier which critical extensions are not ignored: `check(_:of:)` enforces them.
private struct CheckedAfterwards: VerifierPolicy {
    let verifyingCriticalExtensions: [ASN1ObjectIdentifier] = [
        .X509ExtensionID.subjectAlternativeName, .X509ExtensionID.extendedKeyUsage,
    ]

    func chainMeetsPolicyRequirements(
        chain: UnverifiedCertificateChain
    ) -> PolicyEvaluationResult { .meetsPolicy }
}

extension String {
    /// What a peer has written must not fill the log.
    fileprivate var shortened: String { count > 300 ? "\(prefix(300))…" : self }
}
