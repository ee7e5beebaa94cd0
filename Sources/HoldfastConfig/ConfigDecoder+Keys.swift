import HoldfastCore
import HoldfastProviders
import Yams

/// A key and where its secret stands, for checks that need the rest of the file.
struct KeyNode {
    let entry: KeyEntry
    let secretNode: Node
}

struct ProviderNode {
    var settings = ProviderSettings()
    var apiKeyNode: Node?
}

// MARK: - Keys

extension ConfigDecoder {
    mutating func decodeKeys(_ top: Fields) -> [KeyNode] {
        var keys: [KeyNode] = []
        var lines: [String: Int] = [:]
        for node in list(top, "keys") ?? [] {
            guard let key = decodeKey(node) else { continue }
            let name = key.entry.policy.name
            if let line = lines[name] {
                fail("there is already a key '\(name)', at line \(line)", at: node)
            }
            lines[name] = lines[name] ?? node.mark?.line ?? 0
            keys.append(key)
        }
        return keys
    }

    private mutating func decodeKey(_ node: Node) -> KeyNode? {
        let settable = ScopeDimension.allCases.filter(\.isCallerSettable)
        let keys = ["name", "secret", "allow"] + settable.map(\.name)
        guard let fields = fields(of: node, what: "a key", keys: keys) else { return nil }
        let name = parsed(fields, "name", isRequired: true, parseName)
        let secret = secret(fields, "secret", isRequired: true)
        var policy = KeyPolicy(name: name ?? "", fixed: scopeValues(fields, of: settable))
        for dimension in dimensions(fields, "allow") {
            let place = fields.byName["allow"] ?? node
            if !dimension.isCallerSettable {
                fail(
                    "'allow' has '\(dimension.name)', which callers cannot set", at: place,
                    suggestion: "they can set \(settable.map(\.name).joined(separator: ", "))")
            } else if policy.fixed[dimension] != nil {
                warn(
                    "'allow' has '\(dimension.name)', which this key fixes; the fixed value wins",
                    at: place)
            }
            policy.callerSettable.insert(dimension)
        }
        guard name != nil, let secret, let secretNode = fields.byName["secret"] else { return nil }
        return KeyNode(entry: KeyEntry(policy: policy, secret: secret), secretNode: secretNode)
    }

    /// Reports without quoting, whatever the file says.
    mutating func secret(_ parent: Fields, _ key: String, isRequired: Bool = false) -> Secret? {
        guard let text = text(parent, key, isRequired: isRequired) else { return nil }
        if let mistake = Secret.mistake(in: text.value) {
            fail("'\(key)' \(mistake)", at: text.node)
            return nil
        }
        if let weakness = Secret.weakness(of: text.value) {
            warn("'\(key)' \(weakness)", at: text.node)
        }
        return Secret(text.value)
    }

    /// One secret must stand for one thing, or who it is could not be told.
    mutating func checkSecrets(keys: [KeyNode], providers: [String: ProviderNode]) {
        var owners: [String: String] = [:]
        for key in keys {
            let name = key.entry.policy.name
            if let owner = owners[key.entry.secret.value] {
                fail("the keys '\(owner)' and '\(name)' have the same secret", at: key.secretNode)
            } else {
                owners[key.entry.secret.value] = name
            }
        }
        for (provider, settings) in providers {
            guard let apiKey = settings.settings.apiKey, let owner = owners[apiKey.value],
                let node = settings.apiKeyNode
            else { continue }
            fail(
                "the key '\(owner)' has the 'api_key' of '\(provider)' as its secret: "
                    + "whoever has it can go around every cap", at: node)
        }
    }

    /// Operators' token must open nothing else, and nothing else may be operators' token.
    mutating func checkToken(
        _ config: Config, keys: [KeyNode], providers: [String: ProviderNode]
    ) {
        guard let token = config.adminToken?.value else { return }
        for key in keys where key.entry.secret.value == token {
            fail(
                "the key '\(key.entry.policy.name)' has 'admin.token' as its secret: its callers "
                    + "could change the accounts", at: key.secretNode)
        }
        for (name, provider) in providers where provider.settings.apiKey?.value == token {
            guard let node = provider.apiKeyNode else { continue }
            fail("'admin.token' is the 'api_key' of '\(name)'", at: node)
        }
    }
}

// MARK: - Providers

extension ConfigDecoder {
    mutating func decodeProviders(_ top: Fields) -> [String: ProviderNode] {
        guard let node = top.byName["providers"],
            let fields = anyFields(of: node, what: "'providers'")
        else { return [:] }
        var providers: [String: ProviderNode] = [:]
        for (name, node) in fields.byName {
            let provider = decodeProvider(node, name: name)
            do {
                if provider.settings.type == nil {
                    _ = try parseProviderName(name, known: knownProviders)
                } else {
                    _ = try parseOwnProviderName(name, known: knownProviders)
                }
            } catch {
                fail("'\(name.shortened)' \(error.message)", at: node, suggestion: error.suggestion)
            }
            providers[name] = provider
        }
        return providers
    }

    private mutating func decodeProvider(_ node: Node, name: String) -> ProviderNode {
        let keys = [
            "type", "api_key", "base_url", "connect_timeout", "idle_timeout", "service_tier",
            "models",
        ]
        var provider = ProviderNode()
        let what = "provider '\(name.shortened)'"
        guard let fields = fields(of: node, what: what, keys: keys) else { return provider }
        provider.settings.type = parsed(fields, "type", parseProviderType)
        provider.settings.models = decodeModels(fields, what)
        provider.apiKeyNode = fields.byName["api_key"]
        provider.settings.apiKey = secret(fields, "api_key")
        provider.settings.baseURL = parsed(fields, "base_url", parseBaseURL)
        provider.settings.connectTimeout = parsed(
            fields, "connect_timeout", in: .milliseconds(1) ... .seconds(300), parseDuration,
            describe: \.brief)
        provider.settings.idleTimeout = parsed(
            fields, "idle_timeout", in: .milliseconds(1) ... .seconds(3_600), parseDuration,
            describe: \.brief)
        provider.settings.serviceTier = parsed(fields, "service_tier", parseName)
        let api = provider.settings.type ?? name
        if needsBaseURL(api), fields.byName["base_url"] == nil {
            fail(
                "\(what) needs 'base_url': where it is differs from customer to customer", at: node,
                suggestion: api == "azure"
                    ? "write it as https://NAME.openai.azure.com/openai"
                    : "write it as http://host:port/v1")
        }
        if api == "bedrock", let key = provider.settings.apiKey, key.value.contains(":"),
            let url = provider.settings.baseURL, !url.contains("//bedrock")
        {
            fail(
                "\(what) has an access key, and its 'base_url' does not name the region that "
                    + "requests are signed for", at: fields.byName["base_url"] ?? node,
                suggestion:
                    "write it as https://bedrock-runtime.REGION.amazonaws.com, or use one of "
                    + "Bedrock's own API keys")
        }
        if provider.settings.apiKey != nil, let url = provider.settings.baseURL,
            isPlainHTTPBeyondThisHost(url)
        {
            warn(
                "the API key of '\(name)' is sent over plain HTTP, where others can read it",
                at: fields.byName["base_url"] ?? node, suggestion: "use https://")
        }
        return provider
    }

    private mutating func decodeModels(_ parent: Fields, _ what: String) -> [String: String] {
        guard let node = parent.byName["models"],
            let fields = anyFields(of: node, what: "'models' of \(what)")
        else { return [:] }
        var models: [String: String] = [:]
        for (name, node) in fields.byName {
            models[name] = parsed(node, named: "models.\(name.shortened)", parseScopeValue)
        }
        return models
    }

    private func needsBaseURL(_ api: String) -> Bool {
        if api == ProviderCatalog.compatible.id.name { return true }
        guard let known = ProviderCatalog.standard[ProviderID(name: api)] else { return false }
        return known.defaultBaseURL == nil
    }
}

private func parseProviderType(_ text: String) throws(ValueError) -> String {
    let types = [ProviderCatalog.compatible.id.name] + ProviderCatalog.standard.names
    guard types.contains(text) else {
        throw ValueError(
            "is not an API that Holdfast knows",
            suggestion: didYouMean(text, among: types)
                ?? "it knows \(types.joined(separator: ", "))")
    }
    return text
}

/// A name of the operator's, which is the first part of a path: those of the APIs begin with `v1` and
/// the like, or with a provider's own name.
private func parseOwnProviderName(
    _ text: String, known: Set<String>?
) throws(ValueError) -> String {
    let name = try parseName(text)
    let looksLikeVersion =
        name.utf8.first == UInt8(ascii: "v") && name.utf8.dropFirst().first?.isDigit == true
    guard !looksLikeVersion, known?.contains(name) != true else {
        throw ValueError(
            "cannot be the name of a provider with a 'type'", suggestion: "choose another name")
    }
    return name
}

/// - Parameter known: `nil` allows any name.
func parseProviderName(_ text: String, known: Set<String>?) throws(ValueError) -> String {
    let name = try parseName(text)
    guard let known, !known.contains(name) else { return name }
    throw ValueError(
        "is not a provider that Holdfast knows",
        suggestion: didYouMean(name, among: known.sorted())
            ?? "it knows \(known.sorted().joined(separator: ", "))")
}
