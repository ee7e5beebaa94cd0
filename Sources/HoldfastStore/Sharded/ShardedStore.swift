public import HoldfastCore
public import HoldfastLedger
import Synchronization

/// Several PostgreSQL databases as one store: each has a part of the accounts, by a hash of their
/// keys.
///
/// A commit is one transaction in each database, not one across them. That is enough: an account lives
/// in one database, totals do not depend on each other, and whatever was written in one and not in
/// another is said again. Sessions are issued by the first and known to all, so that each can refuse
/// the reports of a closed one by itself; they are closed in the first at last.
public final class ShardedStore: AccountStore {
    let shards: [PostgresStore]
    /// For each generation of the first database, those of all when it was read: what is learned then.
    let generations = Mutex<[UInt64: [UInt64]]>([:])
    /// The latest that the first database was told, and that any has said. Accounts of counters that
    /// follow each other's clocks may lie in different databases.
    let floors = Mutex<(told: UnixTime, heard: UnixTime)>((UnixTime(0), UnixTime(0)))

    var home: PostgresStore { shards[0] }

    /// One database is used as it is.
    ///
    /// - Parameter locations: in the order of before: an account's place depends on it.
    public static func open(
        _ locations: [PostgresStore.Location], options: PostgresStore.Options = .init(),
        isRestored: Bool = false
    ) throws(StoreError) -> any AccountStore {
        precondition(!locations.isEmpty, "a store without a database")
        var shards: [PostgresStore] = []
        for (index, location) in locations.enumerated() {
            var location = location
            location.shard = index
            location.shardCount = locations.count
            shards.append(
                try PostgresStore(location, options: options, isRestored: isRestored))
        }
        return shards.count == 1 ? shards[0] : ShardedStore(shards)
    }

    init(_ shards: [PostgresStore]) {
        self.shards = shards
    }

    /// FNV-1a, whose high bits are folded in: the same in every version, because it is where accounts
    /// are.
    func index(of key: AccountKey) -> Int {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in key.textBytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        return Int((hash ^ hash >> 32) % UInt64(shards.count))
    }

    public func close() {
        for shard in shards { shard.close() }
    }

    // MARK: - Accounts

    public func load(_ keys: [AccountKey]) throws(StoreError) -> LoadResult {
        guard !keys.isEmpty else { return try home.load([]) }
        var parts = shards.map { _ in [AccountKey]() }
        for key in keys { parts[index(of: key)].append(key) }
        var result = LoadResult()
        for (shard, part) in zip(shards, parts) where !part.isEmpty {
            let found = try shard.load(part)
            result.found.merge(found.found) { first, _ in first }
            result.damaged.merge(found.damaged) { first, _ in first }
        }
        return result
    }

    public func scan(
        _ selection: AccountSelection, limit: Int, after: AccountKey?
    ) throws(StoreError) -> [ScannedAccount] {
        var found: [ScannedAccount] = []
        for shard in shards {
            found += try shard.scan(selection, limit: limit, after: after)
        }
        let ordered = found.map { (bytes: $0.key.textBytes, account: $0) }
            .sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
        return ordered.prefix(limit).map(\.account)
    }

    // MARK: - Sessions

    public func openSession(edge: String, at time: UnixTime) throws(StoreError) -> SessionID {
        let id = try home.openSession(edge: edge, at: time)
        for shard in shards.dropFirst() { try shard.keepSession(id, edge: edge, at: time) }
        return id
    }

    public func adoptSession(
        _ id: SessionID, edge: String, at time: UnixTime
    ) throws(StoreError) {
        try home.adoptSession(id, edge: edge, at: time)
        for shard in shards.dropFirst() { try shard.keepSession(id, edge: edge, at: time) }
    }

    public func session(_ id: SessionID) throws(StoreError) -> SessionRecord? {
        guard let record = try home.session(id), record.closedAt == nil else {
            return try home.session(id)
        }
        // Closed in one is closed: whoever closed it may not have come to the first.
        for shard in shards.dropFirst() {
            if let other = try shard.session(id), other.closedAt != nil { return other }
        }
        return record
    }

    public func sessions(
        _ selection: SessionSelection, limit: Int, after: SessionID?
    ) throws(StoreError) -> [SessionRecord] {
        try home.sessions(selection, limit: limit, after: after)
    }

    // MARK: - Generations

    /// The first database's. A database that may have lost writes begins another one there, too.
    public func generation() throws(StoreError) -> StoreGeneration {
        var all: [StoreGeneration] = []
        for shard in shards { all.append(try shard.generation()) }
        let isNews = all.dropFirst().contains { $0.learned < $0.current }
        let isLearned = all[0].learned == all[0].current
        // While one is learned of, another may be lost, too.
        let before = generations.withLock { $0[all[0].current] }
        let isOther = before.map { $0 != all.map(\.current) } ?? false
        if isNews, isLearned || isOther {
            try home.beginGeneration()
            all[0] = try home.generation()
        }
        let current = all.map(\.current)
        generations.withLock { $0[current[0]] = current }
        return all[0]
    }

    // MARK: - Secrets, watermarks, operators

    public func secret(
        named name: String, generate: () -> [UInt8]
    ) throws(StoreError) -> [UInt8] {
        try home.secret(named: name, generate: generate)
    }

    public func clockFloor() throws(StoreError) -> UnixTime {
        var floor = UnixTime(0)
        for shard in shards { floor = max(floor, try shard.clockFloor()) }
        return floor
    }

    public func operatorRecords(limit: Int) throws(StoreError) -> [OperatorRecord] {
        var records: [OperatorRecord] = []
        for shard in shards { records += try shard.operatorRecords(limit: limit) }
        return Array(records.sorted { $0.at > $1.at }.prefix(limit))
    }

    public func meet(
        _ node: CounterNode, within seconds: Int64
    ) throws(StoreError) -> [CounterNode] { try home.meet(node, within: seconds) }

    public func leave(_ node: CounterNode) throws(StoreError) { try home.leave(node) }
}
