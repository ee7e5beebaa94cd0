import Foundation
import HoldfastEgress
import NIOCore
import Synchronization
import Testing

/// A directory with a configuration, and the processes that run there.
final class Site: Sendable {
    let directory: URL
    let egress: Egress
    private let processes = Mutex<[ProcessUnderTest]>([])

    fileprivate init() throws {
        directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("holdfast-integration-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        egress = try Egress(threadCount: 1, bufferByteCountMax: 64 << 20)
    }

    var configFile: URL { directory.appendingPathComponent("holdfast.yaml") }

    func write(_ config: SiteConfig) throws { try write(yaml: config.yaml) }

    func write(yaml: String) throws { try Data(yaml.utf8).write(to: configFile) }

    // MARK: - Processes

    func start(
        _ arguments: [String], environment: [String: String] = [:]
    ) throws -> ProcessUnderTest {
        let number = processes.withLock { $0.count }
        let process = try ProcessUnderTest(
            name: arguments.first ?? "holdfast", number: number, arguments: arguments,
            environment: environment, directory: directory)
        processes.withLock { $0.append(process) }
        return process
    }

    /// Runs a command to its end.
    func run(_ arguments: [String]) async throws -> (code: Int32, output: String, errors: String) {
        let process = try start(arguments)
        let code = try await process.exitCode()
        return (code, process.output, process.log)
    }

    func fakeProvider(seed: Int = 1) async throws -> Provider {
        let process = try start(["fake-provider", "--port", "0", "--seed", "\(seed)"])
        let port = try await eventually("the fake provider's port") {
            // "fake provider listening on http://127.0.0.1:PORT"
            let line = process.output
            return line.hasSuffix("\n")
                ? line.split(separator: ":").last.flatMap { Int($0.dropLast()) } : nil
        }
        return Provider(site: self, port: port)
    }

    func serve(_ config: SiteConfig, more arguments: [String] = []) async throws -> Node {
        try write(config)
        return try await edgeNode(start(["serve", "--config", configFile.path] + arguments))
    }

    /// - Parameter port: the counter's and the edges' of an earlier process; 0 for any.
    func counter(port: Int = 0) async throws -> Node {
        let process = try start([
            "counter", "--config", configFile.path, "--counter-listen", "127.0.0.1:\(port)",
        ])
        return Node(
            site: self, process: process,
            port: try await process.port(announcedBy: "counter is up"),
            adminPort: try await process.port(announcedBy: "admin listener is up"))
    }

    func edge(
        counter: Int, port: Int = 0, more arguments: [String] = []
    ) async throws -> Node {
        try await edgeNode(
            start(
                [
                    "edge", "--config", configFile.path, "--counter", "127.0.0.1:\(counter)",
                    "--listen", "127.0.0.1:\(port)",
                ] + arguments))
    }

    private func edgeNode(_ process: ProcessUnderTest) async throws -> Node {
        Node(
            site: self, process: process, port: try await process.port(announcedBy: "edge is up"),
            adminPort: try await process.port(announcedBy: "admin listener is up"))
    }

    // MARK: - HTTP

    func get(_ url: String) async throws -> (status: Int, text: String) {
        let response = try await egress.fetch(EgressRequest(method: "GET", url: url))
        return (response.status, String(buffer: response.body))
    }

    // MARK: - The end

    fileprivate func close() async throws {
        let processes = processes.withLock { $0 }
        // The last one started stands on those before it.
        for process in processes.reversed() where process.isRunning { await process.stop() }
        egress.shutdown()
        for process in processes {
            for text in [process.log, process.output] {
                for secret in Secrets.all where text.contains(secret) {
                    Issue.record("\(process.name) has written '\(secret)'")
                }
                #expect(!text.contains("Fatal error"), "\(text.suffix(2_000))")
            }
        }
        try FileManager.default.removeItem(at: directory)
    }
}

/// Runs `body` in a directory of its own. Afterwards every process is stopped, and must stop, and
/// no log may hold a secret.
func withSite(_ body: (Site) async throws -> Void) async throws {
    let site = try Site()
    do {
        try await body(site)
    } catch {
        try await site.close()
        throw error
    }
    try await site.close()
}

/// Runs `body` with a fake provider and `holdfast serve`.
func withServe(
    _ config: (Int) -> SiteConfig, _ body: (Node, Provider) async throws -> Void
) async throws {
    try await withSite { site in
        let provider = try await site.fakeProvider()
        let node = try await site.serve(config(provider.port))
        try await node.ready()
        try await body(node, provider)
    }
}

/// The text of a configuration file.
struct SiteConfig {
    var openAIPort: Int
    var anthropicPort: Int
    /// Further settings of both providers.
    var providerSettings = ""
    var caps: [String]
    var limits = ""
    var store = "sqlite:holdfast.db"
    /// More members of `providers`, and of the top level.
    var moreProviders = ""
    var moreSettings = ""
    /// Callers are shown the certificate that `SelfSigned.write` has put into the directory.
    var hasTLS = false

    init(provider port: Int, caps: [String], limits: String = "", providerSettings: String = "") {
        openAIPort = port
        anthropicPort = port
        self.caps = caps
        self.limits = limits
        self.providerSettings = providerSettings
    }

    func with(_ change: (inout SiteConfig) -> Void) -> SiteConfig {
        var copy = self
        change(&copy)
        return copy
    }

    var yaml: String {
        """
        listen: 127.0.0.1:0
        admin: { listen: 127.0.0.1:0 }
        counter: { listen: 127.0.0.1:0 }
        store: \(store)\(hasTLS ? "\ntls: { certificate: tls.crt, key: tls.key }" : "")
        providers:
          openai:
            { api_key: "\(Secrets.openAI)", base_url: "http://127.0.0.1:\(openAIPort)"\(more) }
          anthropic:
            { api_key: "\(Secrets.anthropic)", base_url: "http://127.0.0.1:\(anthropicPort)"\(more) }
        \(moreProviders)
        \(moreSettings)
        keys:
          - { name: app, secret: "\(Secrets.app)", tenant: acme, allow: [user, session] }
          - { name: other, secret: "\(Secrets.other)", tenant: globex }
        limits: { \(limits) }
        caps:
        \(caps.map { "  - { \($0) }" }.joined(separator: "\n"))

        """
    }

    private var more: String { providerSettings.isEmpty ? "" : ", " + providerSettings }
}
