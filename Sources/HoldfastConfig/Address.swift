/// Where to listen or to connect: a host name or IP address, and a TCP port.
public struct Address: Hashable, Sendable, CustomStringConvertible {
    /// Without brackets: `127.0.0.1`, `::1`, `counter-1.internal`.
    public var host: String
    /// 0 means "any free port", and makes sense for listening only.
    public var port: Int

    public init(host: String, port: Int) {
        precondition((0...65_535).contains(port), "a port outside 0…65535")
        self.host = host
        self.port = port
    }

    /// Reads `127.0.0.1:8080`, `counter-1:7070` or `[::1]:8080`.
    public init(_ text: String) throws(ValueError) {
        let example = "write it as 127.0.0.1:8080 or \"[::1]:8080\""
        guard let colon = text.lastIndex(of: ":") else {
            throw ValueError("has no port", suggestion: example)
        }
        let host = text[..<colon]
        let digits = text[text.index(after: colon)...]
        guard (1...5).contains(digits.utf8.count), digits.utf8.allSatisfy(\.isDigit),
            let port = Int(digits), port <= 65_535
        else { throw ValueError("has a port that is not 0…65535", suggestion: example) }
        guard !host.isEmpty else {
            throw ValueError(
                "has no host", suggestion: "0.0.0.0:\(port) listens on every interface")
        }
        if host.hasPrefix("[") {
            let inside = host.dropFirst().dropLast()
            guard host.hasSuffix("]"), Self.isIPv6(inside) else {
                throw ValueError("is not an address", suggestion: example)
            }
            self.init(host: String(inside), port: port)
        } else {
            guard host.utf8.allSatisfy({ $0.isNameByte }) else {
                let hint = host.contains(":") ? "put an IPv6 host in brackets" : example
                throw ValueError("is not an address", suggestion: hint)
            }
            self.init(host: String(host), port: port)
        }
    }

    /// Only the alphabet: whether the address exists is for the system to say when it is used.
    private static func isIPv6(_ text: Substring) -> Bool {
        text.contains(":")
            && text.utf8.allSatisfy { byte in
                byte.isDigit || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte | 0x20)
                    || byte == UInt8(ascii: ":") || byte == UInt8(ascii: ".")
            }
    }

    /// Only processes of this machine reach it, as far as the name tells.
    public var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }

    /// Every interface: fine to listen on, useless to connect to.
    public var isWildcard: Bool { ["0.0.0.0", "::", "*"].contains(host) }

    public var description: String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}

extension UInt8 {
    var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }

    var isASCIILetter: Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self | 0x20)
    }

    /// What the names of caps, keys and nodes are made of.
    var isNameByte: Bool {
        isDigit || isASCIILetter || self == UInt8(ascii: ".") || self == UInt8(ascii: "_")
            || self == UInt8(ascii: "-")
    }
}
