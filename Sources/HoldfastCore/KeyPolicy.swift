/// What a virtual key stands for: its fixed scope values, and which ones its callers may set.
///
/// Never holds the secret. Edges fetch it by the secret's HMAC and cache it.
public struct KeyPolicy: Hashable, Sendable {
    public var name: String
    /// Values that every request with this key has.
    public var fixed: [ScopeDimension: String]
    /// Dimensions that the caller may set by header or body metadata. A fixed value wins.
    public var callerSettable: Set<ScopeDimension>

    public init(
        name: String, fixed: [ScopeDimension: String] = [:],
        callerSettable: Set<ScopeDimension> = []
    ) {
        self.name = name
        self.fixed = fixed
        self.callerSettable = callerSettable
    }
}
