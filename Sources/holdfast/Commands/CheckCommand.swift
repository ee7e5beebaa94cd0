import ArgumentParser
import HoldfastConfig

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Validates a configuration and prints what it understood.",
        discussion: "Exit code 0 when it can be used, 5 when not.")

    @Argument(help: "The configuration file.")
    var file = "holdfast.yaml"

    func run() throws {
        let config = try ConfigFile.load(file)
        // Also what only starting would find: zones and price rows.
        try openOrExplain { _ = try Node.counterPolicy(config) }
        for line in config.summary() { Terminal.say(line) }
    }
}
