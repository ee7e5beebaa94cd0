import Foundation
import HoldfastConfig
import HoldfastCounter
import HoldfastProviders
import Logging
import ServiceLifecycle
import UnixSignals

/// SIGHUP reads caps, keys and prices again and pushes them to the edges. A file with a mistake
/// changes nothing.
struct PolicyReload: Service {
    let path: String
    let core: CounterCore
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            for await _ in await UnixSignalsSequence(trapping: .sighup) { reload() }
        }
    }

    private func reload() {
        do {
            let config = try Config.load(
                path: path, environment: ProcessInfo.processInfo.environment,
                knownProviders: Set(ProviderCatalog.standard.names))
            core.replacePolicy(try Node.counterPolicy(config))
        } catch {
            logger.error(
                "configuration not reloaded; the old one stays", metadata: ["error": "\(error)"])
        }
    }
}
