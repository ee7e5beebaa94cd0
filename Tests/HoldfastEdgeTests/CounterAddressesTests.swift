import HoldfastCore
import Testing

@testable import HoldfastEdge

@Suite struct `Counters that an edge knows` {
    private let seed = CounterAddress(host: "counters.internal", port: 7070)
    private let first = CounterAddress(host: "10.0.0.1", port: 7070)
    private let second = CounterAddress(host: "10.0.0.2", port: 7070)

    private func nodes(_ addresses: String...) -> [CounterNode] {
        addresses.map { CounterNode(name: $0, address: $0) }
    }

    @Test func `those named at start stay, and those told of come and go`() {
        var known = CounterAddresses(seeds: [seed])
        #expect(known.wanted == [seed])
        known.learn(nodes("10.0.0.1:7070", "10.0.0.2:7070", "10.0.0.1:7070"))
        #expect(known.wanted == [seed, first, second])
        known.learn(nodes("10.0.0.2:7070", "counters.internal:7070"))
        #expect(known.wanted == [seed, second])
        known.learn([])
        #expect(known.wanted == [seed, second])
    }

    @Test func `an address that cannot be one is passed over`() {
        var known = CounterAddresses(seeds: [seed])
        known.learn(
            nodes("", "a", "a:", "a:0", "a:65536", ":7070", "fd00::1:7070", "[fd00::1]:7070"))
        #expect(known.wanted == [seed, CounterAddress(host: "fd00::1", port: 7070)])
        #expect(known.wanted[1].description == "[fd00::1]:7070")
    }

    @Test func `one counter under two addresses is connected once`() {
        var known = CounterAddresses(seeds: [seed])
        known.learn(nodes("10.0.0.1:7070", "10.0.0.2:7070"))
        known.welcomed(by: "one", at: seed)
        #expect(!known.isDuplicate(seed) && !known.isDuplicate(first))
        // The counter hangs up on the older connection.
        known.welcomed(by: "one", at: first)
        known.disconnected(from: seed)
        #expect(known.isDuplicate(seed) && !known.isDuplicate(first))
        known.disconnected(from: first)
        #expect(!known.isDuplicate(seed))
        // Behind a load balancer another one may answer.
        known.welcomed(by: "two", at: seed)
        #expect(!known.isDuplicate(first))
    }
}
