/// Whether a stream reports its usage, which OpenAI's do only when they are asked to.
enum StreamOptions {
    private enum Key: String, CaseIterable {
        case includeUsage = "include_usage"
    }

    private static let keys = KeyTable(Key.self)

    case absent
    case null(Range<Int>)
    /// With the range of the value of `include_usage`, or where it can be inserted.
    case usage(Bool, Range<Int>)
    case noUsage(insertAt: Int, isEmpty: Bool)

    /// Reads the value that comes next.
    init(_ reader: inout RequestReader) throws(JSONError) {
        self = .absent
        if try reader.scanner.peekKind() == .null {
            self = .null(try reader.scanner.skipValue().range)
            return
        }
        guard try reader.enterObject("stream_options") else { return }
        let start = reader.scanner.index
        var isEmpty = true
        var found: (Bool, Range<Int>)?
        var keys = KnownKeys(Self.keys)
        while let key = try reader.scanner.nextKey() {
            isEmpty = false
            guard keys.match(key) != nil else {
                try reader.scanner.skipValue()
                continue
            }
            reader.scanner.skipSpace()
            let valueStart = reader.scanner.index
            let value = try reader.bool("stream_options.include_usage") ?? false
            found = (value, valueStart..<reader.scanner.index)
        }
        reader.check(keys, at: "stream_options")
        if let (value, range) = found {
            self = .usage(value, range)
        } else {
            self = .noUsage(insertAt: start, isEmpty: isEmpty)
        }
    }
}

extension RequestFacts {
    /// Makes a stream report its usage.
    ///
    /// - Parameter start: where the first member of the body may be put.
    mutating func reportUsage(_ options: StreamOptions, insertAt start: Int) {
        guard isStream else { return }
        switch options {
        case .usage(true, _):
            callerAskedForUsage = true
        case .usage(false, let range):
            usageSplice = Splice(range, "true")
        case .noUsage(let index, let isEmpty):
            usageSplice = Splice(
                index..<index, isEmpty ? "\"include_usage\":true" : "\"include_usage\":true,")
        case .null(let range):
            usageSplice = Splice(range, "{\"include_usage\":true}")
        case .absent:
            usageSplice = Splice(
                start..<start, "\"stream_options\":{\"include_usage\":true},")
        }
    }

    /// The provider reports usage unasked, and the caller sees it.
    mutating func leaveUsage() {
        usageSplice = nil
        callerAskedForUsage = true
    }
}
