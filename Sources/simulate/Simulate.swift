import ArgumentParser
import HoldfastSimulation

/// `holdfast simulate` is this file too, see Sources/holdfast/Commands/SimulateCommand.swift.
@main
struct Simulate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Try to overspend a cap in a simulated cluster.",
        discussion: SimulationOptions.discussion)

    @OptionGroup var options: SimulationOptions

    func run() async throws { try await options.run() }
}
