import HoldfastCore
import HoldfastWire
import NIOCore
import NIOEmbedded

// MARK: - Frames

func checkEdgeFrame(_ payload: [UInt8]) {
    let frame: EdgeFrame
    do {
        frame = try FrameCodec.decodeEdgeFrame(payload)
    } catch {
        return
    }
    checkBounds(frame)
    let again = unframed(FrameCodec.encode(frame))
    do {
        let decoded = try FrameCodec.decodeEdgeFrame(again)
        precondition(decoded == frame, "another edge frame after encoding")
    } catch {
        preconditionFailure("an edge frame of ours is refused: \(error)")
    }
}

func checkCounterFrame(_ payload: [UInt8]) {
    let frame: CounterFrame
    do {
        frame = try FrameCodec.decodeCounterFrame(payload)
    } catch {
        return
    }
    checkBounds(frame)
    let again = unframed(FrameCodec.encode(frame))
    do {
        let decoded = try FrameCodec.decodeCounterFrame(again)
        precondition(decoded == frame, "another counter frame after encoding")
    } catch {
        preconditionFailure("a counter frame of ours is refused: \(error)")
    }
}

/// The payload of one whole frame.
private func unframed(_ bytes: [UInt8]) -> [UInt8] {
    let length = bytes.prefix(FrameCodec.headerByteCount).reduce(0) { $0 << 8 | Int($1) }
    precondition(
        length == bytes.count - FrameCodec.headerByteCount && length > 0, "a wrong header")
    return Array(bytes.dropFirst(FrameCodec.headerByteCount))
}

// MARK: - Bounds

private func checkBounds(_ frame: EdgeFrame) {
    switch frame {
    case .hello(let hello):
        precondition(hello.edgeName.utf8.count <= Limits.edgeNameByteCountMax, "a long name")
        precondition(hello.session != SessionID(0), "session 0")
        precondition(hello.session != nil || !hello.isFinal, "the end of no session")
    case .report(let entries), .closeSession(let entries):
        precondition(entries.count <= Limits.reportEntryCountMax, "too many entries")
        entries.forEach(checkBounds)
    case .resolveKey(_, let digest): precondition(digest.count == 32, "no digest")
    case .ping: break
    }
}

private func checkBounds(_ entry: ReportEntry) {
    let report = entry.report
    checkAmounts([
        report.granted, report.released, report.spent, report.held, report.overrun,
        report.unlocked, report.wish?.need ?? .zero, report.wish?.ceiling ?? .zero,
    ])
    precondition(report.wish?.number != 0, "a wish without a number")
    guard let key = entry.key else { return }
    precondition(AccountKey(text: key.text) == key, "a key that has another text")
    precondition(key.text.utf8.count <= 8_192, "a long key")
}

private func checkBounds(_ frame: CounterFrame) {
    switch frame {
    case .welcome(let welcome):
        precondition(welcome.session != SessionID(0), "session 0")
        checkTime(welcome.counterTimeMilliseconds)
    case .grants(let entries, let time):
        precondition(entries.count <= Limits.reportEntryCountMax, "too many entries")
        checkTime(time)
        for entry in entries {
            let grant = entry.grant
            checkAmounts([grant.granted, grant.released, grant.spent, grant.limit])
        }
    case .policy(let policy): checkBounds(policy)
    case .windows(let windows): checkBounds(windows)
    case .keyAnswer(_, let policy):
        guard let policy else { return }
        precondition(policy.callerSettable.allSatisfy(\.isCallerSettable), "not the caller's")
        checkScope(policy.fixed)
    case .pong(_, let time): checkTime(time)
    case .counters(let nodes): precondition(nodes.count <= Limits.counterCountMax)
    case .recall, .keysChanged, .sessionClosed, .rejected: break
    }
}

private func checkBounds(_ policy: EdgePolicy) {
    checkBounds(policy.windows)
    precondition(policy.windows.caps.count == policy.caps.count, "periods of other caps")
    precondition(policy.windows.policyVersion == policy.version, "periods of another policy")
    precondition(Set(policy.caps.map(\.name)).count == policy.caps.count, "two caps of one name")
    for cap in policy.caps {
        checkAmounts([cap.limit])
        checkScope(cap.scope)
        precondition(Set(cap.each).count == cap.each.count, "a dimension twice")
        // What an account of this cap is called must be a key.
        let key = AccountKey(
            cap: cap.name, unit: cap.unit, period: cap.period, periodID: 0,
            values: cap.each.map { cap.scope[$0] ?? "" })
        precondition(AccountKey(text: key.text) == key, "a cap without accounts")
    }
}

private func checkBounds(_ windows: PolicyWindows) {
    checkTime(windows.counterTimeMilliseconds)
    for window in windows.caps.joined() {
        checkTime(window.startsAt.seconds)
        checkTime(window.endsAt.seconds)
        precondition(window.startsAt < window.endsAt, "an empty period")
        precondition(!window.endsAt.rfc3339.isEmpty, "a time without a date")
    }
}

private func checkScope(_ scope: [ScopeDimension: String]) {
    for value in scope.values {
        precondition(value.utf8.count <= Limits.scopeValueByteCountMax, "a long value")
    }
}

private func checkAmounts(_ amounts: [Amount]) {
    for amount in amounts { precondition(amount.rawValue <= Limits.amountMax, "a large amount") }
    // What the bound is for: a few of them can be added.
    _ = amounts.reduce(.zero, +)
}

/// An uptime can be added to it and taken away.
private func checkTime(_ time: Int64) {
    _ = time + .max / 2
    _ = time - .max / 2
}

// MARK: - Stream

/// However the bytes of a connection are cut into reads, the same frames come out of them, and then
/// the same error or none.
func checkStream(_ input: [UInt8]) {
    guard let seed = input.first else { return }
    let bytes = Array(input.dropFirst())
    let expected = frames(in: bytes)
    var found = Split()
    let channel = EmbeddedChannel(handler: ByteToMessageHandler(FrameDecoder()))
    var rest = bytes[...]
    var size = Int(seed)
    while !rest.isEmpty {
        size = (size &* 5 &+ 3) % 61
        let piece = rest.prefix(size + 1)
        rest = rest.dropFirst(size + 1)
        do {
            try channel.writeInbound(channel.allocator.buffer(bytes: piece))
        } catch {
            found.isFailed = true
            break
        }
    }
    do {
        while let payload = try channel.readInbound(as: [UInt8].self) {
            found.payloads.append(payload)
        }
        _ = try channel.finish(acceptAlreadyClosed: true)
    } catch {
        precondition(found.isFailed, "a connection ends with an error: \(error)")
    }
    precondition(found == expected, "other frames than were sent")
    for payload in found.payloads {
        checkEdgeFrame(payload)
        checkCounterFrame(payload)
    }
}

private struct Split: Equatable {
    var payloads: [[UInt8]] = []
    var isFailed = false
}

/// The same from all bytes at once, as the format says it.
private func frames(in bytes: [UInt8]) -> Split {
    var out = Split()
    var rest = bytes[...]
    while rest.count >= 4 {
        let length = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        guard length > 0, length <= Limits.frameByteCountMax else {
            out.isFailed = true
            return out
        }
        guard rest.count >= 4 + length else { return out }
        out.payloads.append(Array(rest.dropFirst(4).prefix(length)))
        rest = rest.dropFirst(4 + length)
    }
    return out
}
