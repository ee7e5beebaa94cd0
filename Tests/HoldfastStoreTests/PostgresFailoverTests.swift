import Dispatch
import Foundation
import HoldfastCore
import HoldfastLedger
import Synchronization
import Testing

@testable import HoldfastStore

extension PostgresTests {
    /// A primary and its synchronous standby: what is acknowledged is kept, and what is not known to be
    /// kept is not told.
    @Suite(.serialized) struct `PostgreSQL store with a standby` {
        private func location(_ servers: LocalPostgres) throws -> PostgresStore.Location {
            PostgresStore.Location(uri: try servers.uri, name: "postgres pair")
        }

        private func eventually(_ what: String, _ isTrue: () throws -> Bool) throws {
            let end = ContinuousClock.now + .seconds(20)
            while try !isTrue() {
                guard ContinuousClock.now < end else {
                    Issue.record("waited in vain for \(what)")
                    return
                }
                usleep(20_000)
            }
        }

        /// Runs `body` on another thread.
        private func start<Value: Sendable>(
            _ body: @escaping @Sendable () throws(StoreError) -> Value
        ) -> () -> Result<Value, StoreError> {
            let done = DispatchSemaphore(value: 0)
            let box = Mutex<Result<Value, StoreError>?>(nil)
            Thread {
                let result = Result { () throws(StoreError) in try body() }
                box.withLock { $0 = result }
                done.signal()
            }.start()
            return {
                done.wait()
                guard let result = box.withLock({ $0 }) else { preconditionFailure("it has ended") }
                return result
            }
        }

        @Test func `a cancelled wait for the standby is an unknown outcome, also for who reads it`()
            throws
        {
            let servers = try LocalPostgres("init")
            let store = try PostgresStore(try location(servers))
            let other = try PostgresStore(try location(servers))
            // From here on both have connections that they need not doubt.
            _ = try (store.load([]), other.load([]))
            try servers.run("pause", "standby")
            let (one, two) = (key("one"), key("two"))
            let commit = start { () throws(StoreError) in
                try store.commit(StoreBatch(puts: [put(one, spent: 5)]))
            }
            try eventually("a commit to wait for the standby") {
                try servers.psql(
                    .primary, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
                    != "0"
            }
            try servers.psql(
                .primary,
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            guard case .failure(let error) = commit() else {
                Issue.record("a commit that the standby does not have was taken for kept")
                return
            }
            #expect(error.kind == "interrupted", "\(error)")
            #expect(error.description.contains("may not have reached the synchronous standby"))
            // Everybody sees the row, and the standby does not have it: it must not be told.
            #expect(try other.load([one]).found[one]?.version == 1)
            let early = storeError { () throws(StoreError) in try store.load([one]) }
            #expect(early?.kind == "interrupted", "read without the standby: \(early as Any)")
            // Whoever tells something commits first, and that waits, too.
            let late = start { () throws(StoreError) in
                try other.commit(StoreBatch(puts: [put(two, spent: 1)]))
            }
            try servers.run("resume", "standby")
            #expect(try late().get().versions == [two: 1])
            #expect(try store.load([one]).found[one]?.version == 1)
            try eventually("the standby to have both") {
                try servers.psql(.standby, "SELECT count(*) FROM holdfast.account") == "2"
            }
        }

        @Test func `a promoted standby has all that was acknowledged, and begins a generation`()
            throws
        {
            let servers = try LocalPostgres("init")
            let store = try PostgresStore(try location(servers))
            let before = try store.generation()
            let session = try store.openSession(edge: "edge", at: UnixTime(1_800_000_000))
            var kept: [AccountKey] = []
            for number in 0..<20 {
                let key = key("cap\(number)")
                let result = try store.commit(
                    StoreBatch(puts: [put(key, spent: 3)], reporting: [session]))
                if result.versions[key] == 1 { kept.append(key) }
            }
            #expect(kept.count == 20)
            try servers.run("kill", "primary")
            let gone = storeError { () throws(StoreError) in
                try store.commit(StoreBatch(puts: [put(key("late"), spent: 1)]))
            }
            #expect(gone?.kind == "interrupted", "\(gone as Any)")
            try servers.run("promote", "--alone")
            // Alone it could lose what it acknowledges: not used without being told to.
            let pair = try location(servers)
            let alone = storeError { () throws(StoreError) in try PostgresStore(pair) }
            #expect(
                alone?.description.contains("synchronous_standby_names is empty") == true,
                "\(alone as Any)")
            try servers.run("rejoin")
            try eventually("the store to be reached again") {
                storeError { () throws(StoreError) -> StoreGeneration in try store.generation() }
                    == nil
            }
            let after = try store.generation()
            #expect(after.current > before.current)
            #expect(after.learned == before.learned)
            #expect(Set(try store.load(kept).found.keys) == Set(kept))
            #expect(try store.session(session)?.closedAt == nil)
            let next = try store.openSession(edge: "edge", at: UnixTime(1_800_000_001))
            #expect(next.rawValue >> 32 == after.current)
        }

        @Test func `a standby alone is no place to write, and the message says what is`() throws {
            let servers = try LocalPostgres("init")
            let port = try servers.psql(.standby, "SHOW port")
            let location = PostgresStore.Location(
                uri: "postgres://holdfast@127.0.0.1:\(port)/holdfast", name: "postgres standby")
            let error = storeError { () throws(StoreError) in try PostgresStore(location) }
            #expect(error?.kind == "unavailable")
            #expect(error?.description.contains("is a standby") == true, "\(error as Any)")
            #expect(error?.description.contains("Name the primary too") == true)
        }

        @Test func `a server that stands still is given up, and goes on with what it had`() throws {
            let servers = try LocalPostgres("init")
            var options = PostgresStore.Options()
            options.answerSeconds = 1
            let store = try PostgresStore(try location(servers), options: options)
            try servers.run("pause", "primary")
            let error = storeError { () throws(StoreError) in
                try store.commit(StoreBatch(puts: [put(key(), spent: 1)]))
            }
            #expect(error?.kind == "interrupted", "\(error as Any)")
            try servers.run("resume", "primary")
            try eventually("the store to be reached again") {
                storeError { () throws(StoreError) in try store.load([key()]) } == nil
            }
            // The commit was sent: it may have been done, but by nobody twice.
            let version = try store.load([key()]).found[key()]?.version ?? 0
            let result = try store.commit(
                StoreBatch(puts: [put(key(), expected: version, spent: 2)]))
            #expect(result.versions[key()] == version + 1 || result.conflicts == [key()])
        }
    }
}
