/// Everything that the simulator can do to the cluster. A run prints how often each has happened.
public enum Fault: Int, CaseIterable, Sendable {
    case frameLost, frameDuplicated, frameReplayed, framesReordered, frameDelayed
    case linkClogged, linkCut, linkBlackholed, partition, oneWayPartition
    case edgeCrashed, edgePaused, edgeDrained, counterCrashed, counterPaused
    case storeConflict, commitUnknownKept, commitUnknownLost, storeOutage, storeFailover
    case failoverLostWrites, writesLostSilently, accountDamaged
    case clockSkewed, clockDrifting, clockStepped, clockJumpedAZone
    case limitRaised, limitLowered, capDeleted, capRestored, capZoneChanged, periodRolled
    case sessionClosedAsDead, lateLastReport, journalRecovered, journalOldCopy, journalTorn
    case overrun, callerGone, operatorRefunded, operatorUnfroze

    /// `frameLost` → `frame lost`.
    public var title: String {
        var out = ""
        for character in "\(self)" {
            if character.isUppercase { out += " " }
            out += character.lowercased()
        }
        return out
    }
}

/// How often each has happened.
public struct FaultCounts: Sendable, Equatable {
    public private(set) var counts = [Int](repeating: 0, count: Fault.allCases.count)

    public init() {}

    public subscript(fault: Fault) -> Int { counts[fault.rawValue] }

    mutating func note(_ fault: Fault) { counts[fault.rawValue] += 1 }

    public mutating func add(_ other: FaultCounts) {
        for index in counts.indices { counts[index] += other.counts[index] }
    }

    public var missing: [Fault] { Fault.allCases.filter { self[$0] == 0 } }
}
