import Glibc
import SwiftASN1
import X509

/// One PEM file.
struct CredentialFile: Sendable {
    let path: String
    let documents: [PEMDocument]
    let isWorldReadable: Bool

    private static let byteCountMax = 1 << 20

    init(reading path: String) throws(CredentialError) {
        self.path = path
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw Self.unreadable(path, errno) }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw Self.unreadable(path, errno) }
        isWorldReadable = status.st_mode & S_IROTH != 0
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = read(file, &part, part.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Self.unreadable(path, errno) }
            guard count > 0 else { break }
            bytes += part[..<count]
            guard bytes.count <= Self.byteCountMax else {
                throw CredentialError(
                    file: path, reason: .unreadable("it is larger than 1 MiB"))
            }
        }
        do {
            documents = try PEMDocument.parseMultiple(
                pemString: String(decoding: bytes, as: UTF8.self))
        } catch {
            throw CredentialError(
                file: path, reason: .notPEM(expected: "certificate or key", reason: "\(error)"))
        }
    }

    func certificates() throws(CredentialError) -> [Certificate] {
        let found = documents.filter { $0.discriminator == Certificate.defaultPEMDiscriminator }
        guard !found.isEmpty else {
            throw CredentialError(
                file: path, reason: .notPEM(expected: "certificate", reason: contents))
        }
        do {
            return try found.map { try Certificate(pemDocument: $0) }
        } catch {
            throw CredentialError(
                file: path, reason: .notPEM(expected: "X.509 certificate", reason: "\(error)"))
        }
    }

    func key() throws(CredentialError) -> Certificate.PrivateKey {
        guard let found = documents.first(where: { $0.discriminator.hasSuffix("PRIVATE KEY") })
        else {
            throw CredentialError(
                file: path, reason: .notPEM(expected: "private key", reason: contents))
        }
        guard !found.discriminator.hasPrefix("ENCRYPTED") else {
            throw CredentialError(file: path, reason: .encryptedKey)
        }
        do {
            return try Certificate.PrivateKey(pemDocument: found)
        } catch {
            // What the parser says could quote the key.
            throw CredentialError(
                file: path,
                reason: .notPEM(
                    expected: "private key", reason: "it is of no kind that is supported"))
        }
    }

    private var contents: String {
        guard !documents.isEmpty else { return "there is nothing in that form in it" }
        return "it holds \(documents.map(\.discriminator).joined(separator: ", ")) only"
    }

    private static func unreadable(_ path: String, _ code: CInt) -> CredentialError {
        let reason =
            switch code {
            case ENOENT: "there is no such file"
            case EACCES: "permission denied"
            case EISDIR: "it is a directory"
            default: String(cString: strerror(code))
            }
        return CredentialError(file: path, reason: .unreadable(reason))
    }
}

/// What changes when a file is written or replaced, also behind a symbolic link, or gets another owner
/// or mode: it may be readable then.
struct FileStamp: Hashable, Sendable {
    private var resolvedPath: String
    private var device: UInt64
    private var inode: UInt64
    private var byteCount: Int64
    private var modifiedSeconds: Int64
    private var modifiedNanoseconds: Int64
    private var changedSeconds: Int64
    private var changedNanoseconds: Int64

    /// `nil` for a file that is not there.
    init?(of path: String) {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        var status = stat()
        guard stat(resolved, &status) == 0 else { return nil }
        resolvedPath = String(cString: resolved)
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        byteCount = Int64(status.st_size)
        modifiedSeconds = Int64(status.st_mtim.tv_sec)
        modifiedNanoseconds = Int64(status.st_mtim.tv_nsec)
        changedSeconds = Int64(status.st_ctim.tv_sec)
        changedNanoseconds = Int64(status.st_ctim.tv_nsec)
    }
}
