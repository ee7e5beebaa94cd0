import Foundation
package import HoldfastCore

/// The clock that names periods: the system's, but never behind where it has already been, also not
/// across a restart (the store keeps the floor).
package struct CounterClock: Sendable {
    private let wall: @Sendable () -> Int64
    private var floorMilliseconds: Int64

    /// - Parameter wall: milliseconds since 1970.
    package init(floor: UnixTime, wall: @escaping @Sendable () -> Int64 = Self.systemMilliseconds) {
        self.wall = wall
        floorMilliseconds = floor.seconds * 1_000
    }

    package mutating func nowMilliseconds() -> Int64 {
        floorMilliseconds = max(floorMilliseconds, wall())
        return floorMilliseconds
    }

    package mutating func now() -> UnixTime { UnixTime(nowMilliseconds() / 1_000) }

    /// How far the system's clock is behind where this one has been, in seconds.
    package func lagSeconds() -> Int64 { max(0, (floorMilliseconds - wall()) / 1_000) }

    package static let systemMilliseconds: @Sendable () -> Int64 = {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }
}
