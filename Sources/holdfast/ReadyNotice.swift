import Foundation
import Glibc
import Logging
import ServiceLifecycle

/// Tells systemd when this process is ready and when it stops, see sd_notify(3): a unit with
/// `Type=notify` counts as started from then on.
struct ReadyNotice: Service {
    /// A path, or `@` and an abstract name.
    let socket: String
    let isReady: @Sendable () -> Bool
    let logger: Logger

    func run() async throws {
        do {
            try await cancelWhenGracefulShutdown {
                while !isReady() || !send("READY=1") {
                    try await Task.sleep(for: .milliseconds(50))
                }
            }
            // A service that ends would end the others.
            try await gracefulShutdown()
        } catch is CancellationError {
            // The stop has come first.
        }
        _ = send("STOPPING=1")
    }

    /// - Returns: `false` when it is worth another try.
    private func send(_ state: String) -> Bool {
        guard var address = Self.address(of: socket) else {
            logger.warning(
                "systemd is not told: NOTIFY_SOCKET is no path", metadata: ["socket": "\(socket)"])
            return true
        }
        let kind = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = Glibc.socket(AF_UNIX, kind, 0)
        guard descriptor >= 0 else { return isTold(by: errno) }
        defer { close(descriptor) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + socket.utf8.count)
        let count = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                sendto(
                    descriptor, state, state.utf8.count,
                    Int32(MSG_DONTWAIT | MSG_NOSIGNAL), pointer, length)
            }
        }
        return count >= 0 || isTold(by: errno)
    }

    /// Only a full queue and a lack of resources pass.
    private func isTold(by error: Int32) -> Bool {
        if [EAGAIN, EINTR, ENOBUFS, ENOMEM, EMFILE, ENFILE].contains(error) { return false }
        logger.warning(
            "systemd is not told: the socket in NOTIFY_SOCKET does not take it",
            metadata: ["socket": "\(socket)", "error": "\(String(cString: strerror(error)))"])
        return true
    }

    private static func address(of socket: String) -> sockaddr_un? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(socket.utf8)
        guard bytes.count > 1, bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            return nil
        }
        switch bytes[0] {
        case UInt8(ascii: "/"): break
        case UInt8(ascii: "@"): bytes[0] = 0
        default: return nil
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return address
    }
}

extension Node {
    /// Nothing where nobody waits for it. The last of the services, so that it stops first.
    func readyNotice(reasons: @escaping @Sendable () -> [String]) -> [any Service] {
        guard let socket = ProcessInfo.processInfo.environment["NOTIFY_SOCKET"], !socket.isEmpty
        else { return [] }
        return [ReadyNotice(socket: socket, isReady: { reasons().isEmpty }, logger: logger)]
    }
}
