import ArgumentParser
import HoldfastSimulation

/// What `simulate` and `holdfast simulate` can be told.
struct SimulationOptions: ParsableArguments {
    static let discussion = """
        Runs the real engines of edges and counters in one thread per seed, with a simulated store,
        network, clocks and providers, and everything that can go wrong with them. An auditor of its
        own judges them by what the provider billed. A seed always tells the same story.

        Exit code 1 when a promise was broken.
        """

    @Option(help: "The first seed.")
    var seed: UInt64 = 1

    @Option(help: "How many seeds.")
    var seeds = 1

    @Option(help: "Simulated hours per seed.")
    var hours: UInt64 = 1

    @Option(help: "Seeds at the same time.")
    var workers = 2

    @Flag(help: "Show the last events of the seed.")
    var trace = false

    @Option(help: "Trace lines to show.")
    var lines = 200

    @Flag(help: "Stop at the first broken promise.")
    var stop = false

    @Flag(help: "No faults: eight edges with 16 streams each on one small cap.")
    var busy = false

    @Flag(help: "Explore every state of a small model instead.")
    var model = false

    @Flag(help: "With --model: the larger bounds.")
    var long = false

    @Flag(help: "Fail when any kind of fault has not happened.")
    var requireAllFaults = false

    func validate() throws {
        guard seeds > 0, hours > 0, workers > 0 else {
            throw ValidationError("--seeds, --hours and --workers must be above zero")
        }
    }

    func run() async throws {
        if busy { return try runBusy() }
        if model { return try await runModel() }
        if trace { return try runTrace() }
        try await runSeeds()
    }

    private func runSeeds() async throws {
        let started = ContinuousClock.now
        let run = SimulationRun(
            firstSeed: seed, seedCount: seeds, hours: hours, workers: min(workers, seeds),
            stopsAtViolation: stop)
        let step = max(1, seeds / 20)
        let totals = await run.run { totals in
            guard totals.seeds.isMultiple(of: step), totals.seeds < seeds else { return }
            let speed = Double(totals.simulatedSeconds) / started.duration(to: .now).seconds
            print(
                "\(totals.seeds) seeds, \(totals.simulatedSeconds / 3_600) h, "
                    + "\(Int(speed)) simulated seconds per second")
        }
        let report = totals.report(
            wallSeconds: started.duration(to: .now).seconds, workers: min(workers, seeds),
            command: "holdfast simulate --hours \(hours)")
        for line in report { print(line) }
        if !totals.violations.isEmpty { throw ExitCode(1) }
        if requireAllFaults, !totals.faults.missing.isEmpty { throw ExitCode(1) }
    }

    private func runModel() async throws {
        let bounds = long ? SmallModel.longBounds : SmallModel.testBounds
        var isFine = true
        await withTaskGroup(of: SmallModel.Report.self) { group in
            var waiting = bounds[...]
            for bounds in waiting.prefix(workers) {
                group.addTask { SmallModel.explore(bounds) }
            }
            waiting = waiting.dropFirst(workers)
            while let report = await group.next() {
                if let next = waiting.popFirst() {
                    group.addTask { SmallModel.explore(next) }
                }
                print(
                    "\(report.name): \(report.stateCount) states, "
                        + "\(report.transitionCount) transitions, "
                        + (report.isExhausted ? "all there are" : "bounded")
                        + (report.cutCount > 0 ? ", \(report.cutCount) not gone beyond" : ""))
                guard let violation = report.violation else { continue }
                isFine = false
                for line in violation.trace { print("  \(line)") }
                print("  VIOLATION: \(violation.message)")
            }
        }
        print(isFine ? "no promise was broken" : "a promise was broken")
        if !isFine { throw ExitCode(1) }
    }

    private func runTrace() throws {
        let outcome = Simulation.run(seed: seed, hours: hours, isTracing: true)
        for line in outcome.trace.suffix(lines) { print(line) }
        guard let violation = outcome.violation else {
            return print("seed \(seed): no promise was broken")
        }
        print("VIOLATION of \(violation.invariant) after \(violation.at) s: \(violation.message)")
        throw ExitCode(1)
    }

    private func runBusy() throws {
        var isFine = true
        for seed in seed..<(seed + UInt64(seeds)) {
            let outcome = Simulation.runBusy(seed: seed)
            let percent = "\(outcome.used / 100).\(String(100 + outcome.used % 100).dropFirst())"
            print(
                "seed \(seed): \(percent) % of the cap billed by \(outcome.admitted) requests, "
                    + "\(outcome.refusedTooEarly) refused too early"
                    + (outcome.violation.map { ", VIOLATION of \($0.invariant): \($0.message)" }
                        ?? ""))
            isFine =
                isFine && outcome.violation == nil && outcome.refusedTooEarly == 0
                && outcome.used >= 9_900
        }
        if !isFine { throw ExitCode(1) }
    }
}

extension Duration {
    fileprivate var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}
