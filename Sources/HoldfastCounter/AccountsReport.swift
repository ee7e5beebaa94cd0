import HoldfastAdmin
import HoldfastCore
import HoldfastLedger
import HoldfastProviders

/// `GET /accounts` on the counter's admin listener: what `holdfast spend` prints.
extension CounterCore {
    /// Accounts in one answer at most; a query may ask for fewer.
    private static let accountCountMax = 1_000

    func accountsReport(_ query: [String: String]) async throws(StoreError) -> AdminResponse {
        var limit = Self.accountCountMax
        if let text = query["limit"] {
            guard let asked = Int(text), asked > 0 else {
                return .badRequest("'limit' must be a number above zero")
            }
            limit = min(asked, limit)
        }
        guard let text = query["status"] else {
            return Self.json(try await accountViews(limit: limit))
        }
        guard let status = AccountView.Status(rawValue: text) else {
            let names = AccountView.Status.allCases.map(\.rawValue).joined(separator: ", ")
            return .badRequest("'status' must be one of \(names)")
        }
        return Self.json(try await accountViews(limit: limit) { $0.status == status })
    }

    private static func json(_ view: AccountsView) -> AdminResponse {
        var writer = JSONWriter()
        writer.object { writer in
            writer.array("accounts") { writer in
                for account in view.accounts { write(account, to: &writer) }
            }
            writer.member("left_out", UInt64(view.selectedCount - view.accounts.count))
            writer.member("is_complete", view.isComplete)
            writer.member("accounts_read", UInt64(view.readCount))
        }
        return .json(String(decoding: writer.bytes, as: UTF8.self))
    }

    private static func write(_ view: AccountView, to writer: inout JSONWriter) {
        let unit = view.cap.unit
        writer.object { writer in
            writer.member("account", view.key.text)
            writer.member("cap", view.cap.name)
            writer.member("scope", view.cap.scopeDescription(of: view.key))
            writer.member("period", view.cap.period.name)
            writer.member("unit", view.cap.unit.name)
            writer.member("mode", view.cap.mode.name)
            writer.member("limit", view.cap.limit.plain(unit))
            writer.member("spent", view.spent.plain(unit))
            // Two names for one amount: dashboards have been built on the first.
            writer.member("reserved", view.outstanding.plain(unit))
            writer.member("outstanding", view.outstanding.plain(unit))
            if view.cap.period != .total {
                writer.member("resets_at", view.window.endsAt.rfc3339)
            }
            writer.member("status", view.status.rawValue)
        }
    }
}
