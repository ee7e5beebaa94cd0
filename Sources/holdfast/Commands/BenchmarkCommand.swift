import ArgumentParser
import HoldfastEdge

struct BenchmarkCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "benchmark", abstract: "How fast this machine is at what Holdfast does.",
        subcommands: [
            DecisionBenchmarkCommand.self, MeteringBenchmarkCommand.self,
            CounterBenchmarkCommand.self,
        ],
        defaultSubcommand: DecisionBenchmarkCommand.self)
}

struct DecisionBenchmarkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decision", abstract: "How long a decision takes on this machine.",
        discussion: """
            Runs the code that decides on requests, warm, in this process: which caps apply, what the
            request can cost at most, and a hold on every account. Build with 'make build' first; a
            debug build is many times slower.
            """)

    @Option(help: "Decisions to time.")
    var iterations = 200_000

    func run() throws {
        guard iterations > 0 else { throw ValidationError("--iterations must be above zero") }
        Terminal.say("                                    p50        p99        max")
        for capCount in [1, 3, 10] {
            let benchmark = try openOrExplain { try DecisionBenchmark(capCount: capCount) }
            for row in benchmark.run(iterations: iterations) {
                let quantiles = [row.quantiles.p50, row.quantiles.p99, row.quantiles.max]
                let columns = quantiles.map { pad("\($0) ns", 11) }.joined()
                Terminal.say(padRight(row.name, 30) + columns)
            }
        }
        Terminal.say("goal: decision with 3 caps at most 3000 ns at p50, clock reads included")
    }

    private func pad(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }

    private func padRight(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
