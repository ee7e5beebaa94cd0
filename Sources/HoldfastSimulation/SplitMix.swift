/// Sebastiano Vigna's splitmix64: the same numbers from the same seed, everywhere.
struct SplitMix {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    /// A generator of its own for one purpose, so that drawing more for one thing does not change
    /// every other.
    mutating func fork() -> SplitMix { SplitMix(seed: next()) }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which is above zero.
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    mutating func within(_ range: ClosedRange<UInt64>) -> UInt64 {
        range.lowerBound + next() % (range.upperBound - range.lowerBound + 1)
    }

    /// Small values as likely as large ones, by order of magnitude.
    mutating func scaled(_ range: ClosedRange<UInt64>) -> UInt64 {
        var high = range.upperBound
        while high / 2 > range.lowerBound, chance(350) { high /= 2 }
        return within(range.lowerBound...max(range.lowerBound, high))
    }

    mutating func chance(_ perMille: Int) -> Bool { perMille > 0 && below(1_000) < perMille }

    mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[below(elements.count)]
    }
}
