import HoldfastCore
import HoldfastTransport
import Synchronization

/// Virtual keys as far as this edge has met them. Ten million keys do not live here: each is asked
/// for when it is first used, and kept for a while.
final class KeyDirectory: Sendable {
    enum Answer: Sendable {
        case known(KeyPolicy)
        case unknown
        /// The counter does not answer, and the key has not been seen here.
        case unavailable
    }

    fileprivate struct Entry {
        var policy: KeyPolicy?
        var askedAtMilliseconds: Int64
    }

    fileprivate struct Pending {
        var digest: [UInt8]
        var callbacks: [@Sendable (Answer) -> Void]
        var askedAtMilliseconds: Int64
    }

    fileprivate struct State {
        var pepper: [UInt8]?
        var entries: [[UInt8]: Entry] = [:]
        var pending: [UInt64: Pending] = [:]
        var pendingByDigest: [[UInt8]: UInt64] = [:]
        var nextRequest: UInt64 = 1
    }

    fileprivate enum Lookup {
        case answer(Answer)
        case ask(request: UInt64, digest: [UInt8])
        case wait
    }

    /// Unknown keys are forgotten soon, so that a key that was just made works.
    fileprivate static let knownMilliseconds: Int64 = 300_000
    fileprivate static let unknownMilliseconds: Int64 = 5_000
    fileprivate static let entryCountMax = 200_000
    fileprivate static let pendingCountMax = 10_000

    private let state = Mutex(State())
    private let clock: CounterTime
    private let ask = Mutex<(@Sendable (_ request: UInt64, _ digest: [UInt8]) -> Bool)?>(nil)

    init(clock: CounterTime) {
        self.clock = clock
    }

    /// How to ask the counter; returns `false` when there is no connection.
    func onMiss(_ action: @escaping @Sendable (UInt64, [UInt8]) -> Bool) {
        ask.withLock { $0 = action }
    }

    /// `answer` is called once, at once or later, from any thread.
    func lookup(_ secret: Substring, answer: @escaping @Sendable (Answer) -> Void) {
        guard let pepper = state.withLock({ $0.pepper }) else { return answer(.unavailable) }
        let digest = KeyDigest.of(secret: secret.utf8, pepper: pepper)
        let now = clock.elapsedMilliseconds()
        let lookup = state.withLock { $0.find(digest, now, answer) }
        switch lookup {
        case .answer(let known): answer(known)
        case .wait: break
        case .ask(let request, let digest):
            if ask.withLock({ $0 })?(request, digest) != true { unanswered(request) }
        }
    }

    func answer(_ request: UInt64, _ policy: KeyPolicy?) {
        let now = clock.elapsedMilliseconds()
        let callbacks = state.withLock { state -> [@Sendable (Answer) -> Void] in
            guard let pending = state.pending.removeValue(forKey: request) else { return [] }
            state.pendingByDigest[pending.digest] = nil
            if state.entries.count >= Self.entryCountMax { state.makeRoom() }
            state.entries[pending.digest] = Entry(policy: policy, askedAtMilliseconds: now)
            return pending.callbacks
        }
        for callback in callbacks { callback(policy.map { .known($0) } ?? .unknown) }
    }

    func connected(pepper: [UInt8]) {
        state.withLock { state in
            if state.pepper != pepper { state.entries = [:] }
            state.pepper = pepper
        }
    }

    func forgetAll() { state.withLock { $0.entries = [:] } }

    /// No counter will answer: an older answer is better than none, and none is not a wrong key.
    func unanswered(_ request: UInt64) {
        let (callbacks, policy) = state.withLock {
            state -> ([@Sendable (Answer) -> Void], KeyPolicy?) in
            guard let pending = state.pending.removeValue(forKey: request) else { return ([], nil) }
            state.pendingByDigest[pending.digest] = nil
            return (pending.callbacks, state.entries[pending.digest]?.policy)
        }
        for callback in callbacks { callback(policy.map { .known($0) } ?? .unavailable) }
    }
}

extension KeyDirectory.State {
    /// A flood of made-up keys must not push memory up, nor push the real ones out, which would be
    /// refused while no counter answers.
    fileprivate mutating func makeRoom() {
        entries = entries.filter { $0.value.policy != nil }
        // Of so many real ones, each filtering would find next to nothing.
        if entries.count >= KeyDirectory.entryCountMax / 2 { entries = [:] }
    }

    fileprivate mutating func find(
        _ digest: [UInt8], _ now: Int64, _ answer: @escaping @Sendable (KeyDirectory.Answer) -> Void
    ) -> KeyDirectory.Lookup {
        if let entry = entries[digest] {
            let age = now - entry.askedAtMilliseconds
            if let policy = entry.policy, age < KeyDirectory.knownMilliseconds {
                return .answer(.known(policy))
            }
            if entry.policy == nil, age < KeyDirectory.unknownMilliseconds {
                return .answer(.unknown)
            }
        }
        if let request = pendingByDigest[digest] {
            pending[request]?.callbacks.append(answer)
            return .wait
        }
        guard pending.count < KeyDirectory.pendingCountMax else { return .answer(.unavailable) }
        let request = nextRequest
        nextRequest += 1
        pending[request] = .init(
            digest: digest, callbacks: [answer], askedAtMilliseconds: now)
        pendingByDigest[digest] = request
        return .ask(request: request, digest: digest)
    }
}
