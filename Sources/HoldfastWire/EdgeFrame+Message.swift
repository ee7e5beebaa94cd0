internal import Foundation
import HoldfastCore

typealias EdgeMessage = Holdfast_Lease_V1_EdgeFrame

extension EdgeFrame {
    /// Of an HMAC-SHA-256.
    private static let digestByteCount = 32

    var message: EdgeMessage {
        var out = EdgeMessage()
        switch self {
        case .hello(let hello):
            out.hello.protocolVersion = hello.protocolVersion
            out.hello.edgeName = hello.edgeName
            out.hello.session = hello.session?.rawValue ?? 0
            out.hello.isFinal = hello.isFinal
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
            self = .hello(try Hello(hello))
        case .report(let report):
            self = .report(try Self.entries(report.entries))
        case .closeSession(let close):
            self = .closeSession(try Self.entries(close.entries))
        case .resolveKey(let resolve):
            guard resolve.digest.count == Self.digestByteCount else {
                throw .malformed(field: "digest")
            }
            self = .resolveKey(request: resolve.request, digest: Array(resolve.digest))
        case .ping(let ping):
            self = .ping(ping.number)
        case nil:
            throw .unknownFrame
        }
    }

    static func entries(
        _ messages: [Holdfast_Lease_V1_ReportEntry]
    ) throws(WireError) -> [ReportEntry] {
        var entries: [ReportEntry] = []
        entries.reserveCapacity(messages.count)
        for message in messages { entries.append(try ReportEntry(message)) }
        return entries
    }
}

extension EdgeFrame.Hello {
    init(_ message: Holdfast_Lease_V1_Hello) throws(WireError) {
        let session = message.session == 0 ? nil : SessionID(message.session)
        // The last report of no session would be the first one of a new session.
        guard session != nil || !message.isFinal else { throw .malformed(field: "is_final") }
        self.init(
            protocolVersion: message.protocolVersion,
            edgeName: try text(
                message.edgeName, atMost: Limits.edgeNameByteCountMax, "edge_name"),
            session: session, isFinal: message.isFinal)
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
        out.unlocked = report.unlocked.rawValue
        if let key { out.key = key.text }
        return out
    }

    init(_ message: Holdfast_Lease_V1_ReportEntry) throws(WireError) {
        let key = message.key.isEmpty ? nil : try AccountKey(reported: message.key)
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
                recallEpoch: message.recallEpoch,
                unlocked: try amount(message.unlocked, "unlocked")))
    }
}

extension AccountKey {
    /// A key becomes a row of the store: what no cap can have is not taken.
    init(reported text: String) throws(WireError) {
        guard let key = AccountKey(text: text), key.cap.utf8.count <= Limits.capNameByteCountMax,
            key.values.count <= ScopeDimension.allCases.count,
            key.values.allSatisfy({ $0.utf8.count <= Limits.scopeValueByteCountMax })
        else { throw .malformed(field: "key") }
        self = key
    }
}
