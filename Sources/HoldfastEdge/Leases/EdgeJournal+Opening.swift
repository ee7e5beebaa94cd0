import HoldfastCore
import Logging

/// What earlier lives have left: put aside before a new journal is begun.
extension EdgeJournal {
    /// A sound journal is kept as `PATH.recovering-SESSION` until it was delivered, one that is not
    /// believed as `PATH.old-SESSION` for whoever wants to look.
    static func putAside(
        _ disk: EdgeJournalDisk, _ logger: Logger
    ) throws(EdgeJournalDisk.Failure) -> [EdgeJournalRecovery.Case] {
        try EdgeJournalDisk.remove("\(disk.path).new")
        var cases: [EdgeJournalRecovery.Case] = []
        for path in try disk.siblings(".recovering-") + [disk.path] {
            guard let contents = try EdgeJournalDisk.read(path) else { continue }
            do throws(JournalFile.Doubt) {
                let reading = try JournalFile.inspect(
                    contents.bytes, device: contents.device, inode: contents.inode,
                    changedAt: contents.changedAt)
                let kept = "\(disk.path).recovering-\(reading.header.session.rawValue)"
                cases.removeAll { $0.path == kept }
                cases.append(.init(path: kept, reading: reading))
            } catch {
                try reject(path, contents, error, disk, logger)
                continue
            }
            guard path == disk.path, let found = cases.last else { continue }
            try disk.rename(disk.path, to: found.path)
            do {
                try date(found, disk)
            } catch {
                logger.warning(
                    "a journal can only be delivered in this life, for the disk is in trouble",
                    metadata: ["error": "\(error)"])
            }
        }
        return cases
    }

    /// The new name has changed the inode's time: another start should still believe the file.
    private static func date(
        _ found: EdgeJournalRecovery.Case, _ disk: EdgeJournalDisk
    ) throws(EdgeJournalDisk.Failure) {
        let reading = found.reading
        let descriptor = try EdgeJournalDisk.reopen(found.path, cutAt: reading.soundByteCount)
        defer { EdgeJournalDisk.close(descriptor) }
        let mark = JournalFile.Batch(
            sequence: reading.batchCount + 1, wall: EdgeJournalDisk.wall,
            boot: max(EdgeJournalDisk.boot, reading.boot))
        try disk.write(JournalFile.encode(mark), to: descriptor)
        try disk.flush(descriptor)
    }

    private static func reject(
        _ path: String, _ contents: EdgeJournalDisk.Contents, _ doubt: JournalFile.Doubt,
        _ disk: EdgeJournalDisk, _ logger: Logger
    ) throws(EdgeJournalDisk.Failure) {
        let session = session(of: contents.bytes).map { "\($0.rawValue)" }
        let kept = "\(disk.path).old-\(session ?? "unknown")"
        try disk.rename(path, to: kept)
        logger.warning(
            """
            a journal is not believed, nothing of its session is given back; once you know what \
            was spent, 'holdfast sessions refund' does it by hand
            """,
            metadata: [
                "reason": "\(doubt)", "session": "\(session ?? "unknown")", "kept": "\(kept)",
            ])
    }

    private static func session(of bytes: [UInt8]) -> SessionID? {
        do {
            return try JournalFile.decodeHeader(bytes).session
        } catch {
            return nil
        }
    }
}
