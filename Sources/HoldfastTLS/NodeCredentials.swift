import Synchronization

/// The certificates by which this process is known to other nodes and knows them. Read again when
/// the files change: connections that are made afterwards use the new ones.
package final class NodeCredentials: Sendable {
    package struct Files: Hashable, Sendable {
        /// One or more, so that an authority can be replaced while both are trusted.
        package var authority: String
        package var certificate: String
        package var key: String

        package init(authority: String, certificate: String, key: String) {
            self.authority = authority
            self.certificate = certificate
            self.key = key
        }

        fileprivate var stamps: [FileStamp?] {
            [authority, certificate, key].map { FileStamp(of: $0) }
        }
    }

    package enum Event: Sendable {
        case reloaded(NodeCertificates)
        /// The old ones stay in use. Told once for each change of the files.
        case notReloaded(CredentialError)
    }

    private struct State {
        var loaded: NodeCertificates
        var seen: [FileStamp?]
        var nextCheck: ContinuousClock.Instant
        var isChecking = false
    }

    private let files: Files
    private let cluster: String
    private let roles: Set<NodeRole>
    private let checkInterval: Duration
    private let onEvent: @Sendable (Event) -> Void
    private let state: Mutex<State>

    /// - Parameters:
    ///   - roles: what this process is; its certificate must be for all of them.
    ///   - checkInterval: how often to look at the files, at most.
    /// - Throws: `CredentialError` for files that cannot be used.
    package init(
        files: Files, cluster: String, roles: Set<NodeRole>,
        checkInterval: Duration = .seconds(1),
        onEvent: @escaping @Sendable (Event) -> Void = { _ in }
    ) async throws {
        self.files = files
        self.cluster = cluster
        self.roles = roles
        self.checkInterval = checkInterval
        self.onEvent = onEvent
        // Before they are read: a change meanwhile must be seen.
        let seen = files.stamps
        let loaded = try await NodeCertificates(reading: files, cluster: cluster, roles: roles)
        state = Mutex(
            State(loaded: loaded, seen: seen, nextCheck: .now.advanced(by: checkInterval)))
    }

    /// For one new connection.
    package func current() async -> NodeCertificates {
        let due = state.withLock { state -> (seen: [FileStamp?], loaded: NodeCertificates)? in
            guard !state.isChecking, state.nextCheck <= .now else { return nil }
            state.isChecking = true
            return (state.seen, state.loaded)
        }
        guard let due else { return state.withLock { $0.loaded } }
        let stamps = files.stamps
        let event = stamps == due.seen ? nil : await reload()
        let loaded = state.withLock { state in
            state.isChecking = false
            state.nextCheck = .now.advanced(by: checkInterval)
            state.seen = stamps
            if case .reloaded(let new) = event { state.loaded = new }
            return state.loaded
        }
        if let event { onEvent(event) }
        return loaded
    }

    private func reload() async -> Event {
        do {
            return .reloaded(
                try await NodeCertificates(reading: files, cluster: cluster, roles: roles))
        } catch {
            return .notReloaded(error)
        }
    }
}
