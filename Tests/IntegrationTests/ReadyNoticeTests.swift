import Foundation
import Glibc
import Testing

/// What a service manager is told through NOTIFY_SOCKET.
extension Integration {
    @Suite struct ReadyNoticeTests {
        private static let cap = "name: cap, limit: $1, per: total"

        private func check(_ makeName: (Site) -> String) async throws {
            try await withSite { site in
                let name = makeName(site)
                let manager = try NoticeSocket(name)
                defer { manager.end() }
                let provider = try await site.fakeProvider()
                try site.write(SiteConfig(provider: provider.port, caps: [Self.cap]))
                let process = try site.start(
                    ["serve", "--config", site.configFile.path],
                    environment: ["NOTIFY_SOCKET": name])
                #expect(try await manager.next() == "READY=1")
                process.send(SIGTERM)
                #expect(try await manager.next() == "STOPPING=1")
                #expect(try await process.exitCode() == 0, "\(process.log)")
                #expect(manager.receive() == nil)
            }
        }

        @Test func `a service manager is told by a path when serve is ready and when it stops`()
            async throws
        {
            try await check { $0.directory.appendingPathComponent("notify").path }
        }

        @Test func `a service manager is told by an abstract name`() async throws {
            try await check { "@\($0.directory.lastPathComponent)" }
        }

        @Test func `an edge without a counter is not ready, and its stop is told all the same`()
            async throws
        {
            try await withSite { site in
                let path = site.directory.appendingPathComponent("notify").path
                let manager = try NoticeSocket(path)
                defer { manager.end() }
                try site.write(SiteConfig(provider: 1, caps: [Self.cap]))
                // Nobody listens on the port of TCP's own multiplexer.
                let process = try site.start(
                    ["edge", "--config", site.configFile.path, "--counter", "127.0.0.1:1"],
                    environment: ["NOTIFY_SOCKET": path])
                _ = try await process.port(announcedBy: "edge is up")
                #expect(manager.receive() == nil)
                process.send(SIGTERM)
                #expect(try await manager.next() == "STOPPING=1")
            }
        }

        @Test func `a socket that nobody reads keeps nothing from running`() async throws {
            try await withSite { site in
                let provider = try await site.fakeProvider()
                try site.write(SiteConfig(provider: provider.port, caps: [Self.cap]))
                for name in ["/nowhere/notify", "vsock:2:1", "@"] {
                    let process = try site.start(
                        ["serve", "--config", site.configFile.path],
                        environment: ["NOTIFY_SOCKET": name])
                    _ = try await eventually("the warning about \(name)") {
                        process.log.contains("systemd is not told") ? true : nil
                    }
                    await process.stop()
                }
            }
        }
    }
}

/// The receiving end, as a service manager has it.
private struct NoticeSocket {
    private let descriptor: Int32

    struct Failure: Error {
        let call: String
        let code: Int32
    }

    /// - Parameter name: a path, or `@` and an abstract name.
    init(_ name: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw Failure(call: "socket", code: errno) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(name.utf8)
        if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
        let size = MemoryLayout.size(ofValue: address.sun_path)
        try #require(bytes.count < size, "\(name) is too long for a socket")
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length)
            }
        }
        guard status == 0 else {
            let code = errno
            close(descriptor)
            throw Failure(call: "bind", code: code)
        }
    }

    /// One datagram, when there is one.
    func receive() -> String? {
        var bytes = [UInt8](repeating: 0, count: 4_096)
        let count = recv(descriptor, &bytes, bytes.count, 0)
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }

    func next() async throws -> String {
        try await eventually("a datagram") { receive() }
    }

    func end() { close(descriptor) }
}
