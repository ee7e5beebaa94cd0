internal import Foundation
import HoldfastCore

typealias CounterMessage = Holdfast_Lease_V1_CounterFrame

extension CounterFrame {
    var message: CounterMessage {
        var out = CounterMessage()
        switch self {
        case .welcome(let welcome):
            out.welcome.protocolVersion = welcome.protocolVersion
            out.welcome.session = welcome.session.rawValue
            out.welcome.keyPepper = Data(welcome.keyPepper)
            out.welcome.counterTimeMs = welcome.counterTimeMilliseconds
            out.welcome.leaseTtlMs = welcome.leaseTTLMilliseconds
        case .grants(let entries, let time):
            out.grants.entries = entries.map(\.message)
            out.grants.counterTimeMs = time
        case .recall(let reference, let epoch):
            out.recall.reference = reference
            out.recall.epoch = epoch
        case .policy(let policy):
            out.policy = policy.message
        case .windows(let windows):
            out.windows = windows.message
        case .keyAnswer(let request, let policy):
            out.keyAnswer.request = request
            out.keyAnswer.found = policy != nil
            if let policy {
                out.keyAnswer.name = policy.name
                out.keyAnswer.fixed = scopeMessages(policy.fixed)
                out.keyAnswer.callerSettable = policy.callerSettable.map { UInt32($0.rawValue) }
                    .sorted()
            }
        case .keysChanged: out.keysChanged = .init()
        case .sessionClosed: out.sessionClosed = .init()
        case .rejected(let rejection):
            out.rejected.reason = .init(rawValue: rejection.reason.rawValue) ?? .unknown
            out.rejected.message = rejection.message
            out.rejected.reference = rejection.reference
        case .pong(let number, let time):
            out.pong.number = number
            out.pong.counterTimeMs = time
        }
        return out
    }

    init(_ message: CounterMessage) throws(WireError) {
        switch message.kind {
        case .welcome(let welcome):
            self = .welcome(
                Welcome(
                    protocolVersion: welcome.protocolVersion,
                    session: SessionID(welcome.session), keyPepper: Array(welcome.keyPepper),
                    counterTimeMilliseconds: welcome.counterTimeMs,
                    leaseTTLMilliseconds: welcome.leaseTtlMs))
        case .grants(let grants):
            var entries: [GrantEntry] = []
            for entry in grants.entries { entries.append(try GrantEntry(entry)) }
            self = .grants(entries, counterTimeMilliseconds: grants.counterTimeMs)
        case .recall(let recall):
            self = .recall(reference: recall.reference, epoch: recall.epoch)
        case .policy(let policy): self = .policy(try EdgePolicy(policy))
        case .windows(let windows): self = .windows(try PolicyWindows(windows))
        case .keyAnswer(let answer):
            self = .keyAnswer(request: answer.request, policy: try KeyPolicy(answer))
        case .keysChanged: self = .keysChanged
        case .sessionClosed: self = .sessionClosed
        case .rejected(let rejected):
            self = .rejected(
                Rejection(
                    reason: Rejection.Reason(rawValue: rejected.reason.rawValue) ?? .unknown,
                    message: rejected.message, reference: rejected.reference))
        case .pong(let pong):
            self = .pong(pong.number, counterTimeMilliseconds: pong.counterTimeMs)
        case nil:
            throw .unknownFrame
        }
    }
}

extension GrantEntry {
    private enum Flag {
        static let central: UInt32 = 1
        static let frozen: UInt32 = 2
        static let closed: UInt32 = 4
    }

    var message: Holdfast_Lease_V1_GrantEntry {
        var out = Holdfast_Lease_V1_GrantEntry()
        out.reference = reference
        out.granted = grant.granted.rawValue
        out.released = grant.released.rawValue
        out.spent = grant.spent.rawValue
        out.totalSpent = grant.totalSpent.rawValue
        out.totalHeld = grant.totalHeld.rawValue
        out.exposure = grant.exposure.rawValue
        out.limit = grant.limit.rawValue
        out.unmetWish = grant.unmetWish
        out.flags =
            (grant.isCentral ? Flag.central : 0) | (grant.isFrozen ? Flag.frozen : 0)
            | (grant.isClosed ? Flag.closed : 0)
        return out
    }

    init(_ message: Holdfast_Lease_V1_GrantEntry) throws(WireError) {
        self.init(
            reference: message.reference,
            grant: LeaseGrant(
                granted: try amount(message.granted, "granted"),
                released: try amount(message.released, "released"),
                spent: try amount(message.spent, "spent"),
                // Sums over sessions saturate at the counter; they are shown and compared only.
                totalSpent: Amount(message.totalSpent), totalHeld: Amount(message.totalHeld),
                exposure: Amount(message.exposure), limit: try amount(message.limit, "limit"),
                isCentral: message.flags & Flag.central != 0,
                isFrozen: message.flags & Flag.frozen != 0,
                isClosed: message.flags & Flag.closed != 0, unmetWish: message.unmetWish))
    }
}
