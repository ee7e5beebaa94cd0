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
        writer.object { writer in
            writer.member("cap", view.cap.name)
            writer.member("scope", view.scopeText)
            writer.member("period", view.cap.period.name)
            writer.member("unit", view.cap.unit.name)
            writer.member("mode", view.cap.mode.name)
            writer.member("limit", view.text(view.cap.limit))
            writer.member("spent", view.text(view.spent))
            writer.member("reserved", view.text(view.reserved))
            if view.cap.period != .total {
                writer.member("resets_at", view.window.endsAt.rfc3339)
            }
            writer.member("status", view.status)
        }
    }
}

extension AccountView {
    /// Decimal dollars or a count of tokens.
    fileprivate func text(_ amount: Amount) -> String {
        switch cap.unit {
        case .usd: NanoUSD(amount.rawValue).dollars
        case .tokens: String(amount.rawValue)
        }
    }

    fileprivate var scopeText: String {
        guard !cap.each.isEmpty else { return cap.scopeDescription }
        let fixed = ScopeDimension.allCases.compactMap { dimension in
            cap.scope[dimension].map { "\(dimension.name)=\($0)" }
        }
        let own = zip(cap.each, key.values).map { "\($0.name)=\($1)" }
        return (fixed + own).joined(separator: ", ")
    }
}
