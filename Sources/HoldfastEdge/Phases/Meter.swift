import HoldfastAdmin
import HoldfastEgress
import HoldfastProviders
import Logging
import NIOCore
import NIOHTTP1

/// Phase 6: pass the response on, byte for byte, and read from it what it used.
extension Exchange {
    func received(_ event: EgressEvent) {
        switch event {
        case .head(let status, let headers):
            phase = .meter
            begin(status, headers)
        case .body(let bytes):
            pass(bytes)
            endSoonAfterLastEvent()
        case .end: complete()
        case .failed(let failure): failed(failure)
        }
    }

    private func begin(_ status: Int, _ headers: [(name: String, value: String)]) {
        upstreamStatus = status
        if let upstreamStarted {
            context.metrics.firstByte.observe(upstreamStarted.duration(to: .now))
        }
        func first(_ name: String) -> String? {
            headers.first { $0.name.lowercased() == name }?.value
        }
        meter?.start(
            status: status, contentType: first("content-type"),
            contentEncoding: first("content-encoding"))
        isResponseBegun = true
        announcedByteCount = first("content-length").flatMap { Int($0) }
        downstream?.begin(HTTPResponseStatus(statusCode: status), responseHeaders(headers))
        downstream?.flush()
    }

    private func responseHeaders(_ upstream: [(name: String, value: String)]) -> HTTPHeaders {
        var headers = HTTPHeaders()
        let isStream = facts?.isStream ?? false
        for (name, value) in upstream {
            switch name.lowercased() {
            case "x-request-id": headers.add(name: "x-upstream-request-id", value: value)
            case "content-length":
                // A stream may lose its extra chunk, or end with an error event of ours.
                if !isStream { headers.add(name: name, value: value) }
            case let lower where Self.hopByHopHeaders.contains(lower): continue
            default: headers.add(name: name, value: value)
            }
        }
        headers.add(name: "x-request-id", value: requestID)
        if let clampedBy, let hold {
            headers.add(
                name: "x-holdfast-clamped",
                value: "max_output_tokens=\(hold.output); cap=\(clampedBy)")
        }
        if let fallenBackFrom {
            headers.add(
                name: "x-holdfast-fallback",
                value: "model=\(quote?.model ?? ""); instead_of=\(fallenBackFrom.model); "
                    .headerSafe + "cap=\(fallenBackFrom.cap)")
        }
        if !wouldRefuse.isEmpty {
            headers.add(
                name: "x-holdfast-would-refuse", value: wouldRefuse.joined(separator: ", "))
        }
        return headers
    }

    private func pass(_ bytes: ByteBuffer) {
        let transfer = transfer
        let count = bytes.readableBytes
        announcedByteCount? -= count
        guard let downstream else {
            // Read on for the usage; nobody waits for the bytes.
            bytes.withUnsafeReadableBytes { meter?.consume($0) { _ in } }
            transfer?.consumed(count)
            return
        }
        var out = ByteBuffer()
        bytes.withUnsafeReadableBytes { raw in
            meter?.consume(raw) { piece in out.writeBytes(piece) }
        }
        guard out.readableBytes > 0 else {
            transfer?.consumed(count)
            return
        }
        downstream.write(out) { _ in transfer?.consumed(count) }
        // The last byte goes out with the end, which comes at once: see `StreamFrames`.
        if announcedByteCount != 0 { downstream.flush() }
    }

    /// Everything has been said and the provider does not hang up: the hold should not wait for it.
    private func endSoonAfterLastEvent() {
        guard endTimer == nil, meter?.sawTerminalEvent == true, let transfer else { return }
        endTimer = loop.scheduleTask(in: .seconds(5)) { transfer.cancel() }
    }

    private func complete() {
        finishMeter()
        settleAndRespond(charge: chargeOfCompleteResponse()) { downstream in
            downstream.finish()
        }
    }

    /// Bytes that the meter held back go out before the end.
    private func finishMeter(isPassingOn: Bool = true) {
        var rest = ByteBuffer()
        metered = meter?.finish { piece in rest.writeBytes(piece) }
        if isPassingOn, rest.readableBytes > 0 {
            downstream?.write(rest)
        }
    }

    private func failed(_ failure: EgressFailure) {
        // Only its end was missing.
        if meter?.sawTerminalEvent == true { return complete() }
        let isCut = isResponseBegun
        let betweenEvents = (meter?.isBetweenEvents ?? false) && (facts?.isStream ?? false)
        // The half of an event that was held back would become part of ours.
        finishMeter(isPassingOn: !betweenEvents)
        let charge: Charge
        if let metered {
            charge = .metered(metered)
        } else if failure.requestWasSent {
            charge = .ceiling
        } else {
            charge = .nothing
        }
        if outcome != "abandoned" { outcome = "upstream_error" }
        context.logger.warning(
            "upstream failed",
            metadata: [
                "request_id": "\(requestID)", "phase": "\(phase.rawValue)",
                "kind": "\(failure.kind.rawValue)", "reason": "\(failure.message)",
                "sent": "\(failure.requestWasSent)",
            ])
        guard isCut else {
            abandonedTimer?.cancel()
            endTimer?.cancel()
            transfer = nil
            phase = .settle
            settle(charge)
            return refuse(.upstream(failure))
        }
        let refusal = Refusal.upstream(failure)
        refusalCode = refusal.code
        let body = refusal.body(dialect, requestID: requestID)
        let dialect = dialect
        settleAndRespond(charge: charge) { downstream in
            if betweenEvents, let event = ErrorBody.event(body, dialect: dialect) {
                downstream.write(ByteBuffer(bytes: event))
                downstream.finish()
            } else {
                downstream.abort()
            }
        }
    }

    /// Settles first: when the caller sees the end, the charge is on the books.
    private func settleAndRespond(charge: Charge, _ finish: (DownstreamWriter) -> Void) {
        abandonedTimer?.cancel()
        endTimer?.cancel()
        transfer = nil
        if let upstreamStarted {
            context.metrics.upstream.observe(upstreamStarted.duration(to: .now))
        }
        phase = .settle
        settle(charge)
        let downstream = downstream
        self.downstream = nil
        end()
        if let downstream { finish(downstream) }
    }

    /// An error that the provider does not bill, the usage it reports, or else the ceiling.
    private func chargeOfCompleteResponse() -> Charge {
        if let metered {
            if outcome == "failed" { outcome = "ok" }
            return .metered(metered)
        }
        guard let status = upstreamStatus, !(200..<300).contains(status) else {
            if outcome == "failed" { outcome = "ok" }
            return .ceiling
        }
        if outcome == "failed" { outcome = "upstream_error" }
        if status == 400, provider?.api.mayBillBadRequests == true { return .ceiling }
        return UnbilledStatus.contains(status) ? .nothing : .ceiling
    }
}

/// Statuses with which a provider says that it did not do the work. docs/adr/0005 has the reasons;
/// every other status without usage is charged at the ceiling. Of some providers 400 is too, see
/// `ProviderAPI.mayBillBadRequests`.
enum UnbilledStatus {
    static func contains(_ status: Int) -> Bool {
        switch status {
        case 408, 499: false  // The provider gave up waiting: it may have worked.
        case 300..<500: true
        case 501, 503, 529: true  // Not implemented, overloaded: refused before work began.
        default: false
        }
    }
}
