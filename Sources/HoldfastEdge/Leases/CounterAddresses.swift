import HoldfastCore
import Synchronization

/// Which counters this edge should be connected to: those named at start, and those that counters
/// have told it of.
///
/// One counter can have several addresses (its own, and that of a load balancer or of a name that
/// stands for all of them). A counter keeps one connection of an edge, so the edge keeps one, too.
struct CounterAddresses {
    private let seeds: [CounterAddress]
    /// Without certificates only counters of this machine are taken from what is told.
    private let isLoopbackOnly: Bool
    private var told: [CounterAddress] = []
    /// Which counter answered there last.
    private var names: [CounterAddress: String] = [:]
    private var connected: [CounterAddress: String] = [:]

    init(seeds: [CounterAddress], isLoopbackOnly: Bool = false) {
        self.seeds = seeds
        self.isLoopbackOnly = isLoopbackOnly
    }

    /// Each once, those named at start first.
    var wanted: [CounterAddress] { seeds + told.filter { !seeds.contains($0) } }

    /// A counter has said which there are. An empty list is no news: a counter alone tells nobody.
    mutating func learn(_ nodes: [CounterNode]) {
        guard !nodes.isEmpty else { return }
        told = []
        for address in nodes.compactMap({ CounterAddress($0.address) })
        where !told.contains(address) && (address.isLoopback || !isLoopbackOnly) {
            told.append(address)
        }
    }

    mutating func welcomed(by counter: String, at address: CounterAddress) {
        names[address] = counter
        connected[address] = counter
    }

    mutating func disconnected(from address: CounterAddress) { connected[address] = nil }

    /// What answered there last is connected under another address, and would hang up on that one.
    func isDuplicate(_ address: CounterAddress) -> Bool {
        guard let name = names[address] else { return false }
        return connected.contains { $0.key != address && $0.value == name }
    }
}

/// A host name or IP address, and a port.
struct CounterAddress: Hashable, Sendable, CustomStringConvertible {
    var host: String
    var port: Int

    init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// `10.0.0.7:7070` or `[fd00::7]:7070`; `nil` for anything else.
    init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"),
            let port = Int(text[text.index(after: colon)...]),
            (1...65_535).contains(port)
        else { return nil }
        let host = text[..<colon]
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        guard !host.isEmpty, isBracketed || !host.contains(":") else { return nil }
        self.init(
            host: String(isBracketed ? host.dropFirst().dropLast() : host), port: port)
    }

    /// Only processes of this machine reach it, as far as the name tells.
    var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }

    var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
