public import HoldfastCore

/// What one configuration file says, checked. The same file serves all commands; each asks for what
/// it needs with `requireServe()`, `requireEdge()` or `requireCounter()`.
public struct Config: Sendable {
    /// The file it was read from, for messages.
    public var file: String
    /// Where callers connect.
    public var listen = Address(host: "127.0.0.1", port: 8_080)
    /// Where the admin API and the metrics are.
    public var adminListen = Address(host: "127.0.0.1", port: 8_081)
    /// What operators show to change something through the admin listener; `nil` turns that off.
    public var adminToken: Secret?
    public var store: StoreLocation = .sqlite("holdfast.db")
    /// The name of the cluster, which a database is marked with: another one's is refused.
    public var cluster = "holdfast"
    /// Where edges connect to this counter node.
    public var counterListen: Address?
    /// Where edges reach this counter node, which other counters tell them; `nil`: where it listens.
    public var counterAdvertise: Address?
    /// How much a counter hands to one edge.
    public var edgeQuota = EdgeQuota()
    /// Callers reach the edge over TLS; `nil`: in plain text.
    public var tls: TLSSettings?
    /// Edges and counters show each other certificates; `nil`: they talk in plain text.
    public var nodeTLS: NodeTLSSettings?
    /// Edges and counters may talk in plain text across a network.
    public var allowsPlaintextNodes = false
    /// The counter nodes that this edge connects to.
    public var counters: [Address] = []
    /// The file in which an edge writes down what may be spent before it is; `nil`: none.
    public var journal: String?
    /// By the provider's name.
    public var providers: [String: ProviderSettings] = [:]
    public var keys: [KeyEntry] = []
    public var caps: [Cap] = []
    /// A table of prices, as `holdfast prices sync` writes it: instead of the built-in ones of the
    /// models that it names.
    public var priceFile: String?
    public var priceOverrides: [PriceOverride] = []
    public var limits = EdgeLimits()
    /// `nil`: the host's name.
    public var nodeName: String?
    /// What is allowed, but probably not meant.
    public var warnings: [ConfigProblem] = []

    public init(file: String) {
        self.file = file
    }
}

extension Config {
    /// Reads and checks a file.
    ///
    /// - Parameters:
    ///   - environment: Where `${VAR}` is looked up.
    ///   - knownProviders: The names that `providers` and `prices` may use; `nil` allows any.
    /// - Throws: every mistake in the file; a syntax error or a duplicate key hides the others.
    public static func load(
        path: String, environment: [String: String], knownProviders: Set<String>? = nil
    ) throws(ConfigError) -> Config {
        let text: String
        do {
            text = try readSmallFile(path)
        } catch {
            throw ConfigError(problems: [
                ConfigProblem(file: path, message: "cannot read the configuration: \(error)")
            ])
        }
        return try parse(
            text: text, file: path, environment: environment, knownProviders: knownProviders)
    }

    /// Checks the text of a configuration file, see `load`.
    ///
    /// - Parameters:
    ///   - file: The name to use in messages.
    ///   - readFile: Reads what `${file:PATH}` names; by default from the file system, where
    ///     relative paths are relative to the working directory.
    public static func parse(
        text: String, file: String, environment: [String: String],
        knownProviders: Set<String>? = nil,
        readFile: @escaping (String) throws -> String = readSubstitutedFile
    ) throws(ConfigError) -> Config {
        var decoder = ConfigDecoder(
            file: file, substitution: Substitution(environment: environment, readFile: readFile),
            knownProviders: knownProviders)
        guard let config = decoder.decode(text), decoder.problems.isEmpty else {
            throw ConfigError(problems: decoder.problems.sorted(by: Self.isEarlier))
        }
        return config
    }

    /// The default for `${file:PATH}`: a UTF-8 file of a few MiB at most.
    public static func readSubstitutedFile(_ path: String) throws -> String {
        try readSmallFile(path)
    }

    static func isEarlier(_ left: ConfigProblem, _ right: ConfigProblem) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

extension Config {
    /// What is missing for `holdfast serve`; empty when nothing is.
    public func requireServe() -> [ConfigProblem] {
        providersMissing(for: "serve") + plaintextProblems(of: [counterListen].compactMap { $0 })
    }

    /// What is missing for `holdfast edge`; empty when nothing is.
    public func requireEdge() -> [ConfigProblem] {
        var missing = providersMissing(for: "edge")
        if counters.isEmpty {
            missing.append(
                ConfigProblem(
                    file: file, message: "'holdfast edge' needs 'counters', the counter nodes",
                    suggestion: "for one on this machine, add counters: [127.0.0.1:7070]"))
        }
        return missing + plaintextProblems(of: counters)
    }

    /// What is missing for `holdfast counter`; empty when nothing is.
    public func requireCounter() -> [ConfigProblem] {
        if let counterListen { return plaintextProblems(of: [counterListen]) }
        return [
            ConfigProblem(
                file: file,
                message: "'holdfast counter' needs 'counter', where edges connect to it",
                suggestion: "add counter: { listen: 127.0.0.1:7070 }")
        ]
    }

    /// Whoever can read or write a lease connection can spend and forge budget.
    private func plaintextProblems(of addresses: [Address]) -> [ConfigProblem] {
        guard nodeTLS == nil, !allowsPlaintextNodes else { return [] }
        return addresses.filter { !$0.isLoopback }.map { address in
            ConfigProblem(
                file: file,
                message: "the lease protocol would cross the network at \(address) without TLS",
                suggestion: "add 'node_tls' ('holdfast certs init' makes certificates), or, where "
                    + "the network itself is encrypted, plaintext_nodes: true")
        }
    }

    private func providersMissing(for command: String) -> [ConfigProblem] {
        guard providers.isEmpty else { return [] }
        return [
            ConfigProblem(
                file: file, message: "'holdfast \(command)' needs at least one of 'providers'",
                suggestion: "add providers: { openai: { api_key: \"${OPENAI_API_KEY}\" } }")
        ]
    }
}
