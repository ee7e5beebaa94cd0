import Foundation

/// What `dev/chaos` asks for.
enum ChaosSettings {
    private static func value(_ name: String) -> String? {
        ProcessInfo.processInfo.environment["HOLDFAST_CHAOS" + name]
    }

    /// All scenarios, not only those that are quick.
    static let isComplete = value("") == "all"
    /// Of the first storm.
    static let seed = value("_SEED").flatMap { UInt64($0) } ?? UInt64.random(in: 1...999_999)
    /// How many storms.
    static let rounds = value("_ROUNDS").flatMap { UInt64($0) } ?? 1
    /// Scenarios with this in their names; all when empty.
    static let only = value("_ONLY") ?? ""
    /// Where to write the table, as Markdown.
    static let tablePath = value("_TABLE")
    /// Whether the processes are of a release build: without optimisation nothing is said about speed.
    static let isOptimised = ProcessUnderTest.binary.path.contains("/release/")
    /// Where to keep what the processes have logged.
    static let logPath = value("_LOGS")
}
