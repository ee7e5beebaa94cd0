import Foundation
import Glibc
import HoldfastAdmin
import HoldfastCore
import HoldfastLedger
import Logging
import Synchronization
import Testing

@testable import HoldfastEdge

@Suite struct EdgeJournalTests {
    private let account = target("acme", limit: 100_000)

    // MARK: - Write

    @Test func `a request is held only when the disk has confirmed`() async throws {
        try await withSite { site in
            let disk = StubbornDisk()
            let life = try site.life(disk)
            disk.isBroken = true
            life.begin()
            _ = life.fixture.admit(request([account]))
            life.fixture.answer(totalGranted: 1_000, limit: 100_000)
            try await until { disk.failureCount > 0 }
            #expect(life.fixture.answers.isEmpty)
            disk.isBroken = false
            try await until { life.fixture.answers.first?.hold != nil }
            let reading = try #require(try site.reading())
            let slot = try #require(life.fixture.table.standing(of: account.key))
            #expect(reading.entries.map(\.key) == [account.key])
            #expect(reading.entries[0].unlocked >= slot.held)
            #expect(slot.held == Amount(100))
            await life.journal.end(isClean: false)
        }
    }

    @Test func `a disk in trouble is named, refuses what needs it, and heals`() async throws {
        try await withSite { site in
            let disk = StubbornDisk()
            let life = try site.life(disk)
            life.begin()
            try await until { try site.reading() != nil }
            #expect(life.journal.problem == nil)
            disk.isBroken = true
            let id = try #require(life.fixture.wait(request([account])))
            life.fixture.answer(totalGranted: 1_000, limit: 100_000)
            try await until { life.journal.problem != nil }
            #expect(life.journal.problem?.contains("No space left") == true)
            #expect(!life.fixture.table.deadline(id))
            #expect(life.fixture.answers.map(\.name) == ["not journaled"])
            disk.isBroken = false
            try await until { life.journal.problem == nil }
            // At once, or when the disk has confirmed it.
            _ = life.fixture.admit(request([account]))
            try await until { life.fixture.table.counts.holds == 1 }
            await life.journal.end(isClean: false)
            // Nothing of the file that failed is left in the way.
            #expect(try site.reading()?.isTorn == false)
        }
    }

    @Test func `the file is made anew when most of it is old`() async throws {
        try await withSite { site in
            let life = try site.life(compactByteCountMin: 2_000)
            life.begin()
            _ = life.fixture.admit(request([account]))
            life.fixture.answer(totalGranted: 90_000, limit: 100_000)
            try await until { life.fixture.table.counts.holds == 1 }
            var sizes: [Int] = []
            for count in 2...400 {
                _ = life.fixture.admit(request([account]))
                try await until { life.fixture.table.counts.holds == count }
                sizes.append(try site.byteCount())
            }
            let largest = sizes.max() ?? 0
            #expect(largest > 500 && largest < 4_000, "\(largest)")
            #expect(zip(sizes, sizes.dropFirst()).contains { $0 > $1 })
            await life.journal.end(isClean: false)
            let held = try #require(life.fixture.table.standing(of: account.key)?.held)
            let reading = try #require(try site.reading())
            #expect((reading.entries.first?.unlocked ?? .zero) >= held)
            // And it is believed.
            let next = try site.life()
            #expect(next.journal.recoveries.map(\.reading.entries.count) == [1])
            await next.journal.end(isClean: false)
        }
    }

    // MARK: - Come back

    @Test func `a journal is found again, also after several starts`() async throws {
        try await withSite { site in
            try await site.crash(with: account)
            let entries = try #require(try site.reading()?.entries)
            #expect(entries.count == 1)
            for _ in 0..<3 {
                let life = try site.life()
                #expect(life.journal.recoveries.map(\.reading.entries) == [entries])
                #expect(try site.names() == ["edge.journal.lock", "edge.journal.recovering-1"])
                await life.journal.end(isClean: false)
            }
        }
    }

    @Test func `a clean end leaves nothing to be given back`() async throws {
        try await withSite { site in
            try await site.crash(with: account, isClean: true)
            #expect(try site.names() == ["edge.journal.lock"])
            let life = try site.life()
            #expect(life.journal.recoveries.isEmpty)
            await life.journal.end(isClean: true)
        }
    }

    @Test func `a cut end is no reason not to believe the rest`() async throws {
        try await withSite { site in
            try await site.crash(with: account)
            let sound = try #require(try site.reading())
            let entries = sound.entries
            let cut = JournalFile.Batch(
                sequence: sound.batchCount + 1, wall: EdgeJournalDisk.wall,
                boot: EdgeJournalDisk.boot, entries: entries)
            try site.append(Array(JournalFile.encode(cut).dropLast()))
            let life = try site.life()
            #expect(life.journal.recoveries.first?.reading.entries == entries)
            #expect(life.journal.recoveries.first?.reading.isTorn == true)
            await life.journal.end(isClean: false)
            // The next start finds a whole one.
            let next = try site.life()
            #expect(next.journal.recoveries.first?.reading.isTorn == false)
            #expect(next.journal.recoveries.first?.reading.entries == entries)
            await next.journal.end(isClean: false)
        }
    }

    /// What is done to the file between two lives, and what is then said of it.
    @Test(arguments: Tampering.allCases)
    func `a journal that was touched is not believed`(_ tampering: Tampering) async throws {
        try await withSite { site in
            try await site.crash(with: account)
            try await tampering.perform(on: site)
            let log = LogBook()
            let life = try site.life(log: log)
            #expect(life.journal.recoveries.isEmpty)
            let warning = try #require(log.lines.first { $0.contains("not believed") })
            #expect(warning.contains("holdfast sessions refund"))
            #expect(warning.contains(tampering.reason), "\(warning)")
            #expect(try site.names().contains { $0.hasPrefix("edge.journal.old-") })
            life.begin()
            try await until { try site.reading() != nil }
            await life.journal.end(isClean: false)
            // It is not asked about again.
            let next = try site.life()
            #expect(next.journal.recoveries.map(\.reading.entries) == [[]])
            await next.journal.end(isClean: false)
        }
    }

    @Test func `two processes do not share a journal`() async throws {
        try await withSite { site in
            let life = try site.life()
            #expect {
                _ = try site.life()
            } throws: { error in
                "\(error)".contains("is the journal of another Holdfast process")
            }
            await life.journal.end(isClean: false)
            let next = try site.life()
            await next.journal.end(isClean: false)
        }
    }

    @Test func `a path that cannot be used is explained`() throws {
        for (path, reason) in [
            ("/nowhere/edge.journal", "No such file"), ("/tmp", "Is a directory"),
            ("/dev/null", "Invalid argument"),
        ] {
            #expect {
                _ = try EdgeJournal(
                    disk: EdgeJournalDisk(path: path), metrics: EdgeMetrics(MetricRegistry()),
                    logger: LogBook().logger)
            } throws: { error in
                "\(error)".contains(reason)
            }
        }
    }
}

enum Tampering: CaseIterable, Sendable {
    case copiedBack, overwritten, changedOwner, damaged, truncatedHeader

    var reason: String {
        switch self {
        case .copiedBack: "is a copy"
        case .overwritten, .changedOwner: "restored, moved or changed"
        case .damaged: "is damaged"
        case .truncatedHeader: "does not begin like a journal"
        }
    }

    func perform(on site: JournalSite) async throws {
        let path = site.path
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        switch self {
        case .copiedBack:
            // While the old one is there, its inode is taken.
            try bytes.write(to: URL(fileURLWithPath: "\(path).backup"))
            #expect(rename("\(path).backup", path) == 0)
        case .overwritten, .changedOwner:
            // The times are the file system's: only waiting makes it older.
            try await Task.sleep(for: .milliseconds(2_100))
            if self == .changedOwner {
                #expect(chmod(path, 0o640) == 0)
                return
            }
            let descriptor = open(path, O_WRONLY | O_TRUNC)
            let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            #expect(count == bytes.count)
            close(descriptor)
            // As `cp -p` and `rsync -t` do.
            var times = [timespec](repeating: timespec(tv_sec: 1_000_000, tv_nsec: 0), count: 2)
            #expect(utimensat(AT_FDCWD, path, &times, 0) == 0)
        case .damaged:
            let descriptor = open(path, O_RDWR)
            let position = off_t(JournalFile.headerByteCount + 20)
            var byte: UInt8 = 0
            #expect(pread(descriptor, &byte, 1, position) == 1)
            byte ^= 1
            #expect(pwrite(descriptor, &byte, 1, position) == 1)
            close(descriptor)
        case .truncatedHeader:
            #expect(truncate(path, 5) == 0)
        }
    }
}

// MARK: - Fixtures

/// A disk whose flush can fail.
final class StubbornDisk: Sendable {
    private let state = Mutex((isBroken: false, failureCount: 0))

    var isBroken: Bool {
        get { state.withLock { $0.isBroken } }
        set { state.withLock { $0.isBroken = newValue } }
    }

    var failureCount: Int { state.withLock { $0.failureCount } }

    func flush(_ descriptor: CInt) -> CInt {
        let isBroken = state.withLock { state in
            if state.isBroken { state.failureCount += 1 }
            return state.isBroken
        }
        guard isBroken else { return fdatasync(descriptor) }
        errno = ENOSPC
        return -1
    }
}

final class LogBook: Sendable {
    private struct Handler: LogHandler {
        let book: LogBook
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            book.state.withLock {
                $0.append("\(event.level) \(event.message) \(event.metadata ?? [:])")
            }
        }
    }

    private let state = Mutex<[String]>([])

    var lines: [String] { state.withLock { $0 } }
    var logger: Logger { Logger(label: "test") { _ in Handler(book: self) } }
}

/// A directory for the journals of one edge's lives.
final class JournalSite: Sendable {
    /// One life: its ledger and its journal.
    struct Life {
        let fixture = TableFixture(isJournaled: true)
        let journal: EdgeJournal

        func begin() { journal.begin(SessionID(1), pepper: [1]) }
    }

    let directory: URL
    var path: String { directory.appendingPathComponent("edge.journal").path }

    fileprivate init() throws {
        directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("holdfast-journal-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    }

    func life(
        _ stubborn: StubbornDisk = StubbornDisk(), log: LogBook = LogBook(),
        compactByteCountMin: Int = EdgeJournal.compactByteCountMin
    ) throws -> Life {
        let life = Life(
            journal: try EdgeJournal(
                disk: EdgeJournalDisk(path: path) { stubborn.flush($0) },
                metrics: EdgeMetrics(MetricRegistry()), logger: log.logger,
                compactByteCountMin: compactByteCountMin))
        life.journal.start(life.fixture.table)
        return life
    }

    /// A life that ends with one request held.
    func crash(with account: AccountTarget, isClean: Bool = false) async throws {
        let life = try life()
        life.begin()
        _ = life.fixture.admit(request([account]))
        life.fixture.answer(totalGranted: 1_000, limit: 100_000)
        try await until { life.fixture.answers.first?.hold != nil }
        await life.journal.end(isClean: isClean)
    }

    func reading() throws -> JournalFile.Reading? {
        try EdgeJournalDisk.read(path).map { try JournalFile.decode($0.bytes) }
    }

    func byteCount() throws -> Int { try EdgeJournalDisk.read(path)?.bytes.count ?? 0 }

    func append(_ bytes: [UInt8]) throws {
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try file.seekToEnd()
        try file.write(contentsOf: bytes)
        try file.close()
    }

    func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
    }

    fileprivate func remove() throws { try FileManager.default.removeItem(at: directory) }
}

private func withSite(_ body: (JournalSite) async throws -> Void) async throws {
    let site = try JournalSite()
    do {
        try await body(site)
    } catch {
        try site.remove()
        throw error
    }
    try site.remove()
}

private struct NotInTime: Error {}

/// The journal's thread reaches a state when it does.
private func until(_ condition: () throws -> Bool) async throws {
    let end = ContinuousClock.now + .seconds(10)
    while try !condition() {
        guard ContinuousClock.now < end else { throw NotInTime() }
        try await Task.sleep(for: .milliseconds(2))
    }
}
