import HoldfastAdmin
import NIOCore
import NIOEmbedded
import NIOHPACK
import NIOHTTP2
import Testing

@testable import HoldfastEdge

/// Both ends of one connection by HTTP/2 in plain text, on a loop that the test turns.
private final class HTTP2Connection {
    struct Answer: Equatable {
        var status: String?
        var headers = HPACKHeaders()
        var body = ""
        var isComplete = false
        /// Its end came in a frame of its own, which has nothing else.
        var endsApart = false
        var reset: HTTP2ErrorCode?
        var informational: [String] = []
    }

    let loop = EmbeddedEventLoop()
    let server: EmbeddedChannel
    let client: EmbeddedChannel
    let edge: EdgeWithoutCounter
    let listener: DownstreamListener
    private(set) var answers: [HTTP2StreamID: Answer] = [:]
    private(set) var connectionFrames: [HTTP2Frame.FramePayload] = []
    /// The caller reads and answers what the server says.
    var isTalking = true

    init(_ change: (inout EdgeSettings) -> Void = { _ in }) throws {
        server = EmbeddedChannel(loop: loop)
        client = EmbeddedChannel(loop: loop)
        edge = try EdgeWithoutCounter(loop: loop) { settings in
            settings.bodyByteCountMax = 1_000
            change(&settings)
        }
        listener = DownstreamListener(context: edge.context, tls: nil)
        try listener.accept(server)
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: 1)
        try server.connect(to: address).wait()
        try client.pipeline.syncOperations.addHandler(NIOHTTP2Handler(mode: .client))
        try client.connect(to: address).wait()
    }

    /// Whatever was sent arrives.
    func deliver() throws {
        var isQuiet = false
        while !isQuiet {
            isQuiet = true
            loop.run()
            while let bytes = try client.readOutbound(as: ByteBuffer.self) {
                isQuiet = false
                if server.isActive { try server.writeInbound(bytes) }
            }
            while isTalking, let bytes = try server.readOutbound(as: ByteBuffer.self) {
                isQuiet = false
                try client.writeInbound(bytes)
            }
        }
        while let frame = try client.readInbound(as: HTTP2Frame.self) { note(frame) }
    }

    private func note(_ frame: HTTP2Frame) {
        guard frame.streamID != .rootStream else { return connectionFrames.append(frame.payload) }
        var answer = answers[frame.streamID] ?? Answer()
        switch frame.payload {
        case .headers(let headers):
            let status = headers.headers.first(name: ":status") ?? ""
            if status.hasPrefix("1") {
                answer.informational.append(status)
            } else {
                (answer.status, answer.headers) = (status, headers.headers)
            }
            answer.isComplete = headers.endStream
        case .data(let data):
            if case .byteBuffer(let bytes) = data.data { answer.body += String(buffer: bytes) }
            answer.isComplete = data.endStream
            answer.endsApart = data.endStream && data.data.readableBytes == 0
        case .rstStream(let code): answer.reset = code
        default: break
        }
        answers[frame.streamID] = answer
    }

    func send(_ stream: HTTP2StreamID, _ payload: HTTP2Frame.FramePayload) throws {
        try client.writeOutbound(HTTP2Frame(streamID: stream, payload: payload))
        try deliver()
    }

    func head(
        _ stream: HTTP2StreamID, method: String = "POST", _ more: [(String, String)] = [],
        ends: Bool = false
    ) throws {
        try send(stream, headers(stream, method: method, more, ends: ends))
    }

    func headers(
        _ stream: HTTP2StreamID, method: String = "POST", _ more: [(String, String)] = [],
        ends: Bool = false
    ) -> HTTP2Frame.FramePayload {
        var headers = HPACKHeaders([
            (":method", method), (":scheme", "http"), (":path", "/v1/chat/completions"),
            (":authority", "edge"), ("authorization", "Bearer key-\(stream)"),
        ])
        headers.add(contentsOf: HPACKHeaders(more))
        return .headers(.init(headers: headers, endStream: ends))
    }

    func data(_ stream: HTTP2StreamID, _ text: String, ends: Bool = false) throws {
        try send(stream, .data(.init(data: .byteBuffer(ByteBuffer(string: text)), endStream: ends)))
    }

    func post(_ stream: HTTP2StreamID, _ body: String = "{}") throws {
        try head(stream)
        try data(stream, body, ends: true)
    }

    func answerUnknown() throws {
        edge.answerUnknown()
        try deliver()
    }

    func advance(_ seconds: Int64) throws {
        loop.advanceTime(by: .seconds(seconds))
        try deliver()
    }

    var goAway: HTTP2ErrorCode? {
        for case .goAway(_, let code, _) in connectionFrames { return code }
        return nil
    }

    func finish() throws {
        _ = try server.finish(acceptAlreadyClosed: true)
        _ = try? client.finish(acceptAlreadyClosed: true)
        loop.run()
        #expect(edge.context.inFlightCount == 0)
        #expect(edge.context.unwrittenCount == 0)
        #expect(edge.registry.render().contains("holdfast_downstream_connections 0\n"))
    }
}

@Suite struct DownstreamHTTP2Tests {
    private func withConnection(
        _ change: (inout EdgeSettings) -> Void = { _ in }, _ body: (HTTP2Connection) throws -> Void
    ) throws {
        let connection = try HTTP2Connection(change)
        try body(connection)
        try connection.finish()
    }

    @Test func `the end comes with the last byte`() throws {
        try withConnection { connection in
            try connection.post(1)
            try connection.answerUnknown()
            let answer = try #require(connection.answers[1])
            #expect(answer.status == "401" && answer.isComplete && !answer.endsApart)
        }
    }

    @Test func `callers that leave do not end a connection that others use too`() throws {
        try withConnection { connection in
            for number in 0..<400 as Range<Int32> {
                let stream = HTTP2StreamID(2 * number + 1)
                try connection.head(stream)
                try connection.send(stream, .rstStream(.cancel))
            }
            try connection.post(801)
            try connection.answerUnknown()
            #expect(connection.answers[801]?.isComplete == true)
            #expect(connection.goAway == nil)
        }
    }

    @Test func `the preface makes it HTTP2 in whatever pieces it comes`() throws {
        try withConnection { connection in
            while let bytes = try connection.client.readOutbound(as: ByteBuffer.self) {
                for byte in bytes.readableBytesView {
                    try connection.server.writeInbound(ByteBuffer(bytes: [byte]))
                }
            }
            try connection.post(1)
            try connection.answerUnknown()
            let answer = try #require(connection.answers[1])
            #expect(answer.status == "401")
            #expect(answer.isComplete && answer.reset == nil)
            #expect(answer.body.contains("\"error\""))
            #expect(answer.headers["content-length"] == ["\(answer.body.utf8.count)"])
            for name in ["connection", "keep-alive", "transfer-encoding"] {
                #expect(!answer.headers.contains(name: name))
            }
        }
    }

    @Test func `many requests share a connection and are answered in any order`() throws {
        try withConnection { connection in
            for stream in [1, 3, 5] as [HTTP2StreamID] { try connection.head(stream) }
            for stream in [5, 1] as [HTTP2StreamID] {
                try connection.data(stream, "{}", ends: true)
            }
            try connection.answerUnknown()
            #expect(connection.answers[1]?.status == "401")
            #expect(connection.answers[3] == nil)
            #expect(connection.answers[5]?.status == "401")
            let metrics = connection.edge.registry.render()
            #expect(metrics.contains("holdfast_downstream_connections 1\n"))
            try connection.data(3, "{}", ends: true)
            try connection.answerUnknown()
            #expect(connection.answers[3]?.status == "401")
        }
    }

    @Test func `an answer to HEAD has a length and no body`() throws {
        try withConnection { connection in
            try connection.head(1, method: "HEAD", ends: true)
            try connection.answerUnknown()
            let answer = try #require(connection.answers[1])
            #expect(answer.status == "401")
            #expect(answer.headers.contains(name: "content-length"))
            #expect(answer.body == "" && answer.isComplete && answer.reset == nil)
        }
    }

    @Test func `a caller that waits for a go gets one`() throws {
        try withConnection { connection in
            try connection.head(1, [("expect", "100-continue")])
            #expect(connection.answers[1]?.informational == ["100"])
            try connection.data(1, "{}", ends: true)
            try connection.answerUnknown()
            #expect(connection.answers[1]?.status == "401")
        }
    }

    @Test func `bodies that are too large are answered and the connection goes on`() throws {
        try withConnection { connection in
            try connection.head(1, [("content-length", "1001")])
            // So many that the connection's window would be used up if nobody gave it back.
            for number in 1...6 {
                let stream = HTTP2StreamID(2 * number + 1)
                try connection.head(stream)
                try connection.data(stream, String(repeating: "a", count: 900))
                #expect(connection.answers[stream] == nil)
                try connection.data(stream, String(repeating: "a", count: 900_000))
            }
            for (stream, answer) in connection.answers where stream != .rootStream {
                #expect(answer.status == "413", "\(stream)")
                #expect(answer.isComplete)
                #expect(answer.reset == .noError)
                #expect(!answer.headers.contains(name: "connection"))
            }
            #expect(connection.answers.count == 7)
            try connection.post(99)
            try connection.answerUnknown()
            #expect(connection.answers[99]?.status == "401")
        }
    }

    @Test func `headers that are too large are refused and the connection goes on`() throws {
        try withConnection({ $0.headerByteCountMax = 1_000 }) { connection in
            try connection.head(1, [("x-wide", String(repeating: "a", count: 1_000))])
            try connection.head(3, (0..<300).map { ("x-\($0)", "") })
            for stream in [1, 3] as [HTTP2StreamID] {
                #expect(connection.answers[stream]?.status == "431")
                #expect(connection.answers[stream]?.isComplete == true)
            }
            try connection.post(5)
            try connection.answerUnknown()
            #expect(connection.answers[5]?.status == "401")
        }
    }

    @Test func `headers far beyond the limit end the connection`() throws {
        try withConnection({ $0.headerByteCountMax = 1_000 }) { connection in
            // Each counts for 34 bytes.
            try connection.head(1, (0..<700).map { _ in ("x", "a") })
            #expect(connection.goAway != nil)
            #expect(!connection.server.isActive)
        }
    }

    @Test func `a caller's reset ends its request and no other`() throws {
        try withConnection { connection in
            try connection.post(1)
            try connection.post(3)
            #expect(connection.edge.context.inFlightCount == 2)
            try connection.send(1, .rstStream(.cancel))
            try connection.answerUnknown()
            #expect(connection.edge.context.inFlightCount == 0)
            #expect(connection.answers[1]?.status == nil)
            #expect(connection.answers[3]?.status == "401")
        }
    }

    @Test func `the end of the connection ends its requests`() throws {
        try withConnection { connection in
            try connection.post(1)
            try connection.head(3)
            _ = try connection.server.finish()
            connection.edge.answerUnknown()
            connection.loop.run()
            #expect(connection.edge.context.inFlightCount == 0)
        }
    }

    @Test func `a flood of resets ends the connection`() throws {
        try withConnection { connection in
            for number in 0...DownstreamListener.resetCountMax {
                let stream = HTTP2StreamID(2 * number + 1)
                // Not delivered one by one, which could take longer than the limit looks back.
                try connection.client.writeOutbound(
                    HTTP2Frame(streamID: stream, payload: connection.headers(stream)))
                try connection.client.writeOutbound(
                    HTTP2Frame(streamID: stream, payload: .rstStream(.cancel)))
            }
            try connection.deliver()
            #expect(!connection.server.isActive)
            #expect(connection.goAway == .enhanceYourCalm)
            connection.edge.answerUnknown()
            connection.loop.run()
        }
    }

    @Test func `large bodies share a bound with those of other connections`() throws {
        try withConnection({
            $0.bodyByteCountMax = 1 << 20
            $0.largeBodiesByteCountMax = 50_000
        }) { connection in
            try connection.post(1, "{}")
            try connection.post(3, String(repeating: " ", count: 60_000))
            #expect(connection.answers[3]?.status == "503")
            #expect(connection.answers[1] == nil)
            try connection.answerUnknown()
            #expect(connection.answers[1]?.status == "401")
            // What the refused one had taken is free again.
            try connection.post(5, String(repeating: " ", count: 50_000))
            try connection.answerUnknown()
            #expect(connection.answers[5]?.status == "401")
        }
    }

    @Test func `a ping is answered`() throws {
        try withConnection { connection in
            let data = HTTP2PingData(withInteger: 7)
            try connection.send(.rootStream, .ping(data, ack: false))
            let isAnswered = connection.connectionFrames.contains { payload in
                if case .ping(data, ack: true) = payload { true } else { false }
            }
            #expect(isAnswered)
        }
    }
}

/// Time, and the end of a connection.
extension DownstreamHTTP2Tests {
    @Test func `a request that does not arrive in time is reset and no other`() throws {
        try withConnection { connection in
            try connection.head(1)
            try connection.advance(30)
            try connection.head(3)
            try connection.advance(31)
            #expect(connection.answers[1]?.reset != nil)
            #expect(connection.answers[3] == nil)
            #expect(connection.goAway == nil)
            try connection.data(3, "{}", ends: true)
            try connection.advance(3_600)
            try connection.answerUnknown()
            #expect(connection.answers[3]?.status == "401")
        }
    }

    @Test func `a connection that asks for nothing is hung up on`() throws {
        for sendsPreface in [false, true] {
            let connection = try HTTP2Connection()
            if sendsPreface { try connection.deliver() }
            connection.isTalking = false
            try connection.advance(59)
            #expect(connection.server.isActive)
            try connection.advance(20)
            #expect(!connection.server.isActive, "preface: \(sendsPreface)")
            try connection.finish()
        }
    }

    @Test func `a connection that was served may idle for longer and is told its end`() throws {
        try withConnection { connection in
            try connection.post(1)
            try connection.answerUnknown()
            try connection.advance(290)
            #expect(connection.goAway == nil && connection.server.isActive)
            try connection.advance(290)
            #expect(connection.goAway == .noError)
            #expect(!connection.server.isActive)
        }
    }

    @Test(arguments: [true, false])
    func `a drain lets requests in flight finish and then ends the connection`(
        isTalking: Bool
    ) throws {
        try withConnection { connection in
            try connection.post(1)
            connection.isTalking = isTalking
            connection.listener.drain()
            try connection.advance(20)
            #expect(connection.server.isActive)
            connection.isTalking = true
            try connection.deliver()
            #expect(connection.goAway == .noError)
            try connection.answerUnknown()
            #expect(connection.answers[1]?.status == "401")
            #expect(connection.answers[1]?.isComplete == true)
            #expect(!connection.server.isActive)
        }
    }

    @Test func `a drain ends an idle connection`() throws {
        try withConnection { connection in
            try connection.deliver()
            connection.listener.drain()
            try connection.deliver()
            #expect(connection.goAway == .noError)
            #expect(!connection.server.isActive)
        }
    }
}
