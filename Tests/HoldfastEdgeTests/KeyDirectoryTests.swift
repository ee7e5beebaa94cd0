import HoldfastCore
import HoldfastTransport
import Synchronization
import Testing

@testable import HoldfastEdge

@Suite struct KeyDirectoryTests {
    /// A directory, the questions it asked, and the answers it gave.
    private final class Fixture: Sendable {
        let keys = KeyDirectory(clock: CounterTime())
        private let asked = Mutex<[(request: UInt64, digest: [UInt8])]>([])
        private let answered = Mutex<[String]>([])
        private let connected = Atomic<Bool>(true)

        init(pepper: [UInt8]? = [1]) {
            keys.onMiss { request, digest in
                self.asked.withLock { $0.append((request, digest)) }
                return self.connected.load(ordering: .acquiring)
            }
            if let pepper { keys.connected(pepper: pepper) }
        }

        var questions: [(request: UInt64, digest: [UInt8])] { asked.withLock { $0 } }
        var answers: [String] { answered.withLock { $0 } }

        func hangUp() {
            connected.store(false, ordering: .releasing)
            for question in questions { keys.unanswered(question.request) }
        }

        func lookup(_ secret: String) {
            keys.lookup(secret[...]) { answer in
                let text =
                    switch answer {
                    case .known(let policy): policy.name
                    case .unknown: "unknown"
                    case .unavailable: "unavailable"
                    }
                self.answered.withLock { $0.append(text) }
            }
        }

        /// The counter answers its newest question.
        func answer(_ name: String?) {
            guard let request = questions.last?.request else {
                Issue.record("nothing was asked")
                return
            }
            keys.answer(request, name.map { KeyPolicy(name: $0) })
        }
    }

    @Test func `a key is asked for once and by its digest only`() {
        let fixture = Fixture()
        fixture.lookup("secret")
        fixture.lookup("secret")
        #expect(fixture.answers.isEmpty)
        #expect(
            fixture.questions.map(\.digest) == [KeyDigest.of(secret: "secret", pepper: [1])])
        fixture.answer("support")
        #expect(fixture.answers == ["support", "support"])
        fixture.lookup("secret")
        #expect(fixture.answers.count == 3)
        #expect(fixture.questions.count == 1)
    }

    @Test func `an unknown key is remembered too`() {
        let fixture = Fixture()
        fixture.lookup("guess")
        fixture.answer(nil)
        fixture.lookup("guess")
        #expect(fixture.answers == ["unknown", "unknown"])
        #expect(fixture.questions.count == 1)
    }

    @Test func `an answer to nobody changes nothing`() {
        let fixture = Fixture()
        fixture.lookup("secret")
        fixture.answer("support")
        fixture.answer("other")
        fixture.keys.answer(99, KeyPolicy(name: "other"))
        fixture.lookup("secret")
        #expect(fixture.answers == ["support", "support"])
    }

    @Test func `without a counter a key is neither known nor wrong`() {
        let neverConnected = Fixture(pepper: nil)
        neverConnected.lookup("secret")
        #expect(neverConnected.answers == ["unavailable"])
        let fixture = Fixture()
        fixture.lookup("secret")
        fixture.hangUp()
        #expect(fixture.answers == ["unavailable"])
        fixture.lookup("other")
        #expect(fixture.answers == ["unavailable", "unavailable"])
    }

    @Test func `keys that are known go on without a counter`() {
        let fixture = Fixture()
        fixture.lookup("secret")
        fixture.answer("support")
        fixture.hangUp()
        fixture.lookup("secret")
        #expect(fixture.answers == ["support", "support"])
    }

    @Test func `what is known is forgotten when keys change or the pepper does`() {
        let fixture = Fixture()
        fixture.lookup("secret")
        fixture.answer("support")
        fixture.keys.forgetAll()
        fixture.lookup("secret")
        #expect(fixture.questions.count == 2)
        fixture.answer(nil)
        fixture.keys.connected(pepper: [1])
        fixture.lookup("secret")
        #expect(fixture.questions.count == 2)
        fixture.keys.connected(pepper: [2])
        fixture.lookup("secret")
        #expect(fixture.questions.count == 3)
        #expect(fixture.answers == ["support", "unknown", "unknown"])
    }

    @Test func `a flood of keys waits for no more than a bounded number of answers`() {
        let fixture = Fixture()
        for number in 0..<10_000 { fixture.lookup("k\(number)") }
        #expect(fixture.answers.isEmpty)
        fixture.lookup("one more")
        #expect(fixture.answers == ["unavailable"])
    }
}
