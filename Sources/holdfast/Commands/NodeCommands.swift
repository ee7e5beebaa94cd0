import ArgumentParser
import HoldfastConfig
import HoldfastCounter
import HoldfastEdge
import HoldfastStore
import HoldfastTLS
import ServiceLifecycle

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Edge and counter in one process, with a SQLite store.",
        discussion: """
            SIGHUP reads caps, keys and prices again. SIGTERM drains: requests in flight finish,
            slices go back, the session ends.
            """)

    @OptionGroup var options: NodeOptions
    @OptionGroup var store: StoreOptions
    @OptionGroup var edgeOptions: EdgeOptions

    func run() async throws {
        var config = try options.load()
        edgeOptions.apply(to: &config)
        try ConfigFile.require(config.requireServe())
        let node = Node(config: config, logger: try options.logger("holdfast.serve"))
        let credentials = try await node.credentials([.counter, .edge])
        let core = try openOrExplain { try store.open(on: node) }
        // Other edges may join where the file says where; otherwise the counter is ours alone.
        let counterPort = BoundPort()
        let listen = config.counterListen ?? Address(host: "127.0.0.1", port: 0)
        let listener = LeaseListener(
            host: listen.host, port: listen.port, core: core, credentials: credentials,
            group: node.group, logger: node.logger, onBound: { counterPort.set($0) })
        let edge = EmbeddedEdge(
            node: node, counterHost: listen.host, counterPort: counterPort,
            credentials: credentials)
        let reasons: @Sendable () -> [String] = {
            [core.unreadyReason].compactMap { $0 } + edge.unreadyReasons
        }
        let admin = node.admin(isLive: { edge.isLive }, reasons: reasons, counter: core)
        let reload = PolicyReload(path: options.config, core: core, logger: node.logger)
        let membership =
            config.counterListen == nil
            ? [] : node.membership(of: core, listen: listen, port: counterPort)
        try await node.run(
            [admin, reload, listener, edge] + membership + node.readyNotice(reasons: reasons))
    }
}

struct CounterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "counter",
        abstract: "The counter: keeps the totals and leases budget to edges.",
        discussion: "SIGHUP reads caps, keys and prices again and pushes them to the edges.")

    @OptionGroup var options: NodeOptions
    @OptionGroup var store: StoreOptions

    @Option(help: "Where edges connect, instead of 'counter.listen' in the file.")
    var counterListen: String?

    func run() async throws {
        var config = try options.load()
        if let counterListen {
            do {
                config.counterListen = try Address(counterListen)
            } catch {
                throw ValidationError("--counter-listen: \(error)")
            }
        }
        try ConfigFile.require(config.requireCounter())
        guard let listen = config.counterListen else { return }
        let node = Node(config: config, logger: try options.logger("holdfast.counter"))
        let credentials = try await node.credentials([.counter])
        let core = try openOrExplain { try store.open(on: node) }
        let port = BoundPort()
        let listener = LeaseListener(
            host: listen.host, port: listen.port, core: core, credentials: credentials,
            group: node.group, logger: node.logger, onBound: { port.set($0) })
        let membership = node.membership(of: core, listen: listen, port: port)
        let reasons: @Sendable () -> [String] = { [core.unreadyReason].compactMap { $0 } }
        let admin = node.admin(isLive: { true }, reasons: reasons, counter: core)
        let reload = PolicyReload(path: options.config, core: core, logger: node.logger)
        // Stops first: no edge shall come to a counter that ends.
        try await node.run(
            [admin, reload, listener] + membership + node.readyNotice(reasons: reasons))
    }
}

struct EdgeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "edge", abstract: "A proxy node: decides locally, from leased budget.",
        discussion: "Any number of edges can run. Caps, keys and prices come from the counter.")

    @OptionGroup var options: NodeOptions

    @Option(help: "A counter, instead of 'counters' in the file; may be repeated.")
    var counter: [String] = []

    @OptionGroup var edgeOptions: EdgeOptions

    func run() async throws {
        var config = try options.load()
        edgeOptions.apply(to: &config)
        if !counter.isEmpty {
            do {
                config.counters = try counter.map { try Address($0) }
            } catch {
                throw ValidationError("--counter: \(error)")
            }
        }
        try ConfigFile.require(config.requireEdge())
        let node = Node(config: config, logger: try options.logger("holdfast.edge"))
        let credentials = try await node.credentials([.edge])
        let edge = try openOrExplain {
            try EdgeService(
                settings: node.edgeSettings(),
                counters: config.counters.map { ($0.host, $0.port) },
                credentials: credentials, registry: node.registry, group: node.group,
                logger: node.logger)
        }
        let reasons: @Sendable () -> [String] = { edge.unreadyReasons }
        let admin = node.admin(isLive: { edge.isLive }, reasons: reasons)
        try await node.run([admin, edge] + node.readyNotice(reasons: reasons))
    }
}

/// Start-up failures are one clear line and an exit code, not a stack of errors.
func openOrExplain<Part>(_ open: () throws -> Part) throws -> Part {
    do {
        return try open()
    } catch let error as ValidationError {
        throw error
    } catch let error as PriceFileError {
        Terminal.note("error: \(error)")
        throw ExitCode(Exit.badConfig)
    } catch {
        Terminal.note("error: \(error)")
        throw ExitCode(Exit.failure)
    }
}
