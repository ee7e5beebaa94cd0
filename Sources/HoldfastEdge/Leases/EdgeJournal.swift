import Foundation
import HoldfastAdmin
import HoldfastCore
import HoldfastLedger
import HoldfastTransport
import Logging
import Synchronization

/// The journal of this edge's session: on disk, before it happens, what may be spent and held on
/// each account. A thread of its own writes what has gathered as one batch, and tells the ledger when it
/// is on disk; requests wait for it only when they are short of what it says.
///
/// What cannot be written is not spent: admissions go on as far as the disk has confirmed, and
/// further when it can be written again. A file on which a write or a flush has failed is not
/// trusted any more (the kernel may have dropped what it could not write, and say so only once):
/// all of it is written anew.
final class EdgeJournal: Sendable {
    private struct State {
        var session: SessionID?
        var mark: [UInt8] = []
        var trouble: String?
        /// Boot-time milliseconds.
        var writingSince: Int64?
        var isStopping = false
        var isClean = false
        var lock: CInt?
        var onEnd: [@Sendable () -> Void] = []
        var isOver = false
    }

    /// Only the journal's thread has it.
    private struct Writer {
        var descriptor: CInt?
        var byteCount = 0
        /// Of the file when it was made: everything in it was live.
        var liveByteCount = 0
        var nextBatch: UInt64 = 1
        var live: [AccountKey: JournalRecord] = [:]
        /// Taken from the ledger, and not on disk yet.
        var pending: [JournalRecord] = []
    }

    static let retryMilliseconds = 1_000
    /// A disk that takes longer holds requests up, and somebody should know.
    static let slowMilliseconds: Int64 = 1_000
    /// The file is made anew when it is so many times what was live in it, and not small.
    static let growthMax = 8
    static let compactByteCountMin = 256 << 10
    private static let entriesPerBatch = 10_000

    /// From earlier lives, to be delivered.
    let recoveries: [EdgeJournalRecovery.Case]

    private let disk: EdgeJournalDisk
    private let metrics: EdgeMetrics
    private let logger: Logger
    private let state: Mutex<State>
    private let isDue = DispatchSemaphore(value: 0)
    private let isSignalled = Atomic<Bool>(false)
    private let compactByteCountMin: Int

    /// Locks the journal, reads what an earlier life has left, and puts it aside.
    init(
        disk: EdgeJournalDisk, metrics: EdgeMetrics, logger: Logger,
        compactByteCountMin: Int = EdgeJournal.compactByteCountMin
    ) throws(EdgeJournalError) {
        self.disk = disk
        self.metrics = metrics
        self.logger = logger
        self.compactByteCountMin = compactByteCountMin
        let taken: CInt?
        do {
            taken = try disk.lock()
        } catch {
            throw .unusable(reason: "\(error)")
        }
        guard let lock = taken else { throw .lockedByOther(path: disk.path) }
        do {
            recoveries = try Self.putAside(disk, logger)
        } catch {
            EdgeJournalDisk.unlock(lock)
            throw .unusable(reason: "\(error)")
        }
        state = Mutex(State(lock: lock))
    }

    deinit {
        if let lock = state.withLock({ $0.lock }) { EdgeJournalDisk.unlock(lock) }
    }

    /// Tells stores apart: a session's number means nothing to another one.
    static func mark(pepper: [UInt8]) -> [UInt8] {
        KeyDigest.of(secret: "holdfast edge journal", pepper: pepper)
    }

    /// Why the journal cannot be written; `nil` while all is well.
    var problem: String? {
        let (trouble, since) = state.withLock { ($0.trouble, $0.writingSince) }
        if let trouble { return "the journal cannot be written: \(trouble)" }
        guard let since else { return nil }
        let milliseconds = EdgeJournalDisk.boot - since
        guard milliseconds > Self.slowMilliseconds else { return nil }
        return "the journal's disk has not confirmed a write for \(milliseconds / 1_000) s"
    }

    // MARK: - From the edge

    func start(_ table: LeaseTable) {
        table.onJournal(
            due: { [weak self] in self?.signal() }, problem: { [weak self] in self?.problem })
        let thread = Thread { self.loop(table) }
        thread.name = "holdfast-journal"
        thread.start()
    }

    /// A counter has said which session this is. Said again with every connection.
    func begin(_ session: SessionID, pepper: [UInt8]) {
        state.withLock { state in
            guard state.session == nil else { return }
            state.session = session
            state.mark = Self.mark(pepper: pepper)
        }
        signal()
    }

    /// The session is over. What is not confirmed by the counters stays in the journal.
    func end(isClean: Bool) async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                state.isStopping = true
                state.isClean = isClean
                if !state.isOver { state.onEnd.append { continuation.resume() } }
                return state.isOver
            }
            if isOver { continuation.resume() }
            isDue.signal()
        }
    }

    private func signal() {
        guard !isSignalled.exchange(true, ordering: .acquiringAndReleasing) else { return }
        isDue.signal()
    }

    // MARK: - The thread

    private func loop(_ table: LeaseTable) {
        var writer = Writer()
        while true {
            let isInTrouble = state.withLock { $0.trouble != nil }
            if isInTrouble {
                _ = isDue.wait(timeout: .now() + .milliseconds(Self.retryMilliseconds))
            } else {
                isDue.wait()
            }
            isSignalled.store(false, ordering: .releasing)
            let (session, mark, isStopping) = state.withLock {
                ($0.session, $0.mark, $0.isStopping)
            }
            if isStopping { return stop(&writer) }
            guard let session else { continue }
            write(&writer, session, mark, table)
            // A disk in trouble is not asked more often because more requests come.
            if state.withLock({ $0.trouble != nil && !$0.isStopping }) {
                Thread.sleep(forTimeInterval: Double(Self.retryMilliseconds) / 4_000)
            }
        }
    }

    private func write(
        _ writer: inout Writer, _ session: SessionID, _ mark: [UInt8], _ table: LeaseTable
    ) {
        for record in table.takeJournalRecords() {
            let before = writer.live[record.key]?.unlocked ?? .zero
            writer.live[record.key] = JournalRecord(
                key: record.key, unlocked: max(before, record.unlocked),
                sequence: record.sequence)
            writer.pending.append(record)
        }
        guard writer.descriptor == nil || !writer.pending.isEmpty else { return }
        state.withLock { $0.writingSince = EdgeJournalDisk.boot }
        let started = ContinuousClock.now
        do {
            if writer.descriptor == nil {
                try rewrite(&writer, session, mark, table)
            } else {
                try append(&writer)
            }
        } catch {
            return failed(&writer, error)
        }
        metrics.journalWrites.increment()
        metrics.journalWrite.observe(started.duration(to: .now))
        recovered()
        if let last = writer.pending.last {
            writer.pending.removeAll(keepingCapacity: true)
            table.journaled(upTo: last.sequence)
        }
        compact(&writer, session, mark, table)
    }

    private func append(_ writer: inout Writer) throws(EdgeJournalDisk.Failure) {
        guard let descriptor = writer.descriptor else { return }
        let entries = writer.pending.map { JournalFile.Entry(key: $0.key, unlocked: $0.unlocked) }
        try put(entries, &writer.nextBatch, &writer.byteCount, descriptor)
        try disk.flush(descriptor)
    }

    private func put(
        _ entries: [JournalFile.Entry], _ next: inout UInt64, _ byteCount: inout Int,
        _ descriptor: CInt
    ) throws(EdgeJournalDisk.Failure) {
        let bytes = JournalFile.encode(
            .init(
                sequence: next, wall: EdgeJournalDisk.wall, boot: EdgeJournalDisk.boot,
                entries: entries))
        try disk.write(bytes, to: descriptor)
        next += 1
        byteCount += bytes.count
    }

    /// All that is live, in a new file that takes the old one's place.
    private func rewrite(
        _ writer: inout Writer, _ session: SessionID, _ mark: [UInt8], _ table: LeaseTable
    ) throws(EdgeJournalDisk.Failure) {
        // The counters know all about an account that was forgotten; nothing of it is left here.
        let known = table.known(Array(writer.live.keys))
        let waiting = Set(writer.pending.map(\.key))
        writer.live = writer.live.filter { known.contains($0.key) || waiting.contains($0.key) }
        let entries = writer.live.values.sorted { $0.sequence < $1.sequence }
            .map { JournalFile.Entry(key: $0.key, unlocked: $0.unlocked) }
        let draft = "\(disk.path).new"
        let descriptor = try disk.create(draft) { device, inode in
            JournalFile.encode(
                .init(
                    session: session, device: device, inode: inode, madeAt: EdgeJournalDisk.wall,
                    mark: mark))
        }
        var next: UInt64 = 1
        var byteCount = JournalFile.headerByteCount
        do throws(EdgeJournalDisk.Failure) {
            for start in stride(from: 0, to: entries.count, by: Self.entriesPerBatch) {
                let end = min(start + Self.entriesPerBatch, entries.count)
                try put(Array(entries[start..<end]), &next, &byteCount, descriptor)
            }
            try disk.flush(descriptor)
            try disk.rename(draft, to: disk.path)
            // The new name has changed the inode's time, see `JournalFile.inspect`.
            try put([], &next, &byteCount, descriptor)
            try disk.flush(descriptor)
        } catch {
            EdgeJournalDisk.close(descriptor)
            throw error
        }
        if let old = writer.descriptor { EdgeJournalDisk.close(old) }
        writer.descriptor = descriptor
        writer.nextBatch = next
        writer.byteCount = byteCount
        writer.liveByteCount = byteCount
    }

    private func compact(
        _ writer: inout Writer, _ session: SessionID, _ mark: [UInt8], _ table: LeaseTable
    ) {
        guard writer.byteCount > compactByteCountMin,
            writer.byteCount / Self.growthMax > writer.liveByteCount
        else { return }
        do {
            try rewrite(&writer, session, mark, table)
            recovered()
        } catch {
            // Half of it may have taken the old one's place.
            failed(&writer, error)
        }
    }

    private func failed(_ writer: inout Writer, _ error: EdgeJournalDisk.Failure) {
        if let descriptor = writer.descriptor { EdgeJournalDisk.close(descriptor) }
        writer.descriptor = nil
        metrics.journalFailures.increment()
        let isNew = state.withLock { state in
            defer { state.trouble = "\(error)" }
            return state.trouble == nil
        }
        guard isNew else { return }
        logger.critical(
            "the journal cannot be written; nothing is spent beyond what it says",
            metadata: ["error": "\(error)"])
    }

    private func recovered() {
        let wasInTrouble = state.withLock { state in
            defer {
                state.trouble = nil
                state.writingSince = nil
            }
            return state.trouble != nil
        }
        if wasInTrouble { logger.notice("the journal can be written again") }
    }

    private func stop(_ writer: inout Writer) {
        if let descriptor = writer.descriptor { EdgeJournalDisk.close(descriptor) }
        writer.descriptor = nil
        let isClean = state.withLock { $0.isClean }
        if isClean {
            do {
                // A session that is closed has nothing to give back.
                try EdgeJournalDisk.remove(disk.path)
                try disk.flushDirectory()
            } catch {
                logger.warning(
                    "the journal of a session that is closed was not removed; that does no harm",
                    metadata: ["error": "\(error)"])
            }
        }
        let (lock, actions) = state.withLock { state in
            defer {
                state.lock = nil
                state.onEnd = []
                state.isOver = true
            }
            return (state.lock, state.onEnd)
        }
        if let lock { EdgeJournalDisk.unlock(lock) }
        for action in actions { action() }
    }
}

/// Why an edge cannot start with its journal.
enum EdgeJournalError: Error, CustomStringConvertible {
    case lockedByOther(path: String)
    case unusable(reason: String)

    var description: String {
        switch self {
        case .lockedByOther(let path):
            "\(path) is the journal of another Holdfast process that runs. Each needs its own."
        case .unusable(let reason): reason
        }
    }
}
