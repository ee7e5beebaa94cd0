import Crypto
import FoundationEssentials
import HoldfastCore

/// Signs requests by AWS Signature Version 4, for every service but S3, which canonicalises paths
/// in another way.
struct SignatureV4: Sendable {
    struct Credentials: Sendable {
        let accessKeyID: String
        /// Whoever reads it keeps it out of logs, errors and metrics.
        let secretAccessKey: String
        /// Of temporary credentials. As secret as the key.
        let sessionToken: String?
    }

    let credentials: Credentials
    let region: String
    let service: String

    /// The headers that make a request a signed one, to be sent besides `headers`.
    ///
    /// - Parameters:
    ///   - host: As it is sent: with the port if that is not the scheme's own.
    ///   - path: As it is sent, percent-encoded.
    ///   - query: As it is sent, without the question mark.
    ///   - headers: What is signed besides the host and the headers that are returned.
    ///   - seconds: Since 1970. AWS refuses what is five minutes off.
    func headers(
        method: String, host: String, path: String, query: String,
        headers: [(String, String)], body: [UInt8], at seconds: Int64
    ) -> [(name: String, value: String)] {
        let timestamp = UnixTime(seconds).rfc3339.filter { $0 != "-" && $0 != ":" }
        var added = [(name: "x-amz-date", value: timestamp)]
        if let token = credentials.sessionToken {
            added.append((name: "x-amz-security-token", value: token))
        }
        let own = [(name: "host", value: host)] + added
        let (lines, names) = Self.canonicalHeaders(own, headers)
        let request = [
            method, Self.canonicalPath(path), Self.canonicalQuery(query), lines, names,
            Self.hexadecimal(SHA256.hash(data: body)),
        ].joined(separator: "\n")
        let day = String(timestamp.prefix(8))
        let scope = "\(day)/\(region)/\(service)/\(Self.terminator)"
        let requestDigest = Self.hexadecimal(SHA256.hash(data: Array(request.utf8)))
        let text = "\(Self.algorithm)\n\(timestamp)\n\(scope)\n\(requestDigest)"
        let signature = Self.hexadecimal(Self.authenticationCode(of: text, key: key(of: day)))
        let authorization =
            "\(Self.algorithm) Credential=\(credentials.accessKeyID)/\(scope), "
            + "SignedHeaders=\(names), Signature=\(signature)"
        return added + [(name: "authorization", value: authorization)]
    }

    private static let algorithm = "AWS4-HMAC-SHA256"
    private static let terminator = "aws4_request"

    /// The key that signs only on that day, only in this region and for this service.
    private func key(of day: String) -> [UInt8] {
        [day, region, service, Self.terminator]
            .reduce(Array("AWS4\(credentials.secretAccessKey)".utf8)) { key, part in
                Self.authenticationCode(of: part, key: key)
            }
    }

    private static func authenticationCode(of text: String, key: [UInt8]) -> [UInt8] {
        Array(
            HMAC<SHA256>.authenticationCode(
                for: Array(text.utf8), using: SymmetricKey(data: key)))
    }
}

extension SignatureV4.Credentials:
    CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable
{
    /// The identifier is no secret: AWS sends it in the clear, too.
    var description: String { "\(accessKeyID) ‹redacted›" }
    var debugDescription: String { description }
    var customMirror: Mirror { Mirror(self, children: []) }
}

extension SignatureV4: CustomStringConvertible, CustomDebugStringConvertible {
    var description: String { "\(service) in \(region) as \(credentials)" }
    var debugDescription: String { description }
}

// MARK: - The canonical form

extension SignatureV4 {
    /// Encoded once more: the service signs each segment as it was before the request was sent.
    private static func canonicalPath(_ path: String) -> String {
        precondition(path.isEmpty || path.hasPrefix("/"), "a path that does not start with /")
        var segments: [Substring] = []
        for segment in path.split(separator: "/") where segment != "." {
            if segment == ".." { _ = segments.popLast() } else { segments.append(segment) }
        }
        let isOpen = path.hasSuffix("/") && !segments.isEmpty
        return "/" + segments.map { percentEncoded($0.utf8) }.joined(separator: "/")
            + (isOpen ? "/" : "")
    }

    /// Sorted as it is encoded, by names and then by values. What was encoded in another way than
    /// AWS's is decoded first; a plus sign stands for itself.
    private static func canonicalQuery(_ query: String) -> String {
        let parameters = query.split(separator: "&").map { parameter in
            let parts = parameter.split(
                separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let encoded = parts.map { percentEncoded(percentDecoded($0.utf8)) }
            return (name: encoded[0], value: encoded.count > 1 ? encoded[1] : "")
        }
        return parameters.sorted { ($0.name, $0.value) < ($1.name, $1.value) }
            .map { "\($0.name)=\($0.value)" }
            .joined(separator: "&")
    }

    /// The lines, each with its line feed, and the names in the same order.
    private static func canonicalHeaders(
        _ own: [(name: String, value: String)], _ others: [(String, String)]
    ) -> (lines: String, names: String) {
        var values: [String: [String]] = [:]
        for (name, value) in own { values[name] = [trimmed(value)] }
        let ownNames = Set(["authorization", "x-amz-security-token"] + values.keys)
        for (name, value) in others {
            let name = name.lowercased()
            precondition(!ownNames.contains(name), "\(name) is the signature's own header")
            values[name, default: []].append(trimmed(value))
        }
        let sorted = values.sorted { $0.key < $1.key }
        let lines = sorted.map { "\($0.key):\($0.value.joined(separator: ","))\n" }.joined()
        return (lines, sorted.map(\.key).joined(separator: ";"))
    }

    /// Without spaces around it, and with one for several within.
    private static func trimmed(_ value: String) -> String {
        let words = value.utf8.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        return words.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
    }

    private static func percentEncoded(_ bytes: some Sequence<UInt8>) -> String {
        var encoded: [UInt8] = []
        for byte in bytes {
            if isUnreserved(byte) {
                encoded.append(byte)
            } else {
                encoded.append(UInt8(ascii: "%"))
                encoded.append(upperDigits[Int(byte >> 4)])
                encoded.append(upperDigits[Int(byte & 0xF)])
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }

    /// A percent sign that no two digits follow stands for itself.
    private static func percentDecoded(_ text: some Sequence<UInt8>) -> [UInt8] {
        let text = Array(text)
        var decoded: [UInt8] = []
        var index = 0
        while index < text.count {
            if text[index] == UInt8(ascii: "%"), index + 2 < text.count,
                let high = digitValue(text[index + 1]), let low = digitValue(text[index + 2])
            {
                decoded.append(high << 4 | low)
                index += 3
            } else {
                decoded.append(text[index])
                index += 1
            }
        }
        return decoded
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"), UInt8(ascii: "~"):
            true
        default: false
        }
    }

    private static func digitValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        default: nil
        }
    }

    private static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
        let digits = bytes.flatMap { [lowerDigits[Int($0 >> 4)], lowerDigits[Int($0 & 0xF)]] }
        return String(decoding: digits, as: UTF8.self)
    }

    private static let upperDigits = Array("0123456789ABCDEF".utf8)
    private static let lowerDigits = Array("0123456789abcdef".utf8)
}
