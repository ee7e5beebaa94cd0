import Testing

@testable import HoldfastEgress

@Suite
struct ResponseHeadParserTests {
    /// The head as `status name=value|…`, `invalid` or `incomplete`.
    private func check(
        _ lines: [String], _ expected: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        var parser = ResponseHeadParser()
        var result = "incomplete"
        for line in lines {
            let step = Array(line.utf8).withUnsafeBytes { parser.take($0) }
            switch step {
            case .more: continue
            case .head(let status, let headers):
                let fields = headers.map { "\($0.name)=\($0.value)" }.joined(separator: "|")
                result = "\(status) \(fields)"
            case .invalid: result = "invalid"
            }
            if result == "invalid" { break }
        }
        #expect(result == expected, sourceLocation: sourceLocation)
    }

    @Test func `a head is its last status line and what follows`() {
        check(["HTTP/1.1 200 OK\r\n", "A: b\r\n", "\r\n"], "200 A=b")
        check(["HTTP/2 204 \r\n", "\r\n"], "204 ")
        check(["HTTP/1.1 404\r\n", "a:b\n", "c:\r\n", "\n"], "404 a=b|c=")
        check(["HTTP/1.1 200 OK\r\n", "a: b:c \t\r\n", "\r\n"], "200 a=b:c")
        check(
            ["HTTP/1.1 103 H\r\n", "x: y\r\n", "\r\n", "HTTP/1.1 200 OK\r\n", "a: b\r\n", "\r\n"],
            "200 a=b")
        check(["HTTP/1.1 200 OK\r\n", "a: b\r\n", "\t c\r\n", "\r\n"], "200 a=b c")
        check(["HTTP/1.1 200 OK\r\n", "\r\n", "trailer: late\r\n"], "200 ")
    }

    @Test func `a head that has not ended is not a head`() {
        check([], "incomplete")
        check(["HTTP/1.1 200 OK\r\n", "a: b\r\n"], "incomplete")
        check(["HTTP/1.1 100 Continue\r\n", "\r\n"], "incomplete")
    }

    @Test func `what is not a head is refused`() {
        check(["a: b\r\n"], "invalid")
        check(["\r\n"], "invalid")
        check(["HTTP/1.1\r\n"], "invalid")
        check(["HTTP/1.1 20\r\n"], "invalid")
        check(["HTTP/1.1 2000 OK\r\n"], "invalid")
        check(["HTTP/1.1 099 OK\r\n"], "invalid")
        check(["HTTP/1.1 600 OK\r\n"], "invalid")
        check(["HTTP/1.1 +20 OK\r\n"], "invalid")
        check(["HTTP/1.1 101 Switching Protocols\r\n"], "invalid")
        check(["HTTP/1.1 100 C\r\n", "\r\n", "a: b\r\n"], "invalid")
        check(["HTTP/1.1 200 OK\r\n", "no colon\r\n"], "invalid")
        check(["HTTP/1.1 200 OK\r\n", ": no name\r\n"], "invalid")
        check(["HTTP/1.1 200 OK\r\n", "a b: c\r\n"], "invalid")
        check(["HTTP/1.1 200 OK\r\n", "a : c\r\n"], "invalid")
        check(["HTTP/1.1 200 OK\r\n", "a: b\rc\r\n"], "invalid")
        check(["HTTP/1.1 200 OK\r\n", "a: b\u{0}\r\n"], "invalid")
        check(["HTTP/1.1 200 OK\r\n", " folded: nothing\r\n"], "invalid")
    }

    @Test func `a head has a largest size`() {
        let line = "a: " + String(repeating: "b", count: 1_000)
        let start = ["HTTP/1.1 200 OK\r\n"]
        let fitting = (ResponseHeadParser.byteCountMax - 100) / 1_003
        check(start + Array(repeating: line, count: fitting), "incomplete")
        check(start + Array(repeating: line, count: fitting + 1), "invalid")
    }

    @Test func `a wait is rounded up to whole milliseconds`() {
        for (duration, expected) in [
            (Duration.zero, 0), (.nanoseconds(1), 1), (.milliseconds(1), 1),
            (.microseconds(1_001), 2), (.seconds(3), 3_000), (.seconds(1 << 40), 2_000_000_000),
        ] {
            #expect(duration.wholeMilliseconds == expected)
        }
    }
}
