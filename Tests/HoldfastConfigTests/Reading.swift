import HoldfastConfig
import Testing

/// Parses a configuration in which every `${VAR}` of the tests is set.
func read(
    _ text: String, environment: [String: String] = testEnvironment,
    knownProviders: Set<String>? = nil, files: [String: String] = [:]
) throws(ConfigError) -> Config {
    try Config.parse(
        text: text, file: "holdfast.yaml", environment: environment, knownProviders: knownProviders,
        readFile: { path in
            guard let contents = files[path] else { throw NoSuchFile() }
            return contents
        })
}

struct NoSuchFile: Error, CustomStringConvertible {
    let description = "there is no such file"
}

let testEnvironment = [
    "OPENAI_API_KEY": "sk-7Jd0qLwP3vXz", "ANTHROPIC_API_KEY": "sk-ant-9Kf2mRtY", "EMPTY": "",
    "SUPPORT_KEY": "hf-4Tn8sBcG1hQe", "LIMIT": "$500", "TOKEN": "p4ssPHRASE-42",
]

/// Expects exactly these problems, as they are printed, without the file's name.
func expectProblems(
    _ text: String, _ expected: [String], knownProviders: Set<String>? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    do {
        _ = try read(text, knownProviders: knownProviders)
        Issue.record("no problem was found", sourceLocation: sourceLocation)
    } catch {
        #expect(
            error.description.split(separator: "\n").map(String.init)
                == expected.map { "holdfast.yaml:\($0)" },
            sourceLocation: sourceLocation)
        for (name, value) in testEnvironment where name.contains("KEY") || name == "TOKEN" {
            #expect(!error.description.contains(value), sourceLocation: sourceLocation)
        }
    }
}

/// Expects exactly these warnings, and no problem.
func expectWarnings(
    _ text: String, _ expected: [String], sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let warnings = try read(text).warnings.map(\.description)
    #expect(warnings == expected.map { "holdfast.yaml:\($0)" }, sourceLocation: sourceLocation)
}

/// A file whose only content is this cap, in line 2; settings in YAML's flow style.
func cap(_ settings: String) -> String {
    "caps:\n  - { \(settings) }\n"
}
