import HoldfastCore
import HoldfastLedger

/// Traffic: callers, what the edge's proxy does with their requests, and the provider.
extension World {
    /// What a caller wants.
    struct Wanted {
        var tenant: Int
        var user: Int
        /// Tokens at most, and the least that is worth having.
        var most: UInt64
        var least: UInt64
        /// Wants what the edge has at hand, or one more: where `>` and `>=` differ.
        var isSeeking = false
    }

    struct Target {
        var account: Int
        var key: AccountKey
        var limit: Amount
        var isEnforced: Bool
        var slot: EdgeLedger.SlotID
    }

    struct Waiting {
        let id: EdgeLedger.WaiterID
        let wanted: Wanted
        let targets: [Target]
        var tokens: UInt64
        var isLastTry = false
        var expiredCount: Int
    }

    struct Flight {
        let hold: EdgeLedger.HoldID
        let accounts: [Int]
        let ceilings: [Amount]
        let units: [CapUnit]
        let tokens: UInt64
    }

    enum Refusal { case spent, inFlight, unavailable, frozen, expired }

    private static let rates = TokenRates(
        input: .zero, cacheRead: .zero, cacheWrite: .zero, cacheWriteLong: .zero,
        output: Scenario.price)

    static func amount(_ tokens: UInt64, _ unit: CapUnit) -> Amount {
        guard unit == .usd else { return Amount(tokens) }
        return Amount(rates.cost(of: TokenUsage(output: tokens))?.rawValue ?? .max)
    }

    static func tokens(payableBy budget: Amount, _ unit: CapUnit) -> UInt64 {
        guard unit == .usd else { return budget.rawValue }
        let (product, overflow) = budget.rawValue.multipliedReportingOverflow(by: 1_000_000)
        return overflow ? UInt64.max >> 20 : product / Scenario.price.nanoUSDPerMillionTokens
    }

    // MARK: - Spells of traffic

    func beginSpell() {
        guard phase == .safety else { return }
        let length = random.within(1_000...scenario.spellMax)
        spellEndsAt = now + length
        let perSecond = max(1, random.scaled(1...scenario.rateMax))
        spellGap = max(1, 1_000 / perSecond)
        isQuiet = false
        schedule(.request(edge: random.below(edges.count)), in: 0)
        for _ in 0..<min(postponedDisasters, 4) {
            postponedDisasters -= 1
            schedule(.strike, in: random.within(0...length))
        }
        schedule(.spell, in: length + random.within(1...(2 * scenario.quietMean)))
    }

    func arrive(at index: Int) {
        if phase == .safety, now < spellEndsAt {
            schedule(
                .request(edge: random.below(edges.count)), in: random.within(0...(2 * spellGap)))
        }
        guard edges[index].isUp, !edges[index].isDraining else { return }
        let most = max(1, random.scaled(scenario.tokens))
        let isStubborn = random.chance(200)
        let wanted = Wanted(
            tenant: random.below(scenario.tenantCount), user: random.below(scenario.userCount),
            most: most, least: isStubborn ? most : most / 4 + 1,
            isSeeking: random.chance(50))
        whenAwake(index) { $0.admit(wanted, on: index) }
    }

    // MARK: - Admit

    func admit(_ wanted: Wanted, on index: Int, expiredCount: Int = 0) {
        guard edges[index].isUp else { return }
        guard edges[index].session.leaseProblem(at: elapsed(edge: index)) == nil,
            let targets = targets(wanted, on: index)
        else { return refused(.unavailable) }
        guard !targets.isEmpty else { return }
        let wanted = wanted.isSeeking ? sought(wanted, targets, on: index) : wanted
        guard let tokens = plan(wanted, targets, on: index) else { return }
        let demands = Self.demands(targets, tokens)
        switch edges[index].session.ledger.admit(demands) {
        case .held(let hold): takeOff(hold, targets, tokens, on: index)
        case .short: wait(wanted, targets, tokens, demands, expiredCount, on: index)
        case .saturated: refused(.unavailable)
        }
        checkSlots(targets, on: index)
    }

    private func sought(_ wanted: Wanted, _ targets: [Target], on index: Int) -> Wanted {
        var sought = wanted
        let least = targets.filter(\.isEnforced).map { target in
            let available = edges[index].session.ledger.standing(of: target.slot).available
            return Self.tokens(payableBy: available, target.key.unit)
        }.min()
        sought.most = max(1, (least ?? 0) + random.within(0...1))
        sought.least = sought.most
        return sought
    }

    private func wait(
        _ wanted: Wanted, _ targets: [Target], _ tokens: UInt64, _ demands: [EdgeLedger.Demand],
        _ expiredCount: Int, on index: Int
    ) {
        guard let id = edges[index].session.ledger.wait(for: demands) else {
            return refused(.unavailable)
        }
        edges[index].waiting.append(
            Waiting(
                id: id, wanted: wanted, targets: targets, tokens: tokens,
                expiredCount: expiredCount))
        schedule(.deadline(edge: index, life: edges[index].life, id), in: 2_000)
        if random.chance(scenario.faults.callerGone), !isCalm {
            faults.note(.callerGone)
            withdraw(id, index)
        }
    }

    /// The accounts of a request, in the periods that the counters' clock is in.
    private func targets(_ wanted: Wanted, on index: Int) -> [Target]? {
        guard let policy = edges[index].policy, let time = counterNow(index) else { return nil }
        var targets: [Target] = []
        for (cap, windows) in zip(policy.caps, policy.windows.caps) {
            guard let window = windows.first(where: { $0.contains(time) }) else { return nil }
            let values: [String] = cap.each.map {
                $0 == .tenant ? "t\(wanted.tenant)" : "u\(wanted.user)"
            }
            let key = AccountKey(
                cap: cap.name, unit: cap.unit, period: cap.period, periodID: window.id,
                values: values)
            let isEnforced = cap.mode == .enforce
            let slot = edges[index].session.ledger.slot(for: key, isEnforced: isEnforced)
            targets.append(
                Target(
                    account: auditor.index(of: key, isObserved: !isEnforced), key: key,
                    limit: cap.limit, isEnforced: isEnforced, slot: slot))
        }
        return targets
    }

    private static func demands(_ targets: [Target], _ tokens: UInt64) -> [EdgeLedger.Demand] {
        targets.map { EdgeLedger.Demand(slot: $0.slot, amount: amount(tokens, $0.key.unit)) }
    }

    /// How much of what is wanted the tightest cap could ever pay for; `nil` when it was refused.
    private func plan(_ wanted: Wanted, _ targets: [Target], on index: Int) -> UInt64? {
        var tokens = wanted.most
        for target in targets where target.isEnforced {
            let room = edges[index].session.ledger.room(of: target.slot) ?? target.limit
            let budget = min(target.limit, room)
            tokens = min(tokens, Self.tokens(payableBy: budget, target.key.unit))
            guard tokens >= wanted.least else {
                refused(.spent)
                auditRefusal(target, least: wanted.least, on: index)
                return nil
            }
        }
        return tokens
    }

    private func takeOff(
        _ hold: EdgeLedger.HoldID, _ targets: [Target], _ tokens: UInt64, on index: Int
    ) {
        let flight = Flight(
            hold: hold, accounts: targets.map(\.account),
            ceilings: targets.map { Self.amount(tokens, $0.key.unit) },
            units: targets.map(\.key.unit), tokens: tokens)
        auditor.admitted(flight.accounts, flight.ceilings)
        let number = edges[index].nextFlight
        edges[index].nextFlight += 1
        edges[index].flights[number] = flight
        trace.note(now, "edge \(index) admits \(tokens) tokens")
        let duration = 20 + random.scaled(0...scenario.durationMax)
        schedule(
            .finished(edge: index, life: edges[index].life, flight: number),
            in: isCalm ? min(duration, 3_000) : duration)
    }

    // MARK: - Waiting

    func handle(_ wakeup: EdgeLedger.Wakeup, on index: Int) {
        switch wakeup {
        case .held(let id, let hold):
            guard let position = edges[index].waiting.firstIndex(where: { $0.id == id }) else {
                return auditor.fail("E", "a hold for a request that does not wait")
            }
            let waiting = edges[index].waiting.remove(at: position)
            checkTurn(position, waiting, on: index)
            takeOff(hold, waiting.targets, waiting.tokens, on: index)
            checkSlots(waiting.targets, on: index)
        case .reconsider(let id): reconsider(id, on: index)
        }
    }

    /// L4: among requests for the same accounts, first come, first served.
    private func checkTurn(_ position: Int, _ served: Waiting, on index: Int) {
        let slots = served.targets.map(\.slot)
        for earlier in edges[index].waiting[..<position]
        where earlier.targets.map(\.slot) == slots && earlier.tokens <= served.tokens {
            auditor.fail("L4", "edge \(index) served a later request before an earlier one")
        }
    }

    private func reconsider(_ id: EdgeLedger.WaiterID, on index: Int) {
        guard let waiting = edges[index].waiting.first(where: { $0.id == id }) else { return }
        for target in waiting.targets where target.isEnforced {
            let counter = edges[index].session.ledger.standing(of: target.slot).counter
            if counter?.isClosed == true {
                withdraw(id, index)
                guard waiting.expiredCount < 3 else { return refused(.expired) }
                return admit(waiting.wanted, on: index, expiredCount: waiting.expiredCount + 1)
            }
            if counter?.isFrozen == true {
                withdraw(id, index)
                return refused(.frozen)
            }
        }
        guard let tokens = plan(waiting.wanted, waiting.targets, on: index) else {
            return withdraw(id, index)
        }
        if tokens < waiting.tokens { reduce(id, to: tokens, on: index) }
    }

    private func reduce(_ id: EdgeLedger.WaiterID, to tokens: UInt64, on index: Int) {
        guard let position = edges[index].waiting.firstIndex(where: { $0.id == id }) else { return }
        edges[index].waiting[position].tokens = tokens
        let demands = Self.demands(edges[index].waiting[position].targets, tokens)
        for wakeup in edges[index].session.ledger.reduce(id, to: demands) {
            handle(wakeup, on: index)
        }
    }

    func deadline(_ index: Int, _ life: Int, _ id: EdgeLedger.WaiterID) {
        guard edges[index].life == life, edges[index].isUp else { return }
        whenAwake(index) { $0.giveUp(id, on: index) }
    }

    /// What is payable now, if that is enough; otherwise a refusal.
    private func giveUp(_ id: EdgeLedger.WaiterID, on index: Int) {
        guard let position = edges[index].waiting.firstIndex(where: { $0.id == id }) else { return }
        let waiting = edges[index].waiting[position]
        let standings = waiting.targets.map {
            edges[index].session.ledger.standing(of: $0.slot)
        }
        let isKnown = standings.allSatisfy { $0.counter.map { !$0.isLearning } ?? false }
        guard edges[index].session.isConnected, isKnown else {
            refused(.unavailable)
            return withdraw(id, index)
        }
        var tokens = waiting.tokens
        for (target, standing) in zip(waiting.targets, standings) where target.isEnforced {
            let payable = min(target.limit, standing.payableNow)
            tokens = min(tokens, Self.tokens(payableBy: payable, target.key.unit))
        }
        guard tokens >= waiting.wanted.least, !waiting.isLastTry else {
            refused(.inFlight)
            auditPatience(waiting, on: index)
            return withdraw(id, index)
        }
        edges[index].waiting[position].isLastTry = true
        schedule(.deadline(edge: index, life: edges[index].life, id), in: 500)
        reduce(id, to: tokens, on: index)
    }

    func withdraw(_ id: EdgeLedger.WaiterID, _ index: Int) {
        guard let position = edges[index].waiting.firstIndex(where: { $0.id == id }) else { return }
        edges[index].waiting.remove(at: position)
        for wakeup in edges[index].session.ledger.withdraw(id) { handle(wakeup, on: index) }
    }

    private func refused(_ refusal: Refusal) {
        switch refusal {
        case .spent: auditor.refusedSpent += 1
        case .inFlight: auditor.refusedInFlight += 1
        case .unavailable, .frozen, .expired: auditor.refusedUnavailable += 1
        }
    }

    /// L1: nobody is told that a cap is spent while it is not.
    private func auditRefusal(_ target: Target, least: UInt64, on index: Int) {
        let account = auditor.accounts[target.account]
        let limit = caps.first { $0.name == target.key.cap }?.limit ?? .zero
        guard policyVersion == 1 || phase == .probing, limit == target.limit else { return }
        let presumed = presumedSpent(target.key)
        let spent = account.charged + account.billedUnsettled + presumed
        guard limit.excess(over: spent) >= Self.amount(least, target.key.unit) else { return }
        auditor.falseRefusals += 1
        guard scenario.isFaultFree || phase == .probing else { return }
        auditor.fail(
            "L1",
            "\(target.key.text): \(least) tokens refused by edge \(index), "
                + "\(limit.excess(over: spent).rawValue) of \(limit.rawValue) left")
    }

    /// L1: who is told that others hold the budget waited for holds, not for what lay idle.
    private func auditPatience(_ waiting: Waiting, on index: Int) {
        // With several accounts, requests that wait keep what they have already.
        guard scenario.isFaultFree, waiting.targets.count == 1, let target = waiting.targets.first
        else { return }
        let account = auditor.accounts[target.account]
        let used = account.charged + account.inFlight
        // Somebody who came before may need more than what is idle, and be about to get it.
        let largest = Self.amount(scenario.largestRequest, target.key.unit)
        let onItsWay = Self.amount(scenario.tokens.upperBound, target.key.unit)
        if account.allowed.excess(over: used) >= largest + onItsWay {
            auditor.fail(
                "L1",
                "\(target.key.text): \(waiting.wanted.least) tokens waited in vain on edge "
                    + "\(index), \(account.allowed.excess(over: used).rawValue) were idle")
        }
    }

    /// What sessions that are gone have on the books without having reported it as spent.
    func presumedSpent(_ key: AccountKey) -> Amount {
        guard let account = store.accounts[key]?.account else { return .zero }
        let living = Set(edges.filter(\.isUp).compactMap(\.session.id))
        return account.lines.reduce(.zero) { sum, line in
            guard !living.contains(line.session) else { return sum }
            return sum
                + max(line.granted.excess(over: line.released), line.spent)
                .excess(over: line.spent)
        }
    }

    // MARK: - The provider

    func finish(_ index: Int, _ life: Int, _ number: Int) {
        guard edges[index].life == life, edges[index].isUp, edges[index].flights[number] != nil
        else { return }
        whenAwake(index) { $0.settle(number, on: index) }
        closeIfDrained(index)
    }

    private func settle(_ number: Int, on index: Int) {
        guard let flight = edges[index].flights.removeValue(forKey: number) else { return }
        var tokens =
            random.chance(150)
            ? flight.tokens : random.scaled(0...max(1, flight.tokens - flight.tokens / 10))
        tokens = min(tokens, flight.tokens)
        if !isCalm, random.chance(scenario.faults.overrun) {
            faults.note(.overrun)
            tokens = flight.tokens + 1 + random.within(0...(flight.tokens / 2))
        }
        auditor.billed(flight.accounts, flight.ceilings, tokens: tokens, price: Scenario.price)
        let charges = flight.units.map { Self.amount(tokens, $0) }
        for (account, charge) in zip(flight.accounts, charges) {
            auditor.charged(account, charge, tokens: tokens, price: Scenario.price)
        }
        let (outcome, wakeups) = edges[index].session.ledger.settle(flight.hold, actual: charges)
        if outcome == .unknownHold { auditor.fail("E", "a hold was settled twice") }
        for wakeup in wakeups { handle(wakeup, on: index) }
    }

    /// I2: an edge never holds or spends more than it was granted.
    private func checkSlots(_ targets: [Target], on index: Int) {
        for target in targets where target.isEnforced {
            let books = edges[index].session.ledger.standing(of: target.slot)
            let used = books.released + books.spent + books.held
            if used > books.granted, scenario.faults.overrun == 0 {
                auditor.fail("I2", "edge \(index), \(target.key.text): \(books)")
            }
        }
    }
}
