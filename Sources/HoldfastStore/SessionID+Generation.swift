import HoldfastCore

/// A session's id is the generation of the store that issued it, in the upper 32 bits, and its
/// number in that generation, from 1 on. So a store that has lost its newest sessions, and is given
/// a new generation for it, cannot issue their ids again.
extension SessionID {
    private static let numberBitCount: UInt64 = 32

    /// The largest whose ids SQLite's signed integers can hold.
    static let generationMax: UInt64 = (1 << 31) - 1

    /// Where a generation counts from. Not the id of a session itself.
    static func origin(of generation: UInt64) -> SessionID {
        precondition(generation <= generationMax, "a generation out of bounds")
        return SessionID(generation << numberBitCount)
    }

    var generation: UInt64 { rawValue >> Self.numberBitCount }

    /// Some store may have issued it.
    var isIssuable: Bool { generation > 0 && self != SessionID(generation << Self.numberBitCount) }
}
