import HoldfastCore
package import HoldfastLedger

package enum OperatorAnswer: Sendable, Equatable {
    case done([OperatorRecord])
    case refused(String)
}

/// What operators do by hand: which accounts it is about is found here, whether it may be done is
/// the engine's to say.
extension CounterCore {
    /// Accounts that one refund may name or find: they are one transaction.
    package static let refundAccountCountMax = 10_000

    func unfreeze(_ request: UnfreezeRequest) async throws(StoreError) -> OperatorAnswer {
        let stored = try await readStore { (store) throws(StoreError) in
            try store.load([request.account])
        }
        if let damage = stored.damaged[request.account] {
            return .refused("account `\(request.account.text)` cannot be read: \(damage)")
        }
        guard stored.found[request.account] != nil else {
            return .refused("there is no account `\(request.account.text)`")
        }
        return answer(await perform(.unfreeze(request.account, reason: request.reason)))
    }

    /// Gives back what a session that is gone for good was presumed to have spent, and ends it.
    func refund(_ request: RefundRequest) async throws(StoreError) -> OperatorAnswer {
        let id = request.session
        guard try await sessionRecord(id) != nil else {
            return .refused("this store never issued session \(id.rawValue)")
        }
        let accounts: [AccountKey]
        switch try await accountsToRefund(request) {
        case .success(let found): accounts = found
        case .failure(let refusal): return .refused(refusal.reason)
        }
        return answer(
            await perform(.refund(id, accounts: accounts, reason: request.reason)))
    }

    private func answer(_ result: CounterEngine.OperationResult) -> OperatorAnswer {
        switch result {
        case .done(let records): .done(records)
        case .refused(let reason): .refused(reason)
        }
    }

    private struct NothingToRefund: Error {
        var reason: String
    }

    private func accountsToRefund(
        _ request: RefundRequest
    ) async throws(StoreError) -> Result<[AccountKey], NothingToRefund> {
        let number = request.session.rawValue
        if let named = request.accounts {
            let stored = try await readStore { (store) throws(StoreError) in
                try store.load(named)
            }
            for key in named {
                let account = stored.found[key]?.account
                guard account?.lines.contains(where: { $0.session == request.session }) ?? false
                else {
                    let reason = "session \(number) has nothing in account `\(key.text)`"
                    return .failure(NothingToRefund(reason: reason))
                }
            }
            return .success(named)
        }
        let view = try await sessionViews(only: request.session)
        let lines = view.sessions.flatMap(\.lines).filter { $0.outstanding > .zero }
        guard !lines.isEmpty else {
            return .failure(
                NothingToRefund(reason: "session \(number) has nothing to give back"))
        }
        guard view.isComplete, lines.count <= Self.refundAccountCountMax else {
            return .failure(
                NothingToRefund(
                    reason: "there are more accounts than are read at once; name those of "
                        + "session \(number) that shall be refunded"))
        }
        return .success(lines.map(\.key))
    }
}
