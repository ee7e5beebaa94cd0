package import HoldfastAdmin
import HoldfastCore
import HoldfastLedger
import HoldfastProviders

/// What the counter serves on its admin listener.
extension CounterCore {
    /// Records in one answer at most.
    private static let recordCountMax = 1_000

    /// GET: what operators look at.
    package var reports: [(path: String, handler: AdminRoutes.Handler)] {
        [
            ("/accounts", Self.answering(accountsReport)),
            ("/sessions", Self.answering(sessionsReport)),
            ("/operator-log", Self.answering(operatorLog)),
        ]
    }

    /// POST: what operators do.
    package func operations(token: String?) -> AdminOperations {
        AdminOperations(
            token: token,
            handlers: [
                (
                    "/accounts/unfreeze",
                    Self.operating { try await self.unfreeze(UnfreezeRequest($0)) }
                ),
                (
                    "/sessions/refund",
                    Self.operating { try await self.refund(RefundRequest($0)) }
                ),
            ])
    }

    private static func answering(
        _ body: @escaping @Sendable ([String: String]) async throws(StoreError) -> AdminResponse
    ) -> AdminRoutes.Handler {
        { query in
            do throws(StoreError) {
                return try await body(query)
            } catch {
                return .storeFailed(error)
            }
        }
    }

    private static func operating(
        _ body: @escaping @Sendable ([UInt8]) async throws -> OperatorAnswer
    ) -> AdminOperations.Handler {
        { bytes in
            do {
                switch try await body(bytes) {
                case .done(let records): return json(records)
                case .refused(let reason):
                    return .problem(status: 409, title: "Conflict", detail: reason)
                }
            } catch let error as OperatorRequestError {
                return .badRequest(error.message)
            } catch let error as StoreError {
                return .storeFailed(error)
            }
        }
    }

    private func operatorLog(_ query: [String: String]) async throws(StoreError) -> AdminResponse {
        var limit = 100
        if let text = query["limit"] {
            guard let asked = Int(text), asked > 0 else {
                return .badRequest("'limit' must be a number above zero")
            }
            limit = min(asked, Self.recordCountMax)
        }
        let count = limit
        return Self.json(
            try await readStore { (store) throws(StoreError) in
                try store.operatorRecords(limit: count)
            })
    }

    private static func json(_ records: [OperatorRecord]) -> AdminResponse {
        var writer = JSONWriter()
        writer.object { writer in
            writer.array("records") { writer in
                for record in records { write(record, to: &writer) }
            }
        }
        return .json(String(decoding: writer.bytes, as: UTF8.self))
    }

    private static func write(_ record: OperatorRecord, to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("at", record.at.rfc3339)
            writer.member("action", record.action.name)
            writer.member("account", record.account.text)
            writer.member("session", record.session.map { String($0.rawValue) })
            writer.member("unit", record.account.unit.name)
            writer.member("amount", record.amount.plain(record.account.unit))
            writer.member("reason", record.reason)
        }
    }
}

extension OperatorRecord.Action {
    /// As the command that does it.
    fileprivate var name: String {
        switch self {
        case .release: "unfreeze"
        case .refund: "refund"
        }
    }
}

extension AdminResponse {
    static func badRequest(_ detail: String) -> AdminResponse {
        .problem(status: 400, title: "Bad Request", detail: detail)
    }

    static func storeFailed(_ error: StoreError) -> AdminResponse {
        .problem(status: 503, title: "Store unavailable", detail: "\(error)")
    }
}
