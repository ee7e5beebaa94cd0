import Foundation
import Glibc
import Testing

/// What cannot start says why, in one line, and with an exit code.
extension Integration {
    @Suite struct StartTests {
        private static let cap = "name: cap, limit: $5, per: total"

        @Test func `a store that cannot be used stops the start`() async throws {
            try await withSite { site in
                let file = site.directory.appendingPathComponent("text.db")
                try Data(String(repeating: "not a database ", count: 500).utf8).write(to: file)
                try Data().write(to: site.directory.appendingPathComponent("empty.db"))
                for command in ["serve", "counter"] {
                    // Not even root can make a file there.
                    try await check(site, command, store: "/proc/holdfast.db", "/proc/holdfast.db")
                    try await check(site, command, store: "missing/holdfast.db", "missing")
                    try await check(site, command, store: "text.db/holdfast.db", "text.db")
                    try await check(site, command, store: ".", "the store")
                    try await check(site, command, store: "text.db", "text.db")
                    try await check(site, command, store: "empty.db", "empty.db")
                }
            }
        }

        @Test func `a store that somebody else uses stops the start`() async throws {
            try await withServe({ SiteConfig(provider: $0, caps: [Self.cap]) }) { node, _ in
                for command in ["serve", "counter"] {
                    try await check(
                        node.site, command, store: "holdfast.db", "in use by another process")
                }
                #expect(try await node.send(Call()).status == 200)
            }
        }

        @Test func `a store of a newer version stops the start`() async throws {
            try await withSite { site in
                let provider = try await site.fakeProvider()
                let config = SiteConfig(provider: provider.port, caps: [Self.cap])
                let node = try await site.serve(config)
                await node.process.stop()
                let file = site.directory.appendingPathComponent("holdfast.db")
                #expect(!FileManager.default.fileExists(atPath: file.path + "-wal"))
                var bytes = try Data(contentsOf: file)
                // The user version of a SQLite file: four bytes, big-endian.
                bytes.replaceSubrange(60..<64, with: [0, 0, 0, 99])
                try bytes.write(to: file)
                try await check(site, "serve", store: "holdfast.db", "schema 99")
            }
        }

        @Test func `an address in use stops the start`() async throws {
            try await withServe({ SiteConfig(provider: $0, caps: [Self.cap]) }) { node, provider in
                let taken = "127.0.0.1:\(node.port)"
                let yaml = SiteConfig(provider: provider.port, caps: [Self.cap])
                    .with { $0.store = "sqlite:second.db" }.yaml
                try node.site.write(yaml: yaml)
                for (command, option) in [
                    ("serve", "--listen"), ("serve", "--admin-listen"),
                    ("counter", "--counter-listen"), ("counter", "--admin-listen"),
                ] {
                    let result = try await node.site.run(
                        [command, "--config", node.site.configFile.path, option, taken])
                    #expect(result.code == 1, "\(command) \(option): \(result.errors)")
                    let lines = result.errors.split(separator: "\n").filter {
                        $0.contains("cannot listen on \(taken)")
                    }
                    #expect(lines.count == 1, "\(command) \(option): \(result.errors)")
                }
                let fake = try await node.site.run(["fake-provider", "--port", "\(node.port)"])
                #expect(fake.code == 1, "\(fake.errors)")
                #expect(fake.errors.contains("cannot listen on \(taken)"), "\(fake.errors)")
                #expect(try await node.send(Call()).status == 200)
            }
        }

        @Test func `a mistake in the configuration is shown with its place`() async throws {
            try await withSite { site in
                let good = SiteConfig(provider: 1, caps: [Self.cap]).yaml
                func check(
                    _ yaml: String, _ texts: [String],
                    at location: SourceLocation = #_sourceLocation
                ) async throws {
                    try site.write(yaml: yaml)
                    for command in [["check"], ["serve", "--config"], ["counter", "--config"]] {
                        let result = try await site.run(command + [site.configFile.path])
                        #expect(result.code == 5, "\(result)", sourceLocation: location)
                        for text in texts {
                            #expect(
                                result.errors.contains(text), "\(result)",
                                sourceLocation: location)
                        }
                    }
                }
                let line = good.split(separator: "\n", omittingEmptySubsequences: false)
                    .firstIndex { $0.contains("name: cap") }.map { $0 + 1 }
                let place = "holdfast.yaml:\(try #require(line)):"
                try await check(
                    good.replacing("limit:", with: "limt:"),
                    ["\(place)18: ", "unknown key 'limt' in a cap; did you mean 'limit'?"])
                try await check(good.replacing("$5", with: "5"), ["\(place)", "$500"])
                try await check(good.replacing("total", with: "decade"), ["\(place)"])
                try await check(good + "caps: []\n", ["duplicate key 'caps'"])
                try await check("- a\n  b: [", ["holdfast.yaml:", "not valid YAML"])
                try await check("", ["the file is empty"])
                let missing = try await site.run(["serve", "--config", "nowhere.yaml"])
                #expect(missing.code == 5 && missing.errors.contains("nowhere.yaml"))
            }
        }

        private func check(
            _ site: Site, _ command: String, store: String, _ text: String,
            at location: SourceLocation = #_sourceLocation
        ) async throws {
            var config = SiteConfig(provider: 1, caps: [Self.cap])
            config.store = "sqlite:\(store)"
            try site.write(config)
            let result = try await site.run([command, "--config", site.configFile.path])
            let got = Comment("\(command) \(store): \(result.code) \(result.errors)")
            #expect(result.code == 1, got, sourceLocation: location)
            let lines = result.errors.split(separator: "\n")
            #expect(lines.count == 1, got, sourceLocation: location)
            #expect(result.errors.hasPrefix("error: "), got, sourceLocation: location)
            #expect(result.errors.contains(text), got, sourceLocation: location)
        }
    }
}
