import HoldfastSimulation
import Testing

/// A few seeds in every test run, also in debug; `dev/prove` runs a thousand in release.
@Suite struct `Simulated clusters` {
    @Test(arguments: 1...4)
    func `keep their promises`(seed: UInt64) {
        let outcome = Simulation.run(seed: seed, hours: 1)
        #expect(outcome.violation == nil, "seed \(seed)")
        #expect(outcome.admitted > 0)
    }

    @Test func `tell the same story for the same seed`() {
        let first = Simulation.run(seed: 7, hours: 1, isTracing: true)
        let second = Simulation.run(seed: 7, hours: 1, isTracing: true)
        #expect(first.trace == second.trace)
        #expect(!first.trace.isEmpty)
        #expect(first.events == second.events)
    }

    @Test func `use a small cap to the end when nothing goes wrong`() {
        let outcome = Simulation.runBusy(seed: 1)
        #expect(outcome.violation == nil)
        #expect(outcome.refusedTooEarly == 0)
        #expect(outcome.used >= 9_900)
    }
}
