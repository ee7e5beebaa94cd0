import NIOCore
import NIOPosix

/// HTTP/2 in plain text by prior knowledge, frame by frame: what it is judged by is written anew.
/// Of the headers of a response it knows only whether the status is 200.
final class RawHTTP2 {
    struct Frame {
        enum Kind: UInt8 {
            case data = 0
            case headers = 1
            case reset = 3
            case settings = 4
            case ping = 6
            case goAway = 7
            case windowUpdate = 8
        }

        var kind: Kind?
        var flags: UInt8
        var stream: UInt32
        var payload: [UInt8]

        var isEnd: Bool { flags & 1 != 0 }
    }

    struct Answer {
        var isOK = false
        var text = ""
        var isComplete = false
        /// Its end came in a frame of its own, which has nothing else.
        var endsApart = false
        var resetCode: UInt32?
    }

    private var inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private var received = ByteBuffer()
    private(set) var answers: [UInt32: Answer] = [:]
    private(set) var goAwayCode: UInt32?
    private(set) var isClosed = false

    private init(
        _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) {
        self.inbound = inbound.makeAsyncIterator()
        self.outbound = outbound
    }

    /// - Parameter window: how much of each response may come before the caller says more.
    static func connect(
        _ port: Int, window: UInt32 = 1 << 20, _ body: (RawHTTP2) async throws -> Void
    ) async throws {
        let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                        wrappingChannelSynchronously: channel)
                }
            }
        try await channel.executeThenClose { inbound, outbound in
            let connection = RawHTTP2(inbound, outbound)
            try await outbound.write(ByteBuffer(string: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
            // The initial window of a stream is setting 4.
            try await connection.send(.settings, stream: 0, [0, 4] + bytes(window))
            try await connection.send(.windowUpdate, stream: 0, bytes(1 << 24))
            try await body(connection)
        }
    }

    // MARK: - Sending

    func send(_ call: Call, stream: UInt32) async throws {
        var block: [UInt8] = []
        let fields = [
            (":method", "POST"), (":scheme", "http"), (":path", call.dialect.path),
            (":authority", "edge"),
        ]
        for (name, value) in fields + call.allHeaders {
            // A literal that goes into no table.
            block += [0] + Self.text(name) + Self.text(value)
        }
        try await send(.headers, flags: 4, stream: stream, block)
        try await send(.data, flags: 1, stream: stream, Array(call.body.utf8))
    }

    func reset(_ stream: UInt32) async throws {
        try await send(.reset, stream: stream, Self.bytes(8))
    }

    func allow(_ stream: UInt32, more byteCount: UInt32) async throws {
        try await send(.windowUpdate, stream: stream, Self.bytes(byteCount))
    }

    private func send(
        _ kind: Frame.Kind, flags: UInt8 = 0, stream: UInt32, _ payload: [UInt8]
    ) async throws {
        var frame = ByteBuffer(bytes: Self.bytes(UInt32(payload.count)).dropFirst())
        frame.writeBytes([kind.rawValue, flags])
        frame.writeBytes(Self.bytes(stream))
        frame.writeBytes(payload)
        try await outbound.write(frame)
    }

    private static func bytes(_ number: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) }
    }

    private static func text(_ text: String) -> [UInt8] {
        let count = text.utf8.count
        precondition(count < 127, "a header that long is not written here")
        return [UInt8(count)] + Array(text.utf8)
    }

    // MARK: - Receiving

    /// Reads until the answer on that stream is over or holds the marker.
    func read(_ stream: UInt32, until marker: String? = nil) async throws -> Answer {
        while !isClosed {
            if let answer = answers[stream] {
                if answer.isComplete || answer.resetCode != nil { break }
                if let marker, answer.text.contains(marker) { break }
            }
            try await readFrame()
        }
        return answers[stream] ?? Answer()
    }

    func readToEnd() async throws {
        while !isClosed { try await readFrame() }
    }

    private func readFrame() async throws {
        while true {
            if let frame = nextFrame() { return try await note(frame) }
            guard var bytes = try await inbound.next() else {
                isClosed = true
                return
            }
            received.writeBuffer(&bytes)
        }
    }

    private func nextFrame() -> Frame? {
        let view = received.readableBytesView
        guard view.count >= 9 else { return nil }
        let head = Array(view.prefix(9))
        let length = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
        guard view.count >= 9 + length else { return nil }
        received.moveReaderIndex(forwardBy: 9)
        let payload = received.readBytes(length: length) ?? []
        let stream = head[5...].reduce(0) { $0 << 8 | UInt32($1) }
        return Frame(
            kind: .init(rawValue: head[3]), flags: head[4], stream: stream, payload: payload)
    }

    private func note(_ frame: Frame) async throws {
        switch frame.kind {
        case .settings where !frame.isEnd: try await send(.settings, flags: 1, stream: 0, [])
        case .ping where !frame.isEnd: try await send(.ping, flags: 1, stream: 0, frame.payload)
        case .goAway: goAwayCode = frame.payload[4..<8].reduce(0) { $0 << 8 | UInt32($1) }
        case .headers:
            // Entry 8 of the static table: ":status: 200".
            answers[frame.stream, default: Answer()].isOK = frame.payload.first == 0x88
            answers[frame.stream]?.isComplete = frame.isEnd
        case .data:
            let text = String(decoding: frame.payload, as: UTF8.self)
            answers[frame.stream, default: Answer()].text += text
            answers[frame.stream]?.isComplete = frame.isEnd
            answers[frame.stream]?.endsApart = frame.isEnd && text.isEmpty
        case .reset:
            let code = frame.payload.reduce(0) { $0 << 8 | UInt32($1) }
            answers[frame.stream, default: Answer()].resetCode = code
        case .settings, .ping, .windowUpdate, nil: break
        }
    }
}
