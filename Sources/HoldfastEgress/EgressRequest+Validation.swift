extension EgressRequest {
    /// Lower-case names of the headers that only the transport may set. A caller's own would let
    /// the body's end be read differently here and there, or send a key to another host.
    static let ownedHeaders: Set<String> = [
        "connection", "content-length", "expect", "host", "http2-settings", "keep-alive",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    ]

    /// Headers that libcurl adds by itself unless it is told otherwise.
    private static let addedByLibcurl = ["Accept", "Content-Type", "Expect"]

    /// Why the request must not be sent, or `nil`. Names no value: a header may hold a key.
    var problem: String? {
        guard !method.utf8.isEmpty, method.utf8.allSatisfy(\.isToken) else {
            return "the method is not a token"
        }
        let scheme = url.prefix { $0 != ":" }.lowercased()
        guard scheme == "http" || scheme == "https" else {
            return "the URL is neither http nor https"
        }
        guard url.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            return "the URL has a space, a control character or a character that is not ASCII"
        }
        for (name, value) in headers {
            guard !name.utf8.isEmpty, name.utf8.allSatisfy(\.isToken) else {
                return "a header name is not a token"
            }
            guard value.utf8.allSatisfy(\.isFieldContent) else {
                return "the value of header \(name) has a control character"
            }
        }
        guard connectTimeout > .zero, idleTimeout > .zero, totalTimeout ?? .seconds(1) > .zero
        else {
            return "a timeout is not positive"
        }
        return nil
    }

    /// The header lines in libcurl's notation: `Name: value`, `Name;` for an empty value, `Name:`
    /// for a header that libcurl would add and must not.
    var headerLines: [String] {
        var lines: [String] = []
        var names: Set<String> = []
        for (name, value) in headers {
            let lowercaseName = name.lowercased()
            if Self.ownedHeaders.contains(lowercaseName) { continue }
            names.insert(lowercaseName)
            let isBlank = value.utf8.allSatisfy { $0 == UInt8(ascii: " ") || $0 == 0x09 }
            lines.append(isBlank ? "\(name);" : "\(name): \(value)")
        }
        for name in Self.addedByLibcurl where !names.contains(name.lowercased()) {
            lines.append("\(name):")
        }
        return lines
    }

    /// Whether sending it twice costs nothing: a read without content.
    var isFreeToRepeat: Bool { (method == "GET" || method == "HEAD") && body.isEmpty }
}

extension UInt8 {
    /// RFC 9110 `tchar`.
    var isToken: Bool {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"),
            UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"),
            UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "^"), UInt8(ascii: "_"),
            UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            true
        default:
            false
        }
    }

    /// Allowed in a header value: printable, space, tab, and bytes above ASCII.
    var isFieldContent: Bool { self == 0x09 || (self >= 0x20 && self != 0x7F) }
}
