import HoldfastAdmin
import HoldfastCore
import HoldfastLedger
import HoldfastProviders
import NIOCore

/// Phase 4: hold the ceiling on every account, wait for budget a little, or refuse.
extension Exchange {
    /// A period can end while a request waits; it cannot end again and again.
    private static let expiredCountMax = 3
    /// After the wait, for the counter's answer to the smaller need.
    private static let lastTry = TimeAmount.milliseconds(500)

    func admit() {
        if let problem = context.leases.leaseProblem {
            return refuse(.counterUnavailable(problem))
        }
        guard let facts, let formula, let key else { preconditionFailure("admit before bound") }
        let minimum = max(context.settings.clampMinimumTokens, facts.outputLimitMin)
        let request = AdmissionRequest(
            targets: targets, formula: formula, outputWanted: outputWanted,
            outputMinimum: context.settings.clamps ? min(outputWanted, minimum) : outputWanted,
            keyName: key.name, policyGeneration: policyGeneration)
        let me = NIOLoopBound(self, eventLoop: loop)
        let loop = loop
        let decisionStarted = ContinuousClock.now
        let step = context.table.admit(request) { answer in
            // Never called before `admit` has returned on this loop: hop also when on it.
            loop.execute { me.value.answered(answer) }
        }
        context.metrics.decision.observe(decisionStarted.duration(to: .now))
        switch step {
        case .answered(let answer): take(answer)
        case .waiting(let waiter): wait(waiter)
        }
    }

    private func wait(_ waiter: EdgeLedger.WaiterID) {
        self.waiter = waiter
        waitStarted = waitStarted ?? .now
        let limit = TimeAmount.nanoseconds(context.settings.waitMax.wholeNanoseconds)
        schedule(limit, waiter)
    }

    private func schedule(_ delay: TimeAmount, _ waiter: EdgeLedger.WaiterID) {
        let me = NIOLoopBound(self, eventLoop: loop)
        waitTimer = loop.scheduleTask(in: delay) {
            guard me.value.waiter == waiter else { return }
            // The answer, if there is one, is on its way through `answered`.
            if me.value.context.table.deadline(waiter) {
                me.value.schedule(Self.lastTry, waiter)
            }
        }
    }

    private func answered(_ answer: LeaseTable.Answer) {
        // A caller that left has withdrawn, but the answer may have been on its way.
        guard waiter != nil else {
            if case .held(let hold) = answer { admittedTooLate(hold) }
            return
        }
        waiter = nil
        waitTimer?.cancel()
        if let waitStarted { context.metrics.wait.observe(waitStarted.duration(to: .now)) }
        take(answer)
    }

    private func admittedTooLate(_ hold: LeaseTable.Hold) {
        _ = context.table.settle(hold, usd: .zero, tokens: 0)
    }

    private func take(_ answer: LeaseTable.Answer) {
        countDecision(answer)
        switch answer {
        case .held(let hold):
            noteWouldRefuse(hold)
            if hold.output < outputWanted { noteClamp(hold) }
            admitted(hold)
        case .refused(let refusal):
            if fallBack(from: refusal) { return admit() }
            refuse(.budget(refusal, prompt: promptBound))
        case .expired: retryInNewPeriod()
        case .saturated: refuse(.saturated)
        case .unavailable: refuse(.counterUnavailable("no counter answers"))
        case .notJournaled(let problem): refuse(.journalUnavailable(problem))
        case .tooManyNewAccounts:
            refuse(.tooManyNewAccounts(perMinute: context.settings.newAccountsPerMinuteMax))
        }
    }

    private func countDecision(_ answer: LeaseTable.Answer) {
        // Decided again in the new period.
        if case .expired = answer { return }
        let metrics = context.metrics
        (waitStarted == nil ? metrics.decidedLocally : metrics.decidedAfterWaiting).increment()
    }

    private func retryInNewPeriod() {
        expiredCount += 1
        guard expiredCount <= Self.expiredCountMax else {
            return refuse(.counterUnavailable("the period keeps changing"))
        }
        do {
            try resolveTargets()
        } catch {
            return refuse(error)
        }
        admit()
    }

    private func noteClamp(_ hold: LeaseTable.Hold) {
        context.metrics.clamps.increment()
        let tightest = targets.filter(\.isEnforced).min { lhs, rhs in
            affordable(lhs) < affordable(rhs)
        }
        clampedBy = tightest?.cap.name
    }

    private func affordable(_ target: AccountTarget) -> UInt64 {
        let standing = context.table.standing(of: target.key)
        return formula?.affordable(AdmissionPlan.payableNow(target, standing), in: target.cap.unit)
            ?? 0
    }

    /// Caps in observe mode decide, count and label.
    private func noteWouldRefuse(_ hold: LeaseTable.Hold) {
        for target in targets where !target.isEnforced {
            let room = AdmissionPlan.room(target, context.table.standing(of: target.key))
            if hold.ceiling.amount(in: target.cap.unit) > room {
                wouldRefuse.append(target.cap.name)
                context.metrics.wouldRefuse.with(target.cap.name).increment()
            }
        }
    }
}
