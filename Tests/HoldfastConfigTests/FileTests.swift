import Foundation
import HoldfastConfig
import HoldfastCore
import Testing

/// Reads real files, in a directory of its own that goes away with the test.
@Suite final class `Configuration files` {
    private let directory: URL

    init() throws {
        directory = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    }

    deinit {
        do {
            try FileManager.default.removeItem(at: directory)
        } catch {
            Issue.record(error)
        }
    }

    private func write(_ name: String, _ contents: Data) throws -> String {
        let url = directory.appending(path: name)
        try contents.write(to: url)
        return url.path
    }

    private func expectFailure(
        _ path: String, _ reason: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        do {
            _ = try Config.load(path: path, environment: [:])
            Issue.record("the file was accepted", sourceLocation: sourceLocation)
        } catch {
            #expect(
                error.description == "\(path): cannot read the configuration: \(reason)",
                sourceLocation: sourceLocation)
        }
    }

    @Test func `a file and the secrets that it names are read`() throws {
        let secret = try write("key", Data("sk-7Jd0qLwP3vXz\n".utf8))
        let text = """
            providers: { openai: { api_key: "${file:\(secret)}" } }
            caps: [{ name: c, limit: $5, per: day }]
            """
        let path = try write("holdfast.yaml", Data(text.utf8))
        let config = try Config.load(path: path, environment: [:])
        #expect(config.file == path)
        #expect(config.providers["openai"]?.apiKey?.value == "sk-7Jd0qLwP3vXz")
        #expect(config.caps.map(\.limit) == [Amount(5_000_000_000)])
        #expect(config.warnings == [])
    }

    @Test func `a problem names the file`() throws {
        let path = try write("holdfast.yaml", Data("caps: []\nkaps: []\n".utf8))
        #expect {
            try Config.load(path: path, environment: [:])
        } throws: {
            "\($0)" == "\(path):2:1: unknown key 'kaps' in the file; did you mean 'caps'?"
        }
    }

    @Test func `a secret file that does not exist is a mistake at its line`() throws {
        let missing = directory.appending(path: "missing").path
        let path = try write(
            "holdfast.yaml", Data("providers:\n  a: { api_key: \"${file:\(missing)}\" }\n".utf8))
        #expect {
            try Config.load(path: path, environment: [:])
        } throws: {
            "\($0)" == "\(path):2:17: 'api_key' needs the file '\(missing)', "
                + "which cannot be read: there is no such file"
        }
    }

    @Test func `a file that cannot be read is a mistake without a line`() throws {
        expectFailure(directory.appending(path: "none.yaml").path, "there is no such file")
        expectFailure(
            try write("latin.yaml", Data([0x6E, 0xE4, 0x6D, 0x65])), "it is not UTF-8 text")
        expectFailure(
            try write("huge.yaml", Data(repeating: UInt8(ascii: " "), count: (4 << 20) + 1)),
            "it is larger than 4 MiB")
        #expect(throws: ConfigError.self) {
            try Config.load(path: self.directory.path, environment: [:])
        }
    }
}
