import HoldfastProviders
import Testing

@Suite struct `Event stream parser` {
    struct Event: Equatable {
        var name: String?
        var data: String?

        init(_ name: String?, _ data: String?) {
            self.name = name
            self.data = data
        }
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var stream: String
        var events: @Sendable () -> [Event]

        init(_ stream: String, _ events: @autoclosure @escaping @Sendable () -> [Event]) {
            self.stream = stream
            self.events = events
        }

        var testDescription: String { stream.debugDescription }
    }

    @Test(arguments: [
        Row("data: a\n\n", [Event(nil, "a")]),
        Row("data:a\n\ndata:  b\n\n", [Event(nil, "a"), Event(nil, " b")]),
        Row("event: x\ndata: a\ndata\ndata: b\n\n", [Event("x", "a\n\nb")]),
        Row("event: x\nevent: y\nid: 1\nretry: 5\nunknown\ndata: a\n\n", [Event("y", "a")]),
        Row(": comment\n\ndata: a\n\n", [Event(nil, nil), Event(nil, "a")]),
        Row("\n\ndata: a\n\n", [Event(nil, nil), Event(nil, nil), Event(nil, "a")]),
        Row("\u{FEFF}data: a\n\n\u{FEFF}data: b\n\n", [Event(nil, "a"), Event(nil, nil)]),
        Row("data: a\r\n\r\ndata: b\r\n\r\n", [Event(nil, "a"), Event(nil, "b")]),
        Row("data: a\r\rdata: b\r\r", [Event(nil, "a"), Event(nil, "b")]),
        Row(
            "data: a\r\n\ndata: b\n\r\ndata: c\r\r\n",
            [
                Event(nil, "a"), Event(nil, "b"), Event(nil, "c"),
            ]),
        Row("data: a\n\ndata: rest", [Event(nil, "a"), Event(nil, "rest")]),
        Row("data: a\r", [Event(nil, "a")]),
        Row("event: only\n", [Event("only", nil)]),
        Row("data: Grüße 👋\n\n", [Event(nil, "Grüße 👋")]),
        Row("", []),
    ])
    func `events come out whole, wherever the stream is cut`(row: Row) {
        check(Array(row.stream.utf8), row.events())
    }

    @Test func `an overlong event is reported once, and nothing is lost`() {
        let stream = Array(
            "data: ok\n\ndata: \(String(repeating: "x", count: 40))\n\ndata: a\n\n".utf8)
        for cuts in cutsOf(stream) {
            var parser = SSEParser(eventByteCountMax: 20)
            let pieces = feed(cuts, to: &parser)
            var overlongCount = 0
            for piece in pieces {
                if case .overlong = piece { overlongCount += 1 }
            }
            #expect(overlongCount == 1)
            guard case .event(let first)? = pieces.first else {
                Issue.record("the event before it is lost")
                continue
            }
            #expect(first.data.map(Array.init) == Array("ok".utf8))
            #expect(pieces.flatMap(raw) == stream)
            #expect(!parser.isBetweenEvents)
        }
    }

    @Test func `an event of exactly the limit passes, one byte more does not`() {
        let stream = Array("data: 12\r\n\r\n".utf8)
        for cuts in cutsOf(stream) {
            var parser = SSEParser(eventByteCountMax: stream.count)
            _ = feed(cuts, to: &parser)
            #expect(!parser.isOverlong)
            parser = SSEParser(eventByteCountMax: stream.count - 1)
            _ = feed(cuts, to: &parser)
            #expect(parser.isOverlong)
        }
    }

    private func check(_ stream: [UInt8], _ expected: [Event]) {
        for cuts in cutsOf(stream) {
            var parser = SSEParser()
            let pieces = feed(cuts, to: &parser)
            #expect(pieces.flatMap(raw) == stream)
            var events: [Event] = []
            for case .event(let event) in pieces {
                events.append(
                    Event(event.name, event.data.map { String(decoding: $0, as: UTF8.self) }))
            }
            #expect(events == expected)
        }
    }

    private func feed(_ cuts: [[UInt8]], to parser: inout SSEParser) -> [SSEParser.Piece] {
        var pieces: [SSEParser.Piece] = []
        for bytes in cuts {
            parser.append(bytes)
            while let piece = parser.next() { pieces.append(piece) }
        }
        parser.finish()
        while let piece = parser.next() { pieces.append(piece) }
        return pieces
    }

    private func raw(_ piece: SSEParser.Piece) -> ArraySlice<UInt8> {
        switch piece {
        case .event(let event): event.rawBytes
        case .overlong(let bytes), .uninspected(let bytes): bytes
        }
    }
}

/// The bytes in one piece, in two pieces cut at every offset, and byte by byte.
func cutsOf(_ bytes: [UInt8]) -> [[[UInt8]]] {
    var all: [[[UInt8]]] = [[bytes], bytes.map { [$0] }]
    for offset in 1..<max(bytes.count, 1) {
        all.append([Array(bytes[..<offset]), Array(bytes[offset...])])
    }
    return all
}
