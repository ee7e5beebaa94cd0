import HoldfastAdmin
import Logging
import Synchronization
import Testing

@Suite struct AdminLogTests {
    @Test func `an event is one line of JSON with its metadata flattened`() {
        let line = logged { logger in
            logger.warning(
                "cap reached",
                metadata: [
                    "cap": "team", "usage": ["spent": "5", "open": ["holds": "2"]],
                    "edges": .array(["a", "b"]),
                ])
        }
        #expect(
            line == #"{"timestamp":"2026-11-21T10:15:30.123Z","level":"warning","label":"edge","#
                + #""message":"cap reached","cap":"team","edges":["a","b"],"#
                + #""usage.open.holds":"2","usage.spent":"5"}"# + "\n")
    }

    @Test func `nothing in an event can start a second line`() {
        let line = logged { logger in
            logger.error("a\nb\r\u{1B}[31m\u{2028}\"\\", metadata: ["k\n": "v\tw"])
        }
        #expect(line.contains(#""message":"a\nb\r\u001b[31m\u2028\"\\""#))
        #expect(line.contains(#""k\n":"v\tw""#))
        #expect(line.filter { $0.isNewline } == "\n")
    }

    @Test func `metadata cannot pose as the line's own fields`() {
        let line = logged { logger in
            logger.info("m", metadata: ["level": "debug", "message": ["x": "y"]])
        }
        #expect(line.contains(#""level":"info""#))
        #expect(line.contains(#""metadata.level":"debug""#))
        #expect(line.contains(#""message.x":"y""#))
    }

    @Test func `events below the level are not written`() {
        #expect(logged { $0.debug("quiet") } == "")
        #expect(logged { $0.info("heard") } != "")
    }

    @Test func `a time is cut to milliseconds`() {
        checkTime(0, 0, "1970-01-01T00:00:00.000Z")
        checkTime(951_782_399, 999_999_999, "2000-02-28T23:59:59.999Z")
        checkTime(951_782_400, 1_000_000, "2000-02-29T00:00:00.001Z")
    }

    @Test func `levels are read as operators write them`() throws {
        #expect(try LogLevel.parse("info") == .info)
        #expect(try LogLevel.parse("WARN") == .warning)
        #expect(try LogLevel.parse("Critical") == .critical)
        let error = #expect(throws: LogLevel.UnknownLevel.self) { try LogLevel.parse("loud") }
        #expect(error?.description.contains(#""loud" is not a log level"#) == true)
        #expect(error?.description.contains("trace, debug, info, notice, warning") == true)
    }

    private func logged(_ body: (Logger) -> Void) -> String {
        let kept = KeptLines()
        let logger = Logger(label: "edge") { label in
            JSONLogHandler(
                label: label, level: .info, sink: { kept.append($0) },
                now: { LogInstant(seconds: 1_795_256_130, nanoseconds: 123_999_999) })
        }
        body(logger)
        return kept.text
    }

    private func checkTime(
        _ seconds: Int, _ nanoseconds: Int, _ text: String,
        at location: SourceLocation = #_sourceLocation
    ) {
        let instant = LogInstant(seconds: seconds, nanoseconds: nanoseconds)
        #expect(instant.rfc3339 == text, sourceLocation: location)
    }
}

private final class KeptLines: Sendable {
    private let bytes = Mutex<[UInt8]>([])

    var text: String { bytes.withLock { String(decoding: $0, as: UTF8.self) } }

    func append(_ line: [UInt8]) {
        bytes.withLock { $0 += line }
    }
}
