/// What a process is in the cluster. A certificate names it, so that an edge's cannot be used to pose
/// as a counter.
public enum NodeRole: String, Hashable, Sendable, CaseIterable {
    case edge
    case counter
}
