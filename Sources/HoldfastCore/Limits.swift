/// Every bound that more than one module relies on, with its reason.
public enum Limits {
    /// Largest amount that may enter the process, in nano-dollars or tokens: 2^60, about
    /// $1.15 billion. Sums of a few such amounts still fit in 64 bits.
    public static let amountMax: UInt64 = 1 << 60

    /// Bytes of one lease frame, header excluded. Larger ones close the connection.
    public static let frameByteCountMax = 4 << 20

    /// Entries of one report frame: 2,000 × (32 bytes + a key of at most 1 KiB) stays below the
    /// frame limit.
    public static let reportEntryCountMax = 2_000

    /// UTF-8 bytes of one scope value (a tenant, a user, …).
    public static let scopeValueByteCountMax = 256

    /// UTF-8 bytes of a cap's name.
    public static let capNameByteCountMax = 128

    /// UTF-8 bytes of an edge's name: a host name has at most 253.
    public static let edgeNameByteCountMax = 256

    /// Counters of one cluster: each edge is connected to all of them.
    public static let counterCountMax = 64

    /// UTF-8 bytes of a counter's address: a host name has at most 253, a port 5.
    public static let counterAddressByteCountMax = 260

    /// Caps that one request may be counted against.
    public static let capsPerRequestMax = 32

    /// Requests in flight on one edge, each with an open hold.
    public static let holdCountMax = 100_000

    /// Requests that wait for budget on one edge.
    public static let waiterCountMax = 10_000

    /// Default largest request body, the largest that Anthropic accepts.
    public static let bodyByteCountMaxDefault = 32 << 20

    /// Nesting depth of JSON that we read.
    public static let jsonDepthMax = 128
}
