public import HoldfastCore

extension EdgeSession {
    /// How an edge that crashed gives back what its older life had been granted and not used.
    ///
    /// - Parameters:
    ///   - session: the older life.
    ///   - entries: from its journal, in the order of importance: accounts, and the most that can have
    ///     been spent or held on each.
    public static func recovery(
        of session: SessionID, name: String, entries: [(AccountKey, Amount)]
    ) -> SessionRecovery {
        SessionRecovery(session: session, name: name, entries: entries)
    }
}

/// Delivers the last report of a session that crashed, from its journal. It can only refund.
///
/// A connection that is lost on the way changes nothing: begin again on another one. The last report
/// ends the session, so it has to be one frame: of more than `Limits.reportEntryCountMax` accounts, or
/// of more bytes than a frame should have, the last ones are left out. Those are not refunded, only an
/// operator can do that.
public struct SessionRecovery: Sendable {
    public enum Output: Sendable, Equatable {
        case send(EdgeFrame)
        /// The counter has taken the report.
        case refunded
        /// One account was not believed: the journal is older than what the counter has heard of it,
        /// for example. The others go on.
        case refusedEntry(AccountKey, Rejection)
        /// The counter refused it all. What the session held stays charged; after `.unavailable` it is
        /// worth another try, by a new value.
        case refused(Rejection)
    }

    public let session: SessionID
    /// Accounts for which there was no place.
    public let leftOutCount: Int
    private let name: String
    private let entries: [ReportEntry]
    private var isWelcome = false
    public private(set) var isOver = false

    init(session: SessionID, name: String, entries accounts: [(AccountKey, Amount)]) {
        var entries: [ReportEntry] = []
        var byteCount = 0
        for (key, unlocked) in accounts.prefix(Limits.reportEntryCountMax) {
            byteCount += EdgeSession.entryByteCountMax + key.text.utf8.count
            guard byteCount <= Limits.frameByteCountMax / 2 else { break }
            entries.append(
                ReportEntry(
                    reference: UInt32(entries.count + 1), key: key,
                    report: LeaseReport(granted: .zero, unlocked: unlocked)))
        }
        self.session = session
        self.name = name
        self.entries = entries
        leftOutCount = accounts.count - entries.count
    }

    /// A connection is there, perhaps not the first.
    public mutating func connected() -> [Output] {
        guard !isOver else { return [] }
        isWelcome = false
        return [.send(.hello(.init(edgeName: name, session: session, isFinal: true)))]
    }

    public mutating func received(_ frame: CounterFrame) -> [Output] {
        guard !isOver else { return [] }
        switch frame {
        case .welcome:
            guard !isWelcome else { return [] }
            isWelcome = true
            return [.send(.closeSession(entries))]
        case .sessionClosed:
            isOver = true
            return [.refunded]
        case .rejected(let rejection):
            if let entry = entries.first(where: { $0.reference == rejection.reference }),
                let key = entry.key
            {
                return [.refusedEntry(key, rejection)]
            }
            isOver = true
            return [.refused(rejection)]
        case .grants, .recall, .policy, .windows, .keyAnswer, .keysChanged, .pong, .counters:
            return []
        }
    }
}
