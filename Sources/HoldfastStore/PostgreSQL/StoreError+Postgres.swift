import HoldfastLedger

extension StoreError {
    /// What a failure of a connection means.
    ///
    /// - Parameter isWrite: a transaction that writes had been sent. Only an answer of the server
    ///   that refuses a statement of it proves that nothing was written.
    init(_ failure: PostgresConnection.Failure, store: String, isWrite: Bool) {
        switch failure {
        case .lost(let reason):
            self =
                isWrite
                ? .interrupted("\(store): \(reason)")
                : .unavailable("\(store): \(reason). It is tried again.")
        case .noticed(let notice):
            self = .interrupted(
                "\(store): the commit may not have reached the synchronous standby: \(notice)")
        case .refused(let state, let message):
            self.init(refusal: message, state: state, store: store)
        }
    }

    private init(refusal message: String, state: String, store: String) {
        let reason = "\(store): \(message) (SQLSTATE \(state))"
        switch state {
        case _ where Self.isDemotion(state):
            self = .unavailable(
                "\(reason). The server is not the primary any more; the primary is looked for.")
        case "53100": self = .full(reason)
        case "42501":
            self = .readOnly(
                "\(reason); the role needs its own schema: CREATE SCHEMA holdfast AUTHORIZATION …")
        case _ where state.hasPrefix("XX"): self = .corrupt(reason)
        default: self = .unavailable("\(reason).")
        }
    }

    /// The server is, or has become, a standby.
    static func isDemotion(_ state: String) -> Bool { state == "25006" }

    /// Two counters waited for each other's rows, and the server chose this one to give way.
    static func isDeadlock(_ state: String) -> Bool { state == "40P01" || state == "40001" }
}
