import ArgumentParser

@main
struct Holdfast: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "holdfast",
        abstract: "Hard spending caps for LLM APIs.",
        discussion: """
            First look, without any API key:
              holdfast demo

            One machine:
              holdfast check holdfast.yaml
              holdfast serve --config holdfast.yaml

            Several machines:
              holdfast counter --config holdfast.yaml
              holdfast edge --config holdfast.yaml
            """,
        version: "0.1.0",
        subcommands: [
            DemoCommand.self, ServeCommand.self, EdgeCommand.self, CounterCommand.self,
            CertsCommand.self, SimulateCommand.self,
            CheckCommand.self, PricesCommand.self, SpendCommand.self, SessionsCommand.self,
            AccountsCommand.self,
            OperatorLogCommand.self, BenchmarkCommand.self, FakeProviderCommand.self,
        ])
}

/// Exit codes, documented in the README. 64 is ArgumentParser's for a wrong command line.
enum Exit {
    static let failure: Int32 = 1
    static let capCrossed: Int32 = 3
    static let counterUnreachable: Int32 = 4
    static let badConfig: Int32 = 5
}
