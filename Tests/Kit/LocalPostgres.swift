import Dispatch
import Foundation
import Synchronization
import Testing

/// PostgreSQL servers of one test, made and removed by `dev/postgres`.
///
/// A symbolic link leads here from each test target that needs it.
final class LocalPostgres: Sendable {
    enum Server: String, Sendable { case primary, standby }

    struct Failed: Error, CustomStringConvertible {
        let command: String
        let output: String
        var description: String { "dev/postgres \(command): \(output)" }
    }

    let directory: URL
    private let isDestroyed = Atomic<Bool>(false)

    /// - Parameter verb: `init` for a pair, `single` for one server.
    convenience init(_ verb: String, _ options: String...) throws {
        try self.init(verb, options)
    }

    private init(_ verb: String, _ options: [String]) throws {
        directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("holdfast-postgres-\(UUID().uuidString)")
        try run([verb, directory.path] + options)
    }

    deinit { destroy() }

    private func destroy() {
        guard !isDestroyed.exchange(true, ordering: .relaxed) else { return }
        do {
            try run(["destroy", directory.path])
        } catch {
            Issue.record("\(error)")
        }
    }

    /// For servers that many tests share: nothing else tells when the last of them is over.
    static func sharedUntilExit(_ verb: String, _ options: String...) throws -> LocalPostgres {
        let shared = try LocalPostgres(verb, options)
        LocalPostgres.shared.withLock { $0.append(shared) }
        atexit {
            LocalPostgres.shared.withLock { shared in
                for server in shared { server.destroy() }
                shared = []
            }
        }
        return shared
    }

    private static let shared = Mutex<[LocalPostgres]>([])

    /// Both servers, for `target_session_attrs`.
    var uri: String {
        get throws {
            try String(contentsOf: directory.appendingPathComponent("uri"), encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
        }
    }

    /// Another database of the same servers, empty.
    func newDatabase(_ name: String) throws -> String {
        try run([
            "psql", directory.path, "primary", "-qc", "CREATE DATABASE \(name) OWNER holdfast",
        ])
        let uri = try uri
        guard let slash = uri.lastIndex(of: "/") else { return uri }
        return "\(uri[...slash])\(name)"
    }

    @discardableResult
    func psql(_ server: Server = .primary, _ sql: String, database: String? = nil) throws -> String
    {
        try run(
            ["psql", directory.path, server.rawValue, "-qAtc", sql]
                + (database.map { ["-d", $0] } ?? []))
    }

    @discardableResult
    func run(_ verb: String, _ arguments: String...) throws -> String {
        try run([verb, directory.path] + arguments)
    }

    @discardableResult
    private func run(_ arguments: [String]) throws -> String {
        var root = URL(fileURLWithPath: #filePath)
        while !FileManager.default.fileExists(atPath: root.appendingPathComponent("dev").path) {
            root.deleteLastPathComponent()
        }
        let process = Process()
        process.executableURL = root.appendingPathComponent("dev/postgres")
        process.arguments = arguments
        // A file and no pipe: the servers inherit it, and a pipe would stay open with them.
        let output = FileManager.default.temporaryDirectory
            .appendingPathComponent("holdfast-postgres-\(UUID().uuidString).out")
        try Data().write(to: output)
        defer {
            do {
                try FileManager.default.removeItem(at: output)
            } catch {
                Issue.record("\(error)")
            }
        }
        let handle = try FileHandle(forWritingTo: output)
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = handle
        process.standardError = handle
        // `waitUntilExit` runs a run loop, which a thread of the tests has not.
        let ended = DispatchSemaphore(value: 0)
        process.terminationHandler = { _ in ended.signal() }
        try process.run()
        try handle.close()
        ended.wait()
        let text = try String(contentsOf: output, encoding: .utf8)
        guard process.terminationStatus == 0 else {
            throw Failed(command: arguments.joined(separator: " "), output: text)
        }
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
