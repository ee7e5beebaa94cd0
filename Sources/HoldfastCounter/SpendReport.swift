package import HoldfastAdmin
import HoldfastCore
import HoldfastProviders
import HoldfastStore

/// `GET /accounts` on the counter's admin listener: what `holdfast spend` prints.
extension CounterCore {
    /// Accounts in one answer at most; a query may ask for fewer.
    private static let accountCountMax = 1_000

    package var spendRoute: (path: String, handler: AdminRoutes.Handler) {
        (
            "/accounts",
            { query in
                let limit = min(
                    query["limit"].flatMap { Int($0) } ?? Self.accountCountMax,
                    Self.accountCountMax)
                switch await self.accountViews(limit: max(1, limit)) {
                case .success(let views): return .json(Self.json(views))
                case .failure(let error):
                    return .problem(
                        status: 503, title: "Store unavailable", detail: "\(error)")
                }
            }
        )
    }

    private static func json(_ views: [AccountView]) -> String {
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("accounts")
            writer.array { writer in
                for view in views { write(view, to: &writer) }
            }
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    private static func write(_ view: AccountView, to writer: inout JSONWriter) {
        let unit = view.cap.unit
        writer.object { writer in
            writer.member("cap", view.cap.name)
            writer.member("scope", view.cap.scopeDescription(of: view.key))
            writer.member("period", view.cap.period.name)
            writer.member("unit", view.cap.unit.name)
            writer.member("mode", view.cap.mode.name)
            writer.member("limit", view.cap.limit.plain(unit))
            writer.member("spent", view.spent.plain(unit))
            writer.member("reserved", view.reserved.plain(unit))
            if view.cap.period != .total {
                writer.member("resets_at", view.window.endsAt.rfc3339)
            }
            writer.member("status", view.status)
        }
    }
}
