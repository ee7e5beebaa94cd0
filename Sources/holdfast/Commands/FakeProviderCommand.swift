import ArgumentParser
import HoldfastAdmin
import HoldfastTestKit
import Logging
import NIOCore
import ServiceLifecycle
import UnixSignals

struct FakeProviderCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fake-provider",
        abstract:
            "A provider that speaks the formats of OpenAI, Anthropic, Cohere, Gemini and Bedrock, "
            + "and keeps a bill.",
        discussion: """
            GET /bill returns what it billed per key and model. Answers can be steered by marks in the
            last message: [[tokens=50]] [[delay=10]] [[tool]] [[cached=20]] [[fault=status-500]].
            """)

    @Option(help: "Address to listen on.")
    var host = "127.0.0.1"

    @Option(help: "Port to listen on; 0 lets the system choose.")
    var port = 9_090

    @Option(help: "Seed of the random answer lengths.")
    var seed: UInt64 = 1

    func run() async throws {
        let logger = Logger(label: "holdfast.fake-provider") {
            JSONLogHandler(label: $0, level: .warning)
        }
        let host = host
        let provider = FakeProvider(
            host: host, port: port, behaviour: FakeBehaviour(seed: seed), bill: Bill(),
            logger: logger,
            onBound: { Terminal.say("fake provider listening on http://\(host):\($0)") })
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: provider)],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        do {
            try await group.run()
        } catch let error as IOError {
            Terminal.note(
                "error: the fake provider cannot listen on \(host):\(port): "
                    + SocketFailure.reason(error))
            throw ExitCode(Exit.failure)
        }
    }
}
