internal import Glibc
package import Logging

/// Writes each event as one line of JSON (here in two) to standard error:
///
///     {"timestamp":"2026-11-21T10:15:30.123Z","level":"info","label":"edge","message":"…",
///      "port":"8080"}
///
/// Metadata is flattened into the object: dictionaries become dotted names, arrays stay arrays of
/// text. A name that the line itself uses gets the prefix `metadata.`.
package struct JSONLogHandler: LogHandler {
    /// Takes one finished line, line feed included.
    package typealias Sink = @Sendable ([UInt8]) -> Void

    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    private let label: String
    private let sink: Sink
    private let now: @Sendable () -> LogInstant

    package init(
        label: String, level: Logger.Level = .info,
        metadataProvider: Logger.MetadataProvider? = nil
    ) {
        self.init(
            label: label, level: level, metadataProvider: metadataProvider,
            sink: Self.writeToStandardError, now: LogInstant.now)
    }

    package init(
        label: String, level: Logger.Level, metadataProvider: Logger.MetadataProvider? = nil,
        sink: @escaping Sink, now: @escaping @Sendable () -> LogInstant
    ) {
        self.label = label
        self.logLevel = level
        self.metadataProvider = metadataProvider
        self.sink = sink
        self.now = now
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var fields = metadata
        if let provided = metadataProvider?.get() {
            fields.merge(provided) { _, new in new }
        }
        if let own = event.metadata {
            fields.merge(own) { _, new in new }
        }
        if let error = event.error {
            fields["error"] = .string("\(error)")
        }
        sink(line(level: event.level, message: "\(event.message)", fields: fields))
    }

    private func line(
        level: Logger.Level, message: String, fields: Logger.Metadata
    ) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(256)
        out += "{\"timestamp\":\"\(now().rfc3339)\",\"level\":\"\(level.rawValue)\",\"label\":".utf8
        JSONText.append(label, to: &out)
        out += ",\"message\":".utf8
        JSONText.append(message, to: &out)
        append(fields, prefix: "", to: &out)
        out += "}\n".utf8
        return out
    }

    private static let ownNames: Set<String> = ["timestamp", "level", "label", "message"]

    private func append(_ fields: Logger.Metadata, prefix: String, to out: inout [UInt8]) {
        // Sorted, so that the same event always gives the same line.
        for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
            let name = prefix + key
            if case .dictionary(let inner) = value {
                append(inner, prefix: name + ".", to: &out)
                continue
            }
            out.append(UInt8(ascii: ","))
            JSONText.append(Self.ownNames.contains(name) ? "metadata.\(name)" : name, to: &out)
            out.append(UInt8(ascii: ":"))
            append(value, to: &out)
        }
    }

    private func append(_ value: Logger.MetadataValue, to out: inout [UInt8]) {
        guard case .array(let items) = value else {
            JSONText.append(value.description, to: &out)
            return
        }
        out.append(UInt8(ascii: "["))
        for (index, item) in items.enumerated() {
            if index > 0 { out.append(UInt8(ascii: ",")) }
            append(item, to: &out)
        }
        out.append(UInt8(ascii: "]"))
    }

    /// One `write` per line, so that lines of several threads do not mix (the kernel keeps writes
    /// to a pipe of up to 4 KiB whole). A line that cannot be written is lost: there is nowhere left
    /// to report it, and logging must not stop the process.
    private static func writeToStandardError(_ line: [UInt8]) {
        line.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let start = UnsafeRawBufferPointer(rebasing: rest).baseAddress
                let count = write(STDERR_FILENO, start, rest.count)
                if count > 0 {
                    rest = rest.dropFirst(count)
                } else if errno != EINTR {
                    return
                }
            }
        }
    }
}

/// The time of a log event.
package struct LogInstant: Hashable, Sendable {
    /// Since 1970-01-01T00:00:00Z.
    package let seconds: Int
    /// Below one second.
    package let nanoseconds: Int

    package init(seconds: Int, nanoseconds: Int) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    package static func now() -> LogInstant {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return LogInstant(seconds: time.tv_sec, nanoseconds: time.tv_nsec)
    }

    /// RFC 3339 in UTC with milliseconds, cut and not rounded: `2026-11-21T10:15:30.123Z`.
    package var rfc3339: String {
        var time = time_t(seconds)
        var parts = tm()
        gmtime_r(&time, &parts)
        let date =
            "\(padded(Int(parts.tm_year) + 1900, 4))-\(padded(Int(parts.tm_mon) + 1, 2))"
            + "-\(padded(Int(parts.tm_mday), 2))"
        let clock =
            "\(padded(Int(parts.tm_hour), 2)):\(padded(Int(parts.tm_min), 2))"
            + ":\(padded(Int(parts.tm_sec), 2)).\(padded(nanoseconds / 1_000_000, 3))"
        return "\(date)T\(clock)Z"
    }

    private func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}

/// A log level as an operator writes it.
package enum LogLevel {
    package struct UnknownLevel: Error, Hashable, CustomStringConvertible {
        package let text: String

        package var description: String {
            let known = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            return "\(JSONText.quoted(text)) is not a log level; it is one of \(known)"
        }
    }

    /// Case does not matter; `warn` is accepted for `warning`.
    package static func parse(_ text: String) throws(UnknownLevel) -> Logger.Level {
        let name = text.lowercased()
        if let level = Logger.Level(rawValue: name == "warn" ? "warning" : name) { return level }
        throw UnknownLevel(text: text)
    }
}
