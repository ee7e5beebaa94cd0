import ArgumentParser
import Foundation
import HoldfastConfig
import HoldfastCounter
import HoldfastLedger
import HoldfastStore

struct CounterBenchmarkCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "counter", abstract: "What one counter node commits, from frame to answer.",
        discussion: """
            Edges report over loopback to a counter in this process, which commits to a real store: a
            new SQLite file, or the database that is named, which is marked as the benchmark's. An
            entry is what one edge says of one account. 'make bench-counter' runs it with a PostgreSQL
            pair of its own and prints Redis beside it.
            """)

    @Option(help: "A PostgreSQL database that is empty or this command's, instead of SQLite.")
    var postgres: String?

    @Option(help: "Seconds that each case is measured for.")
    var seconds = 5.0

    @Option(help: "Only cases with this text in their names.")
    var only = ""

    @Flag(help: "Uses a PostgreSQL server that may lose what it has acknowledged.")
    var allowUnsafeStore = false

    func run() async throws {
        guard (0.1...600).contains(seconds) else {
            throw ValidationError("--seconds must be between 0.1 and 600")
        }
        let store = postgres == nil ? "sqlite" : "postgres"
        Terminal.say(
            "store     case                                        entries/s  commits/s"
                + "   p50 ms   p99 ms")
        for (name, load) in cases where only.isEmpty || name.contains(only) {
            let result: CounterBenchmark.Result
            do {
                result = try await measure(load)
            } catch let error as CounterBenchmark.Failed {
                Terminal.note("error: \(name): \(error)")
                throw ExitCode(Exit.failure)
            }
            let numbers = [
                (result.entriesPerSecond, 11, 0), (result.commitsPerSecond, 11, 0),
                (result.p50, 9, 2), (result.p99, 9, 2),
            ].map { value, width, digits in String(format: "%\(width).\(digits)f", value) }
            Terminal.say(
                store.padding(toLength: 10, withPad: " ", startingAt: 0)
                    + name.padding(toLength: 42, withPad: " ", startingAt: 0) + numbers.joined())
        }
    }

    private var cases: [(String, CounterBenchmark.Load)] {
        var distinct = CounterBenchmark.Load()
        distinct.edgeCount = 20
        distinct.accountCount = 100_000
        distinct.entriesPerFrame = 500
        var repeating = CounterBenchmark.Load()
        repeating.edgeCount = 8
        repeating.accountCount = 1_000
        repeating.isShared = true
        var hot = CounterBenchmark.Load()
        hot.edgeCount = 200
        hot.accountCount = 1
        hot.isShared = true
        hot.pauseMilliseconds = 100
        return [
            ("100,000 accounts, each its own edge's", distinct),
            ("1,000 accounts, each of 8 edges", repeating),
            ("one account, 200 edges every 100 ms", hot),
        ].map { name, load in
            var load = load
            load.seconds = seconds
            return (name, load)
        }
    }

    private func measure(
        _ load: CounterBenchmark.Load
    ) async throws -> CounterBenchmark.Result {
        var settings = CounterEngine.Settings()
        guard let postgres else {
            settings.cacheTrust = .max
            let directory = FileManager.default.temporaryDirectory
                .appendingPathComponent("holdfast-benchmark-\(UUID().uuidString)")
            try FileManager.default.createDirectory(
                at: directory, withIntermediateDirectories: true)
            defer { remove(directory) }
            let path = directory.appendingPathComponent("benchmark.db").path
            let store = try openOrExplain { try SQLiteStore(path: path) }
            return try await CounterBenchmark(load, settings: settings).run(on: store)
        }
        var options = PostgresStore.Options()
        options.cluster = "benchmark"
        options.isUnsafeAllowed = allowUnsafeStore
        let store = try openOrExplain {
            let location = try PostgresLocation(postgres)
            return try PostgresStore(
                .init(uri: location.uri, name: location.description), options: options)
        }
        return try await CounterBenchmark(load, settings: settings).run(on: store)
    }

    private func remove(_ directory: URL) {
        do {
            try FileManager.default.removeItem(at: directory)
        } catch {
            Terminal.note("warning: \(directory.path) was left behind: \(error)")
        }
    }
}
