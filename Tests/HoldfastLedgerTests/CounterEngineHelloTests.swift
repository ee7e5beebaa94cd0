import HoldfastCore
import HoldfastLedger
import Testing

/// Who may speak at all.
@Suite struct `Counter engine, hello` {
    @Test func `a new session is issued by the store, and gets the policy`() throws {
        var counter = CounterEngineFixture()
        let (id, outputs) = counter.greet()
        let welcome = try #require(outputs.welcome(to: id))
        #expect(welcome.session == SessionID(generation: 1, number: 1))
        #expect(welcome.counter == "counter-0")
        #expect(welcome.keyPepper == [7])
        #expect(welcome.leaseTTLMilliseconds == 30_000)
        #expect(welcome.counterTimeMilliseconds == counter.wall)
        guard case .policy(let policy) = outputs.frames(to: id).last else {
            Issue.record("no policy")
            return
        }
        #expect(policy.version == 1)
        #expect(policy.caps.map(\.name) == ["cap-0", "cap-1"])
        #expect(policy.prices == "prices")
        #expect(policy.windows.caps.map { $0.map(\.id) } == [[20_778, 20_779], [20_778, 20_779]])
        #expect(outputs.notices.contains(.joined(edge: "edge", welcome.session, isNew: true)))
        #expect(counter.engines[0].reachableSessions == [welcome.session])
        #expect(counter.asked.first == .generation, "before anything else")
    }

    @Test func `a session goes on over a new connection, which replaces the old one`() throws {
        var counter = CounterEngineFixture()
        let old = try counter.join()
        counter.lend(old, 0, 100)
        let other = try counter.join()
        let waiting = counter.report(
            other, 0, LeaseReport(0, wish: LeaseWish(1, need: 60)))
        #expect(waiting.recallEpoch(to: old) != nil)
        let (id, outputs) = counter.greet(old.session)
        #expect(outputs.welcome(to: id)?.session == old.session)
        #expect(outputs.isHungUp(on: old.id))
        #expect(outputs.notices.contains(.joined(edge: "edge", old.session, isNew: false)))
        #expect(counter.engines[0].reachableSessions == [old.session, other.session])
        #expect(outputs.told(other) == nil, "it may still give back")
        #expect(counter.report(old, 0, LeaseReport(100, 100)).isEmpty, "it is not listened to")
        #expect(counter.line(0, old)?.released == .zero)
        let new = CounterEngineFixture.Link(id: id, session: old.session, node: 0)
        #expect(counter.report(new, 0, LeaseReport(100, 100)).told(new)?.released == Amount(100))
    }

    struct Refused: Sendable, CustomTestStringConvertible {
        var name: String
        var reason: Rejection.Reason
        var act:
            @Sendable (inout CounterEngineFixture) throws -> (
                id: ConnectionID, outputs: [CounterEngine.Output]
            )
        var testDescription: String { name }
    }

    @Test(arguments: [
        Refused(name: "another protocol version", reason: .protocolVersion) {
            $0.greet(version: leaseProtocolVersion + 1)
        },
        Refused(name: "a last report without a session", reason: .malformed) {
            $0.greet(isFinal: true)
        },
        Refused(name: "a session that was never issued", reason: .sessionUnknown) {
            $0.greet(SessionID(generation: 1, number: 9))
        },
        Refused(name: "a last report of such a session", reason: .sessionUnknown) {
            $0.greet(SessionID(generation: 1, number: 9), isFinal: true)
        },
        Refused(name: "a session of no generation", reason: .sessionUnknown) {
            $0.greet(SessionID(5))
        },
        Refused(name: "a session of a later generation", reason: .sessionUnknown) {
            $0.greet(SessionID(generation: 2, number: 1))
        },
        Refused(name: "the largest number", reason: .sessionUnknown) {
            $0.greet(SessionID(.max))
        },
        Refused(name: "a session that is closed", reason: .sessionClosed) { counter in
            let link = try counter.join()
            counter.close(link)
            return counter.greet(link.session)
        },
        Refused(name: "something else first", reason: .malformed) { counter in
            let id = counter.connect()
            return (id, counter.run([.frame(id, .ping(1))]))
        },
        Refused(name: "something before the welcome", reason: .malformed) { counter in
            let id = counter.connect()
            let hello = EdgeFrame.hello(.init(edgeName: "edge", session: nil))
            return (id, counter.run([.frame(id, hello), .frame(id, .report([]))]))
        },
        Refused(name: "a second hello before the welcome", reason: .malformed) { counter in
            let id = counter.connect()
            let hello = EdgeFrame.hello(.init(edgeName: "edge", session: nil))
            return (id, counter.run([.frame(id, hello), .frame(id, hello)]))
        },
        Refused(name: "a second hello", reason: .malformed) { counter in
            let link = try counter.join()
            let hello = EdgeFrame.hello(.init(edgeName: "edge", session: link.session))
            return (link.id, counter.run([.frame(link.id, hello)]))
        },
        Refused(name: "the store does not answer", reason: .unavailable) { counter in
            let id = counter.connect()
            counter.store.trouble = .unavailable("in the test")
            let hello = EdgeFrame.hello(.init(edgeName: "edge", session: nil))
            return (id, counter.run([.frame(id, hello)]))
        },
    ])
    func `is refused and hung up on`(row: Refused) throws {
        var counter = CounterEngineFixture()
        let (id, outputs) = try row.act(&counter)
        #expect(outputs.rejection(of: id) == row.reason)
        #expect(outputs.isHungUp(on: id))
        #expect(outputs.welcome(to: id) == nil)
        let isNoticed = outputs.notices.contains { notice in
            if case .connectionRefused(let rejection) = notice {
                rejection.reason == row.reason
            } else {
                false
            }
        }
        #expect(isNoticed)
        #expect(counter.engines[0].reachableSessions.isEmpty)
        #expect(counter.run([.frame(id, .ping(1)), .disconnected(id)]).isEmpty, "forgotten")
    }

    @Test func `a store that fails only for this question refuses only this hello`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        let id = counter.connect()
        let hello = EdgeFrame.hello(.init(edgeName: "edge", session: nil))
        let outputs = counter.run([.frame(id, hello)]) { request, counter in
            if case .openSession = request { counter.store.trouble = .full("in the test") }
        }
        #expect(outputs.rejection(of: id) == .unavailable)
        #expect(outputs.notices.contains(.storeFailed(.full("in the test"))))
        #expect(counter.engines[0].reachableSessions == [link.session])
        counter.store.trouble = nil
        let next = counter.greet()
        #expect(next.outputs.welcome(to: next.id) != nil)
        #expect(next.outputs.notices.contains(.storeWorks))
    }

    @Test func `who leaves before the store has answered is forgotten`() {
        var counter = CounterEngineFixture()
        let id = counter.connect()
        let hello = EdgeFrame.hello(.init(edgeName: "edge", session: nil))
        #expect(counter.run([.frame(id, hello), .disconnected(id)]).isEmpty)
        #expect(counter.store.sessions.isEmpty)
    }

    @Test func `of two who say hello at once one may leave`() throws {
        var counter = CounterEngineFixture()
        let ids = [counter.connect(), counter.connect()]
        let hello = EdgeFrame.hello(.init(edgeName: "edge", session: nil))
        let outputs = counter.run([
            .frame(ids[0], hello), .frame(ids[1], hello), .disconnected(ids[0]),
        ])
        #expect(outputs.welcome(to: ids[0]) == nil)
        #expect(outputs.welcome(to: ids[1])?.session == SessionID(generation: 1, number: 1))
    }

    @Test func `keys and pings are answered at once`() throws {
        var counter = CounterEngineFixture()
        let link = try counter.join()
        counter.asked = []
        let outputs = counter.run([
            .frame(link.id, .resolveKey(request: 3, digest: [1, 2])),
            .frame(link.id, .resolveKey(request: 4, digest: [1])),
            .frame(link.id, .ping(9)),
        ])
        #expect(
            outputs.frames(to: link.id) == [
                .keyAnswer(request: 3, policy: KeyPolicy(name: "known")),
                .keyAnswer(request: 4, policy: nil),
                .pong(9, counterTimeMilliseconds: counter.wall),
            ])
        #expect(counter.asked.isEmpty)
    }

    @Test func `frames of unknown connections are ignored`() {
        var counter = CounterEngineFixture()
        let nobody = ConnectionID(99)
        #expect(counter.run([.frame(nobody, .ping(1)), .disconnected(nobody)]).isEmpty)
    }

    @Test func `a connection has a place in an order`() {
        #expect(ConnectionID(1) < ConnectionID(2))
    }

    @Test(arguments: [false, true])
    func `an edge does not go on with another one's session`(isFinal: Bool) throws {
        var settings = CounterEngineFixture.patient
        settings.isNameProof = true
        var fixture = CounterEngineFixture(settings: settings)
        let link = try fixture.join()
        let thief = fixture.connect()
        let hello = EdgeFrame.Hello(edgeName: "other", session: link.session, isFinal: isFinal)
        let outputs = fixture.run([.frame(thief, .hello(hello))])
        #expect(outputs.rejection(of: thief) == .sessionUnknown)
        #expect(outputs.isHungUp(on: thief) && !outputs.isHungUp(on: link.id))
        #expect(fixture.engines[0].reachableSessions == [link.session])
    }

    @Test func `a name that proves nothing may change`() throws {
        var fixture = CounterEngineFixture()
        let link = try fixture.join()
        fixture.disconnect(link)
        let renamed = fixture.connect()
        let hello = EdgeFrame.Hello(edgeName: "other", session: link.session)
        let outputs = fixture.run([.frame(renamed, .hello(hello))])
        #expect(outputs.welcome(to: renamed)?.session == link.session)
    }
}
