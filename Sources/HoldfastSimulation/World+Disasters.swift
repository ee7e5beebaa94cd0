import HoldfastCore
import HoldfastLedger

/// What goes wrong at a moment, and how it is mended.
extension World {
    func scheduleDisaster() {
        guard scenario.faults.disastersPerHour > 0, !scenario.faults.disasters.isEmpty else {
            return
        }
        let mean = 3_600_000 / UInt64(scenario.faults.disastersPerHour)
        schedule(.disaster, in: random.within(1...(2 * mean)))
    }

    func disaster() {
        guard phase == .safety else { return }
        scheduleDisaster()
        // Trouble that meets no traffic teaches little.
        if now >= spellEndsAt, random.chance(700) {
            postponedDisasters += 1
            return
        }
        strikeNow()
    }

    func strikeNow() {
        guard phase == .safety else { return }
        strike()
        // Troubles seldom come alone.
        while random.chance(250) { strike() }
    }

    private func strike() {
        let fault = random.pick(scenario.faults.disasters)
        switch fault {
        case .linkClogged, .linkCut, .linkBlackholed: strikeLink(fault)
        case .partition, .oneWayPartition: partition(fault)
        case .edgeCrashed, .edgePaused, .edgeDrained: strikeEdge(fault)
        case .counterCrashed, .counterPaused, .clockStepped, .clockJumpedAZone:
            strikeCounter(fault)
        case .storeOutage, .storeFailover, .failoverLostWrites, .writesLostSilently,
            .accountDamaged:
            strikeStore(fault)
        case .limitRaised, .limitLowered, .capDeleted, .capZoneChanged: changeRules(fault)
        case .operatorRefunded: refundSomebody()
        default: preconditionFailure("\(fault) does not happen at a moment")
        }
    }

    // MARK: - Network

    private func strikeLink(_ fault: Fault) {
        let open = links.indices.suffix(60).filter { links[$0].isOpenAtEdge }
        guard !open.isEmpty else { return }
        let link = random.pick(open)
        faults.note(fault)
        trace.note(now, "\(fault.title): edge \(links[link].edge), counter \(links[link].counter)")
        switch fault {
        case .linkClogged: links[link].cloggedUntil = now + random.within(100...5_000)
        case .linkCut: cut(link)
        default: links[link].isBlackholed = true
        }
    }

    private func partition(_ fault: Fault) {
        let edge = random.below(edges.count)
        let isWhole = random.chance(400)
        let only = random.below(counters.count)
        let duration = random.scaled(500...90_000)
        faults.note(fault)
        trace.note(now, "\(fault.title): edge \(edge)\(isWhole ? "" : " and counter \(only)")")
        let isOutOnly = random.chance(500)
        for counter in counters.indices where isWhole || counter == only {
            if fault == .partition || isOutOnly { blockedOut[edge][counter] = true }
            if fault == .partition || !isOutOnly { blockedIn[edge][counter] = true }
            // Of a stream of bytes nothing can be missing in the middle.
            if scenario.isOrdered, let link = edges[edge].linkTo[counter] {
                links[link].isBlackholed = true
            }
            schedule(.heal(fault, edge: edge, counter: counter), in: duration)
        }
    }

    func heal(_ fault: Fault, edge: Int, counter: Int) {
        switch fault {
        case .partition, .oneWayPartition:
            blockedOut[edge][counter] = false
            blockedIn[edge][counter] = false
        case .edgePaused: resumeEdge(edge)
        case .counterPaused: run(counter: counter, in: 0)
        case .accountDamaged: damagedAccount = nil
        default: break
        }
    }

    // MARK: - Nodes

    private func strikeEdge(_ fault: Fault) {
        let edge = random.below(edges.count)
        guard edges[edge].isUp else { return }
        faults.note(fault)
        switch fault {
        case .edgeCrashed: crashAndRestart(edge)
        case .edgeDrained: drainEdge(edge)
        default:
            let duration = random.scaled(300...120_000)
            trace.note(now, "edge \(edge) stops for \(duration) ms")
            edges[edge].pausedUntil = now + duration
            schedule(.heal(fault, edge: edge, counter: 0), in: duration)
        }
    }

    private func strikeCounter(_ fault: Fault) {
        let index = random.below(counters.count)
        guard counters[index].isUp else { return }
        faults.note(fault)
        switch fault {
        case .counterCrashed:
            crashCounter(index)
            schedule(.startCounter(counter: index), in: random.scaled(200...40_000))
        case .counterPaused:
            let duration = random.scaled(100...60_000)
            trace.note(now, "counter \(index) stops for \(duration) ms")
            counters[index].pausedUntil = now + duration
            schedule(.heal(fault, edge: 0, counter: index), in: duration + 1)
        case .clockStepped:
            counters[index].clock.offset += Int64(random.within(0...60_000)) - 30_000
        default:
            counters[index].clock.offset += (Int64(random.within(0...4)) - 2) * 3_600_000
        }
    }

    // MARK: - The store

    private func strikeStore(_ fault: Fault) {
        switch fault {
        case .accountDamaged:
            let keys = store.accounts.keys.sorted { $0.text < $1.text }
            guard !keys.isEmpty else { return }
            damagedAccount = random.pick(keys)
            schedule(.heal(fault, edge: 0, counter: 0), in: random.within(1_000...20_000))
        case .storeOutage: takeStoreDown(for: random.scaled(200...20_000))
        case .storeFailover:
            takeStoreDown(for: random.scaled(200...5_000))
            breakStoreConnections()
        case .failoverLostWrites:
            loseWrites()
        default:
            guard let (key, before, after) = store.loseSilently(at: now) else { return }
            auditor.lost(key, before, after, isObserved: observed.contains(key.cap))
            trace.note(now, "the store loses a write of [\(key.text)] and tells nobody")
        }
        faults.note(fault)
    }

    private func takeStoreDown(for duration: UInt64) {
        trace.note(now, "the store is away for \(duration) ms")
        isStoreDown = true
        schedule(.storeBack, in: duration)
    }

    private func breakStoreConnections() {
        for index in counters.indices { counters[index].isStoreConnectionBroken = true }
    }

    private func loseWrites() {
        let lost = store.fail(over: random.within(5...SimulatedStore.lossWindow), at: now)
        for (key, before, after) in lost {
            auditor.lost(key, before, after, isObserved: observed.contains(key.cap))
        }
        auditor.reopen { store.sessions[$0]?.closedAt == nil }
        // A lease's lifetime, by the slowest and the fastest clock.
        auditor.learningUntil = now + 29_900
        trace.note(now, "a replica takes over; \(lost.count) accounts lose writes")
        breakStoreConnections()
        takeStoreDown(for: random.scaled(200...3_000))
    }

    // MARK: - Operators

    private func changeRules(_ fault: Fault) {
        guard !caps.isEmpty else { return }
        let index = random.below(caps.count)
        var new = caps
        let cap = caps[index]
        switch fault {
        case .limitRaised:
            new[index].limit = Amount(cap.limit.rawValue + random.within(1...(cap.limit.rawValue)))
        case .limitLowered:
            new[index].limit = Amount(
                cap.limit.rawValue - random.within(0...(cap.limit.rawValue / 2)))
        case .capDeleted:
            guard caps.count > 1 else { return }
            new.remove(at: index)
            schedule(.capRestored(cap: index, cap), in: random.scaled(1_000...200_000))
        default:
            new[index].zone = cap.zone == "UTC" ? "Berlin" : "UTC"
        }
        faults.note(fault)
        trace.note(now, "\(fault.title): \(cap.name)")
        publish(new)
    }

    func restore(_ index: Int, _ cap: Cap) {
        guard !caps.contains(where: { $0.name == cap.name }) else { return }
        faults.note(.capRestored)
        trace.note(now, "cap restored: \(cap.name)")
        var new = caps
        new.insert(cap, at: min(index, new.count))
        publish(new)
    }

    private func refundSomebody() {
        let living = Set(edges.filter(\.isUp).compactMap(\.session.id))
        let gone = store.sessions.keys.filter { !living.contains($0) }.sorted()
        let up = counters.indices.filter { counters[$0].isUp }
        guard let session = gone.last(where: { !store.accounts(with: $0).isEmpty }), !up.isEmpty
        else { return }
        let keys = store.accounts(with: session)
        trace.note(now, "an operator refunds session \(session.rawValue)")
        operate(.refund(session, accounts: keys, reason: "gone"), on: random.pick(up))
    }
}
