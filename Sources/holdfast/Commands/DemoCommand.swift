import ArgumentParser
import Foundation
import HoldfastAdmin
import HoldfastConfig
import HoldfastCore
import HoldfastCounter
import HoldfastEgress
import HoldfastTestKit
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle

struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "A cap being reached, live, with a fake provider: no key, no configuration.",
        discussion: """
            Starts a fake provider, a counter with a temporary store and an edge, and sends traffic
            through them until the cap refuses. The fake provider keeps its own bill: that is the
            judge, not our books. Then everything stays up for your own requests.
            """)

    @Flag(help: "Exit after the refusal: 0 if the provider's bill is within the cap, 3 if not.")
    var once = false

    @Flag(help: "Print a JSON summary instead of the show.")
    var json = false

    @Option(help: "The cap, in dollars per day.")
    var cap = "$0.20"

    @Option(help: "Port of the edge. Default: 8080, or any free one if that is taken.")
    var port: Int?

    @Option(help: "Clients that send requests at the same time.")
    var clients = 12

    func validate() throws {
        guard let limit = NanoUSD(dollars: cap), limit > .zero else {
            throw ValidationError("--cap must be an amount of dollars above zero, such as $0.25")
        }
        guard (1...256).contains(clients) else {
            throw ValidationError("--clients must be between 1 and 256")
        }
    }

    func run() async throws {
        guard let limit = NanoUSD(dollars: cap) else { return }
        let directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("holdfast-demo-\(UUID().uuidString)")
        try FileManager.default.createDirectory(
            at: directory, withIntermediateDirectories: true)
        defer { Self.remove(directory) }
        let stage = try DemoStage(
            limit: limit, port: await chosenPort(), directory: directory)
        let screen = DemoScreen(isSilent: json, limit: limit)
        let result: DemoResult
        do {
            result = try await stage.perform(clients: clients, screen: screen, staysUp: !once)
        } catch {
            Terminal.note("error: \(error)")
            throw ExitCode(Exit.failure)
        }
        if json { Terminal.say(result.json) }
        if !result.isWithinCap { throw ExitCode(Exit.capCrossed) }
        if !result.wasRefused {
            Terminal.note("error: the cap was never reached")
            throw ExitCode(Exit.failure)
        }
    }

    private func chosenPort() async -> Int {
        if let port { return port }
        let usual = 8_080
        do {
            // Without SO_REUSEADDR tricks: whoever listens there keeps it.
            let probe = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
                .bind(host: "127.0.0.1", port: usual).get()
            try await probe.close()
            return usual
        } catch {
            return 0
        }
    }

    private static func remove(_ directory: URL) {
        do {
            try FileManager.default.removeItem(at: directory)
        } catch {
            Terminal.note("warning: \(directory.path) could not be removed: \(error)")
        }
    }
}
