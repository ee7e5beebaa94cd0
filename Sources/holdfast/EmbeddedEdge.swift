import HoldfastEdge
import HoldfastTLS
import ServiceLifecycle
import Synchronization

/// An edge that starts once the counter of the same process has its port. They talk over loopback,
/// by the same protocol as separate processes do.
final class EmbeddedEdge: Service {
    private let node: Node
    private let counterHost: String
    private let counterPort: BoundPort
    private let credentials: NodeCredentials?
    private let onBound: @Sendable (Int) -> Void
    private let edge = Mutex<EdgeService?>(nil)

    init(
        node: Node, counterHost: String, counterPort: BoundPort,
        credentials: NodeCredentials? = nil,
        onBound: @escaping @Sendable (Int) -> Void = { _ in }
    ) {
        self.node = node
        self.counterHost = counterHost
        self.counterPort = counterPort
        self.credentials = credentials
        self.onBound = onBound
    }

    var isLive: Bool { edge.withLock { $0 }?.isLive ?? true }

    var unreadyReasons: [String] {
        edge.withLock { $0 }?.unreadyReasons ?? ["the counter has not started yet"]
    }

    func run() async throws {
        let port = try await counterPort.get()
        let host = counterHost == "0.0.0.0" || counterHost == "::" ? "127.0.0.1" : counterHost
        let service = try EdgeService(
            settings: node.edgeSettings(), counters: [(host, port)],
            credentials: credentials, registry: node.registry, group: node.group,
            logger: node.logger, onBound: onBound)
        edge.withLock { $0 = service }
        try await service.run()
    }
}
