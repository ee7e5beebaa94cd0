import HoldfastAdmin
import HoldfastCore
import HoldfastLedger
import HoldfastProviders

/// `GET /sessions` on the counter's admin listener: what `holdfast sessions` prints.
extension CounterCore {
    func sessionsReport(_ query: [String: String]) async throws(StoreError) -> AdminResponse {
        var only: SessionID?
        if let text = query["session"] {
            guard let number = UInt64(text) else {
                return .badRequest("'session' must be a number")
            }
            only = SessionID(number)
        }
        let view = try await sessionViews(only: only)
        let rules = try await inspect { $0.currentRules }
        var writer = JSONWriter()
        writer.object { writer in
            writer.array("sessions") { writer in
                for session in view.sessions { Self.write(session, rules, to: &writer) }
            }
            writer.member("is_complete", view.isComplete)
            writer.member("accounts_read", UInt64(view.accountsReadCount))
        }
        return .json(String(decoding: writer.bytes, as: UTF8.self))
    }

    private static func write(
        _ session: SessionView, _ rules: CounterRules, to writer: inout JSONWriter
    ) {
        writer.object { writer in
            // As text: programs that read numbers as doubles would round it.
            writer.member("id", String(session.record.id.rawValue))
            writer.member("edge", session.record.edge)
            writer.member("state", session.state.rawValue)
            writer.member("opened_at", session.record.openedAt.rfc3339)
            writer.member("seen_at", session.record.seenAt.rfc3339)
            writer.member("closed_at", session.record.closedAt?.rfc3339)
            writer.array("accounts") { writer in
                for line in session.lines { write(line, rules, to: &writer) }
            }
        }
    }

    private static func write(
        _ line: SessionView.Line, _ rules: CounterRules, to writer: inout JSONWriter
    ) {
        let unit = line.key.unit
        writer.object { writer in
            writer.member("account", line.key.text)
            writer.member("cap", line.key.cap)
            writer.member(
                "scope", rules.cap(named: line.key.cap)?.scopeDescription(of: line.key))
            writer.member("unit", unit.name)
            writer.member("granted", line.granted.plain(unit))
            writer.member("released", line.released.plain(unit))
            writer.member("spent", line.spent.plain(unit))
            writer.member("outstanding", line.outstanding.plain(unit))
        }
    }
}
