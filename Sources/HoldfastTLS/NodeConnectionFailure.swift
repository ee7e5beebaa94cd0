import NIOCore
import NIOSSL

/// Why two nodes have no connection, in words that say what to do.
package struct NodeConnectionFailure: Error, Hashable, Sendable {
    package enum Reason: Hashable, Sendable {
        /// The peer's certificate is not what it must be.
        case certificate(CertificateProblem)
        case noCertificate
        /// The peer said so, without a reason: TLS has none.
        case ourCertificateRefused
        case notTLS
        case oldTLS
        case hungUpDuringHandshake
        /// A peer that refuses our certificate does so after we have called the handshake complete.
        case hungUpBeforeAnyAnswer
        case silent(seconds: Int64)
        case other(String)
    }

    package var reason: Reason
    /// What this process is on the connection.
    package var role: NodeRole
    /// Our own certificate.
    package var own: String
}

extension NodeConnectionFailure: CustomStringConvertible {
    package var description: String {
        let peer = role == .counter ? NodeRole.edge.rawValue : NodeRole.counter.rawValue
        let own = "\(role.rawValue)'s certificate \(own)"
        switch reason {
        case .certificate(let problem):
            return "the \(peer)'s certificate \(problem)"
        case .noCertificate:
            return """
                the \(peer) showed no certificate: set 'node_tls' in its configuration
                """
        case .ourCertificateRefused:
            return """
                the \(peer) refused this \(own); its log says why. Usually 'node_tls.authority' \
                differs between the two, 'cluster' does, or the certificate has expired
                """
        case .notTLS:
            return """
                the \(peer) does not speak TLS: set 'node_tls' in its configuration, too
                """
        case .oldTLS:
            return "the \(peer) offers no TLS 1.3: it is no \(peer) of this version of Holdfast"
        case .hungUpDuringHandshake:
            return """
                the \(peer) hung up during the TLS handshake; its log says why. Perhaps it has no \
                'node_tls' in its configuration
                """
        case .hungUpBeforeAnyAnswer:
            return """
                the \(peer) hung up right after the TLS handshake, as it does when it refuses a \
                certificate; its log says why. This is the \(own)
                """
        case .silent(let seconds):
            return "the \(peer) did not finish the TLS handshake within \(seconds) s"
        case .other(let text):
            return "TLS with the \(peer) failed: \(text)"
        }
    }
}

extension NodeConnectionFailure.Reason {
    /// BoringSSL's codes are no API of NIOSSL; their names in its messages are all there is. A name
    /// that is not known is shown as it is.
    init(_ error: any Error) {
        let text = "\(error)"
        func says(_ words: String...) -> Bool { words.contains { text.contains($0) } }
        if says("PEER_DID_NOT_RETURN_A_CERTIFICATE") {
            self = .noCertificate
        } else if says("ALERT") && says("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED") {
            self = .ourCertificateRefused
        } else if says("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST") {
            self = .notTLS
        } else if says("UNSUPPORTED_PROTOCOL", "ALERT_PROTOCOL_VERSION") {
            self = .oldTLS
        } else if says("EOF during") || error is IOError || error is ChannelError {
            self = .hungUpDuringHandshake
        } else {
            self = .other(text)
        }
    }
}

/// Bytes of TLS where the lease protocol is expected, in plain text. Their first four are taken for
/// the length of a frame, which no frame has.
package enum UnexpectedTLS {
    /// - Parameters:
    ///   - frameByteCount: the length that was refused.
    ///   - role: what this process is on the connection.
    /// - Returns: what to tell; `nil` when the bytes are no TLS either.
    package static func explanation(frameByteCount: Int, role: NodeRole) -> String? {
        let contentType = frameByteCount >> 24
        let majorVersion = frameByteCount >> 16 & 0xFF
        guard majorVersion == 3 else { return nil }
        let peer = role == .counter ? "an edge" : "the counter"
        switch contentType {
        // An alert, or a handshake.
        case 0x15, 0x16:
            return """
                \(peer) speaks TLS on this connection, and this process has no 'node_tls' in its \
                configuration: set it on both sides
                """
        default: return nil
        }
    }
}
