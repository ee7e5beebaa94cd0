import HoldfastEgress
import NIOCore

/// A response as it arrives, for callers that look at it, wait, or leave.
struct StreamedCall {
    private let transfer: EgressTransfer
    private var events: AsyncStream<EgressEvent>.Iterator
    private(set) var status: Int?
    private(set) var text = ""
    private(set) var failure: EgressFailure?
    private(set) var isComplete = false

    init(_ call: Call, to node: Node) {
        self.init(call.request(port: node.port), through: node.site.egress)
    }

    init(_ request: EgressRequest, through egress: Egress) {
        let (stream, continuation) = AsyncStream.makeStream(of: EgressEvent.self)
        transfer = egress.start(request) { event in
            continuation.yield(event)
            switch event {
            case .end, .failed: continuation.finish()
            case .head, .body: break
            }
        }
        events = stream.makeAsyncIterator()
    }

    /// Until the text holds the marker, or the response is over.
    mutating func read(until marker: String? = nil) async {
        while let event = await events.next() {
            switch event {
            case .head(let status, _): self.status = status
            case .body(let bytes):
                transfer.consumed(bytes.readableBytes)
                text += String(buffer: bytes)
                if let marker, text.contains(marker) { return }
            case .end: isComplete = true
            case .failed(let failure): self.failure = failure
            }
        }
    }

    /// The caller hangs up.
    func leave() { transfer.cancel() }
}
