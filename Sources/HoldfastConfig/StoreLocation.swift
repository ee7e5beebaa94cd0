/// Where accounts are kept.
public enum StoreLocation: Hashable, Sendable, CustomStringConvertible {
    /// A file path, relative ones to the working directory.
    case sqlite(String)
    /// One PostgreSQL cluster, or several that share the accounts. In this order: an account's place
    /// depends on it.
    case postgres([PostgresLocation])

    public var description: String {
        switch self {
        case .sqlite(let path): "sqlite:\(path)"
        case .postgres(let shards): shards.map(\.description).joined(separator: ", ")
        }
    }

    init(_ text: String) throws(ValueError) {
        let example = "write it as sqlite:holdfast.db or postgres://user@host/database"
        guard let colon = text.firstIndex(of: ":") else {
            throw ValueError("does not say which kind of store", suggestion: example)
        }
        switch text[..<colon] {
        case "sqlite":
            let path = text[text.index(after: colon)...]
            guard !path.isEmpty, !path.utf8.contains(0) else {
                throw ValueError("has no path", suggestion: example)
            }
            self = .sqlite(String(path))
        case "postgres", "postgresql":
            self = .postgres([try PostgresLocation(text)])
        default:
            throw ValueError("is not a kind of store that is supported", suggestion: example)
        }
    }
}

/// A PostgreSQL database, as libpq's connection URI: `postgres://user:password@host1,host2/database`.
///
/// Printing shows it without its password.
public struct PostgresLocation: Hashable, Sendable, CustomStringConvertible {
    /// With the password, for libpq.
    public let uri: String

    public init(_ text: String) throws(ValueError) {
        let example = "write it as postgres://user@host1,host2/database"
        let schemes = ["postgres://", "postgresql://"]
        guard let scheme = schemes.first(where: { text.hasPrefix($0) }) else {
            throw ValueError("is not the URI of a PostgreSQL database", suggestion: example)
        }
        let rest = text.dropFirst(scheme.count)
        guard !rest.isEmpty, text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw ValueError(
                "is not the URI of a PostgreSQL database",
                suggestion: "\(example); other characters as %20")
        }
        // Where its user part ends would be a matter of opinion, and what is shown, too.
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard !rest.dropFirst(authority.count).contains("@") else {
            throw ValueError(
                "has an @ behind its hosts",
                suggestion: "write / ? @ and : of a user or password as %2F %3F %40 %3A")
        }
        uri = text
    }

    /// Libpq takes a password from the user part and from a parameter.
    public var description: String {
        let scheme = uri.prefix { $0 != ":" }
        var rest = uri.dropFirst(scheme.count + 3)
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        rest = rest.dropFirst(authority.count)
        var shown = String(authority)
        if let at = authority.lastIndex(of: "@") {
            let user = authority[..<at].prefix { $0 != ":" }
            shown = String(user + authority[at...])
        }
        guard let question = rest.firstIndex(of: "?") else { return "\(scheme)://\(shown)\(rest)" }
        let parameters = rest[rest.index(after: question)...].split(separator: "&")
            .filter { !$0.lowercased().contains("password") }
        let query = parameters.isEmpty ? "" : "?" + parameters.joined(separator: "&")
        return "\(scheme)://\(shown)\(rest[..<question])\(query)"
    }
}
