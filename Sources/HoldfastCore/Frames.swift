/// The protocol version this build speaks. A counter refuses other versions by name.
public let leaseProtocolVersion: UInt32 = 2

/// What an edge sends.
public enum EdgeFrame: Sendable, Equatable {
    case hello(Hello)
    case report([ReportEntry])
    case resolveKey(request: UInt64, digest: [UInt8])
    /// The last report of the session; it ends for good.
    case closeSession([ReportEntry])
    case ping(UInt64)

    public struct Hello: Sendable, Equatable {
        public var protocolVersion: UInt32
        public var edgeName: String
        /// The session to go on with; `nil` asks for a new one.
        public var session: SessionID?
        /// Comes only to deliver the last report of `session`, also when that is closed already:
        /// such a report can only refund.
        public var isFinal: Bool

        public init(
            protocolVersion: UInt32 = leaseProtocolVersion, edgeName: String, session: SessionID?,
            isFinal: Bool = false
        ) {
            self.protocolVersion = protocolVersion
            self.edgeName = edgeName
            self.session = session
            self.isFinal = isFinal
        }
    }
}

/// One account in a report. The key goes along when the reference is new on this connection.
public struct ReportEntry: Sendable, Equatable {
    public var reference: UInt32
    public var key: AccountKey?
    public var report: LeaseReport

    public init(reference: UInt32, key: AccountKey?, report: LeaseReport) {
        self.reference = reference
        self.key = key
        self.report = report
    }
}

/// What a counter sends. Times are the counter's clock in milliseconds since 1970.
public enum CounterFrame: Sendable, Equatable {
    case welcome(Welcome)
    case grants([GrantEntry], counterTimeMilliseconds: Int64)
    case recall(reference: UInt32, epoch: UInt64)
    case policy(EdgePolicy)
    case windows(PolicyWindows)
    case keyAnswer(request: UInt64, policy: KeyPolicy?)
    case keysChanged
    case sessionClosed
    case rejected(Rejection)
    case pong(UInt64, counterTimeMilliseconds: Int64)
    /// The counters that are there now.
    case counters([CounterNode])

    public struct Welcome: Sendable, Equatable {
        public var protocolVersion: UInt32
        public var session: SessionID
        public var keyPepper: [UInt8]
        public var counterTimeMilliseconds: Int64
        public var leaseTTLMilliseconds: UInt32
        /// The counter's name: accounts are placed on counters by it.
        public var counter: String

        public init(
            protocolVersion: UInt32 = leaseProtocolVersion, session: SessionID,
            keyPepper: [UInt8], counterTimeMilliseconds: Int64, leaseTTLMilliseconds: UInt32,
            counter: String = ""
        ) {
            self.protocolVersion = protocolVersion
            self.session = session
            self.keyPepper = keyPepper
            self.counterTimeMilliseconds = counterTimeMilliseconds
            self.leaseTTLMilliseconds = leaseTTLMilliseconds
            self.counter = counter
        }
    }
}

/// Where one counter is.
public struct CounterNode: Sendable, Hashable {
    /// Unique in the cluster.
    public var name: String
    /// Host and port: `10.0.0.7:7070`, `[fd00::7]:7070`.
    public var address: String

    public init(name: String, address: String) {
        self.name = name
        self.address = address
    }
}

public struct GrantEntry: Sendable, Equatable {
    public var reference: UInt32
    public var grant: LeaseGrant

    public init(reference: UInt32, grant: LeaseGrant) {
        self.reference = reference
        self.grant = grant
    }
}

/// Everything an edge decides with, except keys, which it asks for one by one.
public struct EdgePolicy: Sendable, Equatable {
    public var version: UInt64
    public var caps: [Cap]
    /// The price book, in the format of prices.tsv.
    public var prices: String
    public var windows: PolicyWindows

    public init(version: UInt64, caps: [Cap], prices: String, windows: PolicyWindows) {
        self.version = version
        self.caps = caps
        self.prices = prices
        self.windows = windows
    }
}

/// The current and next periods of each cap, in the order of the policy's caps.
public struct PolicyWindows: Sendable, Equatable {
    public var policyVersion: UInt64
    public var caps: [[PeriodWindow]]
    public var counterTimeMilliseconds: Int64

    public init(policyVersion: UInt64, caps: [[PeriodWindow]], counterTimeMilliseconds: Int64) {
        self.policyVersion = policyVersion
        self.caps = caps
        self.counterTimeMilliseconds = counterTimeMilliseconds
    }
}

public struct Rejection: Error, Sendable, Equatable {
    public enum Reason: Int, Sendable, CaseIterable {
        case unknown = 0
        case protocolVersion = 1
        case sessionClosed = 2
        case sessionUnknown = 3
        case malformed = 4
        case notBelieved = 5
        case unavailable = 6
    }

    public var reason: Reason
    public var message: String
    /// The entry that was not believed, if it was one.
    public var reference: UInt32

    public init(reason: Reason, message: String, reference: UInt32 = 0) {
        self.reason = reason
        self.message = message
        self.reference = reference
    }
}
