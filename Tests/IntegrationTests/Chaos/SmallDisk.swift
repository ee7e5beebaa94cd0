import Foundation
import Glibc
import Testing

/// A file system of a few megabytes that can be filled up. Only root may mount one.
final class SmallDisk: Sendable {
    struct NotPermitted: Error {}

    let folder: URL
    private var ballast: URL { folder.appendingPathComponent("ballast") }

    init() throws {
        folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("holdfast-disk-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        guard mount("tmpfs", folder.path, "tmpfs", 0, "size=16m") == 0 else {
            try FileManager.default.removeItem(at: folder)
            throw NotPermitted()
        }
    }

    /// Until nothing more fits.
    func fill() {
        let descriptor = open(ballast.path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        #expect(descriptor >= 0)
        defer { close(descriptor) }
        for byteCount in [65_536, 1] {
            let block = [UInt8](repeating: 0x5A, count: byteCount)
            while write(descriptor, block, byteCount) == byteCount {}
        }
    }

    func free() { unlink(ballast.path) }

    func remove() {
        do {
            #expect(umount(folder.path) == 0, "\(folder.path) cannot be unmounted")
            try FileManager.default.removeItem(at: folder)
        } catch {
            Issue.record("\(error)")
        }
    }
}
