internal import Glibc
package import NIOCore
import NIOSSL
import Synchronization

/// The TLS of a listener, from a PEM chain and its key, and made anew when the files change.
///
/// They are looked at when a connection comes, at most once a second, through symbolic links too:
/// that is how Kubernetes swaps a mounted secret. Files that cannot be used change nothing; the last
/// good ones stay in force.
package final class ReloadingContext: Sendable {
    package enum Change: Sendable {
        case reloaded
        /// The certificate that was in force stays.
        case refused(Problem)
    }

    /// Both protocols, the better one first.
    private static let protocols = ["h2", "http/1.1"]
    private static let lookInterval = Duration.seconds(1)

    private struct State {
        var context: NIOSSLContext
        /// Of the files that were tried last, good or bad.
        var stamps: [FileStamp?]
        var looked = ContinuousClock.now
    }

    private let certificate: String
    private let key: String
    private let onChange: @Sendable (Change) -> Void
    private let state: Mutex<State>

    /// - Parameters:
    ///   - certificate: path of a PEM file: the certificate, and those that it was issued by.
    ///   - key: path of a PEM file with the certificate's private key, without a passphrase.
    ///   - onChange: told once about each change of the files, on the thread of some connection.
    package init(
        certificate: String, key: String, onChange: @escaping @Sendable (Change) -> Void
    ) throws(Problem) {
        self.certificate = certificate
        self.key = key
        self.onChange = onChange
        // Before the files are read: a change while they are read is then seen the next time.
        let stamps = [FileStamp(of: certificate), FileStamp(of: key)]
        state = Mutex(State(context: try Self.load(certificate, key), stamps: stamps))
    }

    /// The TLS handler of one connection that was accepted.
    package func addHandler(to channel: any Channel) throws {
        let handler = NIOSSLServerHandler(context: current(at: .now))
        try channel.pipeline.syncOperations.addHandler(handler)
    }

    func current(at now: ContinuousClock.Instant) -> NIOSSLContext {
        let isDue = state.withLock { state in
            guard now - state.looked >= Self.lookInterval else { return false }
            state.looked = now
            return true
        }
        if isDue { look() }
        return state.withLock { $0.context }
    }

    /// Outside the lock: other connections go on with the old context meanwhile.
    private func look() {
        let stamps = [FileStamp(of: certificate), FileStamp(of: key)]
        let isChanged = state.withLock { state in
            defer { state.stamps = stamps }
            return state.stamps != stamps
        }
        guard isChanged else { return }
        do throws(Problem) {
            let context = try Self.load(certificate, key)
            state.withLock { $0.context = context }
        } catch {
            return onChange(.refused(error))
        }
        onChange(.reloaded)
    }

    private static func load(
        _ certificateFile: String, _ keyFile: String
    ) throws(Problem) -> NIOSSLContext {
        let chain = try certificates(certificateFile)
        if chain[0].notValidAfter <= time(nil) {
            throw .expired(file: certificateFile, at: chain[0].notValidAfter)
        }
        let key = try privateKey(keyFile)
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = protocols
        do {
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw .notAPair(certificate: certificateFile, key: keyFile)
        }
    }

    private static func certificates(_ file: String) throws(Problem) -> [NIOSSLCertificate] {
        try checkReadable(file)
        do {
            let chain = try NIOSSLCertificate.fromPEMFile(file)
            if !chain.isEmpty { return chain }
        } catch {
            throw .noCertificate(file: file)
        }
        throw .noCertificate(file: file)
    }

    private static func privateKey(_ file: String) throws(Problem) -> NIOSSLPrivateKey {
        try checkReadable(file)
        do {
            return try NIOSSLPrivateKey(file: file, format: .pem)
        } catch {
            throw .noKey(file: file)
        }
    }

    /// BoringSSL does not say why it cannot open a file.
    private static func checkReadable(_ file: String) throws(Problem) {
        guard access(file, R_OK) != 0 else { return }
        switch errno {
        case ENOENT: throw .unreadable(file: file, reason: "there is no such file")
        case EACCES: throw .unreadable(file: file, reason: "permission denied")
        default: throw .unreadable(file: file, reason: String(cString: strerror(errno)))
        }
    }
}

extension ReloadingContext {
    /// Why the files cannot be used.
    package enum Problem: Error, Sendable, CustomStringConvertible {
        case unreadable(file: String, reason: String)
        case noCertificate(file: String)
        case noKey(file: String)
        /// `at`: seconds since 1970.
        case expired(file: String, at: Int)
        case notAPair(certificate: String, key: String)

        package var description: String {
            switch self {
            case .unreadable(let file, let reason): "cannot read \(file): \(reason)"
            case .noCertificate(let file):
                "\(file) holds no certificate; it must be PEM, with 'BEGIN CERTIFICATE'"
            case .noKey(let file):
                "\(file) holds no private key; it must be PEM without a passphrase"
            case .expired(let file, let at):
                "the certificate in \(file) expired at \(Self.text(at)); put a new one there"
            case .notAPair(let certificate, let key):
                "the key in \(key) does not belong to the first certificate in \(certificate); "
                    + "the certificate of this listener comes first, then those that issued it"
            }
        }

        private static func text(_ seconds: Int) -> String {
            var moment = time_t(seconds)
            var fields = tm()
            gmtime_r(&moment, &fields)
            var text = [CChar](repeating: 0, count: 32)
            let count = strftime(&text, text.count, "%Y-%m-%dT%H:%M:%SZ", &fields)
            return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }
}
