import HoldfastCore
import HoldfastLedger
import Testing

/// Nothing is held before the journal says so.
@Suite struct `Edge journal` {
    /// A slice of an account whose journal has said nothing yet.
    private func ledger(
        slice: UInt64, isEnforced: Bool = true
    ) -> (EdgeLedger, EdgeLedger.SlotID) {
        var ledger = EdgeLedger(isJournaled: true)
        let slot = ledger.slot(for: account(0), isEnforced: isEnforced)
        _ = grant(slice, &ledger, slot)
        return (ledger, slot)
    }

    private func grant(
        _ total: UInt64, _ ledger: inout EdgeLedger, _ slot: EdgeLedger.SlotID
    ) -> [EdgeLedger.Wakeup] {
        let books = ledger.standing(of: slot)
        return ledger.apply([
            (
                ledger.reference(of: slot),
                LeaseGrant(
                    granted: Amount(total), released: books.released, spent: books.spent,
                    limit: Amount(1 << 50))
            )
        ])
    }

    private func demand(_ amount: UInt64, _ slot: EdgeLedger.SlotID) -> [EdgeLedger.Demand] {
        [EdgeLedger.Demand(slot: slot, amount: Amount(amount))]
    }

    private func held(_ wakeups: [EdgeLedger.Wakeup]) -> [EdgeLedger.HoldID] {
        wakeups.compactMap { if case .held(_, let id) = $0 { id } else { nil } }
    }

    @Test func `a request waits for the disk although its slice would pay`() throws {
        var (ledger, slot) = ledger(slice: 100)
        #expect(ledger.admit(demand(40, slot)) == .short)
        #expect(ledger.wait(for: demand(40, slot)) != nil)
        #expect(ledger.isJournalDue)
        let records = ledger.takeJournalRecords()
        #expect(records == [JournalRecord(key: account(0), unlocked: Amount(40), sequence: 1)])
        #expect(!ledger.isJournalDue && ledger.takeJournalRecords() == [])
        #expect(ledger.journaled(upTo: 0) == [])
        #expect(ledger.holdCount == 0)
        #expect(held(ledger.journaled(upTo: 1)).count == 1)
        #expect(ledger.standing(of: slot).held == Amount(40))
        #expect(ledger.admit(demand(1, slot)) == .short, "nothing is left of the block")
    }

    @Test func `waiting for the disk is no need of the counter`() throws {
        var (ledger, slot) = ledger(slice: 100)
        _ = ledger.wait(for: demand(40, slot))
        for report in ledger.collectReports() { #expect(report.report.wish == nil) }
    }

    @Test func `nobody behind uses up what the first one waits for`() throws {
        var (ledger, slot) = ledger(slice: 100)
        _ = ledger.wait(for: demand(10, slot))
        _ = ledger.takeJournalRecords()
        let served = ledger.journaled(upTo: 1)
        let first = try #require(held(served).first)
        _ = ledger.settle(first, actual: [.zero])
        // Ten are unlocked and free.
        _ = ledger.wait(for: demand(40, slot))
        #expect(ledger.admit(demand(5, slot)) == .short)
        _ = ledger.wait(for: demand(5, slot))
        let records = ledger.takeJournalRecords()
        #expect(records.last?.unlocked == Amount(45))
        #expect(held(ledger.journaled(upTo: 2)).count == 2)
    }

    @Test func `what is unlocked is reported, at once when it rises`() throws {
        var (ledger, slot) = ledger(slice: 100)
        _ = ledger.wait(for: demand(40, slot))
        #expect(ledger.collectReports().allSatisfy { $0.report.unlocked == .zero })
        _ = ledger.takeJournalRecords()
        _ = ledger.takeUrgency()
        _ = ledger.journaled(upTo: 1)
        #expect(ledger.takeUrgency() == true)
        #expect(ledger.collectReports().map(\.report.unlocked) == [Amount(40)])
    }

    @Test func `without a journal nothing is unlocked, reported or written`() throws {
        var edge = EdgeFixture(slices: [100])
        let hold = try edge.hold([(0, 80)])
        #expect(try edge.reported(0).unlocked == .zero)
        _ = edge.ledger.settle(hold, actual: [Amount(90)])
        #expect(!edge.ledger.isJournalDue)
        #expect(edge.ledger.takeJournalRecords() == [])
        #expect(try edge.reported(0).unlocked == .zero)
    }

    @Test func `a cost above its hold is written afterwards`() throws {
        var (ledger, slot) = ledger(slice: 100)
        _ = ledger.wait(for: demand(40, slot))
        _ = ledger.takeJournalRecords()
        let served = ledger.journaled(upTo: 1)
        let hold = try #require(held(served).first)
        #expect(ledger.settle(hold, actual: [Amount(70)]).outcome == .overran(by: Amount(30)))
        #expect(ledger.takeJournalRecords().map(\.unlocked) == [Amount(70)])
        _ = ledger.journaled(upTo: 2)
        #expect(ledger.collectReports().map(\.report.unlocked) == [Amount(70)])
    }

    @Test func `an account in observe mode is never kept waiting, and written after its use`() {
        var (ledger, slot) = ledger(slice: 0, isEnforced: false)
        guard case .held = ledger.admit(demand(40, slot)) else {
            Issue.record("kept waiting")
            return
        }
        #expect(ledger.takeJournalRecords().map(\.unlocked) == [Amount(40)])
    }

    @Test func `what is idle goes back whether it is unlocked or not`() throws {
        var (ledger, slot) = ledger(slice: 100)
        _ = ledger.wait(for: demand(40, slot))
        _ = ledger.takeJournalRecords()
        _ = ledger.journaled(upTo: 1)
        ledger.releaseAll()
        #expect(ledger.collectReports().map(\.report.released) == [Amount(60)])
    }

    @Test func `a block is written before the last one is used up, and rarely`() throws {
        var (ledger, slot) = ledger(slice: 1 << 40)
        var records = 0
        var waits = 0
        var confirmed: [UInt64] = []
        for tick in 1...2_000 {
            for _ in 0..<4 {
                switch ledger.admit(demand(1_000, slot)) {
                case .held(let id): _ = ledger.settle(id, actual: [Amount(1_000)])
                case .short:
                    if tick > 400 { waits += 1 }
                    _ = ledger.wait(for: demand(1_000, slot))
                case .saturated: Issue.record("saturated")
                }
            }
            ledger.tick()
            // The disk takes a tick.
            for sequence in confirmed {
                for id in held(ledger.journaled(upTo: sequence)) {
                    _ = ledger.settle(id, actual: [Amount(1_000)])
                }
            }
            let new = ledger.takeJournalRecords()
            if tick > 400 { records += new.count }
            confirmed = new.map(\.sequence)
        }
        #expect(waits == 0)
        // 1,600 ticks, blocks of 20 that are written when half is left.
        #expect((80...240).contains(records), "\(records)")
    }

    @Test func `an account that was forgotten takes no confirmation of another one`() throws {
        var ledger = EdgeLedger(isJournaled: true)
        let slot = ledger.slot(for: account(0), isEnforced: true)
        let waited = ledger.wait(for: demand(5, slot))
        let waiter = try #require(waited)
        _ = ledger.takeJournalRecords()
        _ = ledger.withdraw(waiter)
        var farewell: UInt64 = 0
        for _ in 0..<6_100 {
            ledger.tick()
            farewell = max(farewell, ledger.collectReports().last?.report.wish?.number ?? 0)
        }
        _ = ledger.apply([
            (
                ledger.reference(of: slot),
                LeaseGrant(granted: .zero, limit: .zero, unmetWish: farewell)
            )
        ])
        _ = ledger.collectReports()
        #expect(ledger.forgetUnused() == [1])
        let next = ledger.slot(for: account(1), isEnforced: true)
        _ = ledger.journaled(upTo: 1)
        _ = grant(100, &ledger, next)
        #expect(ledger.admit(demand(1, next)) == .short)
    }

    private func check(_ books: EdgeLedger.Standing, _ confirmed: UInt64, _ when: Comment) {
        let used = books.spent.rawValue + books.held.rawValue
        #expect(used <= confirmed, when)
        #expect(books.released.rawValue + used <= books.granted.rawValue, when)
    }

    /// The disk is late, requests come as they like: what is held is always what was confirmed.
    @Test(arguments: 0..<200)
    func `never is more used than was confirmed`(seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        var ledger = EdgeLedger(isJournaled: true)
        let keys = (0..<3).map { account($0) }
        let slots = keys.map { ledger.slot(for: $0, isEnforced: true) }
        var open: [(id: EdgeLedger.HoldID, amounts: [UInt64])] = []
        var waiting: [EdgeLedger.WaiterID: [UInt64]] = [:]
        var written: [JournalRecord] = []
        var confirmed: [AccountKey: UInt64] = [:]
        func take(_ wakeups: [EdgeLedger.Wakeup]) {
            for case .held(let waiter, let id) in wakeups {
                open.append((id, waiting.removeValue(forKey: waiter) ?? []))
            }
        }
        for step in 0..<400 {
            switch random.amount(0...6) {
            case 0, 1:
                let amounts = slots.map { _ in random.amount(0...30) }
                let demands = zip(slots, amounts).map {
                    EdgeLedger.Demand(slot: $0, amount: Amount($1))
                }
                switch ledger.admit(demands) {
                case .held(let id):
                    open.append((id, amounts))
                case .short:
                    let waited = ledger.wait(for: demands)
                    let waiter = try #require(waited)
                    waiting[waiter] = amounts
                case .saturated: Issue.record("saturated")
                }
            case 2:
                guard !open.isEmpty else { continue }
                let flight = open.remove(at: Int(random.amount(0...UInt64(open.count - 1))))
                let actual = flight.amounts.map { Amount(random.amount(0...$0)) }
                take(ledger.settle(flight.id, actual: actual).wakeups)
            case 3:
                written += ledger.takeJournalRecords()
            case 4:
                guard !written.isEmpty else { continue }
                let count = Int(random.amount(1...UInt64(written.count)))
                for record in written.prefix(count) {
                    confirmed[record.key] = record.unlocked.rawValue
                }
                let last = written[count - 1].sequence
                written.removeFirst(count)
                take(ledger.journaled(upTo: last))
            case 5:
                for slot in slots {
                    let more = ledger.standing(of: slot).granted.rawValue + random.amount(0...50)
                    take(grant(more, &ledger, slot))
                }
            default:
                ledger.tick()
                _ = ledger.collectReports()
            }
            for (key, slot) in zip(keys, slots) {
                check(ledger.standing(of: slot), confirmed[key] ?? 0, "seed \(seed), step \(step)")
            }
        }
        // With a disk that answers, everybody who can be paid is served.
        for slot in slots { take(grant(1 << 30, &ledger, slot)) }
        if let last = written.last { take(ledger.journaled(upTo: last.sequence)) }
        while ledger.isJournalDue {
            guard let last = ledger.takeJournalRecords().last else { break }
            take(ledger.journaled(upTo: last.sequence))
        }
        #expect(waiting.isEmpty, "seed \(seed)")
        #expect(confirmed.count == 3)
    }
}
