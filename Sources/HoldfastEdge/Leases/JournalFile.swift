import HoldfastCore

/// The bytes of an edge's journal. Pure: `EdgeJournal` reads and writes the file.
///
///     file    = header batch*                        all numbers little endian
///     header  = "HFJOURNL" version(4) session(8) device(8) inode(8) wall(8) mark(32) crc(4)
///     batch   = "HFb1" size(4) wall(8) boot(8) sequence(8) crc(4 of payload) crc(4 of these 36)
///               payload
///     payload = (unlocked(8) size(4) key)*
///
/// What is written together is one batch with one checksum, so that a write that a power failure
/// cut in any way is one unsound batch at the end, with nothing sound behind it.
enum JournalFile {
    struct Header: Equatable, Sendable {
        var session: SessionID
        /// Where the file itself was made: a copy has another place.
        var device: UInt64
        var inode: UInt64
        /// Wall clock, milliseconds since 1970.
        var madeAt: Int64
        /// Of the store that issued the session, see `EdgeJournal.mark`.
        var mark: [UInt8]
    }

    struct Entry: Equatable, Sendable {
        var key: AccountKey
        /// The most that may be spent and held.
        var unlocked: Amount
    }

    struct Batch: Equatable, Sendable {
        /// 1, 2, 3, … within the file.
        var sequence: UInt64
        /// Wall clock, milliseconds since 1970, right before the write.
        var wall: Int64
        /// Boot-time clock, milliseconds.
        var boot: Int64
        /// None in a batch that only says when.
        var entries: [Entry] = []
    }

    struct Reading: Equatable, Sendable {
        var header: Header
        /// The largest of each account; the one written last comes first.
        var entries: [Entry] = []
        /// When the file was last written, by its own word.
        var wall: Int64
        var boot: Int64 = .min
        var batchCount: UInt64 = 0
        /// Without an end that was cut.
        var soundByteCount: Int
        var isTorn = false
    }

    /// Why nothing in a file is to be believed.
    enum Doubt: Error, Equatable, Sendable, CustomStringConvertible {
        case notAJournal
        case unknownVersion(UInt32)
        case damaged(atByte: Int)
        case copied
        case changedLater(milliseconds: Int64)
        case changedEarlier(milliseconds: Int64)

        var description: String {
            switch self {
            case .notAJournal: "it does not begin like a journal"
            case .unknownVersion(let version):
                "its format is version \(version), this build reads version \(JournalFile.version)"
            case .damaged(let byte): "it is damaged at byte \(byte)"
            case .copied: "it is a copy: it was written as another file"
            case .changedLater(let milliseconds):
                "it was restored, moved or changed \(milliseconds / 1_000) s after it was written"
            case .changedEarlier(let milliseconds):
                "it claims to be \(milliseconds / 1_000) s newer than its file is"
            }
        }
    }

    static let version: UInt32 = 1
    static let markByteCount = 32
    static let headerByteCount = 80
    static let batchHeaderByteCount = 40
    static let payloadByteCountMax = 64 << 20
    /// Between a batch's clock and the time that the file system notes.
    static let clockTolerance: Int64 = 2_000

    private static let magic = Array("HFJOURNL".utf8)
    private static let batchMagic = Array("HFb1".utf8)

    // MARK: - Write

    static func encode(_ header: Header) -> [UInt8] {
        precondition(header.mark.count == markByteCount, "a mark of another size")
        var bytes = magic
        bytes.append(number: version)
        bytes.append(number: header.session.rawValue)
        bytes.append(number: header.device)
        bytes.append(number: header.inode)
        bytes.append(number: UInt64(bitPattern: header.madeAt))
        bytes += header.mark
        bytes.append(number: CRC32C.of(bytes[...]))
        return bytes
    }

    static func encode(_ batch: Batch) -> [UInt8] {
        var payload: [UInt8] = []
        for entry in batch.entries {
            payload.append(number: entry.unlocked.rawValue)
            let key = Array(entry.key.text.utf8)
            payload.append(number: UInt32(key.count))
            payload += key
        }
        var bytes = batchMagic
        bytes.append(number: UInt32(payload.count))
        bytes.append(number: UInt64(bitPattern: batch.wall))
        bytes.append(number: UInt64(bitPattern: batch.boot))
        bytes.append(number: batch.sequence)
        bytes.append(number: CRC32C.of(payload[...]))
        bytes.append(number: CRC32C.of(bytes[...]))
        return bytes + payload
    }

    // MARK: - Read

    static func decodeHeader(_ bytes: [UInt8]) throws(Doubt) -> Header {
        guard bytes.count >= magic.count + 4, bytes.starts(with: magic) else { throw .notAJournal }
        let found: UInt32 = bytes.number(at: magic.count)
        guard found == version else { throw .unknownVersion(found) }
        let crcAt = headerByteCount - 4
        guard bytes.count >= headerByteCount,
            bytes.number(at: crcAt) == CRC32C.of(bytes[..<crcAt])
        else { throw .damaged(atByte: 0) }
        return Header(
            session: SessionID(bytes.number(at: 12)), device: bytes.number(at: 20),
            inode: bytes.number(at: 28), madeAt: Int64(bitPattern: bytes.number(at: 36)),
            mark: Array(bytes[44..<crcAt]))
    }

    /// Everything up to an end that was cut. An unsound batch that a sound one follows is damage.
    static func decode(_ bytes: [UInt8]) throws(Doubt) -> Reading {
        let header = try decodeHeader(bytes)
        var reading = Reading(
            header: header, wall: header.madeAt, soundByteCount: headerByteCount)
        var newest: [AccountKey: (order: Int, unlocked: Amount)] = [:]
        var order = 0
        while reading.soundByteCount < bytes.count {
            let start = reading.soundByteCount
            guard let size = batchSize(bytes, at: start) else {
                reading.isTorn = true
                break
            }
            // Also of a batch that was cut: the file was written when it says.
            try take(bytes, at: start, into: &reading)
            let payload = start + batchHeaderByteCount
            let isWhole = payload + size <= bytes.count
            guard isWhole,
                bytes.number(at: start + 32) == CRC32C.of(bytes[payload..<payload + size])
            else {
                reading.isTorn = true
                break
            }
            for entry in try entries(bytes, payload..<payload + size) {
                order += 1
                let before = newest[entry.key]?.unlocked ?? .zero
                newest[entry.key] = (order, max(before, entry.unlocked))
            }
            reading.batchCount += 1
            reading.soundByteCount = payload + size
        }
        if reading.isTorn { try requireNothingSound(bytes, after: reading.soundByteCount) }
        reading.entries = newest.sorted { $0.value.order > $1.value.order }
            .map { Entry(key: $0.key, unlocked: $0.value.unlocked) }
        return reading
    }

    /// `decode`, and whether the file is the one that was written, as it was left.
    ///
    /// The inode's change time cannot be set, and every write sets it. A copy that is put over the
    /// file, with whatever modification time, has a later one than its newest batch says. So has a
    /// file that was renamed, linked, or given another owner: those cannot be told apart from it.
    ///
    /// - Parameter changedAt: the file's `st_ctim`, in milliseconds since 1970.
    static func inspect(
        _ bytes: [UInt8], device: UInt64, inode: UInt64, changedAt: Int64
    ) throws(Doubt) -> Reading {
        let reading = try decode(bytes)
        guard reading.header.device == device, reading.header.inode == inode else {
            throw .copied
        }
        let (later, overflow) = changedAt.subtractingReportingOverflow(reading.wall)
        guard !overflow, later <= clockTolerance else {
            throw .changedLater(milliseconds: overflow ? .max : later)
        }
        guard later >= -clockTolerance else {
            throw .changedEarlier(milliseconds: Int64(clamping: later.magnitude))
        }
        return reading
    }

    /// Payload bytes of the batch that begins here; `nil` when its header is unsound.
    private static func batchSize(_ bytes: [UInt8], at start: Int) -> Int? {
        let end = start + batchHeaderByteCount
        guard end <= bytes.count, bytes[start..<start + 4].elementsEqual(batchMagic),
            bytes.number(at: end - 4) == CRC32C.of(bytes[start..<end - 4])
        else { return nil }
        let size: UInt32 = bytes.number(at: start + 4)
        return size <= UInt32(payloadByteCountMax) ? Int(size) : nil
    }

    /// Batches follow each other without a gap, and one process wrote all of them.
    private static func take(
        _ bytes: [UInt8], at start: Int, into reading: inout Reading
    ) throws(Doubt) {
        let boot = Int64(bitPattern: bytes.number(at: start + 16))
        guard bytes.number(at: start + 24) == reading.batchCount + 1, boot >= reading.boot else {
            throw .damaged(atByte: start)
        }
        reading.wall = Int64(bitPattern: bytes.number(at: start + 8))
        reading.boot = boot
    }

    private static func entries(
        _ bytes: [UInt8], _ range: Range<Int>
    ) throws(Doubt) -> [Entry] {
        var entries: [Entry] = []
        var position = range.lowerBound
        while position < range.upperBound {
            let text = position + 12
            guard text <= range.upperBound else { throw .damaged(atByte: position) }
            let unlocked: UInt64 = bytes.number(at: position)
            let size: UInt32 = bytes.number(at: position + 8)
            guard unlocked <= Limits.amountMax, Int(size) <= range.upperBound - text,
                let string = String(validating: bytes[text..<text + Int(size)], as: UTF8.self),
                let key = AccountKey(text: string)
            else { throw .damaged(atByte: position) }
            entries.append(Entry(key: key, unlocked: Amount(unlocked)))
            position = text + Int(size)
        }
        return entries
    }

    private static func requireNothingSound(
        _ bytes: [UInt8], after start: Int
    ) throws(Doubt) {
        var position = start + 1
        while position + batchHeaderByteCount <= bytes.count {
            if batchSize(bytes, at: position) != nil { throw .damaged(atByte: start) }
            position += 1
        }
    }
}

extension [UInt8] {
    fileprivate mutating func append(number: some FixedWidthInteger & UnsignedInteger) {
        for shift in stride(from: 0, to: number.bitWidth, by: 8) {
            append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }

    fileprivate func number<Number: FixedWidthInteger & UnsignedInteger>(
        at position: Int
    ) -> Number {
        var number = Number.zero
        for index in 0..<Number.bitWidth / 8 {
            number |= Number(truncatingIfNeeded: self[position + index]) << (index * 8)
        }
        return number
    }
}
