import HoldfastCore
import HoldfastLedger

/// Connections: like TCP, or worse.
extension World {
    struct Link {
        let edge: Int
        let edgeLife: Int
        let counter: Int
        let counterLife: Int
        /// Set for the connection that delivers a crashed edge's journal.
        var recovery: Int?
        var isOpenAtEdge = false
        var isOpenAtCounter = false
        /// Nothing comes through any more; nobody is told.
        var isBlackholed = false
        /// Frames wait until then.
        var cloggedUntil: UInt64 = 0
        var lastToCounter: UInt64 = 0
        var lastToEdge: UInt64 = 0
        /// Some of what the edge has reported, for replays.
        var said: [(at: UInt64, frame: EdgeFrame)] = []
        /// Some of what has arrived at the counter.
        var heard: [(at: UInt64, frame: EdgeFrame)] = []
    }

    // MARK: - Coming and going

    func connect(_ edge: Int, _ life: Int, _ counter: Int) {
        guard edges[edge].life == life, edges[edge].isUp else { return }
        edges[edge].pendingConnects.remove(counter)
        guard edges[edge].linkTo[counter] == nil else { return }
        if let until = edges[edge].pausedUntil, until > now {
            return retry(edge, counter, after: until - now)
        }
        let isThrough =
            counters[counter].isUp && !blockedOut[edge][counter] && !blockedIn[edge][counter]
        guard isThrough else {
            return retry(edge, counter, after: 50 + random.within(0...1_950))
        }
        let link = open(edge, life, counter)
        edges[edge].linkTo[counter] = link
        schedule(.opened(link: link), in: latency())
    }

    func open(_ edge: Int, _ life: Int, _ counter: Int) -> Int {
        links.append(
            Link(
                edge: edge, edgeLife: life, counter: counter,
                counterLife: counters[counter].life))
        return links.count - 1
    }

    func retry(_ edge: Int, _ counter: Int, after delay: UInt64) {
        guard edges[edge].pendingConnects.insert(counter).inserted else { return }
        schedule(.connect(edge: edge, life: edges[edge].life, counter: counter), in: delay)
    }

    func opened(_ link: Int) {
        let (edge, counter) = (links[link].edge, links[link].counter)
        guard counters[counter].isUp, counters[counter].life == links[link].counterLife else {
            return closeAtEdge(link)
        }
        links[link].isOpenAtCounter = true
        links[link].isOpenAtEdge = true
        give(.connected(ConnectionID(UInt64(link))), to: counter)
        if let recovery = links[link].recovery { return recoveryConnected(recovery, link) }
        guard edges[edge].life == links[link].edgeLife, edges[edge].isUp else {
            return cut(link)
        }
        whenAwake(edge) { world in
            let outputs = world.edges[edge].session.connected(
                EdgeSession.LinkID(UInt64(link)), at: world.elapsed(edge: edge))
            world.perform(outputs, on: edge)
        }
    }

    /// Both ends hear of it, each in its time.
    func cut(_ link: Int) {
        schedule(.closedAtCounter(link: link), in: 1)
        schedule(.closedAtEdge(link: link), in: 1)
    }

    func closedAtCounter(_ link: Int) {
        guard links[link].isOpenAtCounter else { return }
        links[link].isOpenAtCounter = false
        let counter = links[link].counter
        guard counters[counter].life == links[link].counterLife else { return }
        give(.disconnected(ConnectionID(UInt64(link))), to: counter)
    }

    func closedAtEdge(_ link: Int) {
        guard
            links[link].isOpenAtEdge || edges[links[link].edge].linkTo[links[link].counter] == link
        else { return }
        closeAtEdge(link)
    }

    private func closeAtEdge(_ link: Int) {
        links[link].isOpenAtEdge = false
        if let recovery = links[link].recovery { return recoveryDisconnected(recovery) }
        let (edge, counter) = (links[link].edge, links[link].counter)
        guard edges[edge].life == links[link].edgeLife, edges[edge].isUp else { return }
        if edges[edge].linkTo[counter] == link { edges[edge].linkTo[counter] = nil }
        retry(edge, counter, after: 50 + random.within(0...950))
        whenAwake(edge) { world in
            world.perform(
                world.edges[edge].session.disconnected(EdgeSession.LinkID(UInt64(link))), on: edge)
        }
    }

    // MARK: - Frames

    func latency() -> UInt64 {
        random.within(scenario.latency.lowerBound...scenario.latency.upperBound)
    }

    func send(_ frame: EdgeFrame, over link: Int) {
        guard links[link].isOpenAtEdge else { return }
        countFrame(of: links[link].edge)
        if !isCalm, scenario.faults.replay > 0, case .report = frame {
            if links[link].said.count > 64 { links[link].said.removeFirst(32) }
            links[link].said.append((now, frame))
            if random.chance(scenario.faults.replay) { replay(over: link) }
        }
        let isBlocked = blockedOut[links[link].edge][links[link].counter]
        for at in arrivals(isBlocked, link, links[link].lastToCounter) {
            links[link].lastToCounter = max(links[link].lastToCounter, at)
            queue.schedule(.toCounter(link: link, frame), at: at)
        }
    }

    /// Of everything that an edge may say within a second, at a reset too: reports of 20 ticks and of
    /// as many urgent moments to each counter, and pings.
    private static let framesPerSecondMax = 400

    /// L5: load is bounded, whatever happens.
    private func countFrame(of edge: Int) {
        if edges[edge].second != now / 1_000 {
            edges[edge].second = now / 1_000
            edges[edge].framesThisSecond = 0
        }
        edges[edge].framesThisSecond += 1
        framesPerSecondMost = max(framesPerSecondMost, edges[edge].framesThisSecond)
        if framesPerSecondMost > Self.framesPerSecondMax, streamsPerEdge == 0 {
            auditor.fail("L5", "edge \(edge) sent \(framesPerSecondMost) frames within a second")
        }
    }

    func send(_ frame: CounterFrame, over link: Int) {
        guard links[link].isOpenAtCounter else { return }
        let isBlocked = blockedIn[links[link].edge][links[link].counter]
        for at in arrivals(isBlocked, link, links[link].lastToEdge) {
            links[link].lastToEdge = max(links[link].lastToEdge, at)
            queue.schedule(.toEdge(link: link, frame), at: at)
        }
    }

    /// When a frame sent now arrives: never, once, or twice.
    private func arrivals(_ isBlocked: Bool, _ link: Int, _ last: UInt64) -> [UInt64] {
        let rates = scenario.faults
        if links[link].isBlackholed || isBlocked { return [] }
        var at = now + latency()
        if isCalm { return [max(at, last)] }
        if random.chance(rates.loss) {
            faults.note(.frameLost)
            // Of a stream of bytes nothing can be missing in the middle: it ends there.
            if scenario.isOrdered { links[link].isBlackholed = true }
            return []
        }
        if random.chance(rates.delay) {
            faults.note(.frameDelayed)
            at += random.within(50...5_000)
        }
        at = max(at, links[link].cloggedUntil)
        let mayOvertake = !scenario.isOrdered && random.chance(rates.reordering)
        if mayOvertake {
            if at < last { faults.note(.framesReordered) }
        } else {
            at = max(at, last)
        }
        guard !scenario.isOrdered, random.chance(rates.duplication) else { return [at] }
        faults.note(.frameDuplicated)
        return [at, at + random.within(0...2_000)]
    }

    /// As long as any packet lives.
    static let replayWindow: UInt64 = 60_000

    /// Something that the edge said before comes again, perhaps from an older connection
    /// to the same counter.
    private func replay(over link: Int) {
        let older = links.indices.suffix(40).filter {
            links[$0].edge == links[link].edge && links[$0].edgeLife == links[link].edgeLife
                && links[$0].counter == links[link].counter && !links[$0].said.isEmpty
        }
        guard !older.isEmpty else { return }
        let (at, frame) = random.pick(links[random.pick(older)].said)
        guard at + Self.replayWindow > now else { return }
        faults.note(.frameReplayed)
        schedule(.toCounter(link: link, frame), in: latency())
    }

    func arrivedAtCounter(_ link: Int, _ frame: EdgeFrame) {
        guard links[link].isOpenAtCounter, !links[link].isBlackholed else { return }
        if case .closeSession = frame, !links[link].isOpenAtEdge { faults.note(.lateLastReport) }
        if case .ping = frame {
            // Would drown the rest.
        } else {
            trace.note(
                now, "edge \(links[link].edge) → counter \(links[link].counter): \(frame.brief)")
        }
        if case .report = frame {
            if links[link].heard.count > 32 { links[link].heard.removeFirst(16) }
            links[link].heard.append((now, frame))
        }
        give(.frame(ConnectionID(UInt64(link)), frame), to: links[link].counter)
    }

    func arrivedAtEdge(_ link: Int, _ frame: CounterFrame) {
        guard links[link].isOpenAtEdge, !links[link].isBlackholed else { return }
        let edge = links[link].edge
        if case .pong = frame {
            // Would drown the rest.
        } else {
            trace.note(now, "counter \(links[link].counter) → edge \(edge): \(frame.brief)")
        }
        if let recovery = links[link].recovery { return recoveryReceived(recovery, link, frame) }
        guard edges[edge].life == links[link].edgeLife, edges[edge].isUp else { return }
        whenAwake(edge) { world in
            guard world.links[link].isOpenAtEdge else { return }
            let outputs = world.edges[edge].session.received(
                frame, on: EdgeSession.LinkID(UInt64(link)), at: world.elapsed(edge: edge))
            world.perform(outputs, on: edge)
        }
    }
}

extension EdgeFrame {
    var brief: String {
        switch self {
        case .hello(let hello):
            "hello \(hello.session.map { "\($0.rawValue)" } ?? "new")"
                + (hello.isFinal ? " final" : "")
        case .report(let entries): "report " + entries.map(\.brief).joined(separator: "; ")
        case .closeSession(let entries): "close " + entries.map(\.brief).joined(separator: "; ")
        case .resolveKey: "resolve key"
        case .ping: "ping"
        }
    }
}

extension ReportEntry {
    fileprivate var brief: String {
        let amounts =
            "G\(report.granted.rawValue) R\(report.released.rawValue) S\(report.spent.rawValue) "
            + "H\(report.held.rawValue)"
        let wish = report.wish.map { " wish#\($0.number) need \($0.need.rawValue)" } ?? ""
        let rest = report.unlocked > .zero ? " U\(report.unlocked.rawValue)" : ""
        return "[\(key?.text ?? "#\(reference)")] \(amounts)\(wish)\(rest)"
    }
}

extension CounterFrame {
    var brief: String {
        switch self {
        case .welcome(let welcome): "welcome to session \(welcome.session.rawValue)"
        case .grants(let entries, _):
            "grants "
                + entries.map { entry in
                    let flags =
                        (entry.grant.isCentral ? " central" : "")
                        + (entry.grant.isFrozen ? " frozen" : "")
                        + (entry.grant.isClosed ? " closed" : "")
                        + (entry.grant.isLearning ? " learning" : "")
                    return "#\(entry.reference) G\(entry.grant.granted.rawValue) of "
                        + "\(entry.grant.limit.rawValue), exposed "
                        + "\(entry.grant.exposure.rawValue)\(flags)"
                }.joined(separator: "; ")
        case .recall(let reference, let epoch): "recall #\(reference) epoch \(epoch)"
        case .policy(let policy): "policy \(policy.version)"
        case .windows: "windows"
        case .keyAnswer: "key answer"
        case .keysChanged: "keys changed"
        case .sessionClosed: "session closed"
        case .rejected(let rejection): "rejected: \(rejection.message)"
        case .pong: "pong"
        case .counters: "counters"
        }
    }
}

extension StoredAccount {
    var brief: String {
        let lines = lines.map {
            "\($0.session.rawValue): G\($0.granted.rawValue) R\($0.released.rawValue) "
                + "S\($0.spent.rawValue)"
        }
        return "base \(base.rawValue)\(isFrozen ? " frozen" : "") " + lines.joined(separator: "; ")
    }
}
