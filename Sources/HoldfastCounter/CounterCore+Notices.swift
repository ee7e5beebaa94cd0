import HoldfastAdmin
import HoldfastCore
import HoldfastLedger
import Logging

/// What the engine notices, for people and dashboards.
extension CounterCore {
    func note(_ notice: CounterEngine.Notice) {
        count(notice)
        log(notice)
        switch notice {
        case .storeFailed(let error): setTrouble("store: \(error)")
        case .storeWorks: setTrouble(nil)
        default: break
        }
    }

    private func count(_ notice: CounterEngine.Notice) {
        switch notice {
        case .connectionRefused(let rejection), .entryRefused(_, _, let rejection):
            metrics.rejections.with("\(rejection.reason)").increment()
        case .frozen: metrics.frozenAccounts.increment()
        case .recallTimedOut: metrics.recallTimeouts.increment()
        case .recalled: metrics.recalls.increment()
        case .reported(let entries): metrics.reports.increment(by: UInt64(entries))
        case .committed(let accounts):
            metrics.commits.increment()
            metrics.accountWrites.increment(by: UInt64(accounts))
        case .conflicted(let accounts): metrics.conflicts.increment(by: UInt64(accounts))
        case .storeFailed: metrics.storeFailures.increment()
        case .learning: metrics.learningRounds.increment()
        case .closedDead: metrics.deadSessions.increment()
        case .joined, .left, .policyAdopted, .storeWorks, .clockBehind, .learned, .adopted,
            .refunded:
            break
        }
    }

    private func log(_ notice: CounterEngine.Notice) {
        switch notice {
        case .joined(let edge, let session, let isNew):
            logger.info(
                isNew ? "edge joined" : "edge is back",
                metadata: ["edge": "\(edge)", "session": "\(session.rawValue)"])
        case .left(let edge, let session):
            logger.info(
                "edge left", metadata: ["edge": "\(edge)", "session": "\(session.rawValue)"])
        case .connectionRefused(let rejection):
            logger.warning(
                "connection refused",
                metadata: ["reason": "\(rejection.reason)", "message": "\(rejection.message)"])
        case .entryRefused(let key, let edge, let rejection):
            logger.error(
                "report entry refused",
                metadata: [
                    "account": "\(key.text)", "edge": "\(edge)",
                    "reason": "\(rejection.message)",
                ])
        case .policyAdopted(let version, let caps):
            logger.info(
                "policy changed", metadata: ["version": "\(version)", "caps": "\(caps)"])
        case .closedDead(let session):
            logger.warning(
                "session closed: no counter has seen it for long; its slices stay charged",
                metadata: ["session": "\(session.rawValue)"])
        case .refunded(let key, let session, let amount):
            logger.notice(
                "presumed spending given back",
                metadata: [
                    "account": "\(key.text)", "session": "\(session.rawValue)",
                    "amount": "\(amount.plain(key.unit))",
                ])
        case .frozen, .storeFailed, .storeWorks, .clockBehind, .learning, .learned, .adopted:
            logTrouble(notice)
        case .recallTimedOut, .recalled, .reported, .committed, .conflicted: break
        }
    }

    private func logTrouble(_ notice: CounterEngine.Notice) {
        switch notice {
        case .frozen(let key, let session):
            logger.critical(
                """
                an edge was granted more than the store knows: the store lost a write; account \
                frozen, see `holdfast accounts unfreeze`
                """,
                metadata: [
                    "account": "\(key.text)", "session": "\(session.rawValue)",
                ])
        case .storeFailed(let error):
            logger.critical("the store failed", metadata: ["error": "\(error)"])
        case .storeWorks: logger.notice("the store works again")
        case .clockBehind(let seconds):
            logger.error(
                "the system clock is behind where this counter has been; periods follow the later",
                metadata: ["seconds": "\(seconds)"])
        case .learning(let generation):
            logger.critical(
                "the store may have lost writes; listening to the edges before granting anything",
                metadata: ["generation": "\(generation)"])
        case .learned(let generation):
            logger.notice("granting again", metadata: ["generation": "\(generation)"])
        case .adopted(let edge, let session):
            logger.warning(
                "an edge came back with a session that the store had lost",
                metadata: ["edge": "\(edge)", "session": "\(session.rawValue)"])
        default: break
        }
    }
}
