import Foundation
public import HoldfastCore
import Synchronization

/// Zones that were read. Only zones that exist are kept, so their number bounds it.
private let zonesRead = Mutex<[String: ZoneOffsets]>([:])

/// The offsets of an IANA zone from 1970 to 2100, by the zone rules that come with Foundation;
/// `nil` for a name that they do not have.
public func zoneOffsets(_ identifier: String) -> ZoneOffsets? {
    if identifier == "UTC" { return .utc }
    if let known = zonesRead.withLock({ $0[identifier] }) { return known }
    guard let zone = TimeZone(identifier: identifier) else { return nil }
    let offsets = readOffsets(of: zone)
    zonesRead.withLock { $0[identifier] = offsets }
    return offsets
}

/// Names to suggest for one that does not exist.
func knownZoneNames() -> [String] { ["UTC"] + TimeZone.knownTimeZoneIdentifiers }

private func readOffsets(of zone: TimeZone) -> ZoneOffsets {
    let end = Date(timeIntervalSince1970: 4_102_444_800)  // 2100-01-01T00:00:00Z
    // No zone has changed its clocks more than a few times a year: reaching this bound would mean
    // that the loop does not get ahead.
    let transitionCountMax = 2_000
    var date = Date(timeIntervalSince1970: 0)
    let initial = Int64(zone.secondsFromGMT(for: date))
    var current = initial
    var transitions: [ZoneOffsets.Transition] = []
    for _ in 0..<transitionCountMax {
        guard let next = zone.nextDaylightSavingTimeTransition(after: date), next > date, next < end
        else { break }
        let offset = Int64(zone.secondsFromGMT(for: next))
        if offset != current {
            let at = UnixTime(Int64(next.timeIntervalSince1970.rounded()))
            transitions.append(ZoneOffsets.Transition(at: at, offsetSeconds: offset))
            current = offset
        }
        date = next
    }
    return ZoneOffsets(initialOffsetSeconds: initial, transitions: transitions)
}
