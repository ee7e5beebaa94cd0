/// Makes the final response's head out of the header lines that libcurl hands over one by one.
///
/// libcurl shows informational responses and trailers in the same way, so a status line starts the
/// head again and what comes after the final head is dropped.
struct ResponseHeadParser {
    enum Step {
        case more
        case head(status: Int, headers: [(name: String, value: String)])
        case invalid(String)
    }

    /// All header lines of one transfer. Providers send 2 to 4 KiB.
    static let byteCountMax = 256 << 10

    private var status: Int?
    private var headers: [(name: String, value: String)] = []
    private var byteCount = 0
    private var isComplete = false

    /// Takes one line, with or without its line end.
    mutating func take(_ line: UnsafeRawBufferPointer) -> Step {
        byteCount += line.count
        guard byteCount <= Self.byteCountMax else { return .invalid("the head is too large") }
        guard !isComplete else { return .more }
        let content = line.droppingLineEnd
        if content.starts(with: "HTTP/".utf8) { return takeStatusLine(content) }
        guard let status else { return .invalid("the status line is missing") }
        if content.isEmpty { return finish(status) }
        return takeField(content)
    }

    private mutating func takeStatusLine(_ line: Slice<UnsafeRawBufferPointer>) -> Step {
        let parts = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: true)
        guard parts.count >= 2, parts[1].count == 3,
            let code = Int(String(decoding: parts[1], as: UTF8.self)), (100...599).contains(code)
        else { return .invalid("the status line has no status") }
        // Nothing ever asks for another protocol on the connection.
        guard code != 101 else { return .invalid("the server switched protocols") }
        status = code
        headers.removeAll(keepingCapacity: true)
        return .more
    }

    private mutating func takeField(_ line: Slice<UnsafeRawBufferPointer>) -> Step {
        guard line.allSatisfy(\.isFieldContent) else {
            return .invalid("a header line has a control character")
        }
        if line[line.startIndex].isBlank {
            // An old server's folded line: the rest of the value before it.
            guard let last = headers.popLast() else { return .invalid("a header has no name") }
            let value = String(decoding: line.trimmingBlanks, as: UTF8.self)
            headers.append((name: last.name, value: "\(last.value) \(value)"))
            return .more
        }
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else {
            return .invalid("a header line has no colon")
        }
        let name = line[..<colon]
        guard !name.isEmpty, name.allSatisfy(\.isToken) else {
            return .invalid("a header name is not a token")
        }
        let value = line[line.index(after: colon)...].trimmingBlanks
        headers.append(
            (
                name: String(decoding: name, as: UTF8.self),
                value: String(decoding: value, as: UTF8.self)
            ))
        return .more
    }

    private mutating func finish(_ code: Int) -> Step {
        if code < 200 {
            status = nil
            return .more
        }
        isComplete = true
        return .head(status: code, headers: headers)
    }
}

extension UInt8 {
    fileprivate var isBlank: Bool { self == 0x20 || self == 0x09 }
}

extension UnsafeRawBufferPointer {
    fileprivate var droppingLineEnd: Slice<UnsafeRawBufferPointer> {
        var end = endIndex
        if end > startIndex, self[end - 1] == 0x0A { end -= 1 }
        if end > startIndex, self[end - 1] == 0x0D { end -= 1 }
        return self[startIndex..<end]
    }
}

extension Slice<UnsafeRawBufferPointer> {
    fileprivate var trimmingBlanks: Slice<UnsafeRawBufferPointer> {
        var rest = self
        while let first = rest.first, first.isBlank { rest = rest.dropFirst() }
        while let last = rest.last, last.isBlank { rest = rest.dropLast() }
        return rest
    }
}
