import HoldfastCore
import HoldfastTransport
import HoldfastWire
import NIOCore

/// One simulated edge of a benchmark: reports on its accounts over a real connection, and waits for
/// the answers. Confined to its event loop.
final class LoadEdge: ChannelInboundHandler {
    typealias InboundIn = [UInt8]

    private struct Account {
        let key: AccountKey
        var granted: UInt64 = 0
        var spent: UInt64 = 0
        var wish: UInt64 = 0
        var isIntroduced = false
    }

    /// What is asked for at a time, in reports that spend one each.
    private static let slice: UInt64 = 1 << 20

    private let name: String
    private let entriesPerFrame: Int
    private let pause: TimeAmount?
    private let tally: LoadTally
    private var accounts: [Account]
    private var next = 0
    /// Entries of the frame under way that have no answer yet.
    private var awaited = 0
    private var sentAt = NIODeadline.uptimeNanoseconds(0)

    /// - Parameters:
    ///   - pause: from one report to the next; `nil`: as soon as the last is answered.
    init(
        name: String, keys: [AccountKey], entriesPerFrame: Int, pause: TimeAmount?,
        tally: LoadTally
    ) {
        self.name = name
        self.entriesPerFrame = min(entriesPerFrame, keys.count)
        self.pause = pause
        self.tally = tally
        accounts = keys.map { Account(key: $0) }
    }

    func channelActive(context: ChannelHandlerContext) {
        send(.hello(.init(edgeName: name, session: nil)), context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let payload = unwrapInboundIn(data)
        do {
            try take(try FrameCodec.decodeCounterFrame(payload), context)
        } catch {
            tally.fail("\(error)")
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if !tally.isOver { tally.fail("the counter hung up") }
    }

    private struct Refused: Error, CustomStringConvertible {
        let description: String
    }

    private func take(_ frame: CounterFrame, _ context: ChannelHandlerContext) throws {
        switch frame {
        case .welcome: break
        case .policy:
            tally.ready()
            if let pause {
                // Spread over the pause, as edges are that were started at different times.
                let delay = TimeAmount.nanoseconds(Int64.random(in: 0..<pause.nanoseconds))
                report(context, in: delay)
            } else {
                report(context)
            }
        case .grants(let entries, _): granted(entries, context)
        case .rejected(let rejection): throw Refused(description: rejection.message)
        case .sessionClosed: throw Refused(description: "the session was closed")
        case .recall, .windows, .keyAnswer, .keysChanged, .pong, .counters: break
        }
    }

    private func granted(_ entries: [GrantEntry], _ context: ChannelHandlerContext) {
        for entry in entries {
            let index = Int(entry.reference) - 1
            accounts[index].granted = max(
                accounts[index].granted, entry.grant.granted.rawValue)
        }
        guard awaited > 0 else { return }
        awaited -= min(awaited, entries.count)
        guard awaited == 0 else { return }
        let now = context.eventLoop.now
        tally.answered(entriesPerFrame, in: now - sentAt)
        guard !tally.isOver else { return context.close(promise: nil) }
        guard let pause else { return report(context) }
        report(context, in: max(.zero, pause - (now - sentAt)))
    }

    private func report(_ context: ChannelHandlerContext, in delay: TimeAmount) {
        context.eventLoop.assumeIsolated().scheduleTask(in: delay) { self.report(context) }
    }

    private func report(_ context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        var entries: [ReportEntry] = []
        entries.reserveCapacity(entriesPerFrame)
        for _ in 0..<entriesPerFrame {
            entries.append(entry(next))
            next = next + 1 == accounts.count ? 0 : next + 1
        }
        awaited = entries.count
        sentAt = context.eventLoop.now
        send(.report(entries), context)
    }

    /// Spends one, and wishes for more when little is left.
    private func entry(_ index: Int) -> ReportEntry {
        var account = accounts[index]
        if account.spent < account.granted { account.spent += 1 }
        var report = LeaseReport(granted: Amount(account.granted), spent: Amount(account.spent))
        if account.granted - account.spent < Self.slice / 4 {
            account.wish += 1
            let total = Amount(account.granted + Self.slice)
            report.wish = LeaseWish(number: account.wish, need: total, ceiling: total)
        }
        let key = account.isIntroduced ? nil : account.key
        account.isIntroduced = true
        accounts[index] = account
        return ReportEntry(reference: UInt32(index + 1), key: key, report: report)
    }

    private func send(_ frame: EdgeFrame, _ context: ChannelHandlerContext) {
        let bytes = context.channel.allocator.buffer(bytes: FrameCodec.encode(frame))
        context.writeAndFlush(NIOAny(bytes), promise: nil)
    }
}
