import HoldfastCore
import Yams

/// Turns YAML nodes into a `Config`.
///
/// Works on nodes because they know their line and column, and goes on after a mistake, so that one
/// run shows all of them. Values that cannot be read keep a default in the meantime: any problem
/// discards the result.
struct ConfigDecoder {
    let file: String
    let substitution: Substitution
    let knownProviders: Set<String>?
    /// Providers that the operator has named, which can have prices too.
    var ownProviders: Set<String> = []
    var problems: [ConfigProblem] = []
    var warnings: [ConfigProblem] = []

    init(file: String, substitution: Substitution, knownProviders: Set<String>?) {
        self.file = file
        self.substitution = substitution
        self.knownProviders = knownProviders
    }

    /// `nil` when the text is not one YAML map; `problems` then says why.
    mutating func decode(_ text: String) -> Config? {
        guard let root = compose(text) else { return nil }
        let keys = [
            "name", "listen", "admin", "store", "counter", "counters", "providers", "keys", "caps",
            "prices", "price_file", "limits", "journal", "cluster", "tls", "node_tls",
            "plaintext_nodes",
        ]
        guard let top = fields(of: root, what: "the file", keys: keys) else { return nil }
        var config = Config(file: file)
        config.nodeName = parsed(top, "name", parseName)
        decodeAddresses(top, into: &config)
        decodeStore(top, into: &config)
        decodeTLS(top, into: &config)
        config.journal = parsed(top, "journal", parsePath)
        let providers = decodeProviders(top)
        config.providers = providers.mapValues(\.settings)
        ownProviders = Set(config.providers.filter { $0.value.type != nil }.keys)
        let keyNodes = decodeKeys(top)
        config.keys = keyNodes.map(\.entry)
        let capNodes = decodeCaps(top)
        config.caps = capNodes.map(\.cap)
        config.priceFile = parsed(top, "price_file", parsePath)
        config.priceOverrides = decodePrices(top)
        config.limits = decodeLimits(top)
        checkSecrets(keys: keyNodes, providers: providers)
        checkToken(config, keys: keyNodes, providers: providers)
        for capNode in capNodes { checkReach(of: capNode, in: config) }
        // An edge of a cluster gets its caps from the counter.
        if config.caps.isEmpty, config.counters.isEmpty {
            warn("there are no 'caps', so nothing is limited", at: root)
        }
        config.warnings = warnings.sorted(by: Config.isEarlier)
        return config
    }

    private mutating func compose(_ text: String) -> Node? {
        do {
            if let root = try Yams.compose(yaml: text), !root.isNull { return root }
            problems.append(
                ConfigProblem(
                    file: file, line: 1, column: 1, message: "the file is empty",
                    suggestion: "it needs 'providers', and 'caps' to limit what they may cost"))
        } catch let error as YamlError {
            problems.append(syntaxProblem(error, text: text))
        } catch {
            problems.append(ConfigProblem(file: file, message: "cannot read the YAML: \(error)"))
        }
        return nil
    }

    private mutating func decodeAddresses(_ top: Fields, into config: inout Config) {
        var taken: [Address: String] = [:]
        func claim(_ address: Address, _ name: String) -> String? {
            guard address.port != 0 else { return nil }
            defer { taken[address] = taken[address] ?? name }
            return taken[address]
        }
        if let listen = parsed(top, "listen", Address.init(_:)) { config.listen = listen }
        _ = claim(config.listen, "listen")
        decodeAdmin(top, into: &config)
        if let other = claim(config.adminListen, "admin.listen") {
            fail(
                "admin.listen is the same address as '\(other)'",
                at: top.byName["admin"] ?? top.node)
        }
        let counterKeys = ["listen", "advertise", "edge_slice", "edge_accounts"]
        if let counter = section(top, "counter", keys: counterKeys) {
            config.counterListen = parsed(counter, "listen", isRequired: true, Address.init(_:))
            decodeNode(counter, into: &config)
            if let listen = config.counterListen, let other = claim(listen, "counter.listen") {
                fail("counter.listen is the same address as '\(other)'", at: counter.node)
            }
        }
        decodeCounters(top, into: &config)
    }

    private mutating func decodeAdmin(_ top: Fields, into config: inout Config) {
        guard let admin = section(top, "admin", keys: ["listen", "token"]) else { return }
        config.adminToken = secret(admin, "token")
        // A token alone is enough: there is a usual address.
        let isRequired = admin.byName["token"] == nil
        if let listen = parsed(admin, "listen", isRequired: isRequired, Address.init(_:)) {
            config.adminListen = listen
        }
    }

    private mutating func decodeCounters(_ top: Fields, into config: inout Config) {
        for node in list(top, "counters") ?? [] {
            guard let address = parsed(node, named: "counters", Address.init(_:)) else { continue }
            if address.port == 0 {
                fail("a counter to connect to cannot have port 0", at: node)
            } else if config.counters.contains(address) {
                fail("the counter \(address) is listed twice", at: node)
            } else {
                config.counters.append(address)
            }
        }
    }
}

// MARK: - Syntax errors

extension ConfigDecoder {
    private func syntaxProblem(_ error: YamlError, text: String) -> ConfigProblem {
        switch error {
        case .scanner(let context, let problem, let mark, _),
            .parser(let context, let problem, let mark, _):
            let before = context.map { " \($0.text) that begins at line \($0.mark.line)" } ?? ""
            return ConfigProblem(
                file: file, line: mark.line, column: mark.column,
                message: "not valid YAML: \(problem)\(before)",
                suggestion: syntaxHint(line: mark.line, of: text))
        case .composer(_, let problem, let mark, _):
            let isMultiple = problem.contains("another document")
            return ConfigProblem(
                file: file, line: mark.line, column: mark.column,
                message: isMultiple
                    ? "a second YAML document begins here" : "not valid YAML: \(problem)",
                suggestion: isMultiple ? "keep one, and no '---' after it" : nil)
        case .duplicatedKeysInMapping(let names, let context):
            let list = names.map { "'\($0.shortened)'" }.joined(separator: ", ")
            return ConfigProblem(
                file: file, line: context.mark.line, column: context.mark.column,
                message: "duplicate key \(list): given again further down in the same map",
                suggestion: names.contains(where: \.looksLikeThousands) ? Self.commaHint : nil)
        case .reader(let problem, _, _, _), .writer(let problem), .emitter(let problem),
            .representer(let problem):
            return ConfigProblem(file: file, message: "not valid YAML: \(problem)")
        case .dataCouldNotBeDecoded:
            return ConfigProblem(file: file, message: "not valid YAML: it is not UTF-8 text")
        case .no, .memory:
            return ConfigProblem(file: file, message: "the YAML could not be read")
        }
    }

    /// Two of our own forms clash with YAML's brackets, which its messages cannot know.
    private func syntaxHint(line: Int, of text: String) -> String? {
        let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        guard lines.indices.contains(line - 1) else { return nil }
        if lines[line - 1].contains("${") { return "put a text with ${…} in double quotes" }
        if lines[line - 1].contains("[:") { return "put an IPv6 address in double quotes" }
        return nil
    }

    static let commaHint = "inside { } a comma ends the value: put the number in quotes"
}
