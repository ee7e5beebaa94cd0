import ArgumentParser
import Foundation
import HoldfastConfig
import HoldfastEgress
import NIOCore

/// Where a running counter answers operators, for all commands that ask it.
struct AdminOptions: ParsableArguments {
    @Option(
        name: [.short, .long], help: "The configuration file, for 'admin.listen' and 'admin.token'."
    )
    var config = "holdfast.yaml"

    @Option(help: "The counter's admin address, instead of the file's.")
    var admin: String?

    /// The variable that has the token where there is no file.
    private static let tokenVariable = "HOLDFAST_ADMIN_TOKEN"

    /// To read.
    func client() throws -> AdminClient {
        if let admin { return AdminClient(address: admin, token: nil) }
        return AdminClient(
            address: try ConfigFile.load(config).adminListen.description, token: nil)
    }

    /// To change something. The token is not an option: other users of the machine see those.
    func clientWithToken() throws -> AdminClient {
        let variable = ProcessInfo.processInfo.environment[Self.tokenVariable]
        if let admin, let variable, !variable.isEmpty {
            return AdminClient(address: admin, token: variable)
        }
        let file = try ConfigFile.load(config)
        let address = admin ?? file.adminListen.description
        if let variable, !variable.isEmpty { return AdminClient(address: address, token: variable) }
        guard let token = file.adminToken else {
            Terminal.note(
                "error: this takes the operators' token: set 'admin.token' in \(config), as the "
                    + "counter has it, or \(Self.tokenVariable)")
            throw ExitCode(Exit.badConfig)
        }
        return AdminClient(address: address, token: token.value)
    }
}

/// Asks the admin listener of a counter. Explains failures on standard error and ends with the
/// documented exit code.
struct AdminClient {
    let address: String
    let token: String?

    private static let answerByteCountMax = 64 << 20

    func get<Answer: Decodable>(_ path: String, as: Answer.Type) async throws -> Answer {
        try decode(try await get(path))
    }

    func get(_ path: String) async throws -> Data {
        try await fetch(path, method: "GET", body: [])
    }

    func post<Body: Encodable, Answer: Decodable>(
        _ path: String, _ body: Body, as: Answer.Type
    ) async throws -> (data: Data, answer: Answer) {
        let data = try await fetch(
            path, method: "POST", body: Array(try JSONEncoder().encode(body)))
        return (data, try decode(data))
    }

    func decode<Answer: Decodable>(_ data: Data) throws -> Answer {
        do {
            return try JSONDecoder().decode(Answer.self, from: data)
        } catch {
            Terminal.note(
                "error: \(address) answers like no counter of this version: \(error)")
            throw ExitCode(Exit.failure)
        }
    }

    private func fetch(_ path: String, method: String, body: [UInt8]) async throws -> Data {
        let url = "http://\(address)\(path)"
        var headers: [(String, String)] = []
        if method == "POST" {
            headers.append(("content-type", "application/json"))
            if let token { headers.append(("authorization", "Bearer \(token)")) }
        }
        do {
            let egress = try Egress(threadCount: 1, bufferByteCountMax: Self.answerByteCountMax)
            defer { egress.shutdown() }
            var request = EgressRequest(
                method: method, url: url, headers: headers, body: body,
                connectTimeout: .seconds(3), idleTimeout: .seconds(60))
            request.usesProxy = false
            let response = try await egress.fetch(
                request, bodyByteCountMax: Self.answerByteCountMax)
            let data = Data(response.body.readableBytesView)
            guard response.status == 200 else { throw explain(response.status, data, url) }
            return data
        } catch let failure as EgressFailure {
            Terminal.note("error: no counter answers at \(url): \(failure.message)")
            throw ExitCode(Exit.counterUnreachable)
        }
    }

    private func explain(_ status: Int, _ data: Data, _ url: String) -> ExitCode {
        struct Problem: Decodable { var detail: String }
        let detail: String
        do {
            detail = try JSONDecoder().decode(Problem.self, from: data).detail
        } catch {
            detail = "\(url) answered \(status): \(String(decoding: data, as: UTF8.self))"
        }
        Terminal.note("error: \(TextTable.printable(detail))")
        // What the counter has understood and will not do is another thing than one that cannot.
        return ExitCode((400..<500).contains(status) ? Exit.failure : Exit.counterUnreachable)
    }
}
