import Foundation
import HoldfastCore
import HoldfastLedger
import Synchronization
import Testing

@testable import HoldfastStore

/// One at a time: each waits for real servers, and has them for itself.
@Suite(.serialized, .blocking) enum PostgresTests {}

extension PostgresTests {
    /// One server without a standby for all of these: databases are made new for each case.
    @Suite(.serialized) struct `PostgreSQL store` {
        private static let server = Result {
            try LocalPostgres.sharedUntilExit("single", "--unsafe")
        }
        private static let databaseCount = Mutex(0)

        private func newLocation() throws -> PostgresStore.Location {
            let number = Self.databaseCount.withLock { count in
                count += 1
                return count
            }
            let name = "store\(number)"
            return PostgresStore.Location(
                uri: try Self.server.get().newDatabase(name), name: "postgres \(name)")
        }

        private var unsafe: PostgresStore.Options {
            var options = PostgresStore.Options()
            options.isUnsafeAllowed = true
            return options
        }

        @Test(arguments: StoreConformance.allCases)
        func `it keeps the promises of every store`(promise: StoreConformance) throws {
            let location = try newLocation()
            // A restore takes its number from the clock, and the suite restores faster than it ticks.
            let time = Mutex<Int64>(1_800_000_000)
            try promise.check { isRestored in
                try PostgresStore(location, options: unsafe, isRestored: isRestored) {
                    time.withLock { time in
                        time += 1
                        return UnixTime(time)
                    }
                }
            }
        }

        /// All but what is promised of one transaction: there is one in each database.
        private static let promisesOfShards = StoreConformance.allCases.filter { promise in
            switch promise {
            case .`a batch is written whole or not at all`,
                .`no session closes beside a conflict`:
                false
            // Of what was done in the same second in two databases nobody knows the order.
            case .`what operators did is kept, newest first`, .`texts come back byte by byte`: false
            default: true
            }
        }

        @Test(arguments: promisesOfShards)
        func `several databases keep the promises of one`(promise: StoreConformance) throws {
            let locations = [try newLocation(), try newLocation(), try newLocation()]
            try promise.check { isRestored in
                try ShardedStore.open(locations, options: unsafe, isRestored: isRestored)
            }
        }

        @Test func `accounts are spread over the databases, and each is found where it was put`()
            throws
        {
            let locations = [try newLocation(), try newLocation()]
            let opened = try ShardedStore.open(locations, options: unsafe)
            let store = try #require(opened as? ShardedStore)
            let keys = (0..<100).map { key("each-user", ["u\($0)"]) }
            _ = try store.commit(StoreBatch(puts: keys.map { put($0, spent: 1) }))
            let counts = try store.shards.map { try $0.load(keys).found.count }
            #expect(counts.reduce(0, +) == 100 && counts.allSatisfy { $0 > 25 }, "\(counts)")
            store.close()
            let turned = storeError { () throws(StoreError) in
                try ShardedStore.open(locations.reversed(), options: unsafe)
            }
            #expect(
                turned?.description.contains("in the order of before") == true, "\(turned as Any)")
        }

        @Test func `a session that one database closed is refused there, and its lines stay`()
            throws
        {
            let locations = [try newLocation(), try newLocation()]
            let opened = try ShardedStore.open(locations, options: unsafe)
            let store = try #require(opened as? ShardedStore)
            let session = try store.openSession(edge: "edge", at: UnixTime(1))
            let keys = (0..<20).map { key("each-user", ["u\($0)"]) }
            let (here, there) = (
                try #require(keys.first { store.index(of: $0) == 0 }),
                try #require(keys.first { store.index(of: $0) == 1 })
            )
            // A counter that dies between the two.
            _ = try store.shards[1].commit(
                StoreBatch(puts: [put(there, spent: 1)], closedSessions: [session]))
            let refused = try store.commit(
                StoreBatch(
                    puts: [put(there, expected: 1, spent: 2), put(here, spent: 2)],
                    reporting: [session]))
            #expect(refused.closedSessions == [session])
            #expect(try store.load([there]).found[there]?.version == 1)
            // Ended again by whoever asks next, everywhere.
            let end = try store.commit(
                StoreBatch(
                    puts: [
                        put(here, expected: refused.versions[here] ?? 0, spent: 3),
                        put(there, expected: 1, spent: 1),
                    ], closedSessions: [session]))
            #expect(end.conflicts.isEmpty)
            #expect(try store.session(session)?.closedAt != nil)
        }

        @Test func `a database that knows a session by nobody asks the first one`() throws {
            let locations = [try newLocation(), try newLocation()]
            let opened = try ShardedStore.open(locations, options: unsafe)
            let store = try #require(opened as? ShardedStore)
            let session = try store.home.openSession(edge: "edge", at: UnixTime(1))
            let keys = (0..<20).map { key("each-user", ["u\($0)"]) }
            let result = try store.commit(
                StoreBatch(puts: keys.map { put($0, spent: 1) }, reporting: [session]))
            #expect(result.closedSessions.isEmpty && result.versions.count == 20)
        }

        @Test func `a database that was restored makes all of them learn, once`() throws {
            let locations = [try newLocation(), try newLocation()]
            try ShardedStore.open(locations, options: unsafe).close()
            var second = locations[1]
            second.shard = 1
            second.shardCount = 2
            try PostgresStore(second, options: unsafe, isRestored: true).close()
            let store = try ShardedStore.open(locations, options: unsafe)
            let generation = try store.generation()
            #expect(generation.learned < generation.current)
            #expect(try store.generation() == generation)
            _ = try store.commit(StoreBatch(learnedGeneration: generation.current))
            let after = try store.generation()
            #expect(after.learned == after.current && after.current == generation.current)
        }

        @Test func `counters meet in the database, and one that left is not told of`() throws {
            let location = try newLocation()
            let store = try PostgresStore(location, options: unsafe)
            let (a, b) = (
                CounterNode(name: "a:7070", address: "10.0.0.1:7070"),
                CounterNode(name: "b", address: "[fd00::2]:7070")
            )
            #expect(try store.meet(b, within: 10) == [b])
            #expect(try store.meet(a, within: 10) == [a, b])
            let moved = CounterNode(name: "a:7070", address: "10.0.0.9:7070")
            #expect(try store.meet(moved, within: 10) == [moved, b])
            // Nobody is that fresh.
            #expect(try store.meet(b, within: 0).isEmpty)
            try store.leave(b)
            #expect(try store.meet(moved, within: 10) == [moved])
        }

        @Test func `two counters that start at once make one store`() throws {
            let location = try newLocation()
            let stores = Mutex<[PostgresStore]>([])
            let failures = Mutex<[StoreError]>([])
            DispatchQueue.concurrentPerform(iterations: 4) { _ in
                do throws(StoreError) {
                    let store = try PostgresStore(location, options: unsafe)
                    stores.withLock { $0.append(store) }
                } catch {
                    failures.withLock { $0.append(error) }
                }
            }
            #expect(failures.withLock { $0 }.isEmpty)
            let pepper = try stores.withLock {
                try $0.map { try $0.secret(named: "p") { [1, 2] } }
            }
            #expect(pepper == Array(repeating: [1, 2], count: 4))
        }

        @Test func `another cluster's database is refused, and says which it is`() throws {
            let location = try newLocation()
            var options = unsafe
            options.cluster = "blue"
            _ = try PostgresStore(location, options: options)
            let error = storeError { () throws(StoreError) in
                try PostgresStore(location, options: unsafe)
            }
            #expect(
                error?.description.contains(
                    "is the store of the cluster 'blue', and this is 'holdfast'. Give this "
                        + "cluster a database of its own, or set cluster: blue") == true,
                "\(error as Any)")
        }

        @Test func `a database of another place among shards is refused`() throws {
            var location = try newLocation()
            location.shardCount = 2
            _ = try PostgresStore(location, options: unsafe)
            location.shard = 1
            let error = storeError { () throws(StoreError) in
                try PostgresStore(location, options: unsafe)
            }
            #expect(error?.description.contains("database 1 of 2") == true, "\(error as Any)")
        }

        @Test(arguments: [
            ("UPDATE holdfast.store SET version = 9", "newerSchema"),
            ("UPDATE holdfast.store SET version = 0", "corrupt"),
            ("UPDATE holdfast.store SET learned = 99", "corrupt"),
            ("DELETE FROM holdfast.store", "corrupt"),
        ])
        func `a schema that cannot be used is refused`(damage: String, kind: String) throws {
            let location = try newLocation()
            _ = try PostgresStore(location, options: unsafe)
            let name = String(location.name.split(separator: " ")[1])
            try Self.server.get().psql(.primary, damage, database: name)
            let error = storeError { () throws(StoreError) in
                try PostgresStore(location, options: unsafe)
            }
            #expect(error?.kind == kind, "\(error as Any)")
        }

        @Test func `a role that may not make tables is told what it needs`() throws {
            let server = try Self.server.get()
            try server.psql(.primary, "CREATE DATABASE guarded")
            let uri = try server.uri
            let slash = try #require(uri.lastIndex(of: "/"))
            let location = PostgresStore.Location(uri: "\(uri[...slash])guarded", name: "guarded")
            let error = storeError { () throws(StoreError) in
                try PostgresStore(location, options: unsafe)
            }
            #expect(error?.kind == "readOnly", "\(error as Any)")
            #expect(error?.description.contains("CREATE SCHEMA holdfast") == true)
        }

        @Test(arguments: [
            ("synchronous_commit = off", "synchronous_commit is off"),
            ("synchronous_commit = local", "synchronous_commit is local"),
            ("synchronous_commit = remote_write", "synchronous_commit is remote_write"),
        ])
        func `commits that are acknowledged too early are refused`(
            setting: String, message: String
        ) throws {
            let location = try newLocation()
            let name = String(location.name.split(separator: " ")[1])
            try Self.server.get().psql(.primary, "ALTER DATABASE \(name) SET \(setting)")
            let error = storeError { () throws(StoreError) in try PostgresStore(location) }
            #expect(error?.description.contains(message) == true, "\(error as Any)")
            #expect(error?.description.contains("--allow-unsafe-store") == true)
            // Where it is allowed, our own commits are on the disk all the same.
            let warnings = Mutex<[String]>([])
            var options = unsafe
            options.warn = { text in warnings.withLock { $0.append(text) } }
            let store = try PostgresStore(location, options: options)
            #expect(warnings.withLock { $0 }.count == 1)
            let own = try store.pool.with { connection throws(PostgresConnection.Failure) in
                try connection.query("SHOW synchronous_commit").text(0, 0)
            }.get()
            #expect(own == "on")
        }

        @Test func `each danger of a server is named with its cure`() {
            let safe = [
                "synchronous_commit": "on", "synchronous_standby_names": "ANY 1 (a, b)",
                "fsync": "on",
                "full_page_writes": "on", "server_version_num": "150004",
            ]
            #expect(PostgresProfile(settings: safe).dangers.isEmpty)
            #expect(PostgresProfile(settings: safe).obstacle == nil)
            for (name, value) in [
                ("synchronous_commit", "off"), ("synchronous_standby_names", ""), ("fsync", "off"),
                ("full_page_writes", "off"),
            ] {
                var settings = safe
                settings[name] = value
                let dangers = PostgresProfile(settings: settings).dangers
                #expect(dangers.count == 1 && dangers[0].hasPrefix(name), "\(dangers)")
            }
            #expect(PostgresProfile(settings: [:]).dangers.count == 3)
            #expect(
                PostgresProfile(settings: ["server_version_num": "120004"]).obstacle
                    == "PostgreSQL 12 is too old. Use version 14 or later.")
        }

        @Test func `a server that is not there is no empty store, and no secret is shown`() throws {
            let location = PostgresStore.Location(
                uri: "postgres://holdfast:hunter2@127.0.0.1:1/holdfast", name: "postgres gone")
            let error = storeError { () throws(StoreError) in
                try PostgresStore(location, options: unsafe)
            }
            #expect(error?.kind == "unavailable", "\(error as Any)")
            #expect(error?.description.contains("hunter2") == false)
        }

        @Test(arguments: ["postgres://u:hunter2%@h/d", "postgres://u:hunter2@h:port/d?hunter2"])
        func `a URI that cannot be read is not quoted`(uri: String) throws {
            let error = storeError { () throws(StoreError) in
                try PostgresStore(.init(uri: uri, name: "postgres"), options: unsafe)
            }
            #expect(error?.kind == "unavailable", "\(error as Any)")
            #expect(error?.description.contains("hunter2") == false, "\(error as Any)")
        }

        @Test func `an account that was damaged is named, and the others are read`() throws {
            let location = try newLocation()
            let store = try PostgresStore(location, options: unsafe)
            let keys = (0..<3).map { key("cap\($0)") }
            _ = try store.commit(StoreBatch(puts: keys.map { put($0, spent: 1) }))
            let name = String(location.name.split(separator: " ")[1])
            try Self.server.get().psql(
                .primary,
                "UPDATE holdfast.account SET value = set_byte(value, 3, 77) "
                    + "WHERE key = convert_to('\(keys[1].text)', 'UTF8')", database: name)
            let loaded = try store.load(keys)
            #expect(Set(loaded.found.keys) == [keys[0], keys[2]])
            #expect(loaded.damaged == [keys[1]: "its checksum is wrong"])
        }

        @Test func `a row that another transaction holds is given up, and nothing was written`()
            throws
        {
            let location = try newLocation()
            let store = try PostgresStore(location, options: unsafe)
            _ = try store.commit(StoreBatch(puts: [put(key(), spent: 1)]))
            let other = try PostgresConnection(uri: location.uri, answerSeconds: 10)
            _ = try other.query("BEGIN")
            _ = try other.query("SELECT * FROM holdfast.account FOR UPDATE")
            let error = storeError { () throws(StoreError) in
                try store.commit(StoreBatch(puts: [put(key(), expected: 1, spent: 2)]))
            }
            #expect(error?.kind == "unavailable", "\(error as Any)")
            _ = try other.query("ROLLBACK")
            #expect(try store.load([key()]).found[key()]?.version == 1)
            let again = try store.commit(StoreBatch(puts: [put(key(), expected: 1, spent: 2)]))
            #expect(again.versions == [key(): 2])
        }

        @Test func `counters that write the same accounts in any order do not block each other`()
            throws
        {
            let location = try newLocation()
            let keys = (0..<40).map { key("cap\($0)") }
            let first = try PostgresStore(location, options: unsafe)
            _ = try first.commit(StoreBatch(puts: keys.map { put($0, spent: 0) }))
            let failures = Mutex<[StoreError]>([])
            DispatchQueue.concurrentPerform(iterations: 3) { writer in
                do throws(StoreError) {
                    let store = try PostgresStore(location, options: unsafe)
                    for round in 0..<30 as Range<UInt64> {
                        let found = try store.load(keys).found
                        let puts = keys.shuffled().map { key in
                            StoreBatch.Put(
                                key: key, expected: found[key]?.version ?? 0,
                                account: account(spent: round))
                        }
                        let result = try store.commit(StoreBatch(puts: puts))
                        #expect(result.versions.count + result.conflicts.count == keys.count)
                    }
                } catch {
                    failures.withLock { $0.append(error) }
                }
            }
            #expect(failures.withLock { $0 }.isEmpty)
        }
    }
}
