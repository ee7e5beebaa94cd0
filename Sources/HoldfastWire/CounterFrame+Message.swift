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
            out.welcome.counter = welcome.counter
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
            out.rejected.reason = rejection.reason.message
            out.rejected.message = rejection.message
            out.rejected.reference = rejection.reference
        case .pong(let number, let time):
            out.pong.number = number
            out.pong.counterTimeMs = time
        case .counters(let nodes):
            out.counters.nodes = nodes.map(\.message)
        }
        return out
    }

    init(_ message: CounterMessage) throws(WireError) {
        switch message.kind {
        case .welcome(let welcome):
            self = .welcome(try Welcome(welcome))
        case .grants(let grants):
            try self.init(grants: grants.entries, time: grants.counterTimeMs)
        case .recall(let recall):
            self = .recall(reference: recall.reference, epoch: recall.epoch)
        case .policy(let policy): self = .policy(try EdgePolicy(policy))
        case .windows(let windows): self = .windows(try PolicyWindows(windows))
        case .keyAnswer(let answer):
            self = .keyAnswer(request: answer.request, policy: try KeyPolicy(answer))
        case .keysChanged: self = .keysChanged
        case .sessionClosed: self = .sessionClosed
        case .rejected(let rejected):
            guard let reason = Rejection.Reason(rawValue: rejected.reason.rawValue) else {
                throw .malformed(field: "reason")
            }
            self = .rejected(
                Rejection(
                    reason: reason, message: rejected.message, reference: rejected.reference))
        case .pong(let pong):
            self = .pong(
                pong.number,
                counterTimeMilliseconds: try time(pong.counterTimeMs, "counter_time_ms"))
        case .counters(let counters):
            guard counters.nodes.count <= Limits.counterCountMax else {
                throw .tooManyEntries(counters.nodes.count)
            }
            var nodes: [CounterNode] = []
            for node in counters.nodes { nodes.append(try CounterNode(node)) }
            self = .counters(nodes)
        case nil:
            throw .unknownFrame
        }
    }
}

extension CounterFrame {
    init(
        grants messages: [Holdfast_Lease_V1_GrantEntry], time milliseconds: Int64
    ) throws(WireError) {
        var entries: [GrantEntry] = []
        entries.reserveCapacity(messages.count)
        for message in messages { entries.append(try GrantEntry(message)) }
        self = .grants(
            entries, counterTimeMilliseconds: try time(milliseconds, "counter_time_ms"))
    }
}

extension CounterFrame.Welcome {
    init(_ message: Holdfast_Lease_V1_Welcome) throws(WireError) {
        // 0 stands for no session: an edge that took it would ask for another one each time.
        guard message.session != 0 else { throw .malformed(field: "session") }
        self.init(
            protocolVersion: message.protocolVersion, session: SessionID(message.session),
            keyPepper: Array(message.keyPepper),
            counterTimeMilliseconds: try time(message.counterTimeMs, "counter_time_ms"),
            leaseTTLMilliseconds: message.leaseTtlMs, counter: message.counter)
    }
}

extension CounterNode {
    fileprivate var message: Holdfast_Lease_V1_CounterNode {
        var out = Holdfast_Lease_V1_CounterNode()
        out.name = name
        out.address = address
        return out
    }

    fileprivate init(_ message: Holdfast_Lease_V1_CounterNode) throws(WireError) {
        self.init(
            name: try text(message.name, atMost: Limits.edgeNameByteCountMax, "name"),
            address: try text(
                message.address, atMost: Limits.counterAddressByteCountMax, "address"))
    }
}

extension Rejection.Reason {
    fileprivate var message: Holdfast_Lease_V1_Rejected.Reason {
        switch self {
        case .unknown: .unknown
        case .protocolVersion: .protocolVersion
        case .sessionClosed: .sessionClosed
        case .sessionUnknown: .sessionUnknown
        case .malformed: .malformed
        case .notBelieved: .notBelieved
        case .unavailable: .unavailable
        }
    }
}

extension GrantEntry {
    private enum Flag {
        static let central: UInt32 = 1
        static let frozen: UInt32 = 2
        static let closed: UInt32 = 4
        static let learning: UInt32 = 8
        static let all = central | frozen | closed | learning
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
            | (grant.isClosed ? Flag.closed : 0) | (grant.isLearning ? Flag.learning : 0)
        return out
    }

    init(_ message: Holdfast_Lease_V1_GrantEntry) throws(WireError) {
        // Each flag takes something away: to pass over one would be to spend more than is allowed.
        guard message.flags & ~Flag.all == 0 else { throw .malformed(field: "flags") }
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
                isClosed: message.flags & Flag.closed != 0,
                isLearning: message.flags & Flag.learning != 0, unmetWish: message.unmetWish))
    }
}
