import NIOCore
import NIOEmbedded
import Testing

@testable import HoldfastEdge

/// One connection of a caller, on a loop that the test turns.
private final class Downstream {
    let channel = EmbeddedChannel()
    private let edge: EdgeWithoutCounter

    init(
        bodyByteCountMax: Int = 1_000, largeBodiesByteCountMax: Int = 512 << 20
    ) throws {
        edge = try EdgeWithoutCounter(loop: channel.embeddedEventLoop) { settings in
            settings.bodyByteCountMax = bodyByteCountMax
            settings.largeBodiesByteCountMax = largeBodiesByteCountMax
        }
        try DownstreamListener(context: edge.context, tls: nil).accept(channel)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    var context: EdgeContext { edge.context }
    var questionCount: Int { edge.questionCount }

    func send(_ text: String) throws { try channel.writeInbound(ByteBuffer(string: text)) }

    /// The counter knows none of the keys that were asked for so far.
    func answerUnknown() {
        edge.answerUnknown()
        channel.embeddedEventLoop.run()
    }

    /// What the caller has received since the last call.
    func received() throws -> String {
        var text = ""
        while let part = try channel.readOutbound(as: ByteBuffer.self) {
            text += String(buffer: part)
        }
        return text
    }

    static func post(key: String, body: String) -> String {
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer \(key)\r\n"
            + "content-length: \(body.utf8.count)\r\n\r\n\(body)"
    }
}

@Suite struct DownstreamTests {
    private func count(_ part: String, in text: String) -> Int {
        text.split(separator: part, omittingEmptySubsequences: false).count - 1
    }

    @Test func `a request that comes behind one that waits and is refused is served next`() throws {
        let downstream = try Downstream()
        try downstream.send(Downstream.post(key: "one", body: "{}"))
        #expect(downstream.questionCount == 1)
        // The second request is there by half when the first is answered.
        let second = Downstream.post(key: "two", body: "{\"model\":1}")
        try downstream.send(String(second.dropLast(5)))
        downstream.answerUnknown()
        #expect(count("HTTP/1.1 401", in: try downstream.received()) == 1)
        try downstream.send(String(second.suffix(5)))
        #expect(downstream.questionCount == 1)
        downstream.answerUnknown()
        #expect(count("HTTP/1.1 401", in: try downstream.received()) == 1)
        #expect(downstream.context.inFlightCount == 0)
        _ = try downstream.channel.finish(acceptAlreadyClosed: true)
    }

    @Test func `a caller that leaves during the key look-up ends its request`() throws {
        let downstream = try Downstream()
        try downstream.send(Downstream.post(key: "one", body: "{}"))
        #expect(downstream.context.inFlightCount == 1)
        _ = try downstream.channel.finish()
        downstream.answerUnknown()
        #expect(downstream.context.inFlightCount == 0)
    }

    @Test func `an answer to HEAD has a length and no body`() throws {
        let downstream = try Downstream()
        try downstream.send("HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
        let text = try downstream.received()
        #expect(text.hasPrefix("HTTP/1.1 401"))
        #expect(text.contains("content-length: "))
        #expect(text.hasSuffix("\r\n\r\n"))
        _ = try downstream.channel.finish(acceptAlreadyClosed: true)
    }

    @Test func `an HTTP 1_0 caller is answered in its version and hung up on`() throws {
        let downstream = try Downstream()
        try downstream.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        let text = try downstream.received()
        #expect(text.hasPrefix("HTTP/1.0 401"))
        #expect(text.contains("connection: close"))
        #expect(!downstream.channel.isActive)
        _ = try downstream.channel.finish(acceptAlreadyClosed: true)
    }

    @Test func `a body that is too large is answered while it is still being sent`() throws {
        let downstream = try Downstream(bodyByteCountMax: 10)
        try downstream.send(
            "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n")
        #expect(try downstream.received() == "")
        try downstream.send("6\r\nabcdef\r\n")
        let text = try downstream.received()
        #expect(text.hasPrefix("HTTP/1.1 413"))
        #expect(text.contains("connection: close"))
        // What follows is thrown away, and a request hidden in it is not served.
        try downstream.send("5\r\nabcde\r\n0\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n")
        #expect(try downstream.received() == "")
        downstream.channel.embeddedEventLoop.advanceTime(by: .seconds(6))
        #expect(!downstream.channel.isActive)
        _ = try downstream.channel.finish(acceptAlreadyClosed: true)
    }

    @Test(arguments: [
        "", "POST /v1/chat/completions HTTP/1.1\r\nhost:",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
    ])
    func `a caller that does not get its request sent in time is hung up on`(
        sent: String
    ) throws {
        let downstream = try Downstream()
        try downstream.send(sent)
        downstream.channel.embeddedEventLoop.advanceTime(by: .seconds(59))
        #expect(downstream.channel.isActive)
        downstream.channel.embeddedEventLoop.advanceTime(by: .seconds(2))
        #expect(!downstream.channel.isActive)
        #expect(downstream.context.inFlightCount == 0)
        _ = try downstream.channel.finish(acceptAlreadyClosed: true)
    }

    @Test func `a connection that was served may idle for longer`() throws {
        let downstream = try Downstream()
        try downstream.send(Downstream.post(key: "one", body: "{}"))
        downstream.answerUnknown()
        _ = try downstream.received()
        downstream.channel.embeddedEventLoop.advanceTime(by: .seconds(290))
        #expect(downstream.channel.isActive)
        downstream.channel.embeddedEventLoop.advanceTime(by: .seconds(80))
        #expect(!downstream.channel.isActive)
        _ = try downstream.channel.finish(acceptAlreadyClosed: true)
    }

    @Test func `a request that waits for its answer is not hung up on`() throws {
        let downstream = try Downstream()
        try downstream.send(Downstream.post(key: "one", body: "{}"))
        downstream.channel.embeddedEventLoop.advanceTime(by: .seconds(3_600))
        #expect(downstream.channel.isActive)
        downstream.answerUnknown()
        #expect(count("HTTP/1.1 401", in: try downstream.received()) == 1)
        _ = try downstream.channel.finish(acceptAlreadyClosed: true)
    }

    @Test func `large bodies share a bound, and small ones always get in`() throws {
        let downstream = try Downstream(
            bodyByteCountMax: 1 << 20, largeBodiesByteCountMax: 100_000)
        try downstream.send(
            Downstream.post(key: "one", body: String(repeating: " ", count: 300_000)))
        #expect(try downstream.received().hasPrefix("HTTP/1.1 503"))
        let small = try Downstream(largeBodiesByteCountMax: 0)
        try small.send(Downstream.post(key: "one", body: "{}"))
        #expect(small.questionCount == 1)
        small.answerUnknown()
        for one in [downstream, small] {
            #expect(one.context.inFlightCount == 0)
            _ = try one.channel.finish(acceptAlreadyClosed: true)
        }
    }
}
