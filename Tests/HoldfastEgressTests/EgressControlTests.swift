import Dispatch
import HoldfastEgress
import NIOCore
import Synchronization
import Testing

/// Cancelling, backpressure and shutdown.
@Suite(.timeLimit(.minutes(1)))
struct EgressControlTests {
    @Test func `a stream cancelled midway ends once and closes its connection`() async throws {
        let sawClose = Gate()
        try await withServer {
            _ = $0.readRequest()
            $0.write("HTTP/1.1 200 OK\r\n\r\nfirst")
            $0.waitForPeer()
            sawClose.open()
        } _: { egress, server in
            let exchange = Exchange(egress, .post(server.url()))
            for await event in exchange.events {
                if case .body = event {
                    exchange.transfer.cancel()
                    exchange.transfer.cancel()
                    break
                }
            }
            let failure = try #require(await exchange.outcome().failure)
            #expect(failure.kind == .cancelled)
            #expect(failure.requestWasSent)
            await sawClose.pass()
            exchange.transfer.cancel()
            egress.shutdown()
            #expect(exchange.lastEventCount == 1)
        }
    }

    @Test func `a transfer cancelled before its connection is there was not sent`() async throws {
        let hasConnection = Gate()
        try await withServer {
            hasConnection.open()
            $0.waitForPeer()
        } _: { egress, server in
            // TLS, to which this server never answers.
            let exchange = Exchange(egress, .post(server.url(scheme: "https")))
            await hasConnection.pass()
            exchange.transfer.cancel()
            let failure = try #require(await exchange.outcome().failure)
            #expect(failure.kind == .cancelled)
            #expect(!failure.requestWasSent)
        }
    }

    @Test func `nothing but the end follows a cancel from within an event`() async throws {
        try await withServer {
            _ = $0.readRequest()
            $0.write("HTTP/1.1 200 OK\r\n\r\n")
            $0.write([UInt8](repeating: 1, count: 10 << 20))
            $0.waitForPeer()
        } _: { egress, server in
            let transfer = Mutex<EgressTransfer?>(nil)
            let bodyCount = Atomic<Int>(0)
            let isStarted = DispatchSemaphore(value: 0)
            let failure = await withCheckedContinuation { continuation in
                let started = egress.start(.post(server.url())) { event in
                    switch event {
                    case .head, .end: break
                    case .body:
                        if bodyCount.add(1, ordering: .relaxed).newValue == 1 {
                            isStarted.wait()
                            transfer.withLock { $0 }?.cancel()
                        }
                    case .failed(let failure): continuation.resume(returning: failure)
                    }
                }
                transfer.withLock { $0 = started }
                isStarted.signal()
            }
            #expect(failure.kind == .cancelled)
            #expect(bodyCount.load(ordering: .relaxed) == 1)
        }
    }

    @Test func `cancelling the task cancels the fetch`() async throws {
        let hasRequest = Gate()
        try await withServer {
            _ = $0.readRequest()
            hasRequest.open()
            $0.waitForPeer()
        } _: { egress, server in
            let url = server.url()
            let failure = try await withThrowingTaskGroup(of: EgressFailure?.self) { group in
                group.addTask {
                    do throws(EgressFailure) {
                        _ = try await egress.fetch(.post(url))
                        return nil
                    } catch {
                        return error
                    }
                }
                await hasRequest.pass()
                group.cancelAll()
                return try await group.next() ?? nil
            }
            #expect(failure?.kind == .cancelled)
            #expect(failure?.requestWasSent == true)
        }
    }

    @Test func `a reader that keeps up may receive far more than the buffer holds`() async throws {
        let isRead = DispatchSemaphore(value: 0)
        let chunk = [UInt8](repeating: 5, count: 40_000)
        try await withServer(bufferByteCountMax: 64_000) {
            _ = $0.readRequest()
            $0.write("HTTP/1.1 200 OK\r\ncontent-length: \(20 * chunk.count)\r\n\r\n")
            for _ in 0..<20 {
                $0.write(chunk)
                isRead.wait()
            }
        } _: { egress, server in
            let exchange = Exchange(egress, .post(server.url()))
            var received = 0
            for await event in exchange.events {
                guard case .body(let bytes) = event else { continue }
                exchange.transfer.consumed(bytes.readableBytes)
                received += bytes.readableBytes
                if received.isMultiple(of: chunk.count) { isRead.signal() }
            }
            #expect(received == 20 * chunk.count)
            #expect(await exchange.outcome().failure == nil)
        }
    }

    @Test func `shutdown ends each transfer under way exactly once`() async throws {
        let server = RawServer {
            _ = $0.readRequest()
            $0.write("HTTP/1.1 200 OK\r\n\r\nsome")
            $0.waitForPeer()
        }
        let egress = try Egress(threadCount: 2, bufferByteCountMax: 1 << 20)
        let streaming = (0..<16).map { _ in Exchange(egress, .post(server.url())) }
        for exchange in streaming {
            for await event in exchange.events {
                if case .body = event { break }
            }
        }
        let justStarted = (0..<16).map { _ in Exchange(egress, .post(server.url())) }
        egress.shutdown()
        let afterwards = Exchange(egress, .post(server.url()))
        for exchange in streaming {
            let failure = try #require(await exchange.outcome().failure)
            #expect(failure.kind == .cancelled)
            #expect(failure.requestWasSent)
            #expect(exchange.lastEventCount == 1)
        }
        for exchange in justStarted + [afterwards] {
            #expect(await exchange.outcome().failure?.kind == .cancelled)
            #expect(exchange.lastEventCount == 1)
        }
        #expect(await afterwards.outcome().failure?.requestWasSent == false)
        #expect(egress.handleCount == 0)
        server.stop()
    }

    @Test func `an egress that is let go stops its threads and its transfers`() async throws {
        let server = RawServer {
            _ = $0.readRequest()
            $0.waitForPeer()
        }
        var egress: Egress? = try Egress(threadCount: 1, bufferByteCountMax: 1 << 20)
        let exchange = Exchange(try #require(egress), .post(server.url()))
        egress = nil
        #expect(await exchange.outcome().failure?.kind == .cancelled)
        server.stop()
    }
}
