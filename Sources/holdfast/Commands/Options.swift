import ArgumentParser
import Foundation
import HoldfastAdmin
import HoldfastConfig
import HoldfastCounter
import HoldfastProviders
import Logging

/// What commands with a store take.
struct StoreOptions: ParsableArguments {
    @Flag(
        help: """
            The store's file was restored from a backup: listens to what edges hold for a lease's \
            lifetime before it grants anything. For one start only.
            """)
    var restored = false

    @Flag(
        help: """
            Uses a PostgreSQL server that may lose what it has acknowledged: budget can then be \
            granted twice. For trials, and where the storage itself is replicated.
            """)
    var allowUnsafeStore = false

    func open(on node: Node) throws -> CounterCore {
        try node.openCounter(isRestored: restored, isUnsafeAllowed: allowUnsafeStore)
    }
}

/// What commands that proxy requests take.
struct EdgeOptions: ParsableArguments {
    @Option(
        help: """
            A file on a local disk, instead of 'journal' in the configuration: after a crash this \
            edge gives back what it had not used. Each edge needs its own.
            """)
    var journal: String?

    func apply(to config: inout Config) {
        if let journal { config.journal = journal }
    }
}

/// What all long-running commands take.
struct NodeOptions: ParsableArguments {
    @Option(name: [.short, .long], help: "The configuration file.")
    var config = "holdfast.yaml"

    @Option(help: "Where callers connect, instead of 'listen' in the file.")
    var listen: String?

    @Option(help: "Probes, metrics and accounts, instead of 'admin.listen' in the file.")
    var adminListen: String?

    @Option(help: "trace, debug, info, notice, warning, error or critical.")
    var logLevel = "info"

    func logger(_ label: String) throws -> Logger {
        let level: Logger.Level
        do {
            level = try LogLevel.parse(logLevel)
        } catch {
            throw ValidationError("--log-level: \(error)")
        }
        return Logger(label: label) { JSONLogHandler(label: $0, level: level) }
    }

    func load() throws -> Config {
        var config = try ConfigFile.load(self.config)
        if let listen { config.listen = try address(listen, "--listen") }
        if let adminListen { config.adminListen = try address(adminListen, "--admin-listen") }
        return config
    }

    private func address(_ text: String, _ option: String) throws -> Address {
        do {
            return try Address(text)
        } catch {
            throw ValidationError("\(option): \(error)")
        }
    }
}

enum ConfigFile {
    /// Prints every problem and ends with the documented code when the file cannot be used.
    static func load(_ path: String) throws -> Config {
        do {
            let config = try Config.load(
                path: path, environment: ProcessInfo.processInfo.environment,
                knownProviders: Set(ProviderCatalog.standard.names))
            for warning in config.warnings { Terminal.note("warning: \(warning)") }
            return config
        } catch {
            throw fail(error.problems)
        }
    }

    static func require(_ problems: [ConfigProblem]) throws {
        if !problems.isEmpty { throw fail(problems) }
    }

    private static func fail(_ problems: [ConfigProblem]) -> ExitCode {
        for problem in problems { Terminal.note("error: \(problem)") }
        return ExitCode(Exit.badConfig)
    }
}

enum Terminal {
    /// To standard error: messages are not data.
    static func note(_ line: String) {
        FileHandle.standardError.write(Data((line + "\n").utf8))
    }

    /// To standard output, at once also when it is a pipe.
    static func say(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }

    /// Goes on after a `yes` only. Whoever is no person says so with a flag.
    static func confirm(_ question: String, flag: String) throws {
        guard isatty(STDIN_FILENO) == 1 else {
            note("error: nothing was changed: there is nobody to ask, confirm with \(flag)")
            throw ExitCode(Exit.failure)
        }
        FileHandle.standardError.write(Data("\(question) Type yes: ".utf8))
        guard readLine() == "yes" else {
            note("nothing was changed")
            throw ExitCode(Exit.failure)
        }
    }
}
