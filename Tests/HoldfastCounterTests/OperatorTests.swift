import Foundation
import HoldfastAdmin
import HoldfastCore
import HoldfastCounter
import HoldfastLedger
import Testing

/// What operators see and change, with real edges on the other side.
@Suite(.timeLimit(.minutes(1))) struct OperatorTests {
    private let account = CounterSite.account

    private struct Sessions: Decodable {
        struct Line: Decodable, Equatable {
            var account, cap, unit, granted, released, spent, outstanding: String
            var scope: String?
        }

        struct Session: Decodable {
            var id, edge, state, opened_at, seen_at: String
            var closed_at: String?
            var accounts: [Line]
        }

        var sessions: [Session]
        var is_complete: Bool
        var accounts_read: Int
    }

    private struct Accounts: Decodable {
        struct Account: Decodable {
            var account, status, spent, outstanding, limit: String
        }

        var accounts: [Account]
        var left_out: Int
        var is_complete: Bool
    }

    private struct Records: Decodable {
        struct Record: Decodable, Equatable {
            var at, action, account, amount, unit, reason: String
            var session: String?
        }

        var records: [Record]
    }

    private func read<Answer: Decodable>(
        _ response: AdminResponse, at location: SourceLocation = #_sourceLocation
    ) throws -> Answer {
        #expect(response.status == 200, "\(response.body)", sourceLocation: location)
        return try JSONDecoder().decode(Answer.self, from: Data(response.body.utf8))
    }

    private func sessions(
        _ site: CounterSite, _ query: [String: String] = [:]
    ) async throws -> Sessions {
        try read(await site.get("/sessions", query))
    }

    private func refund(
        _ session: SessionID, _ site: CounterSite, accounts: [AccountKey]? = nil
    ) async throws -> AdminResponse {
        let list = accounts.map { keys in
            #", "accounts": ["# + keys.map { "\"\($0.text)\"" }.joined(separator: ",") + "]"
        }
        return try await site.post(
            "/sessions/refund",
            #"{"session": "\#(session.rawValue)", "reason": "node scrapped"\#(list ?? "")}"#)
    }

    private func expectRefused(
        _ response: AdminResponse, _ status: Int, _ part: String,
        at location: SourceLocation = #_sourceLocation
    ) {
        #expect(response.status == status, "\(response.body)", sourceLocation: location)
        #expect(response.body.contains(part), "\(response.body)", sourceLocation: location)
    }

    /// An edge that has spent 20 of 60 and is gone for good.
    private func dead(_ site: CounterSite) async throws -> SessionID {
        let edge = try await site.join()
        try await edge.report(wants: 60)
        _ = try await edge.answerToWish()
        try await edge.report(granted: 60, spent: 20)
        _ = try await edge.grant { $0.spent == Amount(20) }
        let session = edge.session
        try await edge.hangUp()
        return session
    }

    private func lose(_ session: SessionID, _ site: CounterSite) async throws {
        while try await sessions(site).sessions.first(where: {
            $0.id == "\(session.rawValue)"
        })?.state != "lost" {
            try await Task.sleep(for: .milliseconds(10))
        }
        site.wall.advance(seconds: 10)
    }

    // MARK: - Looking

    @Test func `sessions say who they are and what is in their hands`() async throws {
        try await CounterSite.run { site in
            let gone = try await dead(site)
            let here = try await site.join()
            try await here.report(wants: 30)
            _ = try await here.answerToWish()
            let view = try await sessions(site)
            #expect(view.is_complete)
            #expect(view.sessions.map(\.id) == [gone, here.session].map { "\($0.rawValue)" })
            #expect(view.sessions.map(\.state) == ["away", "connected"])
            #expect(view.sessions.map(\.edge) == ["test", "test"])
            #expect(view.sessions.allSatisfy { $0.opened_at == noon.rfc3339 })
            #expect(view.sessions.map(\.accounts.count) == [1, 1])
            let line = Sessions.Line(
                account: account.text, cap: "acme", unit: "tokens", granted: "60", released: "0",
                spent: "20", outstanding: "40", scope: "global")
            #expect(view.sessions[0].accounts == [line])
            let one = try await sessions(site, ["session": "\(here.session.rawValue)"])
            #expect(one.sessions.map(\.id) == ["\(here.session.rawValue)"])
            #expect(one.sessions[0].accounts.map(\.outstanding) == ["30"])
            #expect(try await sessions(site, ["session": "7"]).sessions.isEmpty)
            expectRefused(
                try await site.get("/sessions", ["session": "x"]), 400, "must be a number")
        }
    }

    @Test func `a closed session is shown as long as it has lines`() async throws {
        let store = MemoryStore()
        let closed = try store.openSession(edge: "old", at: noon)
        _ = try store.openSession(edge: "idle", at: noon)
        let line = StoredAccount.Line(
            session: closed, granted: Amount(60), released: .zero, spent: Amount(10),
            overrun: .zero)
        _ = try store.commit(
            StoreBatch(
                puts: [
                    .init(
                        key: account, expected: 0,
                        account: StoredAccount(base: .zero, isFrozen: false, lines: [line]))
                ], closedSessions: [closed], clockFloor: noon))
        try await CounterSite.run(store: store) { site in
            let view = try await sessions(site)
            #expect(view.sessions.map(\.edge) == ["old", "idle"])
            #expect(view.sessions.map(\.state) == ["closed", "away"])
            #expect(view.sessions[0].closed_at == noon.rfc3339)
            #expect(view.sessions[0].accounts.map(\.outstanding) == ["50"])
            #expect(view.sessions[1].accounts.isEmpty)
        }
    }

    @Test func `an answer says what it leaves out`() async throws {
        let store = MemoryStore()
        let session = try store.openSession(edge: "edge", at: noon)
        let puts = (1...5).map { number in
            StoreBatch.Put(
                key: AccountKey(
                    cap: "acme", unit: .tokens, period: .day, periodID: account.periodID,
                    values: ["\(number)"]), expected: 0,
                account: StoredAccount(
                    base: Amount(UInt64(number)), isFrozen: false,
                    lines: [
                        .init(
                            session: session, granted: Amount(9), released: .zero, spent: .zero,
                            overrun: .zero)
                    ]))
        }
        _ = try store.commit(StoreBatch(puts: puts))
        var few = ReportBounds()
        few.pageRowCount = 2
        try await CounterSite.run(store: store, reports: few) { site in
            let all: Accounts = try read(await site.get("/accounts"))
            #expect(all.accounts.map(\.spent) == ["5", "4", "3", "2", "1"])
            #expect(all.is_complete && all.left_out == 0)
            let top: Accounts = try read(await site.get("/accounts", ["limit": "2"]))
            #expect(top.accounts.map(\.spent) == ["5", "4"])
            #expect(top.is_complete && top.left_out == 3)
            #expect(try await sessions(site).sessions[0].accounts.count == 5)
            for limit in ["0", "-1", "x"] {
                expectRefused(
                    try await site.get("/accounts", ["limit": limit]), 400, "above zero")
            }
        }
        for row in [(accounts: 3, lines: 100), (accounts: 100, lines: 3)] {
            few.accountCountMax = row.accounts
            few.lineCountMax = row.lines
            try await CounterSite.run(store: store.reopened(), reports: few) { site in
                let some: Accounts = try read(await site.get("/accounts"))
                #expect(some.accounts.count == 3 && !some.is_complete)
                let view = try await sessions(site)
                #expect(view.sessions[0].accounts.count == 3)
                #expect(!view.is_complete && view.accounts_read == 3)
            }
        }
    }

    @Test func `a limit lowered below what is outstanding is pending until it fits`()
        async throws
    {
        try await CounterSite.run { site in
            let edge = try await site.join()
            try await edge.report(wants: 60)
            _ = try await edge.answerToWish()
            try await edge.report(granted: 60, spent: 20)
            _ = try await edge.grant { $0.spent == Amount(20) }
            site.core.replacePolicy(CounterSite.policy(limit: 50))
            _ = try await edge.grant { $0.limit == Amount(50) }
            let before: Accounts = try read(await site.get("/accounts"))
            #expect(before.accounts.map(\.status) == ["pending"])
            #expect(before.accounts.map(\.outstanding) == ["40"])
            try await edge.report(granted: 60, released: 10, spent: 20)
            _ = try await edge.grant { $0.exposure == Amount(50) }
            let after: Accounts = try read(await site.get("/accounts"))
            #expect(after.accounts.map(\.status) == ["ok"])
            try await edge.report(granted: 60, released: 10, spent: 50)
            _ = try await edge.grant { $0.spent == Amount(50) }
            let end: Accounts = try read(await site.get("/accounts"))
            #expect(end.accounts.map(\.status) == ["spent"])
        }
    }

    // MARK: - Refunds

    @Test func `what a dead session held comes back, once and with a reason`() async throws {
        try await CounterSite.run(settings: CounterSite.impatient) { site in
            let session = try await dead(site)
            try await lose(session, site)
            let done: Records = try read(await refund(session, site))
            let record = Records.Record(
                at: site.wall.now.rfc3339, action: "refund", account: account.text, amount: "40",
                unit: "tokens", reason: "node scrapped", session: "\(session.rawValue)")
            #expect(done.records == [record])
            let stored = try #require(site.store.stored(account))
            #expect(stored == StoredAccount(base: Amount(20), isFrozen: false, lines: []))
            #expect(site.store.isClosed(session))
            let log: Records = try read(await site.get("/operator-log"))
            #expect(log.records == [record])
            let other = try await site.join()
            try await other.report(wants: 80)
            #expect(try await other.answerToWish().granted == Amount(80))
            expectRefused(try await refund(session, site), 409, "nothing to give back")
            expectRefused(
                try await refund(session, site, accounts: [account]), 409, "has nothing in")
        }
    }

    @Test func `a session that may still live is not refunded`() async throws {
        try await CounterSite.run(settings: CounterSite.impatient) { site in
            let edge = try await site.join()
            try await edge.report(wants: 60)
            _ = try await edge.answerToWish()
            // The counter has only just started: it cannot tell yet, or it is connected.
            let early = try await refund(edge.session, site)
            #expect(early.status == 409)
            try await Task.sleep(for: .milliseconds(200))
            site.wall.advance(seconds: 10)
            expectRefused(try await refund(edge.session, site), 409, "is connected")
            expectRefused(
                try await refund(edge.session, site, accounts: [account]), 409, "is connected")
            #expect(site.store.stored(account)?.lines.map(\.granted) == [Amount(60)])
            #expect(!site.store.isClosed(edge.session))
        }
    }

    @Test func `only what was named is refunded`() async throws {
        let store = MemoryStore()
        let session = try store.openSession(edge: "old", at: noon)
        let keys = ["a", "b", "c"].map { value in
            AccountKey(
                cap: "acme", unit: .tokens, period: .day, periodID: account.periodID,
                values: [value])
        }
        _ = try store.commit(
            StoreBatch(
                puts: keys.map { key in
                    let line = StoredAccount.Line(
                        session: session, granted: Amount(50), released: .zero, spent: Amount(10),
                        overrun: .zero)
                    return .init(
                        key: key, expected: 0,
                        account: StoredAccount(base: .zero, isFrozen: false, lines: [line]))
                }, closedSessions: [session]))
        try await CounterSite.run(store: store, settings: CounterSite.impatient) { site in
            try await Task.sleep(for: .milliseconds(200))
            expectRefused(
                try await refund(session, site, accounts: [account]), 409, "has nothing in")
            let one: Records = try read(
                await refund(session, site, accounts: [keys[1], keys[1]]))
            #expect(one.records.map(\.account) == [keys[1].text])
            #expect(keys.map { site.store.stored($0)?.base } == [.zero, Amount(10), .zero])
            let rest: Records = try read(await refund(session, site))
            #expect(rest.records.map(\.account) == [keys[0].text, keys[2].text])
            #expect(rest.records.map(\.amount) == ["40", "40"])
            let log: Records = try read(await site.get("/operator-log", ["limit": "2"]))
            #expect(log.records.count == 2)
            expectRefused(
                try await site.get("/operator-log", ["limit": "0"]), 400, "above zero")
        }
    }

    // MARK: - Frozen accounts

    @Test func `a frozen account is found and grants again once somebody has looked`()
        async throws
    {
        try await CounterSite.run { site in
            let edge = try await site.join()
            let request = #"{"account": "\#(account.text)", "reason": "disk replaced"}"#
            expectRefused(
                try await site.post("/accounts/unfreeze", request), 409, "there is no account")
            try await edge.report(granted: 50)
            #expect(try await edge.grant().isFrozen)
            let frozen: Accounts = try read(await site.get("/accounts", ["status": "frozen"]))
            #expect(frozen.accounts.map(\.account) == [account.text])
            let done: Records = try read(await site.post("/accounts/unfreeze", request))
            #expect(done.records.map(\.action) == ["unfreeze"])
            #expect(done.records.map(\.reason) == ["disk replaced"])
            try await edge.report(granted: 50, wants: 70)
            #expect(try await edge.answerToWish().granted == Amount(70))
            expectRefused(
                try await site.post("/accounts/unfreeze", request), 409, "is not frozen")
            let none: Accounts = try read(await site.get("/accounts", ["status": "frozen"]))
            #expect(none.accounts.isEmpty)
            expectRefused(
                try await site.get("/accounts", ["status": "solid"]), 400, "must be one of")
            site.store.damage(account, "checksum")
            expectRefused(
                try await site.post("/accounts/unfreeze", request), 409, "cannot be read")
        }
    }

    // MARK: - Bad input

    @Test(arguments: [
        (#""#, "JSON object"), ("[]", "JSON object"), ("{", "JSON object"),
        (#"{"session": 7, "reason": "x"}"#, "JSON object"),
        (#"{"session": "7"}"#, "'reason' must be given"),
        (#"{"reason": "x"}"#, "'session' must be given"),
        (#"{"session": "x", "reason": "x"}"#, "number of a session"),
        (#"{"session": "-1", "reason": "x"}"#, "number of a session"),
        (#"{"session": "99999999999999999999", "reason": "x"}"#, "number of a session"),
        (#"{"session": "7", "reason": "  "}"#, "between 1 and 500 bytes"),
        (#"{"session": "7", "reason": "a\nb"}"#, "one line of text"),
        (#"{"session": "7", "reason": "x", "account": ["a"]}"#, "'account' is not known"),
        (#"{"session": "7", "reason": "x", "accounts": "a"}"#, "must be a list"),
        (#"{"session": "7", "reason": "x", "accounts": []}"#, "must be a list"),
        (#"{"session": "7", "reason": "x", "accounts": ["a|b"]}"#, "not the key of an account"),
        (#"{"session": ["7"], "reason": "x"}"#, "'session' must be given"),
    ])
    func `a refund that is not understood is refused`(
        _ row: (body: String, problem: String)
    ) async throws {
        try await CounterSite.run { site in
            expectRefused(try await site.post("/sessions/refund", row.body), 400, row.problem)
            #expect(site.store.commitCount == 0)
        }
    }

    @Test func `reasons have a bound and sessions must exist`() async throws {
        try await CounterSite.run { site in
            for (length, status) in [(500, 409), (501, 400)] {
                let reason = String(repeating: "x", count: length)
                let response = try await site.post(
                    "/sessions/refund", #"{"session": "7", "reason": "\#(reason)"}"#)
                #expect(response.status == status, "\(response.body)")
            }
        }
    }

    @Test func `a store that fails is said to fail`() async throws {
        try await CounterSite.run { site in
            site.store.close()
            for path in ["/accounts", "/sessions", "/operator-log"] {
                expectRefused(try await site.get(path), 503, "the store is unavailable")
            }
            expectRefused(try await refund(SessionID(7), site), 503, "the store is unavailable")
        }
    }
}
