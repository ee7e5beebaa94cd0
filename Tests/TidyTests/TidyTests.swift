import Testing

/// Style that a test enforces, not a reviewer.
@Suite struct TidyTests {
    @Test func `every Swift file is tidy`() throws {
        let sources = try Repository.swiftSources()
        #expect(sources.contains { $0.path == "Tests/TidyTests/TidyTests.swift" })
        #expect(sources.contains { $0.path.hasPrefix("Sources/HoldfastCore/") })
        for source in sources {
            for offence in Tidy.offences(in: source) { Issue.record("\(offence)") }
            if Tidy.isLong(source) {
                let count = source.lines.count
                Issue.record("\(source.path): \(count) lines, consider a split", severity: .warning)
            }
        }
    }

    @Test func `every Markdown file has one title`() throws {
        for path in try Repository.markdownPaths() {
            let markdown = try Repository.text(of: path)
            for offence in Tidy.titleOffences(path: path, markdown: markdown) {
                Issue.record("\(offence)")
            }
        }
    }

    @Test func `every exception from the file length is a file`() throws {
        let paths = Set(try Repository.swiftSources().map(\.path))
        for path in Tidy.longFiles.keys {
            #expect(paths.contains(path), "\(path) is gone: remove its exception")
        }
    }
}

/// The rules themselves, on snippets.
@Suite struct TidyRuleTests {
    /// - Parameter expected: a part of the message of each offence, with its line: `2: 'try?'`.
    private func check(
        _ code: String, at path: String = "Sources/HoldfastEdge/A.swift",
        expect expected: [String] = [], sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let found = Tidy.offences(in: SourceText(path: path, code)).map(\.description)
        #expect(found.count == expected.count, "\(found)", sourceLocation: sourceLocation)
        for (found, expected) in zip(found, expected) {
            #expect(
                found.hasPrefix("\(path):\(expected)"), "\(found)", sourceLocation: sourceLocation)
        }
    }

    @Test func `a banned word is found in code`() {
        check("let a = try? b()", expect: ["1: 'try?'"])
        check("let a = try! b()", expect: ["1: 'try!'"])
        check("\nfatalError(\"x\")", expect: ["2: 'fatalError('"])
        check("nonisolated(unsafe) var a = 1", expect: ["1: 'nonisolated(unsafe)'"])
        check("print(a)", expect: ["1: 'print('"])
        check("let a = \"\"\"\n    x\n    \"\"\"; print(a)", expect: ["3: 'print('"])
    }

    @Test func `a banned word is no offence in a comment, a string or another word`() {
        check("// Never try? or print(…) here.\n/* fatalError( /* try! */ print( */")
        check("let a = \"try? fatalError(\" + #\"a \"print(b)\" c\"#")
        check("let a = \"\"\"\n    print(a) \"b\" try!\n    \"\"\"")
        check("let a = \"\\(b(\"print(c)\"))\" + fingerprint(d)")
        check("let a = retry? .b : c\nlet `try? to print(this)` = 1")
    }

    @Test func `notes to oneself are found in comments, too`() {
        check("// TODO: later\n/// FIXME", expect: ["1: 'TODO'", "2: 'FIXME'"])
        check("let a = \"TODO\"", expect: ["1: 'TODO'"])
        check("let mastodont = \"MASTODONT\"")
    }

    @Test func `what is banned depends on the target`() {
        check("print(a)", at: "Sources/holdfast/A.swift")
        check("let a: Double = 1", at: "Sources/HoldfastCore/A.swift", expect: ["1: 'Double'"])
        check("let a = Float(b)", at: "Sources/HoldfastLedger/A.swift", expect: ["1: 'Float'"])
        check("let a: Double = 1\n// Float", at: "Sources/HoldfastAdmin/A.swift")
        check("struct DoubleEntry {}", at: "Sources/HoldfastCore/A.swift")
        check("let a = try? b()", at: "Tests/HoldfastEdgeTests/A.swift")
    }

    @Test func `a type or a file is not named after nothing`() {
        check("final class KeyManager {}", expect: ["1: 'Manager'"])
        check("enum StringUtils {}", expect: ["1: 'Util'"])
        check("struct A {}", at: "Sources/HoldfastEdge/EdgeHelper.swift", expect: ["1: 'Helper'"])
        check("struct Utility {}", expect: ["1: 'Util'"])
        check("let fileManager = FileManager.default")
    }

    @Test func `an unchecked Sendable comes with its proof`() {
        let type = "final class A: @unchecked Sendable {\n}"
        check(type, expect: ["1: @unchecked Sendable"])
        check("/// Proof: one thread.\n" + type)
        check("final class A: @unchecked Sendable {\n    // Proof of Sendable: one thread.\n}")
        check(
            "/// Proof: one thread.\n" + String(repeating: "\n", count: 5) + type,
            expect: ["7: @unchecked Sendable"])
        check("let proof = 1\n" + type, expect: ["2: @unchecked Sendable"])
        check("/// Waterproof.\n" + type, expect: ["2: @unchecked Sendable"])
        check("/// `@unchecked Sendable` is rare.")
    }

    @Test func `a line is at most a hundred characters, a bit more in comments`() {
        let wide = String(repeating: "a", count: 101)
        check(String(wide.dropLast()))
        check("    /// " + String(repeating: "≤", count: 97))
        check("// " + String(repeating: "≤", count: 103), expect: ["1: 106 characters, 105"])
        check(wide, expect: ["1: 101 characters"])
        check("a  // \(wide)", expect: ["1: 107 characters, 100"])
        check("let a = \"\(wide)\"", expect: ["1: 111 characters"])
        check("let a = \"\"\"\n\(wide)\n\"\"\"")
        check("let a = \"\"\"\n\"\"\"\n\(wide)", expect: ["3: 101 characters"])
    }

    @Test func `a file is at most eight hundred lines`() {
        check(String(repeating: "\n", count: 799))
        check(String(repeating: "\n", count: 800), expect: ["801: 801 lines"])
        let long = SourceText(path: "A.swift", String(repeating: "\n", count: 500))
        #expect(Tidy.isLong(long))
        let short = SourceText(path: "A.swift", String(repeating: "\n", count: 499))
        #expect(!Tidy.isLong(short))
    }

    @Test func `a function is at most seventy lines`() {
        let longest = String(repeating: "    a()\n", count: 68)
        let tooLong = longest + "    a()\n"
        let message = "a function of 71 lines"
        check("func b() {\n\(longest)}")
        check("func b() {\n\(tooLong)}", expect: ["1: \(message)"])
        check("struct C {\n    init?(b: Int) {\n\(tooLong)}\n}", expect: ["2: \(message)"])
        check("struct C {\n\(tooLong)}\nfunc b() {}")
        check("func `a { in ( a name`() {\n\(tooLong)}", expect: ["1: \(message)"])
        check("func b(c: () -> Void = { a() }) {\n\(tooLong)}", expect: ["1: \(message)"])
        check("func b()\n    async throws\n{\n\(tooLong)}", expect: ["1: a function of 73 lines"])
        check("protocol B {\n    func b()\n    func c() async\n}\nstruct C {\n\(tooLong)}")
        check("func b() { \"}\" }\n\(tooLong)")
    }

    @Test func `a target imports what its row allows`() {
        func check(
            _ line: String, in target: String, isAllowed: Bool,
            sourceLocation: SourceLocation = #_sourceLocation
        ) {
            let path = "Sources/\(target)/A.swift"
            let found = Tidy.offences(in: SourceText(path: path, line))
            #expect(found.isEmpty == isAllowed, "\(found)", sourceLocation: sourceLocation)
        }
        check("import Foundation", in: "HoldfastCore", isAllowed: false)
        check("import Synchronization", in: "HoldfastLedger", isAllowed: false)
        check("public import HoldfastCore", in: "HoldfastLedger", isAllowed: true)
        check("import HoldfastProviders", in: "HoldfastLedger", isAllowed: false)
        check("import Foundation", in: "HoldfastWire", isAllowed: true)
        check("import NIOCore", in: "HoldfastWire", isAllowed: false)
        check("@preconcurrency import HoldfastCounter", in: "HoldfastEdge", isAllowed: false)
        check("package import struct HoldfastEdge.A", in: "HoldfastCounter", isAllowed: false)
        check("private import CCurl", in: "HoldfastEgress", isAllowed: true)
        check("import CCurl", in: "HoldfastEdge", isAllowed: false)
        check("import HoldfastTestKit", in: "HoldfastEdge", isAllowed: false)
        check("import HoldfastTestKit", in: "holdfast", isAllowed: true)
        check("import NIOCore", in: "HoldfastEdge", isAllowed: true)
        check("import HoldfastCore", in: "HoldfastNewcomer", isAllowed: false)
        check("// import Foundation", in: "HoldfastCore", isAllowed: true)
    }

    @Test func `a Markdown file has exactly one title`() {
        func count(_ markdown: String) -> Int {
            Tidy.titleOffences(path: "a.md", markdown: markdown).count
        }
        #expect(count("# A\n\n## B\n") == 0)
        #expect(count("# A\n```sh\n# a comment\n```\n") == 0)
        #expect(count("A\n") == 1)
        #expect(count("# A\n\n# B\n\n# C\n") == 2)
    }
}
