import ArgumentParser
import Foundation
import HoldfastAdmin
import HoldfastConfig
import HoldfastCore
import HoldfastCounter
import HoldfastEdge
import HoldfastLedger
import HoldfastProviders
import HoldfastStore
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization
import UnixSignals

/// The table of prices that the configuration names cannot be used.
struct PriceFileError: Error, CustomStringConvertible {
    let description: String
}

/// The parts of one process, made from a configuration. Wiring only: each part lives in its target.
struct Node {
    let config: Config
    let logger: Logger
    let registry = MetricRegistry()
    let group: any EventLoopGroup = MultiThreadedEventLoopGroup(
        numberOfThreads: max(1, System.coreCount))

    // MARK: - Parts

    func counterPolicy() throws -> CounterPolicy { try Self.counterPolicy(config) }

    static func counterPolicy(_ config: Config) throws -> CounterPolicy {
        var zones: [String: ZoneOffsets] = ["UTC": .utc]
        for cap in config.caps {
            guard let offsets = zoneOffsets(cap.zone) else {
                throw ValidationError("cap '\(cap.name)': no rules for zone '\(cap.zone)'")
            }
            zones[cap.zone] = offsets
        }
        var book = PriceBook.builtIn
        if let file = config.priceFile { book = book.overriding(with: try priceBook(at: file)) }
        book = try book.overriding(with: overrides(config.priceOverrides))
        return CounterPolicy(
            caps: config.caps,
            keys: config.keys.map { .init(policy: $0.policy, secret: $0.secret.value) },
            prices: book.tsv, zones: zones)
    }

    private static func priceBook(at path: String) throws -> PriceBook {
        do {
            return try PriceBook(tsv: Data(contentsOf: URL(fileURLWithPath: path)))
        } catch let error as PriceBookError {
            throw PriceFileError(description: "price_file \(path): \(error)")
        } catch {
            throw PriceFileError(
                description: "price_file \(path): \(error.localizedDescription) "
                    + "'holdfast prices sync' makes such a file.")
        }
    }

    private static func overrides(_ rows: [PriceOverride]) throws -> PriceBook {
        var text =
            "provider\tmodel\tinput\tcache_read\tcache_write\toutput\tcontext\tmax_output\tsource\n"
        for row in rows {
            let fields: [String] = [
                row.provider, row.model, "\(row.input.nanoUSDPerMillionTokens)",
                row.cacheRead.map { "\($0.nanoUSDPerMillionTokens)" } ?? "",
                row.cacheWrite.map { "\($0.nanoUSDPerMillionTokens)" } ?? "",
                "\(row.output.nanoUSDPerMillionTokens)",
                row.contextTokens.map { "\($0)" } ?? "",
                row.outputTokensMax.map { "\($0)" } ?? "", "configuration",
            ]
            text += fields.joined(separator: "\t") + "\n"
        }
        return try PriceBook(tsv: text)
    }

    /// - Parameter isRestored: the store is older than what it has acknowledged, see `SQLiteStore`.
    func openCounter(isRestored: Bool = false, isUnsafeAllowed: Bool = false) throws -> CounterCore
    {
        let opening = StoreOpening(config: config, logger: logger)
        let store = try opening.open(isRestored: isRestored, isUnsafeAllowed: isUnsafeAllowed)
        let logger = logger
        var settings = CounterEngine.Settings()
        // What nobody else writes need not be compared.
        if !opening.isShared { settings.cacheTrust = .max }
        settings.slicePercentMax = config.edgeQuota.slicePercentMax
        settings.accountsPerPeerMax = config.edgeQuota.accountCountMax
        // Without certificates names are what edges call themselves, and hosts are renamed.
        settings.isNameProof = config.nodeTLS != nil
        let core = try CounterCore(
            name: counterName, store: store, policy: counterPolicy(), settings: settings,
            metrics: CounterMetrics(registry), logger: logger,
            onFatal: { error in
                logger.critical("stopping: \(error)")
                exit(Exit.failure)
            })
        core.start()
        return core
    }

    /// Unique among the counters of a cluster: several on one host, or with one file, differ in the
    /// port.
    private var counterName: String {
        let port = config.counterListen?.port ?? 0
        return port == 0
            ? "\(nodeName)#\(ProcessInfo.processInfo.processIdentifier)" : "\(nodeName):\(port)"
    }

    /// What tells other counters where this one is; none where the store is one counter's alone.
    ///
    /// - Parameter listen: where it listens, on a port that may still have to be found.
    func membership(of core: CounterCore, listen: Address, port: BoundPort) -> [any Service] {
        guard StoreOpening(config: config, logger: logger).isShared else { return [] }
        let advertised = config.counterAdvertise
        let host = listen.isWildcard ? ProcessInfo.processInfo.hostName : listen.host
        let address: @Sendable () async throws -> String = {
            if let advertised { return advertised.description }
            return Address(host: host, port: try await port.get()).description
        }
        return [Membership(core: core, address: address, logger: logger)]
    }

    private var nodeName: String { config.nodeName ?? ProcessInfo.processInfo.hostName }

    /// `nil` for what the configuration has refused.
    private static func edgeProvider(
        _ name: String, _ provider: ProviderSettings
    ) -> EdgeSettings.Provider? {
        let compatible = ProviderCatalog.compatible
        let isCompatible = provider.type == compatible.id.name
        let known = ProviderCatalog.standard[ProviderID(name: provider.type ?? name)]
        guard let api = isCompatible ? compatible : known,
            let baseURL = provider.baseURL ?? api.defaultBaseURL
        else { return nil }
        return EdgeSettings.Provider(
            api: api.named(name), priceProvider: isCompatible ? name : api.id.name,
            models: provider.models, baseURL: baseURL, apiKey: provider.apiKey?.value ?? "",
            connectTimeout: provider.connectTimeout ?? .seconds(10),
            idleTimeout: provider.idleTimeout ?? .seconds(600),
            serviceTier: provider.serviceTier)
    }

    func edgeSettings() -> EdgeSettings {
        var settings = EdgeSettings(
            nodeName: nodeName,
            host: config.listen.host, port: config.listen.port)
        settings.tls = config.tls.map { .init(certificate: $0.certificate, key: $0.key) }
        settings.providers = config.providers.compactMap(Self.edgeProvider)
        settings.bodyByteCountMax = config.limits.bodyByteCountMax
        settings.headerByteCountMax = config.limits.headerByteCountMax
        settings.newAccountsPerMinuteMax = config.limits.newAccountsPerMinuteMax
        settings.waitMax = config.limits.wait
        settings.drainMax = config.limits.drain
        settings.streamBufferByteCountMax = config.limits.streamBufferByteCountMax
        settings.journalPath = config.journal
        settings.allowsPlaintextNodes = config.allowsPlaintextNodes
        settings.clamps = config.limits.clamps
        settings.clampMinimumTokens = config.limits.clampMinimumTokens
        settings.scopeHeaders = config.limits.scopeHeaders
        return settings
    }

    /// - Parameter counter: whose accounts operators see and change here.
    func admin(
        isLive: @escaping @Sendable () -> Bool, reasons: @escaping @Sendable () -> [String],
        counter: CounterCore? = nil
    ) -> AdminServer {
        let registry = registry
        return AdminServer(
            host: config.adminListen.host, port: config.adminListen.port, name: "holdfast",
            routes: AdminRoutes(
                isLive: isLive,
                readiness: {
                    let reasons = reasons()
                    return reasons.isEmpty ? .ready : .notReady(reasons: reasons)
                },
                metrics: { registry.render() }, extra: counter?.reports ?? [],
                operations: counter?.operations(token: config.adminToken?.value) ?? .none),
            logger: logger)
    }

    // MARK: - Run

    /// Until SIGTERM or SIGINT, or until a service fails. Services stop in reverse order.
    func run(_ services: [any Service]) async throws {
        var configuration = ServiceGroupConfiguration(
            services: services.map { .init(service: $0) },
            gracefulShutdownSignals: [.sigterm, .sigint], logger: quietLogger)
        // Past this a second limit ends what does not end by itself.
        configuration.maximumGracefulShutdownDuration = config.limits.drain + .seconds(15)
        do {
            try await ServiceGroup(configuration: configuration).run()
        } catch {
            logger.critical("stopped", metadata: ["error": "\(error)"])
            throw ExitCode(Exit.failure)
        }
    }

    /// The service group narrates each step; ours say what matters.
    private var quietLogger: Logger {
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .error)
        return quiet
    }
}
