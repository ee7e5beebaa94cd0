/// A key as it stands in the text.
public struct JSONKey: Sendable {
    let bytes: [UInt8]
    /// Without the quotes.
    let range: Range<Int>
    let isEscaped: Bool

    /// Decoded; `nil` when it contains a lone surrogate.
    public var text: String? { JSON.decode(range, in: bytes) }
}

/// The keys of one kind of object that mean something to us, by the length of their names, so that
/// looking one up compares bytes only with the few that could match and makes no `String`.
struct KeyTable<Key: CaseIterable & RawRepresentable<String> & Sendable>: Sendable {
    fileprivate struct Entry: Sendable {
        var name: [UInt8]
        var key: Key
        var bit: UInt64
    }

    private var byLength: [[Entry]] = []

    init(_: Key.Type = Key.self) {
        for (position, key) in Key.allCases.enumerated() {
            precondition(position < 64, "more keys than bits in a set")
            let name = Array(key.rawValue.utf8)
            while byLength.count <= name.count { byLength.append([]) }
            byLength[name.count].append(Entry(name: name, key: key, bit: 1 << UInt64(position)))
        }
    }

    /// `"max\u005ftokens"` is the same key as `"max_tokens"` to every parser, so escapes are
    /// decoded before the comparison.
    fileprivate func find(_ key: JSONKey) -> Entry? {
        if key.isEscaped {
            // Our names are ASCII, of which an escape takes six bytes: nothing longer can be one.
            guard key.range.count < 6 * byLength.count, let text = key.text else { return nil }
            return find(ArraySlice(Array(text.utf8)))
        }
        return find(key.bytes[key.range])
    }

    private func find(_ name: ArraySlice<UInt8>) -> Entry? {
        guard name.count < byLength.count else { return nil }
        return byLength[name.count].first { $0.name.elementsEqual(name) }
    }
}

/// Walks over the members of one object, stopping only at known keys.
///
/// A known key that comes twice is remembered and not returned again: parsers disagree on which one
/// wins, so what we bound might not be what the provider bills.
struct KnownKeys<Key: CaseIterable & RawRepresentable<String> & Sendable> {
    private let table: KeyTable<Key>
    private var seen: UInt64 = 0
    private(set) var duplicate: Key?

    init(_ table: KeyTable<Key>) {
        self.table = table
    }

    /// The next known key, with `scanner` before its value; `nil` at the end of the object. Values
    /// of other members are skipped.
    mutating func next(_ scanner: inout JSONScanner) throws(JSONError) -> Key? {
        while let key = try scanner.nextKey() {
            if let known = match(key) { return known }
            try scanner.skipValue()
        }
        return nil
    }

    /// The known key that this is, if it is one and comes for the first time.
    mutating func match(_ key: JSONKey) -> Key? {
        guard let entry = table.find(key) else { return nil }
        guard seen & entry.bit == 0 else {
            duplicate = duplicate ?? entry.key
            return nil
        }
        seen |= entry.bit
        return entry.key
    }
}
