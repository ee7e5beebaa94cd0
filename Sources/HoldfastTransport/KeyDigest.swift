import Crypto
import Foundation

/// The form in which virtual keys are looked up: HMAC-SHA-256 of the secret under a pepper that the
/// store made once. A stolen cache of digests opens nothing.
package enum KeyDigest {
    package static func of(secret: some Sequence<UInt8>, pepper: [UInt8]) -> [UInt8] {
        Array(
            HMAC<SHA256>.authenticationCode(
                for: Array(secret), using: SymmetricKey(data: pepper)))
    }

    package static func of(secret: String, pepper: [UInt8]) -> [UInt8] {
        of(secret: secret.utf8, pepper: pepper)
    }
}
