public import HoldfastCore

/// What comes from counters, and what goes to them.
extension EdgeSession {
    /// A report frame is cut when it gets larger, far below the limit.
    static let frameByteCountTarget = Limits.frameByteCountMax / 4
    /// Of a report entry without its key: eleven numbers of at most ten bytes, with their tags.
    static let entryByteCountMax = 144

    // MARK: - In

    public mutating func received(
        _ frame: CounterFrame, on link: LinkID, at time: UInt64
    ) -> [Output] {
        now = max(now, time)
        guard let index = links.firstIndex(where: { $0.id == link }) else { return [] }
        links[index].heardAt = now
        // Only a counter that knows us keeps the lease alive.
        let isWelcomed = links[index].counter != nil
        if isWelcomed { heardAt = now }
        switch frame {
        case .welcome(let welcome): return welcomed(welcome, on: index)
        case .rejected(let rejection): return rejected(rejection, on: index)
        case _ where !isWelcomed: return []
        case .grants(let entries, let milliseconds):
            let wakeups = ledger.apply(entries.map { ($0.reference, $0.grant) }, from: link)
            return [.counterTime(milliseconds: milliseconds)] + wakeups.map { .wakeup($0) }
        case .recall(let reference, let epoch):
            ledger.recall(reference: reference, epoch: epoch, from: link)
            return [.recalled]
        case .policy(let policy):
            links[index].policy = policy
            return adopt(policy)
        case .windows(let windows):
            if links[index].policy?.version == windows.policyVersion {
                links[index].policy?.windows = windows
            }
            if policy?.version == windows.policyVersion { policy?.windows = windows }
            return [
                .counterTime(milliseconds: windows.counterTimeMilliseconds), .windows(windows),
            ]
        case .keyAnswer(let request, let key):
            questions[request] = nil
            return [.keyAnswer(request: request, key)]
        case .keysChanged: return [.keysChanged]
        case .sessionClosed: return sessionClosed()
        case .pong(_, let milliseconds): return [.counterTime(milliseconds: milliseconds)]
        case .counters(let nodes): return [.counters(nodes)]
        }
    }

    private mutating func welcomed(
        _ welcome: CounterFrame.Welcome, on index: Int
    ) -> [Output] {
        let link = links[index].id
        guard join(welcome, on: index) else { return drop(link) }
        heardAt = now
        return [
            .counterTime(milliseconds: welcome.counterTimeMilliseconds), .welcomed(link, welcome),
        ] + greet() + flush()
    }

    private mutating func rejected(_ rejection: Rejection, on index: Int) -> [Output] {
        let link = links[index]
        switch rejection.reason {
        case .sessionClosed, .sessionUnknown:
            // When we have asked for the end, it came before its confirmation could.
            return [.rejected(rejection)] + (stage == .open ? refuse(rejection) : end())
        case .protocolVersion, .notBelieved, .malformed, .unavailable, .unknown:
            // Another counter may be of our version: upgrades go through one by one.
            let isHello = link.counter == nil
            if !isHello, rejection.reason == .unavailable, rejection.reference != 0 {
                ledger.sayAgainLater(reference: rejection.reference)
            }
            return [.rejected(rejection)] + (isHello ? drop(link.id) : [])
        }
    }

    private mutating func sessionClosed() -> [Output] {
        guard stage == .open else { return end() }
        return refuse(
            Rejection(reason: .sessionClosed, message: "the counter has closed the session"))
    }

    /// The counters that are left may enforce another policy than the one that was lost with its
    /// counter, and only theirs is told of new periods.
    mutating func adoptRemainingPolicy() -> [Output] {
        guard let version = policy?.version,
            !links.contains(where: { $0.policy?.version == version }),
            let other = links.lazy.compactMap(\.policy).first
        else { return [] }
        return adopt(other)
    }

    /// Every counter sends its policy; the same one again only brings newer windows.
    private mutating func adopt(_ new: EdgePolicy) -> [Output] {
        let time = Output.counterTime(milliseconds: new.windows.counterTimeMilliseconds)
        let isKnown =
            policy.map {
                $0.version == new.version && $0.caps == new.caps && $0.prices == new.prices
            } ?? false
        policy = new
        return [time, isKnown ? .windows(new.windows) : .policy(new)]
    }

    // MARK: - Out

    /// Everything that counters should hear now.
    public mutating func flush() -> [Output] {
        guard isConnected else { return [] }
        switch stage {
        case .open, .returning: break
        // What comes after the last frame of a session is not taken any more.
        case .closing, .ended, .refused: return []
        }
        _ = ledger.takeUrgency()
        var outputs: [Output] = []
        var count: Int
        repeat {
            let reports = ledger.collectReports()
            outputs += frames(of: reports)
            count = reports.count
        } while count == Limits.reportEntryCountMax
        return outputs
    }

    /// Cut by size: keys are as long as the scope values that callers choose, so that a fixed number
    /// of entries could be too large for one frame.
    private mutating func frames(of reports: [EdgeLedger.Report]) -> [Output] {
        guard !reports.isEmpty else { return [] }
        var outputs: [Output] = []
        for index in links.indices where links[index].counter != nil {
            var entries: [ReportEntry] = []
            var byteCount = 0
            for report in reports where report.route == links[index].id {
                let isNew = links[index].introduced.insert(report.reference).inserted
                let entry = ReportEntry(
                    reference: report.reference, key: isNew ? report.key : nil,
                    report: report.report)
                let entryByteCount =
                    Self.entryByteCountMax + (entry.key?.text.utf8.count ?? 0)
                if byteCount + entryByteCount > Self.frameByteCountTarget, !entries.isEmpty {
                    outputs.append(.send(links[index].id, .report(entries)))
                    entries = []
                    byteCount = 0
                }
                entries.append(entry)
                byteCount += entryByteCount
            }
            if !entries.isEmpty { outputs.append(.send(links[index].id, .report(entries))) }
        }
        return outputs
    }

    // MARK: - Keys

    /// Asks one of the counters for a virtual key. Empty when none is connected: there will be no
    /// answer.
    ///
    /// - Parameter request: named in the answer. Never used before.
    public mutating func resolveKey(request: UInt64, digest: [UInt8]) -> [Output] {
        let welcomed = links.filter { $0.counter != nil }
        guard !welcomed.isEmpty else { return [] }
        let link = welcomed[Int(request % UInt64(welcomed.count))].id
        questions[request] = Question(digest: digest, link: link)
        return [.send(link, .resolveKey(request: request, digest: digest))]
    }

    mutating func askAgain(insteadOf link: LinkID) -> [Output] {
        let lost = questions.filter { $0.value.link == link }.sorted { $0.key < $1.key }
        return lost.flatMap { request, question -> [Output] in
            let asked = resolveKey(request: request, digest: question.digest)
            guard asked.isEmpty else { return asked }
            questions[request] = nil
            return [.keyUnanswered(request: request)]
        }
    }
}
