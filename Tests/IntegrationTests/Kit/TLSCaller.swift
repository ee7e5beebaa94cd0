import Foundation
import HoldfastEgress

/// A caller over TLS with one connection, on which HTTP/2 sends as many requests at a time as it may.
final class TLSCaller: Sendable {
    let egress: Egress

    init(site: Site, trusting trusted: SelfSigned, isHTTP2Enabled: Bool = true) throws {
        let file = site.directory.appendingPathComponent("trusted-\(UUID().uuidString).crt")
        try Data(trusted.certificate.utf8).write(to: file)
        egress = try Egress(
            threadCount: 1, bufferByteCountMax: 64 << 20, connectionsPerHostMax: 1,
            caFile: file.path, isHTTP2Enabled: isHTTP2Enabled)
    }

    static func request(_ call: Call, port: Int) -> EgressRequest {
        var request = call.request(port: port)
        request.url = "https" + request.url.dropFirst("http".count)
        request.connectTimeout = .seconds(60)
        return request
    }

    func send(_ call: Call, to node: Node) async throws -> CallResponse {
        CallResponse(
            try await egress.fetch(
                Self.request(call, port: node.port), bodyByteCountMax: 16 << 20))
    }

    func stream(_ call: Call, to node: Node) -> StreamedCall {
        StreamedCall(Self.request(call, port: node.port), through: egress)
    }
}
