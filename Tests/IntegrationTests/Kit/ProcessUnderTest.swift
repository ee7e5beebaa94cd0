import Foundation
import Glibc
import Testing

/// One process of the product, with what it has written so far.
///
/// Its output goes to files: no pipe that can fill up and stop it, and the whole log is there to be
/// searched for secrets when it has ended.
final class ProcessUnderTest: Sendable {
    let name: String
    private let process: Process
    private let outputFile: URL
    private let errorFile: URL

    /// `HOLDFAST_BINARY` names another build.
    static let binary: URL = {
        if let path = ProcessInfo.processInfo.environment["HOLDFAST_BINARY"] {
            return URL(fileURLWithPath: path)
        }
        var root = URL(fileURLWithPath: #filePath)
        for _ in 0..<4 { root.deleteLastPathComponent() }
        return root.appendingPathComponent(".build/debug/holdfast")
    }()

    /// - Parameters:
    ///   - number: makes the file names unique where a name is used again.
    ///   - environment: variables besides ours.
    init(
        name: String, number: Int, arguments: [String], environment: [String: String] = [:],
        directory: URL
    ) throws {
        self.name = name
        outputFile = directory.appendingPathComponent("\(number)-\(name).out")
        errorFile = directory.appendingPathComponent("\(number)-\(name).log")
        for file in [outputFile, errorFile] { try Data().write(to: file) }
        process = Process()
        process.executableURL = Self.binary
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment
            .merging(environment) { _, added in added }
        process.currentDirectoryURL = directory
        process.standardInput = FileHandle.nullDevice
        let output = try FileHandle(forWritingTo: outputFile)
        let errors = try FileHandle(forWritingTo: errorFile)
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        try output.close()
        try errors.close()
    }

    var isRunning: Bool { process.isRunning }

    /// Standard output so far.
    var output: String { text(of: outputFile) }

    /// Standard error so far.
    var log: String { text(of: errorFile) }

    private func text(of file: URL) -> String {
        do {
            return String(decoding: try Data(contentsOf: file), as: UTF8.self)
        } catch {
            Issue.record("\(name): \(file.lastPathComponent) cannot be read: \(error)")
            return ""
        }
    }

    // MARK: - Log

    /// The log's events with this message. A line that is still being written does not count.
    func events(_ message: String) -> [[String: String]] {
        // Most lines are not asked for, and reading JSON is slow.
        let lines = log.split(separator: "\n").filter { $0.contains("\"message\":\"\(message)\"") }
        return lines.compactMap { line in
            guard line.hasPrefix("{"), line.hasSuffix("}") else { return nil }
            do {
                let value = try JSONSerialization.jsonObject(with: Data(line.utf8))
                return (value as? [String: Any])?.compactMapValues { $0 as? String }
            } catch {
                Issue.record("\(name) logged a line that is not JSON: \(line)")
                return nil
            }
        }
    }

    /// Waits until the process says that it listens.
    func port(announcedBy message: String) async throws -> Int {
        try await eventually("\(name) to say '\(message)'") {
            if let port = self.events(message).last?["port"].flatMap({ Int($0) }) { return port }
            guard self.isRunning else { throw EndedEarly(name: self.name, log: self.log) }
            return nil
        }
    }

    struct EndedEarly: Error, CustomStringConvertible {
        let name: String
        let log: String
        var description: String { "\(name) ended early: \(log.suffix(2_000))" }
    }

    // MARK: - Signals

    func send(_ signal: Int32) {
        guard process.isRunning else { return }
        kill(process.processIdentifier, signal)
    }

    /// - Returns: the exit code; for an end by a signal, 128 and its number, as in a shell.
    func exitCode(within limit: Duration = .seconds(60)) async throws -> Int32 {
        try await eventually("\(name) to end", within: limit) {
            guard !self.process.isRunning else { return nil }
            let status = self.process.terminationStatus
            return self.process.terminationReason == .exit ? status : 128 + status
        }
    }

    /// As `kill -9` does it: no word of goodbye to anybody.
    func killAndWait() async throws {
        send(SIGKILL)
        #expect(try await exitCode() == 128 + SIGKILL)
    }

    /// An orderly end. Whatever happened before, it must work.
    func stop() async {
        send(SIGTERM)
        do {
            let code = try await exitCode()
            #expect(code == 0, "\(name)\n\(log.suffix(2_000))")
        } catch {
            send(SIGKILL)
            Issue.record("\(name) does not stop: \(error)\n\(log.suffix(2_000))")
        }
    }
}

struct NotInTime: Error, CustomStringConvertible {
    let what: String
    let limit: Duration
    var description: String { "waited \(limit) in vain for \(what)" }
}

/// Asks again until there is an answer: other processes reach a state when they do, and tell
/// nobody.
func eventually<Answer>(
    _ what: String, within limit: Duration = .seconds(30),
    isolation: isolated (any Actor)? = #isolation,
    _ ask: () async throws -> Answer?
) async throws -> Answer {
    let end = ContinuousClock.now + limit
    while true {
        if let answer = try await ask() { return answer }
        guard ContinuousClock.now < end else { throw NotInTime(what: what, limit: limit) }
        try await Task.sleep(for: .milliseconds(10))
    }
}
