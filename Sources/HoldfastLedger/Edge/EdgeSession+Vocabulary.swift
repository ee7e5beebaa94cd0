public import HoldfastCore

extension EdgeSession {
    /// One connection to a counter. Never used again for another one; newer ones have larger numbers.
    public struct LinkID: Hashable, Comparable, Sendable {
        public let rawValue: UInt64

        public init(_ rawValue: UInt64) {
            self.rawValue = rawValue
        }

        public static func < (lhs: LinkID, rhs: LinkID) -> Bool { lhs.rawValue < rhs.rawValue }
    }

    /// What the shell is to do, in this order.
    public enum Output: Sendable, Equatable {
        case send(LinkID, EdgeFrame)
        /// Nothing that still comes from this connection is taken.
        case close(LinkID)
        case wakeup(EdgeLedger.Wakeup)
        case welcomed(LinkID, CounterFrame.Welcome)
        case policy(EdgePolicy)
        case windows(PolicyWindows)
        /// Whom to connect to, besides those that were named at start.
        case counters([CounterNode])
        case keyAnswer(request: UInt64, KeyPolicy?)
        /// No counter is left that could answer the question.
        case keyUnanswered(request: UInt64)
        case keysChanged
        /// The counters' clock, in milliseconds since 1970.
        case counterTime(milliseconds: Int64)
        case recalled
        /// For logs and metrics.
        case rejected(Rejection)
        /// The session is closed, as asked.
        case ended
        /// The session is refused for good: only a new one can go on.
        case refused(Rejection)
    }

    /// Why nothing must be admitted.
    public enum LeaseProblem: Sendable, Equatable {
        /// No counter has welcomed this session yet.
        case neverHeard
        case silent(milliseconds: UInt64)
        case refused(String)
    }

    struct Link: Sendable {
        enum Phase: Sendable, Equatable {
            /// For the session, which another connection has asked for.
            case waiting
            /// The hello is on its way.
            case greeting
            case welcomed(counter: String)
        }

        let id: LinkID
        var phase: Phase
        /// Boot-time milliseconds of the last frame, at first of the hello.
        var heardAt: UInt64
        var pingedAt: UInt64
        /// References that this connection's counter knows the keys of.
        var introduced: Set<UInt32> = []
        /// What its counter enforces. All enforce the same, except while they are told of a change.
        var policy: EdgePolicy?

        var counter: String? {
            if case .welcomed(let counter) = phase { counter } else { nil }
        }
    }

    enum Stage: Sendable, Equatable {
        case open
        /// Everything was given back; the counters' answers are awaited until this tick.
        case returning(untilTick: UInt64)
        /// The last frame is on its way over this connection.
        case closing(LinkID)
        case ended
        case refused(Rejection)
    }

    struct Question: Sendable {
        let digest: [UInt8]
        var link: LinkID
    }
}
