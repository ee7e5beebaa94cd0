import HoldfastCore
import HoldfastLedger

/// Judges the cluster by what the fake provider has billed, with arithmetic of its own. Knows what
/// the simulator did to the cluster; believes nothing that the engines say.
struct Auditor {
    /// A broken promise.
    struct Violation: Error, Sendable, Equatable {
        /// As in DESIGN section 7: `I1`, `L2`, …
        var invariant: String
        var message: String
    }

    struct Account {
        let key: AccountKey
        var isObserved: Bool
        /// The most that may be billed: the limit in force, or the exposure when it was lowered.
        var allowed: Amount
        /// Exact, in millionths of the unit: the provider's own arithmetic.
        var billedMillionths: UInt64 = 0
        /// What the edges have settled.
        var charged: Amount = .zero
        /// Ceilings of requests that the provider is working on.
        var inFlight: Amount = .zero
        /// Bills above their holds: facts, not decisions.
        var overruns: Amount = .zero
        /// The same, also before the limit was lowered.
        var overrunsEver: Amount = .zero
        /// Grants that the store lost in ways from which nothing can recover them.
        var lost: Amount = .zero
        /// The store has lost writes of this account: also what was released and is said no more.
        var hasLostWrites = false
        /// Charged by edges that crashed before they could say so.
        var billedUnsettled: Amount = .zero
        /// By the store, computed here: base and every session's max(granted − released, spent).
        var exposure: Amount = .zero
        /// The most that any state of the store, lost ones too, has granted each session.
        var mostGranted: [SessionID: Amount] = [:]

        var billed: Amount { Amount((billedMillionths + 999_999) / 1_000_000) }
        var mostAllowed: Amount { allowed + overruns + lost }
    }

    private(set) var accounts: [Account] = []
    private var indices: [AccountKey: Int] = [:]
    /// By cap name; what the newest rules say.
    var limits: [String: Amount] = [:]
    private(set) var violation: Violation?
    /// Nothing may be granted before: the store has lost writes and said so.
    var learningUntil: UInt64 = 0
    /// Sessions whose presumed spending an operator gave back although they might live.
    private(set) var closedSessions: Set<SessionID> = []

    // Statistics.
    var admitted = 0
    var refusedSpent = 0
    var refusedInFlight = 0
    var refusedUnavailable = 0
    var falseRefusals = 0
    var commits = 0

    init(caps: [Cap]) {
        for cap in caps { limits[cap.name] = cap.limit }
    }

    mutating func fail(_ invariant: String, _ message: String) {
        if violation == nil { violation = Violation(invariant: invariant, message: message) }
    }

    // MARK: - Accounts

    mutating func index(of key: AccountKey, isObserved: Bool) -> Int {
        if let index = indices[key] { return index }
        indices[key] = accounts.count
        accounts.append(
            Account(
                key: key, isObserved: isObserved, allowed: limits[key.cap] ?? .zero))
        return accounts.count - 1
    }

    func existing(_ key: AccountKey) -> Account? { indices[key].map { accounts[$0] } }

    // MARK: - Limits

    /// The first counter has the higher limit.
    mutating func raised(cap: String, to limit: Amount) {
        limits[cap] = limit
        for index in accounts.indices where accounts[index].key.cap == cap {
            accounts[index].allowed = max(accounts[index].allowed, limit)
        }
    }

    /// The last counter has the lower limit: what can be spent by now is what is leased.
    mutating func lowered(cap: String, to limit: Amount) {
        limits[cap] = limit
        for index in accounts.indices where accounts[index].key.cap == cap {
            let account = accounts[index]
            let exposed = max(account.exposure, account.billed + account.inFlight)
            accounts[index].allowed = max(
                limit, min(account.allowed + account.overruns, exposed))
            // What was overrun so far is part of what is exposed.
            accounts[index].overruns = .zero
        }
    }

    // MARK: - The provider

    mutating func admitted(_ indices: [Int], _ ceilings: [Amount]) {
        admitted += 1
        for (index, ceiling) in zip(indices, ceilings) {
            accounts[index].inFlight += ceiling
            check(index)
        }
    }

    /// The provider has billed so many tokens for a request that had these ceilings.
    mutating func billed(_ indices: [Int], _ ceilings: [Amount], tokens: UInt64, price: TokenPrice)
    {
        for (index, ceiling) in zip(indices, ceilings) {
            let perToken =
                accounts[index].key.unit == .usd ? price.nanoUSDPerMillionTokens : 1_000_000
            let exact = tokens * perToken
            accounts[index].inFlight -= ceiling
            accounts[index].billedMillionths += exact
            let whole = Amount((exact + 999_999) / 1_000_000)
            accounts[index].overruns += whole.excess(over: ceiling)
            accounts[index].overrunsEver += whole.excess(over: ceiling)
            check(index)
        }
    }

    /// An edge has charged a request with so much (I10).
    mutating func charged(_ index: Int, _ charge: Amount, tokens: UInt64, price: TokenPrice) {
        let perToken = accounts[index].key.unit == .usd ? price.nanoUSDPerMillionTokens : 1_000_000
        let exact = tokens * perToken
        accounts[index].charged += charge
        let isEnough = charge.rawValue * 1_000_000 >= exact
        let isClose = charge.rawValue * 1_000_000 < exact + 1_000_000
        if !isEnough || !isClose {
            fail("I10", "charged \(charge.rawValue) for \(exact) millionths")
        }
    }

    /// Billed, but the edge that should have charged it is gone.
    mutating func billedWithoutCharge(_ index: Int, tokens: UInt64, price: TokenPrice) {
        let perToken = accounts[index].key.unit == .usd ? price.nanoUSDPerMillionTokens : 1_000_000
        accounts[index].billedUnsettled += Amount((tokens * perToken + 999_999) / 1_000_000)
    }

    private mutating func check(_ index: Int) {
        let account = accounts[index]
        guard !account.isObserved, account.billed + account.inFlight > account.mostAllowed
        else { return }
        fail(
            "I1",
            "\(account.key.text) can cost \((account.billed + account.inFlight).rawValue) "
                + "(\(account.billed.rawValue) billed), allowed \(account.mostAllowed.rawValue)")
    }

    // MARK: - The store

    mutating func committed(
        _ key: AccountKey, from old: StoredAccount?, to new: StoredAccount, batch: StoreBatch,
        isObserved: Bool, at now: UInt64
    ) {
        commits += 1
        let index = index(of: key, isObserved: isObserved)
        let before = old ?? StoredAccount(base: .zero, isFrozen: false, lines: [])
        checkMonotone(key, before, new, batch)
        checkLearning(index, new, at: now)
        var isGrant = false
        for line in new.lines {
            let most = accounts[index].mostGranted[line.session] ?? .zero
            if line.granted > most {
                isGrant = true
                accounts[index].mostGranted[line.session] = line.granted
            }
        }
        let exposure = Self.exposure(new)
        let isMore = exposure > Self.exposure(before)
        accounts[index].exposure = exposure
        if isGrant { checkGrant(key, exposure, new) }
        if !isMore { checkCovered(index) }
        // What edges say that they have seen granted is a fact too, and so is what was spent.
        if isMore, !isObserved, exposure > accounts[index].mostAllowed {
            fail(
                "I4",
                "\(key.text): exposure \(exposure.rawValue) in the store, allowed "
                    + "\(accounts[index].mostAllowed.rawValue)")
        }
    }

    /// The only check that safety rests on: the exposure after a grant, overruns included.
    private mutating func checkGrant(
        _ key: AccountKey, _ exposure: Amount, _ new: StoredAccount
    ) {
        let limit = limits[key.cap] ?? .zero
        if exposure > limit {
            fail(
                "I4", "\(key.text): granted up to \(exposure.rawValue) of \(limit.rawValue)")
        }
        if new.isFrozen { fail("I6", "\(key.text): granted while frozen") }
    }

    static func exposure(_ account: StoredAccount) -> Amount {
        var sum = account.base
        for line in account.lines {
            sum += max(line.granted.excess(over: line.released), line.spent)
        }
        return sum
    }

    /// I5: nothing goes back. I8: a closed session's line only disappears.
    private mutating func checkMonotone(
        _ key: AccountKey, _ old: StoredAccount, _ new: StoredAccount, _ batch: StoreBatch
    ) {
        if new.base < old.base { fail("I5", "\(key.text): the base went back") }
        if old.isFrozen, !new.isFrozen, !batch.records.contains(where: { $0.account == key }) {
            fail("I5", "\(key.text) was unfrozen without a record")
        }
        var position = 0
        var folded = Amount.zero
        for line in old.lines {
            while position < new.lines.count, new.lines[position].session < line.session {
                position += 1
            }
            guard position < new.lines.count, new.lines[position].session == line.session else {
                folded += line.spent
                if !closedSessions.contains(line.session),
                    !batch.closedSessions.contains(line.session)
                {
                    fail("I5", "\(key.text): open session \(line.session.rawValue) is gone")
                }
                continue
            }
            let next = new.lines[position]
            if next.granted < line.granted || next.released < line.released
                || next.spent < line.spent || next.overrun < line.overrun
                || next.unlocked < line.unlocked
            {
                fail("I5", "\(key.text): session \(line.session.rawValue) went back")
            }
            if closedSessions.contains(line.session), next != line {
                fail("I8", "\(key.text): closed session \(line.session.rawValue) was written")
            }
        }
        // What they spent for sure has to be in the base.
        if new.base < old.base + folded {
            fail("I5", "\(key.text): the spending of folded sessions is gone")
        }
    }

    /// After a loss that the store has told of, nothing is granted before all had time to speak.
    private mutating func checkLearning(_ index: Int, _ new: StoredAccount, at now: UInt64) {
        guard now < learningUntil else { return }
        for line in new.lines
        where line.granted > accounts[index].mostGranted[line.session] ?? .zero {
            fail("I6", "\(accounts[index].key.text): granted while learning")
        }
    }

    mutating func closed(_ session: SessionID) { closedSessions.insert(session) }

    /// The store lost that they were closed.
    mutating func reopen(_ isOpen: (SessionID) -> Bool) {
        closedSessions = closedSessions.filter { !isOpen($0) }
    }

    /// An operator gave so much back, whatever the provider has billed of it.
    mutating func forgiven(_ key: AccountKey, _ amount: Amount) {
        guard let index = indices[key] else { return }
        accounts[index].lost += amount
    }

    /// The store lost writes.
    ///
    /// - Parameter isTold: with a new generation; else nobody knows.
    mutating func lost(
        _ key: AccountKey, _ before: StoredAccount, _ after: StoredAccount, isObserved: Bool
    ) {
        let index = index(of: key, isObserved: isObserved)
        accounts[index].hasLostWrites = true
        accounts[index].exposure = Self.exposure(after)
        // What is missing for the sessions that come back and say so is found again; what is
        // missing of those that never do is beyond what any protocol can know.
        for line in before.lines {
            let kept = after.lines.first { $0.session == line.session }
            let was = max(line.granted.excess(over: line.released), line.spent)
            let now = kept.map { max($0.granted.excess(over: $0.released), $0.spent) } ?? .zero
            accounts[index].lost += was.excess(over: now)
        }
        accounts[index].lost += before.base.excess(over: after.base)
    }

    /// I1, from the other side: whatever is billed or in flight is on the books of the store, also
    /// right after something was given back.
    private mutating func checkCovered(_ index: Int) {
        let account = accounts[index]
        let possible = account.billed + account.inFlight
        let known = account.exposure + account.lost + account.overrunsEver
        guard !account.isObserved, possible > known else { return }
        fail(
            "I1",
            "\(account.key.text) can cost \(possible.rawValue), the store knows of "
                + "\(account.exposure.rawValue)")
    }
}
