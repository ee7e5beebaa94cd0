/// A text that must not appear in output: an API key.
///
/// Printing, interpolating or dumping one, or anything that contains one, shows `‹redacted›`.
/// Deliberately not `Equatable`: comparing secrets takes a comparison in constant time.
public struct Secret: Sendable {
    /// The secret itself. Whoever reads it keeps it out of logs, errors and metrics.
    public let value: String

    public init(_ value: String) {
        self.value = value
    }

    static let redacted = "‹redacted›"
}

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { Self.redacted }
    public var debugDescription: String { Self.redacted }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension Secret {
    static let byteCountWeak = 8

    /// Why a secret would be refused by what it is sent with; `nil` when it is fine.
    static func mistake(in value: String) -> String? {
        guard !value.isEmpty else { return "is empty" }
        // It travels as a header value: anything else would be cut, re-encoded or split there.
        guard value.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            return "has a character that cannot be sent: only visible ASCII without spaces can"
        }
        return nil
    }

    /// Why a secret could be guessed; `nil` when nothing speaks for that.
    static func weakness(of value: String) -> String? {
        if value.utf8.count < byteCountWeak {
            return "is shorter than \(byteCountWeak) characters and can be guessed"
        }
        let letters = value.lowercased().filter { $0.isLetter || $0.isNumber }
        let isPlaceholder =
            placeholders.contains(letters) || placeholderParts.contains { letters.contains($0) }
            || (value.hasPrefix("<") && value.hasSuffix(">")) || Set(value).count <= 2
        return isPlaceholder ? "looks like a placeholder, not like a secret" : nil
    }

    /// Too short to be looked for inside a secret: they also occur in good ones.
    private static let placeholders: Set<String> = [
        "secret", "mysecret", "thesecret", "password", "passw0rd", "example", "testtest", "testkey",
        "apikey", "12345678", "123456789", "1234567890", "abcdefgh", "dummykey", "skdummy",
        "sktest",
    ]
    private static let placeholderParts = [
        "changeme", "changethis", "replaceme", "placeholder", "xxxx", "yourkey", "yourapikey",
        "yoursecret", "insertkey", "notasecret",
    ]
}
