import HoldfastCore
import HoldfastLedger

/// Everything that can happen to a small cluster, over the real engines: not a random walk, but
/// every state within the bounds, breadth first, so that a violation comes with the shortest way to
/// it.
///
/// Two edges, each with an `EdgeLedger`; two counters, each with `AccountLedger`s of its own in
/// memory; a store that compares versions; a network that holds a few messages. What one step does:
///
/// - A message is delivered, to any counter, and stays in the network: it can come again, late, and
///   in any order that the room there allows. One that is never delivered is lost. When there is no
///   room, newer messages push the oldest one out, or with `hasLongDelays` any one: only then every
///   way to lose and delay is covered.
/// - A counter takes a message, decides, commits, and answers in one step. Another counter may have
///   written in between: its memory is then old, which the store notices. A counter that crashes
///   loses its memory; after its commit and before its answer is the same as that and a lost
///   answer.
/// - Time passes on an edge in periods of idleness: that is all that ticks change in amounts this
///   small.
///
/// The judge keeps the provider's bill, and computes what the store says with arithmetic of its
/// own.
public enum SmallModel {
    /// How large the world is. Amounts are in the smallest unit.
    public struct Bounds: Sendable {
        public var name: String
        public var accountCount = 1
        public var limit: UInt64 = 2
        /// Adopted by each counter at a time of its own, once.
        public var changedLimit: UInt64?
        /// What a request can cost at most, on each account: one of these.
        public var ceilings: [[UInt64]] = [[1]]
        public var requestsPerEdge = 1
        /// As many as the first one has, unless it is said.
        public var requestsOfSecondEdge: Int?
        /// Messages on their way to counters, and as many more to edges.
        public var reportCountMax = 2
        public var answerCountMax = 1
        /// There is only room for `reportCountMax` messages in all.
        public var sharesRoom = false
        /// Any message may be the one that is pushed out, so that one can be as late as it likes.
        /// Else the oldest is: a message is overtaken by no more than so many newer ones.
        public var hasLongDelays = false
        public var edgeCrashCount = 0
        public var counterCrashCount = 0
        /// Edges give back what they have not used for long.
        public var hasIdling = false
        /// Edges forget accounts that they have not used for very long.
        public var hasForgetting = false
        /// Edges can end their session.
        public var hasClosing = false
        /// Other things can happen between giving back and the end of a session.
        public var hasDraining = false
        /// A request that waits can go away.
        public var hasGivingUp = false
        /// The second account is the first one's next period. Each node notices at a time of its
        /// own.
        public var hasRollover = false
        /// A session that crashed can be ended from its journal, also from an old copy.
        public var isJournaled = false
        /// States with more rounds of recalls are not followed up.
        public var recallEpochMax: UInt64 = 1
        /// Neither are those in which a session was granted more on one account, in total: slices
        /// can go to and fro for as long as messages are repeated.
        public var grantedMax: UInt64 = 6
        /// Stops, without having been everywhere, at so many states.
        public var stateCountMax = 20_000_000
        /// A bug, to see that it is found: counters answer although their commit is lost.
        public var answersWithoutCommit = false

        public init(name: String) { self.name = name }
    }

    public struct Report: Sendable {
        public let name: String
        /// Different states that were visited.
        public let stateCount: Int
        /// Steps that were taken, most of them to states that were known.
        public let transitionCount: Int
        /// Steps from the start to the state that is farthest from it.
        public let depth: Int
        /// States beyond `recallEpochMax` or `grantedMax`, which were judged but not followed up.
        public let cutCount: Int
        /// States in which it was seen that nobody waits for ever.
        public let livenessCount: Int
        /// Deliveries that were repeated to see that it changes nothing.
        public let replayCount: Int
        /// No state within the bounds is left.
        public let isExhausted: Bool
        public let violation: Violation?
    }

    /// A broken promise, with the shortest way to it.
    public struct Violation: Sendable {
        public let message: String
        public let trace: [String]
    }

    /// Visits every state within the bounds, or goes on until a promise is broken.
    public static func explore(_ bounds: Bounds) -> Report {
        var explorer = Explorer(bounds)
        return explorer.run()
    }
}

extension SmallModel {
    /// The search itself: which states are known, and how each was reached first.
    struct Explorer {
        let world: World
        /// 128 bits of each state's canonical encoding. Among ten million states two share them
        /// with a probability of 2⁻⁸².
        private var known: Set<Fingerprint> = []
        /// Those, apart from their messages, in which it was seen that nobody waits for ever.
        private var healed: Set<Fingerprint> = []
        /// For each state the one before it and the number of the step between.
        private var origins: [(parent: UInt32, step: UInt32)] = []
        private var transitionCount = 0
        private var cutCount = 0
        private var livenessCount = 0
        private var replayCount = 0

        init(_ bounds: Bounds) { world = World(bounds) }

        mutating func run() -> Report {
            let first = world.first
            known.insert(world.fingerprint(of: first))
            origins.append((0, 0))
            var level: [(id: UInt32, state: State)] = [(0, first)]
            var depth = 0
            while !level.isEmpty {
                var next: [(id: UInt32, state: State)] = []
                while let (id, state) = level.popLast() {
                    if let message = visit(state, id, &next) {
                        return report(depth + 1, violation: (message, id))
                    }
                    guard origins.count < world.bounds.stateCountMax else {
                        return report(depth + 1, isExhausted: false)
                    }
                }
                if !next.isEmpty { depth += 1 }
                level = next
            }
            return report(depth)
        }

        /// Takes every step from one state. Returns what is wrong with it or where it leads.
        private mutating func visit(
            _ state: State, _ id: UInt32, _ next: inout [(id: UInt32, state: State)]
        ) -> String? {
            // Losing the network's messages comes first, so states that differ only in them are
            // one.
            if state.isAnyoneWaiting,
                healed.insert(world.fingerprintApartFromNetwork(state)).inserted
            {
                livenessCount += 1
                if let message = world.stuck(in: state) { return message }
            }
            for (step, (action, after)) in world.steps(from: state).enumerated() {
                transitionCount += 1
                var after = after
                if let message = world.judge(&after, since: state) {
                    origins.append((id, UInt32(step)))
                    return message
                }
                // One in eight: as long as taking the step itself, and what it shows is shown by
                // many states.
                if transitionCount % 8 == 0, case .deliver(let message, let counter) = action {
                    replayCount += 1
                    if let message = world.replay(message, to: counter, in: after) {
                        origins.append((id, UInt32(step)))
                        return message
                    }
                }
                guard known.insert(world.fingerprint(of: after)).inserted else { continue }
                origins.append((id, UInt32(step)))
                guard !world.isBeyondBounds(after) else {
                    cutCount += 1
                    continue
                }
                next.append((UInt32(origins.count - 1), after))
            }
            return nil
        }

        private func report(
            _ depth: Int, isExhausted: Bool = true, violation: (message: String, at: UInt32)? = nil
        ) -> Report {
            Report(
                name: world.bounds.name, stateCount: known.count,
                transitionCount: transitionCount, depth: depth, cutCount: cutCount,
                livenessCount: livenessCount, replayCount: replayCount,
                isExhausted: isExhausted && violation == nil,
                violation: violation.map {
                    Violation(message: $0.message, trace: trace(to: $0.at))
                })
        }

        /// The steps to a state, taken again from the start, and the last one from it if that was
        /// what broke a promise.
        private func trace(to id: UInt32) -> [String] {
            var numbers: [UInt32] = []
            var current = id
            if let last = origins.last, last.parent == id, origins.count - 1 > id {
                numbers.append(last.step)
            }
            while current != 0 {
                numbers.append(origins[Int(current)].step)
                current = origins[Int(current)].parent
            }
            var state = world.first
            var lines: [String] = []
            for number in numbers.reversed() {
                let (action, after) = world.steps(from: state)[Int(number)]
                lines.append("\(action)")
                let before = state
                state = after
                _ = world.judge(&state, since: before)
            }
            return lines
        }
    }
}
