import Foundation

/// The files of this repository, as they are in the working copy.
enum Repository {
    static let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private static let sourceFolders = ["Sources", "Tests", "Benchmarks"]

    /// Generated code and what the build leaves behind are not ours to keep tidy.
    static func swiftSources() throws -> [SourceText] {
        let paths = try sourceFolders.flatMap { try files(in: $0, ending: ".swift") }
        return try (["Package.swift"] + paths).map { SourceText(path: $0, try text(of: $0)) }
    }

    static func markdownPaths() throws -> [String] {
        let names = try FileManager.default.contentsOfDirectory(atPath: root.path())
        // `.build`, `.git` and the like hold other people's files.
        return try names.filter { !$0.hasPrefix(".") }.sorted()
            .flatMap { name in
                name.hasSuffix(".md") ? [name] : try files(in: name, ending: ".md")
            }
    }

    static func text(of path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    private static func files(in folder: String, ending: String) throws -> [String] {
        let url = root.appending(path: folder)
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: url.path(), isDirectory: &isFolder),
            isFolder.boolValue
        else { return [] }
        return try FileManager.default.subpathsOfDirectory(atPath: url.path())
            .filter { $0.hasSuffix(ending) && !isSkipped("/" + $0) }
            .sorted().map { "\(folder)/\($0)" }
    }

    private static func isSkipped(_ path: String) -> Bool {
        path.contains("/Generated/") || path.contains("/.build")
    }
}
