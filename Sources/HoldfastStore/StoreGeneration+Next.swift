import HoldfastCore
import HoldfastLedger

extension StoreGeneration {
    /// The generation that a store begins when it may have lost writes; `nil` when there is no larger
    /// number any more.
    ///
    /// The next number would not do: the same backup may be restored twice, and what the first
    /// restored store issued was lost with it, so nothing stored can tell. So the time of the
    /// restore is the number, which only a clock that has gone back by more than lies between the
    /// two could repeat.
    static func next(after current: UInt64, at time: UnixTime) -> UInt64? {
        let year2026 = UnixTime(1_767_225_600)
        let elapsed = UInt64(max(time, year2026).seconds - year2026.seconds)
        let next = max(current + 1, elapsed)
        return next <= SessionID.generationMax ? next : nil
    }
}
