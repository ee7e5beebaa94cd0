internal import Foundation
import HoldfastCore

typealias EdgeMessage = Holdfast_Lease_V1_EdgeFrame

extension EdgeFrame {
    var message: EdgeMessage {
        var out = EdgeMessage()
        switch self {
        case .hello(let hello):
            out.hello.protocolVersion = hello.protocolVersion
            out.hello.edgeName = hello.edgeName
            out.hello.session = hello.session?.rawValue ?? 0
        case .report(let entries):
            out.report.entries = entries.map(\.message)
        case .closeSession(let entries):
            out.closeSession.entries = entries.map(\.message)
        case .resolveKey(let request, let digest):
            out.resolveKey.request = request
            out.resolveKey.digest = Data(digest)
        case .ping(let number):
            out.ping.number = number
        }
        return out
    }

    init(_ message: EdgeMessage) throws(WireError) {
        switch message.kind {
        case .hello(let hello):
            let session = hello.session == 0 ? nil : SessionID(hello.session)
            self = .hello(
                Hello(
                    protocolVersion: hello.protocolVersion, edgeName: hello.edgeName,
                    session: session))
        case .report(let report):
            self = .report(try Self.entries(report.entries))
        case .closeSession(let close):
            self = .closeSession(try Self.entries(close.entries))
        case .resolveKey(let resolve):
            self = .resolveKey(request: resolve.request, digest: Array(resolve.digest))
        case .ping(let ping):
            self = .ping(ping.number)
        case nil:
            throw .unknownFrame
        }
    }

    private static func entries(
        _ messages: [Holdfast_Lease_V1_ReportEntry]
    ) throws(WireError) -> [ReportEntry] {
        guard messages.count <= Limits.reportEntryCountMax else {
            throw .tooManyEntries(messages.count)
        }
        var entries: [ReportEntry] = []
        entries.reserveCapacity(messages.count)
        for message in messages { entries.append(try ReportEntry(message)) }
        return entries
    }
}

extension ReportEntry {
    var message: Holdfast_Lease_V1_ReportEntry {
        var out = Holdfast_Lease_V1_ReportEntry()
        out.reference = reference
        out.granted = report.granted.rawValue
        out.released = report.released.rawValue
        out.spent = report.spent.rawValue
        out.held = report.held.rawValue
        out.overrun = report.overrun.rawValue
        if let wish = report.wish {
            out.wishNumber = wish.number
            out.need = wish.need.rawValue
            out.ceiling = wish.ceiling.rawValue
        }
        out.recallEpoch = report.recallEpoch
        if let key { out.key = key.text }
        return out
    }

    init(_ message: Holdfast_Lease_V1_ReportEntry) throws(WireError) {
        var key: AccountKey?
        if !message.key.isEmpty {
            guard let parsed = AccountKey(text: message.key) else {
                throw .malformed(field: "key")
            }
            key = parsed
        }
        var wish: LeaseWish?
        if message.wishNumber != 0 {
            wish = LeaseWish(
                number: message.wishNumber, need: try amount(message.need, "need"),
                ceiling: try amount(message.ceiling, "ceiling"))
        }
        self.init(
            reference: message.reference, key: key,
            report: LeaseReport(
                granted: try amount(message.granted, "granted"),
                released: try amount(message.released, "released"),
                spent: try amount(message.spent, "spent"),
                held: try amount(message.held, "held"),
                overrun: try amount(message.overrun, "overrun"), wish: wish,
                recallEpoch: message.recallEpoch))
    }
}

/// Amounts are bounded where they enter the process; past this the engines may add them.
func amount(_ value: UInt64, _ field: String) throws(WireError) -> Amount {
    guard value <= Limits.amountMax else { throw .amountOutOfBounds(field: field) }
    return Amount(value)
}
