import HoldfastCore

/// Which counter serves which account: the one with the highest rendezvous weight of those that are
/// connected. The same on every edge, so that one counter can queue and recall for all of them; and
/// when a counter goes or comes, only the accounts that it had or gets move.
struct Placement: Sendable {
    struct Place: Sendable {
        let link: EdgeSession.LinkID
        let name: String
        let hash: UInt64

        init(link: EdgeSession.LinkID, name: String) {
            self.link = link
            self.name = name
            hash = Placement.hash(of: Array(name.utf8))
        }
    }

    /// By name, each once.
    private let places: [Place]

    /// - Parameter links: ascending. Of two to counters of the same name the newer one counts.
    init(_ links: [(link: EdgeSession.LinkID, counter: String)] = []) {
        var places: [Place] = []
        for (link, counter) in links.reversed()
        where !places.contains(where: { $0.name == counter }) {
            places.append(Place(link: link, name: counter))
        }
        self.places = places.sorted { $0.name < $1.name }
    }

    var isEmpty: Bool { places.isEmpty }

    func link(for account: UInt64) -> EdgeSession.LinkID? {
        guard var best = places.first else { return nil }
        guard places.count > 1 else { return best.link }
        var bestWeight = Self.weight(account, best.hash)
        for place in places.dropFirst() {
            let weight = Self.weight(account, place.hash)
            if weight > bestWeight {
                best = place
                bestWeight = weight
            }
        }
        return best.link
    }

    static func weight(_ account: UInt64, _ counter: UInt64) -> UInt64 { mix(account ^ counter) }

    /// FNV-1a, mixed: its own low bits say too little.
    static func hash(of bytes: [UInt8]) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        return mix(hash)
    }

    /// The finalizer of SplitMix64: every bit of the input moves about half of the output.
    static func mix(_ value: UInt64) -> UInt64 {
        var mixed = value &+ 0x9E37_79B9_7F4A_7C15
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
