import Foundation
import Glibc
import Synchronization
import Testing

/// A cluster of real processes between which things go wrong: PostgreSQL or a small disk, counters,
/// edges, the fake provider, and a `FaultyLink` wherever two of them talk.
final class ChaosSite: Sendable {
    struct Plan: Sendable {
        enum Store: Sendable { case postgres, smallDisk }

        var store = Store.postgres
        /// Whether edges give back, after a crash, what they had not used.
        var hasJournals = false
        var capDollars: UInt64 = 20
        var limits = ""
    }

    /// Everything that a counter is started from; the process comes and goes.
    struct CounterPlace: Sendable {
        let name: String
        let port: Int
        /// What edges are told is its address.
        let link: FaultyLink
        /// One to each server of its store.
        let storeLinks: [FaultyLink]
    }

    static let edgeCount = 3

    let site: Site
    let plan: Plan
    let provider: Provider
    let postgres: LocalPostgres?
    let disk: SmallDisk?
    let counterPlaces: [CounterPlace]
    let edgePorts: [Int]
    private let nodes = Mutex<(counters: [Node], edges: [Node])>(([], []))

    fileprivate init(
        _ site: Site, _ plan: Plan, postgres: LocalPostgres?, disk: SmallDisk?
    ) async throws {
        self.site = site
        self.plan = plan
        self.postgres = postgres
        self.disk = disk
        provider = try await site.fakeProvider(seed: 7)
        let servers = try postgres.map { try PostgresServers($0).ports } ?? []
        var places: [CounterPlace] = []
        for number in 1...(disk == nil ? 2 : 1) {
            let port = try await FreePort.find()
            var storeLinks: [FaultyLink] = []
            for server in servers { storeLinks.append(try await FaultyLink.open(to: server)) }
            places.append(
                CounterPlace(
                    name: "counter-\(number)", port: port,
                    link: try await FaultyLink.open(to: port), storeLinks: storeLinks))
        }
        counterPlaces = places
        var ports: [Int] = []
        for _ in 0..<Self.edgeCount { ports.append(try await FreePort.find()) }
        edgePorts = ports
        for place in places { try write(place.name, yaml: counterYAML(place)) }
        for number in ports.indices { try write("edge-\(number)", yaml: edgeYAML(number)) }
    }

    var counters: [Node] { nodes.withLock { $0.counters } }
    var edges: [Node] { nodes.withLock { $0.edges } }
    var capNanoUSD: UInt64 { plan.capDollars * 1_000_000_000 }

    /// Every link of this site.
    var links: [FaultyLink] { counterPlaces.flatMap { [$0.link] + $0.storeLinks } }

    // MARK: - Processes

    fileprivate func start() async throws {
        for number in counterPlaces.indices {
            let node = try await startCounter(number)
            nodes.withLock { $0.counters.append(node) }
        }
        for number in edgePorts.indices {
            let node = try await startEdge(number)
            nodes.withLock { $0.edges.append(node) }
        }
        for node in counters + edges { try await node.ready() }
    }

    private func startCounter(_ number: Int) async throws -> Node {
        let place = counterPlaces[number]
        let process = try site.start(["counter", "--config", configPath(place.name)])
        return Node(
            site: site, process: process,
            port: try await process.port(announcedBy: "counter is up"),
            adminPort: try await process.port(announcedBy: "admin listener is up"))
    }

    private func startEdge(_ number: Int) async throws -> Node {
        let journal = plan.hasJournals ? ["--journal", "edge-\(number).journal"] : []
        let process = try site.start(
            ["edge", "--config", configPath("edge-\(number)")] + journal)
        return Node(
            site: site, process: process, port: try await process.port(announcedBy: "edge is up"),
            adminPort: try await process.port(announcedBy: "admin listener is up"))
    }

    /// As a supervisor does it: while the store is away, a counter ends again and is started again.
    func restartCounter(_ number: Int) async throws {
        let node = try await eventually("\(counterPlaces[number].name) to start") {
            do {
                return try await self.startCounter(number)
            } catch is ProcessUnderTest.EndedEarly {
                try await Task.sleep(for: .milliseconds(200))
                return nil
            }
        }
        nodes.withLock { $0.counters[number] = node }
    }

    func restartEdge(_ number: Int) async throws {
        let node = try await startEdge(number)
        nodes.withLock { $0.edges[number] = node }
    }

    /// So that everything can be stopped.
    fileprivate func release() async {
        for node in counters + edges { node.process.send(SIGCONT) }
        do {
            for link in links { try await link.set(.clear) }
            disk?.free()
            guard let postgres else { return }
            try await offPool {
                for server in ["primary", "standby"] { try postgres.run("resume", server) }
            }
        } catch {
            Issue.record("\(error)")
        }
    }

    /// For people, when they have said where.
    func keepLogs(as name: String) throws {
        guard let path = ChaosSettings.logPath else { return }
        let word = String(name.map { $0.isLetter || $0.isNumber ? $0 : "-" })
        let folder = URL(fileURLWithPath: path).appendingPathComponent(word)
        if FileManager.default.fileExists(atPath: folder.path) {
            try FileManager.default.removeItem(at: folder)
        }
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for file in try FileManager.default.contentsOfDirectory(
            at: site.directory, includingPropertiesForKeys: nil) where file.pathExtension == "log"
        {
            try FileManager.default.copyItem(
                at: file, to: folder.appendingPathComponent(file.lastPathComponent))
        }
    }

    /// What the cap is charged, as each of the counters says.
    func books() async throws -> [Account] {
        var books: [Account] = []
        for counter in counters {
            if let account = try await counter.account("cap") { books.append(account) }
        }
        return books
    }

    // MARK: - Configuration

    private func configPath(_ name: String) -> String {
        site.directory.appendingPathComponent("\(name).yaml").path
    }

    private func write(_ name: String, yaml: String) throws {
        try Data(yaml.utf8).write(to: URL(fileURLWithPath: configPath(name)))
    }

    private func counterYAML(_ place: CounterPlace) -> String {
        let servers = place.storeLinks.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
        let store =
            disk.map { "sqlite:\($0.folder.path)/holdfast.db" }
            ?? "postgres://holdfast@\(servers)/holdfast"
        return """
            cluster: chaos
            name: \(place.name)
            admin: { listen: 127.0.0.1:0 }
            store: "\(store)"
            counter: { listen: "127.0.0.1:\(place.port)", advertise: "127.0.0.1:\(place.link.port)" }
            keys:
              - { name: app, secret: "\(Secrets.app)", tenant: acme, allow: [user, session] }
            caps:
              - { name: cap, limit: $\(plan.capDollars), per: total }
              - { name: person, limit: $0.10, per: total, each: user }

            """
    }

    private func edgeYAML(_ number: Int) -> String {
        let counters = counterPlaces.map { "\"127.0.0.1:\($0.link.port)\"" }
        let url = "http://127.0.0.1:\(provider.port)"
        let limits = "new_accounts_per_minute: 100000" + (plan.limits.isEmpty ? "" : ", ")
        return """
            cluster: chaos
            name: edge-\(number)
            listen: 127.0.0.1:\(edgePorts[number])
            admin: { listen: 127.0.0.1:0 }
            counters: [\(counters.joined(separator: ", "))]
            providers:
              openai: { api_key: "\(Secrets.openAI)", base_url: "\(url)" }
              anthropic: { api_key: "\(Secrets.anthropic)", base_url: "\(url)" }
            limits: { \(limits)\(plan.limits) }

            """
    }
}

/// Runs `body` in a site of its own. Whatever happened, everything goes on and is stopped in order.
func withChaosSite(_ plan: ChaosSite.Plan, _ body: (ChaosSite) async throws -> Void) async throws {
    let postgres: LocalPostgres?
    let disk: SmallDisk?
    switch plan.store {
    case .postgres: (postgres, disk) = (try await offPool { try LocalPostgres("init") }, nil)
    case .smallDisk: (postgres, disk) = (nil, try SmallDisk())
    }
    var links: [FaultyLink] = []
    var failure: (any Error)?
    do {
        try await withSite { site in
            let chaos = try await ChaosSite(site, plan, postgres: postgres, disk: disk)
            links = chaos.links
            do {
                try await chaos.start()
                try await body(chaos)
            } catch {
                await chaos.release()
                throw error
            }
            await chaos.release()
        }
    } catch {
        failure = error
    }
    for link in links { try await link.close() }
    disk?.remove()
    if let failure { throw failure }
}

/// Runs what blocks a thread where it keeps nobody waiting.
@discardableResult
func offPool<Value: Sendable>(
    _ work: @escaping @Sendable () throws -> Value
) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global().async { continuation.resume(with: Result(catching: work)) }
    }
}

/// Where the two servers are, and who is the primary now.
struct PostgresServers {
    let ports: [Int]
    let writer: String

    init(_ postgres: LocalPostgres) throws {
        let file = postgres.directory.appendingPathComponent("env")
        var values: [Substring: Substring] = [:]
        for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { values[parts[0]] = parts[1] }
        }
        ports = ["PRIMARY_PORT", "STANDBY_PORT"].compactMap { values[$0].flatMap { Int($0) } }
        writer = try #require(values["WRITER"].map(String.init))
    }

    var standby: String { writer == "primary" ? "standby" : "primary" }
}
