/// What a cap can be counted against.
public enum ScopeDimension: UInt8, Hashable, Sendable, CaseIterable {
    case key = 0
    case workload = 1
    case tenant = 2
    case user = 3
    case team = 4
    case session = 5
    case provider = 6
    case model = 7

    public var name: String {
        switch self {
        case .key: "key"
        case .workload: "workload"
        case .tenant: "tenant"
        case .user: "user"
        case .team: "team"
        case .session: "session"
        case .provider: "provider"
        case .model: "model"
        }
    }

    public init?(name: String) {
        guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = match
    }

    /// Whether a caller may set it by header or metadata, where its key allows that. The others
    /// follow from the key and the request itself.
    public var isCallerSettable: Bool {
        switch self {
        case .workload, .tenant, .user, .team, .session: true
        case .key, .provider, .model: false
        }
    }
}

/// The scope values of one request; `nil` where it has none.
public struct ScopeValues: Hashable, Sendable {
    private var values: [String?]

    public init() {
        values = Array(repeating: nil, count: ScopeDimension.allCases.count)
    }

    public subscript(dimension: ScopeDimension) -> String? {
        get { values[Int(dimension.rawValue)] }
        set { values[Int(dimension.rawValue)] = newValue }
    }
}
