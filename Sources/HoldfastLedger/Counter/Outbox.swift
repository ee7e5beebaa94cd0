import HoldfastCore

/// The grants of one batch, by the connection that they go to.
///
/// A batch has thousands for a few sessions: whom a session is connected to is looked up once.
struct Outbox {
    struct Tray {
        let id: ConnectionID
        /// The connection's names for the accounts.
        let references: [AccountKey: UInt32]
        var entries: [GrantEntry] = []
    }

    private var trays: [Tray] = []
    /// `nil`: not connected.
    private var positions: [SessionID: Int?] = [:]

    /// - Parameter open: called at the first grant of each session.
    mutating func tray(of session: SessionID, open: () -> Tray?) -> Int? {
        if let known = positions[session] { return known }
        let position = open().map { tray in
            trays.append(tray)
            return trays.count - 1
        }
        positions[session] = .some(position)
        return position
    }

    subscript(_ position: Int) -> Tray {
        _read { yield trays[position] }
        _modify { yield &trays[position] }
    }

    /// In the order of the connections.
    var contents: [(id: ConnectionID, entries: [GrantEntry])] {
        trays.map { ($0.id, $0.entries) }.sorted { $0.id < $1.id }
    }
}
