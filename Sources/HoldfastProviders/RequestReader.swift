/// Reads fields that we act on from a request body, remembering the first reason to refuse it.
///
/// A wrong field does not stop the walk: the rest is still validated, so a body that is not JSON is
/// always reported as that, and errors in the walk itself have one type.
struct RequestReader {
    /// Above it an output limit means nothing for any model, and sums could come near overflow.
    static let outputLimitMax: UInt64 = 1 << 31

    /// Bytes of a string that we act on, as it stands in the body. Everything that is compared here is
    /// far shorter, and comparing or hashing text takes quadratic time in a run of combining marks:
    /// half a megabyte of them as the model's name would hold up an event loop for half a minute.
    static let stringByteCountMax = 4_096

    var scanner: JSONScanner
    private(set) var refusal: RequestError?

    init(_ body: [UInt8]) {
        scanner = JSONScanner(body)
    }

    mutating func refuse(_ error: RequestError) {
        refusal = refusal ?? error
    }

    /// `nil` for `null`, which providers treat as if the field were not there, and when refused.
    mutating func string(_ param: @autoclosure () -> String) throws(JSONError) -> String? {
        let value = try scanner.skipValue()
        switch value.kind {
        case .null: return nil
        case .string:
            guard value.range.count <= Self.stringByteCountMax else {
                refuse(
                    .invalid(
                        param: param(), expected: "at most \(Self.stringByteCountMax) bytes long"))
                return nil
            }
            if let text = JSON.string(value.range, in: scanner.bytes) { return text }
            refuse(.invalid(param: param(), expected: "a string without lone surrogates"))
        case .object, .array, .number, .true, .false:
            refuse(.invalid(param: param(), expected: "a string"))
        }
        return nil
    }

    mutating func bool(_ param: @autoclosure () -> String) throws(JSONError) -> Bool? {
        switch try scanner.skipValue().kind {
        case .null: return nil
        case .true: return true
        case .false: return false
        case .object, .array, .string, .number:
            refuse(.invalid(param: param(), expected: "true or false"))
            return nil
        }
    }

    /// A count within the range, and where it stands; the value is `nil` for `null`.
    mutating func count(
        _ param: @autoclosure () -> String, in allowed: ClosedRange<UInt64>
    ) throws(JSONError) -> (value: UInt64?, range: Range<Int>) {
        let value = try scanner.skipValue()
        if value.kind == .null { return (nil, value.range) }
        if value.kind == .number, let number = JSON.unsigned(value.range, in: scanner.bytes),
            allowed.contains(number)
        {
            return (number, value.range)
        }
        refuse(
            .invalid(
                param: param(),
                expected: "a whole number from \(allowed.lowerBound) to \(allowed.upperBound), "
                    + "written without sign, fraction or exponent"))
        return (nil, value.range)
    }

    /// Enters an object; `false` for `null`, and when refused.
    mutating func enterObject(_ param: @autoclosure () -> String) throws(JSONError) -> Bool {
        switch try scanner.peekKind() {
        case .object:
            try scanner.enterObject()
            return true
        case .null: break
        case .array, .string, .number, .true, .false:
            refuse(.invalid(param: param(), expected: "an object"))
        }
        try scanner.skipValue()
        return false
    }

    /// Enters an array; `false` for `null`, and when refused.
    mutating func enterArray(_ param: @autoclosure () -> String) throws(JSONError) -> Bool {
        switch try scanner.peekKind() {
        case .array:
            try scanner.enterArray()
            return true
        case .null: break
        case .object, .string, .number, .true, .false:
            refuse(.invalid(param: param(), expected: "an array"))
        }
        try scanner.skipValue()
        return false
    }

    /// Refuses the field unless its value says "not used": `null`, `false`, an empty array. An
    /// empty object is a use with all its defaults.
    mutating func refuseUse(
        _ param: @autoclosure () -> String, because: @autoclosure () -> String
    ) throws(JSONError) {
        let value = try scanner.skipValue()
        switch value.kind {
        case .null, .false: return
        case .array:
            var content = JSONScanner(scanner.bytes, in: value.range)
            try content.enterArray()
            guard try content.nextElement() else { return }
        case .object, .string, .number, .true: break
        }
        refuse(.unboundable(param: param(), because: because()))
    }

    /// The next member that is known; others that are not harmless are refused unless they say "not
    /// used".
    mutating func next<Key>(
        _ keys: inout KnownKeys<Key>, harmless: Set<String>
    ) throws(JSONError) -> Key? {
        while let key = try scanner.nextKey() {
            if let known = keys.match(key) { return known }
            let name = key.range.count <= Self.stringByteCountMax ? key.text : nil
            if let name, harmless.contains(name) {
                try scanner.skipValue()
            } else {
                try refuseUse(
                    name ?? "a member",
                    because: "members of that name are not known to this version")
            }
        }
        return nil
    }

    /// To call at the end of every object that was walked with `KnownKeys`.
    mutating func check<Key>(_ keys: KnownKeys<Key>, at path: @autoclosure () -> String = "") {
        guard let duplicate = keys.duplicate else { return }
        let path = path()
        refuse(
            .duplicate(param: path.isEmpty ? duplicate.rawValue : "\(path).\(duplicate.rawValue)"))
    }

    /// Reads the whole body, which must be an object, with one function for its members.
    static func read<Facts>(
        _ body: [UInt8], _ members: (inout RequestReader) throws(JSONError) -> Facts?
    ) throws(RequestError) -> Facts {
        var reader = RequestReader(body)
        var facts: Facts?
        do throws(JSONError) {
            if try reader.scanner.peekKind() == .object {
                facts = try members(&reader)
            } else {
                try reader.scanner.skipValue()
                reader.refuse(.notAnObject)
            }
            try reader.scanner.finish()
        } catch {
            throw .malformedJSON(error)
        }
        if let refusal = reader.refusal { throw refusal }
        guard let facts else { preconditionFailure("no facts and no refusal") }
        return facts
    }
}
