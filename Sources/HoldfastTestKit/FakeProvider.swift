import Foundation
import HTTPTypes
import Hummingbird
package import Logging
import NIOCore
import ServiceLifecycle
import Synchronization

/// A provider that speaks the APIs of several, generates plain words, and keeps the bill that
/// spending tests are judged by.
///
///     POST /v1/chat/completions   POST /v1/responses                  (OpenAI)
///     POST /v1/messages           POST /v1/messages/count_tokens      (Anthropic)
///     POST /v2/chat                                                   (Cohere)
///     POST /v1beta/models/{model}:generateContent                     (Gemini)
///     POST /v1beta/models/{model}:streamGenerateContent
///     POST /model/{model}/converse   POST /model/{model}/converse-stream   (AWS Bedrock)
///     GET  /v1/models             GET  /bill          POST /reset
///
/// It bills as real providers do: the prompt when generation begins, every output token when it is
/// generated, and nothing more once the client has gone. Every request is served, and billed, at
/// the standard service tier. `FakeSteering` lists what a request may ask for.
package struct FakeProvider: Service {
    package let bill: Bill
    private let host: String
    private let port: Int
    private let behaviour: FakeBehaviour
    private let logger: Logger
    private let onBound: @Sendable (_ port: Int) -> Void

    /// - Parameters:
    ///   - port: 0 lets the system choose; `onBound` is told which.
    ///   - onBound: called once, when connections are accepted.
    package init(
        host: String = "127.0.0.1", port: Int = 0, behaviour: FakeBehaviour = FakeBehaviour(),
        bill: Bill = Bill(), logger: Logger = Logger(label: "fake-provider"),
        onBound: @escaping @Sendable (_ port: Int) -> Void = { _ in }
    ) {
        self.host = host
        self.port = port
        self.behaviour = behaviour
        self.bill = bill
        self.logger = logger
        self.onBound = onBound
    }

    /// Serves until graceful shutdown or cancellation.
    package func run() async throws {
        var frameworkLogger = logger
        // Broken connections are this server's business as usual.
        frameworkLogger.logLevel = max(logger.logLevel, .warning)
        let application = Application(
            responder: FakeResponder(bill: bill, behaviour: behaviour),
            server: .http1(
                configuration: .init(additionalChannelHandlers: [HangUpHandler()])),
            configuration: .init(address: .hostname(host, port: port), serverName: "fake-provider"),
            onServerRunning: { channel in
                let port = channel.localAddress?.port ?? self.port
                self.logger.info(
                    "fake provider is up", metadata: ["host": "\(host)", "port": "\(port)"])
                onBound(port)
            },
            logger: frameworkLogger)
        try await application.run()
    }
}

/// Closes a connection as soon as the client ends its side. Hummingbird allows half-closed
/// connections, on which an answer would go on being generated, and billed, for nobody.
private final class HangUpHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Any

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed {
            context.close(promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
    }
}

/// What a route needs besides the request: the connection, to see it go and to break it.
private struct FakeContext: InitializableFromSource {
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        channel = source.channel
    }

    /// A reset instead of an orderly end, and nothing after it.
    func resetConnection() async throws -> Never {
        if let options = channel as? any SocketOptionProvider {
            try await options.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
        }
        try await channel.close()
        throw ClientGone()
    }
}

/// The client went away, or was sent away. Hummingbird closes what is left of the connection.
private struct ClientGone: Error {}

/// A request on the bill. It leaves the count of requests in flight when it ends, or at the latest
/// when nobody holds it any more.
private final class OpenRequest: Sendable {
    private let bill: Bill
    private let answer: FakeAnswer
    private let hasEnded = Atomic(false)

    init(bill: Bill, answer: FakeAnswer) {
        self.bill = bill
        self.answer = answer
        bill.begin(
            key: answer.request.key, model: answer.request.model.name, prompt: answer.prompt,
            rates: answer.rates)
    }

    deinit {
        end()
    }

    func generate(_ steps: Range<Int>) {
        bill.generate(
            outputTokens: UInt64(answer.tokenCount(steps)), key: answer.request.key,
            model: answer.request.model.name, rates: answer.rates)
    }

    func end() {
        if !hasEnded.exchange(true, ordering: .relaxed) { bill.end() }
    }
}

private final class FakeResponder: HTTPResponder {
    private static let bodyByteCountMax = 64 << 20

    private let bill: Bill
    private let behaviour: FakeBehaviour
    private let numbers: SeededNumbers
    private let serial = Atomic<UInt64>(0)

    init(bill: Bill, behaviour: FakeBehaviour) {
        self.bill = bill
        self.behaviour = behaviour
        numbers = SeededNumbers(seed: behaviour.seed)
    }

    func respond(to request: Request, context: FakeContext) async throws -> Response {
        if request.method == .post,
            let route = FakeRoute(path: request.uri.path, query: request.uri.query ?? "")
        {
            return try await answer(request, route: route, context: context)
        }
        switch (request.method, request.uri.path) {
        case (.post, "/v1/messages/count_tokens"):
            return try await countTokens(request)
        case (.get, "/v1/models"):
            return Self.json(Self.modelList)
        case (.get, "/bill"):
            return Self.json(bill.json + "\n")
        case (.post, "/reset"):
            bill.reset()
            return Self.json("{}\n")
        default:
            let refusal = FakeRefusal(
                status: 404, message: "Unknown request URL: \(request.method) \(request.uri.path).",
                anthropicType: "not_found_error")
            return Self.refused(refusal, dialect: .openAI, requestID: "")
        }
    }

    private func answer(
        _ request: Request, route: FakeRoute, context: FakeContext
    ) async throws -> Response {
        bill.receive()
        let dialect = route.dialect
        let serial = serial.wrappingAdd(1, ordering: .relaxed).newValue
        let requestID = "req_fake\(serial)"
        let wanted: FakeRequest
        do {
            wanted = try await parsed(request, route: route)
        } catch let refusal as FakeRefusal {
            return Self.refused(refusal, dialect: dialect, requestID: requestID)
        }
        if let fault = wanted.steering.fault, let refusal = FakeRefusal.fault(fault) {
            return Self.refused(refusal, dialect: dialect, requestID: requestID)
        }
        let answer = FakeAnswer(
            request: wanted, serial: serial,
            createdUnixSeconds: Int(Date().timeIntervalSince1970), behaviour: behaviour,
            numbers: numbers)
        let open = OpenRequest(bill: bill, answer: answer)
        var response =
            if answer.isStreamedOut {
                stream(answer, open: open, context: context)
            } else {
                try await whole(answer, open: open, context: context, requestID: requestID)
            }
        response.headers[Self.requestIDName(dialect)] = requestID
        return response
    }

    private func parsed(_ request: Request, route: FakeRoute) async throws -> FakeRequest {
        let body: ByteBuffer
        do {
            body = try await request.body.collect(upTo: Self.bodyByteCountMax)
        } catch is NIOTooManyBytesError {
            throw FakeRefusal.bodyTooLarge
        }
        return try FakeRequest(
            route: route, headers: request.headers, body: Data(body.readableBytesView))
    }

    private func countTokens(_ request: Request) async throws -> Response {
        do {
            let counted = try await parsed(request, route: FakeRoute(dialect: .anthropic))
            return Self.json("{\"input_tokens\":\(counted.inputTokens)}")
        } catch let refusal as FakeRefusal {
            return Self.refused(refusal, dialect: .anthropic, requestID: "req_fake")
        }
    }

    private func pacer(_ answer: FakeAnswer, stepCount: Int) -> FakePacer {
        FakePacer(
            stepCount: stepCount, delay: answer.request.steering.tokenDelay ?? behaviour.tokenDelay,
            interval: behaviour.writeInterval)
    }

    // MARK: Answers in one piece

    private func whole(
        _ answer: FakeAnswer, open: OpenRequest, context: FakeContext, requestID: String
    ) async throws -> Response {
        let fault = answer.request.steering.fault
        let stepCount = fault == .errorMidStream ? answer.halfStepCount : answer.stepCount
        var pacer = pacer(answer, stepCount: stepCount)
        while let steps = try await pacer.next() {
            guard context.channel.isActive else { throw ClientGone() }
            open.generate(steps)
        }
        switch fault {
        case .hang: try await hang(context)
        case .resetBeforeHead: try await context.resetConnection()
        case .errorMidStream:
            guard let refusal = FakeRefusal.fault(.status500) else { throw ClientGone() }
            open.end()
            return Self.refused(
                refusal, dialect: answer.request.dialect, requestID: requestID)
        default: break
        }
        // Before the last byte: who has read the answer finds it off the count.
        open.end()
        let isHuge = fault == .hugeEvent
        let body = answer.reply.body(
            hugeFieldByteCount: isHuge ? behaviour.hugeEventByteCount : 0)
        switch fault {
        case .garbage: return Self.json("{\"id\":\"chatcmpl-fake\",\"choices\":[{\"ind")
        case .gzip: return Self.gzipped(body)
        case .resetMidStream: return Self.broken(body, context: context)
        default: return Self.json(body)
        }
    }

    /// Keeps the connection open, in silence, until the client gives up.
    private func hang(_ context: FakeContext) async throws -> Never {
        while context.channel.isActive {
            try await Task.sleep(for: .milliseconds(20))
        }
        throw ClientGone()
    }

    private static func broken(_ body: String, context: FakeContext) -> Response {
        let half = ByteBuffer(bytes: body.utf8.prefix(body.utf8.count / 2))
        return Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: ResponseBody(contentLength: body.utf8.count) { writer in
                try await writer.write(half)
                try await context.resetConnection()
            })
    }

    private static func gzipped(_ body: String) -> Response {
        var frames = GzipFrames()
        let bytes = frames.encode(Array(body.utf8)) + frames.finish()
        return Response(
            status: .ok,
            headers: [.contentType: "application/json", .contentEncoding: "gzip"],
            body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    // MARK: Streams

    private func stream(
        _ answer: FakeAnswer, open: OpenRequest, context: FakeContext
    ) -> Response {
        let isCompressed = answer.request.steering.fault == .gzip
        var headers: HTTPFields = [
            .contentType: answer.request.framing.contentType, .cacheControl: "no-cache",
        ]
        if isCompressed { headers[.contentEncoding] = "gzip" }
        let body = ResponseBody { writer in
            var out = FakeEventWriter(
                writer: writer, framing: answer.request.framing, isCompressed: isCompressed)
            try await self.generate(answer, open: open, context: context, out: &out)
            // Before the last byte: who has read the answer finds it off the count.
            open.end()
            try await out.finish()
        }
        return Response(status: .ok, headers: headers, body: body)
    }

    private func generate(
        _ answer: FakeAnswer, open: OpenRequest, context: FakeContext, out: inout FakeEventWriter
    ) async throws {
        let fault = answer.request.steering.fault
        let endsEarly = fault == .errorMidStream || fault == .resetMidStream
        let stepCount = endsEarly ? answer.halfStepCount : answer.stepCount
        let reply = answer.reply
        var pacer = pacer(answer, stepCount: stepCount)
        while let steps = try await pacer.next() {
            guard context.channel.isActive else { throw ClientGone() }
            open.generate(steps)
            if fault == .garbage {
                try await out.writeUnframed("data: {\"id\":\"chatcmpl-\n\nnot an event\n\n")
                continue
            }
            var events = steps.lowerBound == 0 ? reply.opening() : ""
            for step in steps {
                for choice in answer.lengths.indices where step < answer.lengths[choice] {
                    reply.appendToken(choice: choice, index: step, to: &events)
                }
                if step == 0, fault == .hugeEvent {
                    events += reply.hugeEvent(byteCount: behaviour.hugeEventByteCount)
                }
            }
            try await out.write(events)
        }
        switch fault {
        case .resetMidStream: try await context.resetConnection()
        case .errorMidStream: try await out.write(reply.errorEvent())
        case .garbage: break
        default: try await out.write(reply.closing())
        }
    }

    // MARK: Replies without a bill

    private static func json(_ body: String, status: Int = 200) -> Response {
        Response(
            status: .init(code: status), headers: [.contentType: "application/json"],
            body: .init(byteBuffer: ByteBuffer(string: body)))
    }

    private static func refused(
        _ refusal: FakeRefusal, dialect: FakeDialect, requestID: String
    ) -> Response {
        var response = json(
            refusal.body(dialect, requestID: requestID), status: refusal.httpStatus(dialect))
        response.headers[requestIDName(dialect)] = requestID
        if dialect == .bedrock {
            response.headers[.named("x-amzn-errortype")] = refusal.bedrockType
        }
        if refusal.status == 429 || refusal.status == 503 { response.headers[.retryAfter] = "1" }
        return response
    }

    private static func requestIDName(_ dialect: FakeDialect) -> HTTPField.Name {
        switch dialect {
        case .openAI, .responses, .cohere, .gemini: .named("x-request-id")
        case .anthropic: .named("request-id")
        case .bedrock: .named("x-amzn-requestid")
        }
    }

    private static let modelList: String = {
        let models = FakeModel.all.map {
            "{\"id\":\"\($0.name)\",\"object\":\"model\",\"owned_by\":\"fake\"}"
        }
        return "{\"object\":\"list\",\"data\":[\(models.joined(separator: ","))]}"
    }()
}

extension FakeAnswer {
    /// These two break the exchange before its head, which a stream would have sent already.
    fileprivate var isStreamedOut: Bool {
        request.isStreamed && request.steering.fault != .hang
            && request.steering.fault != .resetBeforeHead
    }
}
