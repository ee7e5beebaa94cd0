import HoldfastAdmin
import HoldfastCore
import HoldfastProviders
import Logging
import NIOHTTP1

/// Phase 8: access log and metrics. No secret, no prompt, no answer.
extension Exchange {
    func record() {
        let provider = provider?.name ?? "none"
        // Callers choose model names; only priced ones become labels.
        let model = quote?.model ?? "none"
        context.metrics.requests.with(provider, model, outcome).increment()
        if let charged, charged > .zero {
            context.metrics.spend.with(provider, model).increment(by: charged.rawValue)
        }
        guard context.logger.logLevel <= .info else { return }
        var fields: Logger.Metadata = [
            "request_id": "\(requestID)", "phase": "\(phase.rawValue)", "outcome": "\(outcome)",
            "method": "\(head.method.rawValue)", "path": "\(String(path.prefix(128)))",
            "provider": "\(provider)", "model": "\(model)",
            "duration_us": "\(started.duration(to: .now).wholeNanoseconds / 1_000)",
        ]
        if let key { fields["key"] = "\(key.name)" }
        if let refusalCode { fields["reason"] = "\(refusalCode)" }
        if let upstreamStatus { fields["upstream_status"] = "\(upstreamStatus)" }
        if let charged { fields["charged_usd"] = "\(charged.dollars)" }
        if let chargedTokens { fields["tokens"] = "\(chargedTokens)" }
        if let chargeBasis { fields["basis"] = "\(chargeBasis.rawValue)" }
        if let fallenBackFrom { fields["instead_of"] = "\(fallenBackFrom.model)" }
        if let clampedBy { fields["clamped_by"] = "\(clampedBy)" }
        context.logger.info("request", metadata: fields)
    }
}
