import HoldfastCore
import HoldfastLedger

/// How much is read from the store for one answer to an operator. Answers say when it was not
/// enough.
package struct ReportBounds: Sendable {
    /// Accounts, and besides them lines of accounts. About 100 MB of memory at the most.
    package var accountCountMax = 100_000
    package var lineCountMax = 100_000
    package var sessionCountMax = 10_000
    /// Rows that are read at a time. Commits wait no longer than for that.
    package var pageRowCount = 500

    package init() {}
}

/// The accounts of the periods that are open now, as the store has them and, where the engine has
/// them in memory, as they are there.
struct OpenAccounts: Sendable {
    var ledgers: [AccountKey: AccountLedger] = [:]
    /// Of the rows that were read from the store.
    fileprivate var versions: [AccountKey: UInt64] = [:]
    /// How many were read from the store.
    var readCount = 0
    private var lineCount = 0
    /// False when there are more than may be read for one answer.
    var isComplete = true
    var view = EngineView()
}

/// What the engine knows besides accounts.
struct EngineView: Sendable {
    var clock = UnixTime(0)
    var reachable: Set<SessionID> = []
    /// `nil` when it cannot be told yet.
    var living: Set<SessionID>?
}

extension CounterCore {
    /// Reads them in pages beside the core's thread, so that grants go on meanwhile.
    func openAccounts() async throws(StoreError) -> OpenAccounts {
        let periods = try await inspect { $0.currentRules.openAccounts }
        let bounds = reportBounds
        var accounts = OpenAccounts()
        for (cap, window) in periods where accounts.isComplete {
            let selection = AccountSelection.period(
                cap: cap.name, unit: cap.unit, period: cap.period, periodID: window.id)
            var last: AccountKey?
            repeat {
                let after = last
                let page = try await readStore { (store) throws(StoreError) in
                    try store.scan(selection, limit: bounds.pageRowCount, after: after)
                }
                last = page.last?.key
                accounts.take(page, bounds)
            } while last != nil && accounts.isComplete
        }
        // After the store: what is in memory is as new as what was read, or newer, unless another
        // counter has written it.
        let (view, cached) = try await inspect { engine in
            (
                EngineView(
                    clock: engine.clock, reachable: Set(engine.reachableSessions),
                    living: engine.livingSessions),
                engine.cachedAccounts.filter { account in
                    engine.currentRules.window(of: account.key)?.contains(engine.clock) ?? false
                }
            )
        }
        accounts.view = view
        for (key, ledger, version) in cached where version >= accounts.versions[key] ?? 0 {
            accounts.ledgers[key] = ledger
        }
        return accounts
    }
}

extension OpenAccounts {
    fileprivate mutating func take(_ page: [ScannedAccount], _ bounds: ReportBounds) {
        for account in page {
            let ledger = AccountLedger(account.stored.account)
            lineCount += ledger.lines.count
            guard readCount < bounds.accountCountMax, lineCount <= bounds.lineCountMax else {
                isComplete = false
                return
            }
            readCount += 1
            ledgers[account.key] = ledger
            versions[account.key] = account.stored.version
        }
    }
}
