import NIOCore
import NIOPosix

/// A TCP proxy on loopback that does to its connections what networks do.
final class FaultyLink: Sendable {
    enum Weather: Hashable, Sendable, CustomStringConvertible {
        case clear
        /// In each direction, and in order.
        case delayed(milliseconds: Int64)
        /// All connections are closed, and new ones refused.
        case cut
        /// Takes connections and bytes, and passes nothing on. A connection that has lost something is
        /// closed when this is over.
        case blackHole
        /// Passes nothing on either, and delivers all of it late, as TCP does when it sends again.
        case stalled

        var description: String {
            switch self {
            case .clear: "clear"
            case .delayed(let milliseconds): "\(milliseconds) ms away"
            case .cut: "cut"
            case .blackHole: "black hole"
            case .stalled: "stalled"
            }
        }
    }

    let port: Int
    private let loop: any EventLoop
    private let core: NIOLoopBound<LinkCore>

    /// - Parameter target: a port on loopback, where nobody has to listen yet.
    static func open(to target: Int) async throws -> FaultyLink {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let core = try await loop.submit {
            NIOLoopBound(LinkCore(loop: loop, target: target), eventLoop: loop)
        }.get()
        let port = try await FreePort.claim { port in
            try await loop.flatSubmit { core.value.listen(on: port) }.get()
        }
        return FaultyLink(port: port, loop: loop, core: core)
    }

    private init(port: Int, loop: any EventLoop, core: NIOLoopBound<LinkCore>) {
        self.port = port
        self.loop = loop
        self.core = core
    }

    func set(_ weather: Weather) async throws {
        let (core, port) = (core, port)
        try await loop.flatSubmit { core.value.change(to: weather, port: port) }.get()
    }

    func close() async throws { try await set(.cut) }
}

/// Ports below the range that the kernel gives to outgoing connections: one that was let go can be
/// had again.
enum FreePort {
    private static let range = 20_000..<32_000
    private static let tries = 50

    /// Calls `bind` with one port after the other until it does not throw.
    static func claim(_ bind: (Int) async throws -> Void) async throws -> Int {
        for _ in 1..<tries {
            let port = Int.random(in: range)
            do {
                try await bind(port)
                return port
            } catch is IOError {
                continue
            }
        }
        let port = Int.random(in: range)
        try await bind(port)
        return port
    }

    static func find() async throws -> Int {
        try await claim { port in
            let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .bind(host: "127.0.0.1", port: port).get()
            try await channel.close().get()
        }
    }
}

/// The listener of a link and its connections. On one event loop.
private final class LinkCore {
    let loop: any EventLoop
    let target: Int
    private(set) var weather = FaultyLink.Weather.clear
    private var listener: (any Channel)?
    private var wires: [ObjectIdentifier: Wire] = [:]

    init(loop: any EventLoop, target: Int) {
        self.loop = loop
        self.target = target
    }

    func listen(on port: Int) -> EventLoopFuture<Void> {
        let me = NIOLoopBound(self, eventLoop: loop)
        return ServerBootstrap(group: loop)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try me.value.accept(channel) }
            }
            .bind(host: "127.0.0.1", port: port)
            .map { me.value.listener = $0 }
    }

    private func accept(_ channel: any Channel) throws {
        let wire = Wire(core: self, near: channel)
        try channel.pipeline.syncOperations.addHandler(LinkEnd(wire.outward))
        wires[ObjectIdentifier(wire)] = wire
        switch weather {
        case .clear, .delayed: wire.dial()
        case .cut: wire.close()
        case .blackHole: wire.outward.loseSomething()
        case .stalled: break
        }
    }

    func change(to new: FaultyLink.Weather, port: Int) -> EventLoopFuture<Void> {
        guard new != weather else { return loop.makeSucceededVoidFuture() }
        let old = weather
        weather = new
        for wire in wires.values where new == .cut || wire.hasLostSomething { wire.close() }
        for wire in wires.values { wire.continues(in: new) }
        if new == .cut {
            guard let listener else { return loop.makeSucceededVoidFuture() }
            self.listener = nil
            return listener.close().flatMapError { _ in listener.eventLoop.makeSucceededVoidFuture()
            }
        }
        return old == .cut ? listen(on: port) : loop.makeSucceededVoidFuture()
    }

    func forget(_ wire: Wire) { wires[ObjectIdentifier(wire)] = nil }
}

/// One connection through a link.
private final class Wire {
    let outward: Lane
    private let inward: Lane
    private let core: LinkCore
    private let near: any Channel
    private var hasDialled = false
    private var isClosed = false

    init(core: LinkCore, near: any Channel) {
        self.core = core
        self.near = near
        outward = Lane(loop: core.loop, weather: core.weather)
        inward = Lane(loop: core.loop, weather: core.weather)
        inward.exit = near
    }

    var hasLostSomething: Bool { outward.hasLostSomething || inward.hasLostSomething }

    func dial() {
        hasDialled = true
        let (core, inward) = (core, NIOLoopBound(inward, eventLoop: core.loop))
        ClientBootstrap(group: core.loop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(LinkEnd(inward.value))
                }
            }
            .connect(host: "127.0.0.1", port: core.target)
            .assumeIsolated().whenComplete { self.dialled($0) }
    }

    private func dialled(_ result: Result<any Channel, any Error>) {
        guard case .success(let far) = result else { return close() }
        outward.exit = far
        guard !isClosed else { return far.close(promise: nil) }
        outward.deliver()
        near.closeFuture.and(far.closeFuture).assumeIsolated().whenComplete { _ in self.close() }
    }

    func continues(in weather: FaultyLink.Weather) {
        guard !isClosed else { return }
        outward.weather = weather
        inward.weather = weather
        switch weather {
        case .clear, .delayed:
            if !hasDialled { dial() }
            outward.deliver()
            inward.deliver()
        case .cut, .blackHole, .stalled: break
        }
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        near.close(promise: nil)
        outward.exit?.close(promise: nil)
        core.forget(self)
    }
}

/// One direction of a connection.
private final class Lane {
    private struct Parcel {
        /// `nil`: the sender has closed.
        let bytes: ByteBuffer?
        let due: NIODeadline
    }

    var exit: (any Channel)?
    var weather: FaultyLink.Weather
    private(set) var hasLostSomething = false
    private let loop: any EventLoop
    private var queue = CircularBuffer<Parcel>()
    private var timer: Scheduled<Void>?

    init(loop: any EventLoop, weather: FaultyLink.Weather) {
        self.loop = loop
        self.weather = weather
    }

    func loseSomething() { hasLostSomething = true }

    func take(_ bytes: ByteBuffer?) {
        switch weather {
        case .cut: return
        case .blackHole: return loseSomething()
        case .clear, .stalled: queue.append(Parcel(bytes: bytes, due: .now()))
        case .delayed(let milliseconds):
            queue.append(Parcel(bytes: bytes, due: .now() + .milliseconds(milliseconds)))
        }
        deliver()
    }

    func deliver() {
        timer?.cancel()
        timer = nil
        switch weather {
        case .clear, .delayed: break
        case .cut, .blackHole, .stalled: return
        }
        guard let exit else { return }
        let now = NIODeadline.now()
        while let parcel = queue.first, parcel.due <= now {
            queue.removeFirst()
            guard let bytes = parcel.bytes else { return exit.close(promise: nil) }
            exit.write(bytes, promise: nil)
        }
        exit.flush()
        guard let next = queue.first else { return }
        timer = loop.assumeIsolated().scheduleTask(deadline: next.due) { self.deliver() }
    }
}

/// Where bytes enter a lane.
private final class LinkEnd: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let lane: Lane

    init(_ lane: Lane) {
        self.lane = lane
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        lane.take(unwrapInboundIn(data))
    }

    func channelInactive(context: ChannelHandlerContext) {
        lane.take(nil)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
