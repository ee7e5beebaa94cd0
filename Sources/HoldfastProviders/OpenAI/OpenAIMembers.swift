/// Members that chat completions and responses have in common.
enum OpenAITools {
    private enum Key: String, CaseIterable {
        case type
        case cacheControl = "cache_control"
    }

    private enum CacheKey: String, CaseIterable { case ttl }

    private static let keys = KeyTable(Key.self)
    private static let cacheKeys = KeyTable(CacheKey.self)

    /// - Returns: how many tools there are.
    static func read(
        _ reader: inout RequestReader, into facts: inout RequestFacts
    ) throws(JSONError) -> UInt64 {
        guard try reader.enterArray("tools") else { return 0 }
        var count: UInt64 = 0
        while try reader.scanner.nextElement() {
            let type = try type(&reader, at: "tools[\(count)]", into: &facts)
            if type != "function", type != "custom" {
                reader.refuse(
                    .unboundable(
                        param: "tools[\(count)].type",
                        because: "only tools of type function and custom run on the caller's side"))
            }
            count += 1
        }
        return count
    }

    /// The value of the member `type` of the object that comes next, a tool or a part of a message.
    ///
    /// Where Anthropic's models are sold by this API, parts may have its cache marks.
    static func type(
        _ reader: inout RequestReader, at path: @autoclosure () -> String,
        into facts: inout RequestFacts
    ) throws(JSONError) -> String? {
        guard try reader.enterObject(path()) else { return nil }
        var type: String?
        var keys = KnownKeys(keys)
        while let key = try keys.next(&reader.scanner) {
            switch key {
            case .type: type = try reader.string(path() + ".type")
            case .cacheControl: try readCacheControl(&reader, at: path(), into: &facts)
            }
        }
        reader.check(keys, at: path())
        return type
    }

    static func readCacheControl(
        _ reader: inout RequestReader, at path: @autoclosure () -> String,
        into facts: inout RequestFacts
    ) throws(JSONError) {
        guard try reader.enterObject(path() + ".cache_control") else { return }
        var keys = KnownKeys(cacheKeys)
        while try keys.next(&reader.scanner) != nil {
            // All but the short lifetime is held as the long one.
            if let ttl = try reader.string(path() + ".cache_control.ttl"), ttl != "5m" {
                facts.usesLongCacheWrite = true
            }
        }
        reader.check(keys, at: path() + ".cache_control")
    }
}

enum OpenAIReasoning {
    private enum Key: String, CaseIterable { case mode }

    private static let keys = KeyTable(Key.self)

    static func check(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterObject("reasoning") else { return }
        var keys = KnownKeys(keys)
        while try keys.next(&reader.scanner) != nil {
            guard let mode = try reader.string("reasoning.mode"), mode != "standard" else {
                continue
            }
            reader.refuse(
                .unboundable(
                    param: "reasoning.mode", because: "it multiplies the work behind one answer"))
        }
        reader.check(keys, at: "reasoning")
    }
}

extension RequestFacts {
    private enum CacheKey: String, CaseIterable { case ttl }

    private static let cacheKeys = KeyTable(CacheKey.self)
    private static let metadataCountMax = 16

    mutating func readCacheOptions(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterObject("prompt_cache_options") else { return }
        var keys = KnownKeys(Self.cacheKeys)
        while try keys.next(&reader.scanner) != nil {
            switch try reader.string("prompt_cache_options.ttl") {
            case nil, "30m": break
            case "12h": usesLongCacheWrite = true
            default:
                reader.refuse(
                    .unboundable(
                        param: "prompt_cache_options.ttl",
                        because: "the price of this lifetime is not known (30m and 12h are)"))
            }
        }
        reader.check(keys, at: "prompt_cache_options")
    }

    mutating func readCacheRetention(_ reader: inout RequestReader) throws(JSONError) {
        // Free where it exists, as far as is known; held at the dearer price all the same.
        if let value = try reader.string("prompt_cache_retention"), value != "in_memory",
            value != "in-memory"
        {
            usesLongCacheWrite = true
        }
    }

    mutating func readMetadata(_ reader: inout RequestReader) throws(JSONError) {
        guard try reader.enterObject("metadata") else { return }
        var count = 0
        while let key = try reader.scanner.nextKey() {
            count += 1
            let value = try reader.scanner.skipValue()
            guard count <= Self.metadataCountMax else {
                reader.refuse(
                    .invalid(
                        param: "metadata", expected: "at most \(Self.metadataCountMax) members"))
                continue
            }
            guard value.kind == .string else { continue }
            guard max(key.range.count, value.range.count) <= RequestReader.stringByteCountMax else {
                reader.refuse(
                    .invalid(
                        param: "metadata",
                        expected: "made of names and values of at most "
                            + "\(RequestReader.stringByteCountMax) bytes"))
                continue
            }
            guard let name = key.text, let text = JSON.string(value.range, in: reader.scanner.bytes)
            else { continue }
            if metadata.updateValue(text, forKey: name) != nil {
                reader.refuse(.duplicate(param: "metadata.\(name)"))
            }
        }
    }
}
