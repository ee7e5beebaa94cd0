import Crypto
import Foundation
import Glibc
import SwiftASN1
import Synchronization
import Testing
import X509

@testable import HoldfastTLS

/// A directory with the two files of a listener.
private final class ListenerFiles {
    struct Pair {
        let certificate: String
        let key: String

        init(until end: Date = .now + 86_400) throws {
            let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
            let subject = try DistinguishedName { CommonName("edge") }
            let certificate = try Certificate(
                version: .v3, serialNumber: .init(), publicKey: key.publicKey,
                notValidBefore: .now - 10 * 86_400, notValidAfter: end, issuer: subject,
                subject: subject, signatureAlgorithm: .ecdsaWithSHA256,
                extensions: Certificate.Extensions {}, issuerPrivateKey: key)
            self.certificate = try certificate.serializeAsPEM().pemString
            self.key = try key.serializeAsPEM().pemString
        }
    }

    let directory: URL
    private var noted = Noted()

    init(_ pair: Pair) throws {
        directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("holdfast-tls-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        try write(pair)
    }

    deinit {
        do {
            try FileManager.default.removeItem(at: directory)
        } catch {
            Issue.record("\(error)")
        }
    }

    func path(_ name: String) -> String { directory.appendingPathComponent(name).path }

    func write(_ pair: Pair, into folder: String = ".") throws {
        let folder = directory.appendingPathComponent(folder)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try write(pair.key, to: folder.appendingPathComponent("tls.key").path)
        try write(pair.certificate, to: folder.appendingPathComponent("tls.crt").path)
    }

    func write(_ text: String, to path: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
    }

    func open() throws(ReloadingContext.Problem) -> ReloadingContext {
        let noted = Noted()
        defer { self.noted = noted }
        return try ReloadingContext(certificate: path("tls.crt"), key: path("tls.key")) { change in
            noted.changes.withLock { $0.append(change) }
        }
    }

    final class Noted: Sendable {
        let changes = Mutex<[ReloadingContext.Change]>([])
    }

    /// What was told so far, in short.
    var told: [String] {
        noted.changes.withLock { changes in
            changes.map { change in
                switch change {
                case .reloaded: "reloaded"
                case .refused(let problem): "\(problem)"
                }
            }
        }
    }
}

@Suite struct ReloadingContextTests {
    @Test func `files that cannot be used are named with what is wrong`() throws {
        let good = try ListenerFiles.Pair()
        let files = try ListenerFiles(good)
        func check(
            _ file: String, _ text: String?, _ says: String,
            at location: SourceLocation = #_sourceLocation
        ) throws {
            try files.write(good)
            try FileManager.default.removeItem(atPath: files.path(file))
            if let text { try files.write(text, to: files.path(file)) }
            var message = "no problem"
            do throws(ReloadingContext.Problem) {
                _ = try files.open()
            } catch {
                message = error.description
            }
            #expect(message.contains(files.path(file)), "\(message)", sourceLocation: location)
            #expect(message.contains(says), "\(message)", sourceLocation: location)
        }
        try check("tls.crt", nil, "no such file")
        try check("tls.key", nil, "no such file")
        try check("tls.crt", "", "no certificate")
        try check("tls.crt", good.key, "no certificate")
        try check("tls.key", good.certificate, "no private key")
        try check("tls.key", String(good.key.prefix(80)), "no private key")
        try check("tls.key", try ListenerFiles.Pair().key, "does not belong")
        try check("tls.crt", try ListenerFiles.Pair().certificate, "does not belong")
        let old = try ListenerFiles.Pair(until: .now - 86_400)
        try check("tls.crt", old.certificate, "expired at 20")
        try files.write(good)
        _ = try files.open()
    }

    @Test func `new files are used once they are looked at and not before`() throws {
        let files = try ListenerFiles(.init())
        let context = try files.open()
        let start = ContinuousClock.now
        let first = context.current(at: start)
        #expect(context.current(at: start + .seconds(10)) === first)
        try files.write(.init())
        #expect(context.current(at: start + .milliseconds(10_900)) === first)
        let second = context.current(at: start + .seconds(12))
        #expect(second !== first)
        #expect(context.current(at: start + .seconds(14)) === second)
        #expect(files.told == ["reloaded"])
    }

    @Test func `a mounted secret is swapped through its link`() throws {
        let files = try ListenerFiles(.init())
        for name in ["tls.crt", "tls.key"] {
            try FileManager.default.removeItem(atPath: files.path(name))
            try FileManager.default.createSymbolicLink(
                atPath: files.path(name), withDestinationPath: "..data/" + name)
        }
        try files.write(.init(), into: "one")
        try files.write(.init(), into: "two")
        try FileManager.default.createSymbolicLink(
            atPath: files.path("..data"), withDestinationPath: "one")
        let context = try files.open()
        let start = ContinuousClock.now + .seconds(2)
        let first = context.current(at: start)
        try FileManager.default.createSymbolicLink(
            atPath: files.path("..tmp"), withDestinationPath: "two")
        #expect(rename(files.path("..tmp"), files.path("..data")) == 0)
        #expect(context.current(at: start + .seconds(2)) !== first)
        #expect(files.told == ["reloaded"])
    }

    @Test func `bad new files change nothing and are told once`() throws {
        let files = try ListenerFiles(.init())
        let context = try files.open()
        let start = ContinuousClock.now + .seconds(2)
        let first = context.current(at: start)
        let next = try ListenerFiles.Pair()
        try files.write(next.certificate, to: files.path("tls.crt"))
        for second in [2, 4, 6] {
            #expect(context.current(at: start + .seconds(second)) === first)
        }
        #expect(files.told.count == 1)
        #expect(files.told.first?.contains("does not belong") == true)
        try FileManager.default.removeItem(atPath: files.path("tls.key"))
        #expect(context.current(at: start + .seconds(8)) === first)
        #expect(files.told.count == 2)
        try files.write(next.key, to: files.path("tls.key"))
        #expect(context.current(at: start + .seconds(10)) !== first)
        #expect(files.told.last == "reloaded")
    }
}
