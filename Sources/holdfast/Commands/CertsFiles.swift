import Foundation
import Glibc
import HoldfastTLS

/// The directory that `holdfast certs` writes to. What is there is never overwritten.
struct CertsFiles {
    enum Failure: Error, CustomStringConvertible {
        case exists(String)
        case notWritten(String, reason: String)

        var description: String {
            switch self {
            case .exists(let path):
                """
                \(path) is there already and is not overwritten: move it away, choose another \
                --dir, or add nodes with 'holdfast certs issue'
                """
            case .notWritten(let path, let reason): "cannot write \(path): \(reason)"
            }
        }
    }

    static let authorityDays = 3_650

    let directory: String

    func path(_ file: String) -> String {
        directory.hasSuffix("/") ? directory + file : "\(directory)/\(file)"
    }

    /// Before anything is made: all of them or none.
    func requireNew(_ names: [String]) throws(Failure) {
        for name in names {
            for file in [path(name + ".key"), path(name + ".crt")] {
                if FileManager.default.fileExists(atPath: file) { throw .exists(file) }
            }
        }
    }

    func makeDirectory() throws(Failure) {
        do {
            try FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
        } catch {
            throw .notWritten(directory, reason: error.localizedDescription)
        }
    }

    func issue(_ nodes: CertsNodes, _ authority: CertificateAuthority) throws {
        for (name, roles) in nodes.all {
            try write(
                try authority.issue(name: name, roles: roles, days: nodes.days), as: name)
        }
    }

    /// The key first: a certificate without one is of no use.
    func write(_ issued: CertificateAuthority.Issued, as name: String) throws {
        try write(issued.keyPEM, to: path(name + ".key"), mode: 0o600)
        try write(issued.certificatePEM, to: path(name + ".crt"), mode: 0o644)
        Terminal.say(
            "\(path(name + ".crt")) and .key, valid until \(issued.notValidAfter.text)")
    }

    private func write(_ text: String, to path: String, mode: mode_t) throws(Failure) {
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard file >= 0 else {
            if errno == EEXIST { throw .exists(path) }
            throw .notWritten(path, reason: String(cString: strerror(errno)))
        }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        do {
            try handle.write(contentsOf: Data(text.utf8))
            try handle.synchronize()
        } catch {
            throw .notWritten(path, reason: error.localizedDescription)
        }
    }

    /// What to do with them.
    func explain(_ nodes: CertsNodes, cluster: String) {
        Terminal.say(
            """

            Each node gets ca.crt and its own two files; its .key is for its own eyes only. In its
            holdfast.yaml:
            """)
        for (name, _) in nodes.all {
            Terminal.say(
                """

                # \(name)
                cluster: \(cluster)
                node_tls:
                  authority: \(path("ca.crt"))
                  certificate: \(path(name + ".crt"))
                  key: \(path(name + ".key"))
                """)
        }
    }
}
