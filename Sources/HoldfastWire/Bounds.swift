import HoldfastCore

// What is bounded where it enters the process, so that nothing past this has to ask.

/// Past this the engines may add amounts.
func amount(_ value: UInt64, _ field: String) throws(WireError) -> Amount {
    guard value <= Limits.amountMax else { throw .amountOutOfBounds(field: field) }
    return Amount(value)
}

/// Seconds or milliseconds since 1970. Past this a clock may be added or taken away.
func time(_ value: Int64, _ field: String) throws(WireError) -> Int64 {
    let latest = UnixTime.distantFuture.seconds
    guard (-latest...latest).contains(value) else { throw .malformed(field: field) }
    return value
}

/// At most `byteCountMax` bytes of UTF-8: names and values end up in keys of the store and in logs.
func text(
    _ value: String, atMost byteCountMax: Int, _ field: String
) throws(WireError) -> String {
    guard value.utf8.count <= byteCountMax else { throw .malformed(field: field) }
    return value
}

/// A number from a list that this version knows; another one is never taken for one of them.
func known<Value: RawRepresentable>(
    _ value: UInt32, _ field: String
) throws(WireError) -> Value where Value.RawValue == UInt8 {
    guard let small = UInt8(exactly: value), let known = Value(rawValue: small) else {
        throw .malformed(field: field)
    }
    return known
}

func checkEntryCount(_ count: Int) throws(WireError) {
    guard count <= Limits.reportEntryCountMax else { throw .tooManyEntries(count) }
}
