import HoldfastCore
import Yams

/// What makes several processes one cluster: the store, certificates, and bounds of each edge.
extension ConfigDecoder {
    mutating func decodeStore(_ top: Fields, into config: inout Config) {
        if let cluster = parsed(top, "cluster", parseName) { config.cluster = cluster }
        guard let node = top.byName["store"] else { return }
        guard case .sequence(let sequence) = node else {
            if let store = unquoted(node, StoreLocation.init(_:)) { config.store = store }
            return
        }
        var shards: [PostgresLocation] = []
        for item in sequence {
            guard let shard = unquoted(item, PostgresLocation.init(_:)) else { continue }
            if shards.contains(shard) {
                fail("the database \(shard) is listed twice", at: item)
            } else {
                shards.append(shard)
            }
        }
        if sequence.isEmpty { fail("'store' is an empty list", at: node) }
        if !shards.isEmpty { config.store = .postgres(shards) }
    }

    /// As `parsed`, without showing what was written: it can have a password in it.
    private mutating func unquoted<Value>(
        _ node: Node, _ parse: (String) throws(ValueError) -> Value
    ) -> Value? {
        guard let text = text(node, named: "store") else { return nil }
        do {
            return try parse(text.value)
        } catch {
            fail("'store' \(error.message)", at: node, suggestion: error.suggestion)
            return nil
        }
    }

    mutating func decodeTLS(_ top: Fields, into config: inout Config) {
        if let tls = section(top, "tls", keys: ["certificate", "key"]) {
            let certificate = parsed(tls, "certificate", isRequired: true, parsePath)
            let key = parsed(tls, "key", isRequired: true, parsePath)
            if let certificate, let key {
                config.tls = TLSSettings(certificate: certificate, key: key)
            }
        }
        if let tls = section(top, "node_tls", keys: ["authority", "certificate", "key"]) {
            let authority = parsed(tls, "authority", isRequired: true, parsePath)
            let certificate = parsed(tls, "certificate", isRequired: true, parsePath)
            let key = parsed(tls, "key", isRequired: true, parsePath)
            if let authority, let certificate, let key {
                config.nodeTLS = NodeTLSSettings(
                    authority: authority, certificate: certificate, key: key)
            }
        }
        guard let allows = parsed(top, "plaintext_nodes", parseBool) else { return }
        config.allowsPlaintextNodes = allows
        if allows, config.nodeTLS != nil, let node = top.byName["plaintext_nodes"] {
            fail("'plaintext_nodes' beside 'node_tls': only one of them can be meant", at: node)
        }
    }

    /// What `counter` says besides where it listens.
    mutating func decodeNode(_ counter: Fields, into config: inout Config) {
        config.counterAdvertise = parsed(counter, "advertise", Address.init(_:))
        if let address = config.counterAdvertise, address.port == 0 || address.isWildcard,
            let node = counter.byName["advertise"]
        {
            fail("edges cannot connect to \(address)", at: node)
        }
        if let percent = parsed(
            counter, "edge_slice", in: 1...100, parsePercent, describe: { "\($0)%" })
        {
            config.edgeQuota.slicePercentMax = percent
        }
        if let count = parsed(
            counter, "edge_accounts", in: 1...100_000_000, parseCount, describe: \.description)
        {
            config.edgeQuota.accountCountMax = count
        }
    }
}

private func parsePercent(_ text: String) throws(ValueError) -> UInt64 {
    guard text.hasSuffix("%"), text.dropLast().utf8.allSatisfy(\.isDigit),
        let percent = UInt64(text.dropLast())
    else { throw ValueError("is not a whole percentage", suggestion: "write it as 25%") }
    return percent
}
